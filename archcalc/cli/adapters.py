"""The options of `archcalc memory` that describe adapters."""

from __future__ import annotations

from typing import Any, get_args

import click
from msgspec import Struct

from archcalc.analysis.adapters.config import (
    ALL_LINEAR,
    AdapterConfig,
    MethodName,
    Naming,
    checked_rank,
    checked_tokens,
)
from archcalc.analysis.adapters.files import AdapterFile, adapter_source, read_adapter
from archcalc.cli.options import F, load_source
from archcalc.errors import InputError, parameter
from archcalc.sources import stated_config
from archcalc.spec import Spec
from archcalc.words import msg

# The option of each method, by its parameter, and the option that describes any method.
METHODS: dict[str, MethodName] = {
    "rank": "lora",
    "dora": "dora",
    "vera": "vera",
    "ia3": "ia3",
    "prefix_tuning": "prefix_tuning",
    "prompt_tuning": "prompt_tuning",
}
CHOICES = (*METHODS, "adapter")
_OF_TOKENS = ("prefix_tuning", "prompt_tuning")
_OPTIONS = ("targets", "names")


class AdaptedModel(Struct, frozen=True):
    """Adapters on a model: its spec, its config if the source states one, and the file that describes the adapters."""

    spec: Spec
    config: AdapterConfig
    stated: dict[str, Any] | None
    file: AdapterFile | None


def adapting(command: F) -> F:
    """Add the options of adapters."""
    for option in (
        click.option(
            "--names",
            type=click.Choice(get_args(Naming)),
            help="Whose names --targets has: those of the class in transformers, whose joined matrices (c_attn) count "
            "once, or our own (q,k,v), each matrix alone (default: the library's, else our own).",
        ),
        click.option(
            "--targets",
            metavar="NAMES",
            help="Modules with adapters: all-linear (default), names (q_proj,v_proj), or a regular expression.",
        ),
        click.option(
            "--adapter",
            metavar="PATH",
            help="Memory of training the adapters that an adapter_config.json, or a folder with one, describes.",
        ),
        click.option("--prompt-tuning", type=int, metavar="TOKENS", help="Memory of tuning this many virtual tokens."),
        click.option(
            "--prefix-tuning", type=int, metavar="TOKENS", help="Memory of tuning the keys and values of a prefix."
        ),
        click.option("--ia3", is_flag=True, default=None, help="Memory of training (IA)³ vectors."),
        click.option("--vera", type=int, metavar="RANK", help="As --lora, of VeRA."),
        click.option("--dora", type=int, metavar="RANK", help="As --lora, of DoRA."),
        click.option("--lora", "rank", type=int, metavar="RANK", help="Memory of training LoRA adapters of this rank."),
    ):
        command = option(command)
    return command


def chosen(options: dict[str, Any]) -> str | None:
    """Return the parameter that chooses adapters; None without one. Raises InputError for two."""
    found = [name for name in CHOICES if options[name] is not None]
    if len(found) > 1:
        raise exclusive(*found[:2])
    return found[0] if found else None


def exclusive(left: str, right: str) -> InputError:
    """Return the error for two options of which a call has one."""
    problem = msg("{left} and {right} exclude each other", left=parameter(left), right=parameter(right))
    return InputError(problem, allowed=msg("one of them"))


def adapters(source: str, settings: tuple[str, ...], options: dict[str, Any]) -> AdaptedModel:
    """Return the adapters that options and source describe. Raises InputError for those that are not valid."""
    name = chosen(options)
    file = read_adapter(options["adapter"]) if name == "adapter" else adapter_source(source) if name is None else None
    if file is None:
        assert name is not None, "a source without adapters has no such options"
        config = _config(name, options)
        _check(METHODS[name] in _OF_TOKENS, options, name)
        return AdaptedModel(load_source(source, settings), config, _stated(source, settings), None)
    _check(True, options, "adapter")
    base = source if name == "adapter" else file.base
    try:
        return AdaptedModel(load_source(base, settings), file.config, _stated(base, settings), file)
    except InputError as error:
        if name == "adapter":
            raise
        raise _without_base(file, error) from None


def _without_base(file: AdapterFile, error: InputError) -> InputError:
    """Return the error for a base model that cannot be loaded."""
    if not file.base:
        problem = msg("names no base model. Give it as SOURCE, and this file with `adapter`")
    else:
        problem = msg(
            "its base model cannot be read ({error}). Give it as SOURCE from elsewhere, and this file with `adapter`",
            error=error,
        )
    return InputError(problem, where="base_model_name_or_path", file=file.path)


def _stated(source: str, settings: tuple[str, ...]) -> dict[str, Any] | None:
    return None if settings else stated_config(source)


def _config(name: str, options: dict[str, Any]) -> AdapterConfig:
    """Return the adapters of a method's option."""
    method = METHODS[name]
    if method in _OF_TOKENS:
        return AdapterConfig(method=method, n_tokens=checked_tokens(options[name], name))
    if method == "ia3":
        return AdapterConfig(method=method, targets=parse_targets(options["targets"]) if options["targets"] else None)
    targets = parse_targets(options["targets"] or ALL_LINEAR)
    return AdapterConfig(method=method, rank=checked_rank(options[name], name), targets=targets)


def _check(is_fixed: bool, options: dict[str, Any], name: str) -> None:
    """Raise InputError for options of targets that a method, or a file, does not have."""
    for option in _OPTIONS if is_fixed else ():
        if options[option] is not None:
            raise InputError(
                msg("{name} has no effect with {other}", name=parameter(option), other=parameter(name)),
                advice=msg("Leave out {name}.", name=parameter(option)),
            )


def parse_targets(targets: str) -> str | tuple[str, ...]:
    """Return 'q,v' as a list of names; 'all-linear' and patterns, which have characters no name has, unchanged."""
    is_pattern = targets == ALL_LINEAR or not all(c.isalnum() or c in "_-.," for c in targets)
    return targets if is_pattern else tuple(targets.split(","))
