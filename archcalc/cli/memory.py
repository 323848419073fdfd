"""`archcalc memory`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from archcalc.analysis.memory import BYTES, Dtype
from archcalc.cli.options import F, load_source, output, settings, sizes, source
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.output import Format, emit
from archcalc.spec import Spec
from archcalc.spec.workload import workload

# What only a training asks for, and what it has no use for.
OF_TRAINING = {"recipe": "--recipe", "optimiser": "--optimizer"}
OF_ADAPTERS = {"targets": "--targets"}
OF_A_WORKLOAD = {
    "batch": "--batch",
    "seq": "--seq",
    "past": "--past",
    "source_seq": "--source-seq",
    "cache_dtype": "--cache-dtype",
}


def training(command: F) -> F:
    """`--train`, `--recipe`, `--optimizer`, `--lora`, `--targets`."""
    for option in (
        click.option(
            "--targets", metavar="NAMES", help="Of the adapters: all-linear (default), q,v or a pattern of whole names."
        ),
        click.option("--lora", "rank", type=int, metavar="RANK", help="Train adapters of this rank and nothing else."),
        click.option(
            "--optimizer", "--optimiser", "optimiser", help="adamw (default), adamw8bit, adafactor, muon, sgd …"
        ),
        click.option(
            "--recipe",
            help="mixed (default), megatron, pure, autocast (of adapters the default): which part is in which dtype.",
        ),
        click.option("--train", is_flag=True, help="What training keeps: weights, gradients, copy, optimiser states."),
    ):
        command = option(command)
    return command


@click.command("memory")
@source()
@sizes
@click.option("--dtype", metavar="FORMAT", help="Of the weights: bf16 (default), fp32, int8, nf4, q4_k_m …")
@click.option("--cache-dtype", type=click.Choice(list(BYTES)), default="bf16", show_default=True, help="Of the cache.")
@training
@settings
@output
def command(
    source: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: str | None,
    cache_dtype: Dtype,
    train: bool,
    recipe: str | None,
    optimiser: str | None,
    rank: int | None,
    targets: str | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Bytes of the weights, and of what each layer caches after past + seq tokens; or of what training keeps. Exact."""
    if rank is None:
        refuse(OF_ADAPTERS, "without --lora")
    if train or rank is not None:
        refuse(OF_A_WORKLOAD, "with --train" if rank is None else "with --lora")
    else:
        refuse(OF_TRAINING, "without --train or --lora")
    spec = load_source(source, settings)
    how: dict[str, Any] = {"form": form, "output": output, "color": not no_color}
    if rank is not None:
        _adapters(spec, rank, targets or "all-linear", dtype or "bf16", (recipe, optimiser), how)
    elif train:
        _training(spec, dtype, (recipe, optimiser), how)
    else:
        _inference(spec, dtype or "bf16", cache_dtype, (batch, seq, past, source_seq), how)


def _inference(spec: Spec, dtype: str, cache_dtype: Dtype, asked: tuple[Any, ...], how: dict[str, Any]) -> None:
    from archcalc.render import memory

    batch, seq, past, source_seq = asked
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    emit(
        lambda: memory.page(spec, ledger, work, dtype, cache_dtype),
        lambda: memory.data(ledger, work, dtype, cache_dtype),
        **how,
    )


Recipe = tuple[str | None, str | None]


def _training(spec: Spec, dtype: str | None, asked: Recipe, how: dict[str, Any]) -> None:
    from archcalc.analysis import optimisers, training
    from archcalc.render import training as render

    recipe, optimiser = training.recipe(asked[0], dtype), optimisers.named(asked[1] or "adamw")
    subject = render.Subject(spec, build(spec), recipe, recipe.precision(dtype), optimiser)
    emit(lambda: render.page(subject), lambda: render.data(subject), **how)


def _adapters(spec: Spec, rank: int, targets: str, form: str, asked: Recipe, how: dict[str, Any]) -> None:
    """peft keeps adapters in fp32 and leaves the rest to autocast, unless told otherwise."""
    from archcalc.analysis import optimisers, training
    from archcalc.render import lora as render

    recipe, optimiser = training.recipe(asked[0] or "autocast"), optimisers.named(asked[1] or "adamw")
    chosen = (rank, parsed(targets), form)
    subject = render.Subject(spec, build(spec), *chosen, recipe, recipe.precision(), optimiser)
    emit(lambda: render.page(subject), lambda: render.data(subject), **how)


def parsed(targets: str) -> str | list[str]:
    """'q,v' as a list of names; 'all-linear' and patterns, which have signs that no name has, as they are."""
    is_pattern = targets == "all-linear" or not all(c.isalnum() or c in "_-.," for c in targets)
    return targets if is_pattern else targets.split(",")


def refuse(options: dict[str, str], why: str) -> None:
    """InputError for the first of these options that was given, for it would be without effect."""
    context = click.get_current_context()
    for name, option in options.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise InputError(f"{option} has no effect {why}", allowed=f"to leave out {option}")
