"""What is adapted and how: the settings of peft's `adapter_config.json` that decide shapes and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.words import Message, msg

MethodName = Literal["lora", "dora", "vera", "ia3", "prefix_tuning", "prompt_tuning"]
Names = str | tuple[str, ...]
Naming = Literal["library", "archcalc"]
Bias = Literal["none", "all", "adapted"]

ALL_LINEAR = "all-linear"
MAX_RANK = 2**20
MAX_TOKENS = 2**20
MAX_NAMES = 100_000


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The adapters of a model.

    - `method`: how it is adapted
    - `rank`: of low-rank matrices, or of VeRA's projections
    - `targets`: the modules: 'all-linear', names that a module's name ends in, or a regular expression of whole names;
      None: those that peft chooses for the model type
    - `excluded`: modules that are left alone, in the same forms
    - `parameters`: names of parameters with matrices of their own
    - `ranks`: other ranks, by expressions of the ends of names
    - `layers`, `layer_lists`: the layers that are adapted, and the names of the lists that they are in
    - `trained_modules`: modules of which a copy is trained
    - `bias`: the biases of the model that are trained
    - `has_bias`: the second matrix has a bias
    - `feedforward`: modules whose inputs (IA)³ scales
    - `n_tokens`: virtual tokens of prefix and prompt tuning; `n_stacks`: the stacks that get them
    - `d_prefix`: the width of the two-layer projection of prefixes; None: none
    - `task`: the task type; classifiers of texts keep their head
    - `without_effect`: settings that were read and change no shape
    """

    method: MethodName = "lora"
    rank: int = 8
    targets: Names | None = ALL_LINEAR
    excluded: Names = ()
    parameters: tuple[str, ...] = ()
    ranks: tuple[tuple[str, int], ...] = ()
    layers: tuple[int, ...] = ()
    layer_lists: tuple[str, ...] = ()
    trained_modules: tuple[str, ...] = ()
    bias: Bias = "none"
    has_bias: bool = False
    feedforward: Names | None = None
    n_tokens: int = 20
    n_stacks: int | None = None
    is_projected: bool = False
    d_prefix: int | None = None
    token_width: int | None = None
    n_layers: int | None = None
    task: str = ""
    without_effect: tuple[str, ...] = ()


def checked_rank(rank: Any, where: str = "rank") -> int:
    """Return a rank. Raises InputError for one that is not a positive integer of a sane size."""
    return _positive(rank, where, MAX_RANK)


def checked_tokens(n_tokens: Any, where: str = "n_tokens") -> int:
    """Return a number of virtual tokens. Raises InputError as `checked_rank`."""
    return _positive(n_tokens, where, MAX_TOKENS)


def read_adapter_config(data: Mapping[str, Any]) -> AdapterConfig:
    """Return the adapters that the content of an adapter_config.json describes.

    Raises InputError naming the key: for a method that is not counted, a value that is not allowed, a setting that
    changes shapes and is not supported.
    """
    peft_type = data.get("peft_type")
    if peft_type not in _METHODS:
        hint = nearest(str(peft_type), _METHODS)
        raise InputError(
            msg("found {found}{hint}", found=shown(peft_type), hint=hint),
            where="peft_type",
            allowed=", ".join(_METHODS),
        )
    method, keys = _METHODS[peft_type]
    fields: dict[str, Any] = {"method": method}
    for key, value in data.items():
        if key in _REFUSED and value and value != _REFUSED[key]:
            raise InputError(
                msg("found {found}, which changes shapes and is not counted", found=shown(value)),
                where=key,
                advice=msg("Leave it out."),
            )
        if key in keys:
            name, read = keys[key]
            fields[name] = read(value, key)
    if data.get("use_dora") and method == "lora":
        fields["method"] = "dora"
    config = AdapterConfig(**{**_DEFAULTS.get(method, {}), **fields, "without_effect": _without_effect(data)})
    _check(config, data)
    return config


def _check(config: AdapterConfig, data: Mapping[str, Any]) -> None:
    """Raise InputError for settings that contradict each other."""
    if isinstance(config.targets, str) and config.layers and config.targets != ALL_LINEAR:
        raise InputError(
            msg("a pattern already chooses the layers"),
            where="layers_to_transform",
            advice=msg("Leave it out."),
        )
    if config.layer_lists and not config.layers:
        raise InputError(
            msg("without layers_to_transform"), where="layers_pattern", advice=msg("Leave it out, or state both.")
        )
    if config.has_bias and config.method == "dora":
        raise InputError(msg("with use_dora"), where="lora_bias", allowed="false")
    feedforward, targets = config.feedforward, config.targets
    is_subset = not isinstance(feedforward, tuple) or not isinstance(targets, tuple) or set(feedforward) <= set(targets)
    if config.method == "ia3" and not is_subset:
        raise InputError(
            msg("found {found}", found=shown(data.get("feedforward_modules"))),
            where="feedforward_modules",
            allowed=msg("names that target_modules has"),
        )


def _without_effect(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings that were stated, differ from their default, and change no shape."""
    return tuple(key for key, default in _NO_EFFECT.items() if key in data and data[key] not in (default, None, {}))


def _error(value: Any, where: str, allowed: str | Message) -> InputError:
    return InputError(msg("found {found}", found=shown(value)), where=where, allowed=allowed)


def _positive(value: Any, where: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _error(value, where, msg("an integer from 1 to {max_rank:,}", max_rank=most))
    return value


def _rank(value: Any, where: str) -> int:
    return checked_rank(value, where)


def _size(value: Any, where: str) -> int | None:
    return None if value is None else checked_tokens(value, where)


def _flag(value: Any, where: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _error(value, where, "true, false")
    return bool(value)


def _list(value: Any, where: str) -> tuple[str, ...]:
    """Return a list of names, or none."""
    if value is None:
        return ()
    if (
        not isinstance(value, list)
        or len(value) > MAX_NAMES
        or not all(isinstance(name, str) and name for name in value)
    ):
        raise _error(value, where, msg("a list of names"))
    return tuple(dict.fromkeys(value))


def _names(value: Any, where: str) -> Names | None:
    """Return a list of names, or a pattern; None if nothing is stated."""
    if value is None:
        return None
    if isinstance(value, str) and value:
        return ALL_LINEAR if value.lower() == ALL_LINEAR else value
    return _list(value, where)


def _excluded(value: Any, where: str) -> Names:
    return _names(value, where) or ()


def _ranks(value: Any, where: str) -> tuple[tuple[str, int], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        raise _error(value, where, msg("ranks by names of modules"))
    return tuple((str(name), checked_rank(rank, f"{where}.{name}")) for name, rank in value.items())


def _layers(value: Any, where: str) -> tuple[int, ...]:
    indices = () if value is None else (value,) if type(value) is int else value
    if not isinstance(indices, list | tuple) or not all(type(index) is int and index >= 0 for index in indices):
        raise _error(value, where, msg("indices of layers"))
    return tuple(indices)


def _lists(value: Any, where: str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else () if value == "" else _list(value, where)


def _bias(value: Any, where: str) -> Bias:
    if value in (None, "none"):
        return "none"
    if value == "all":
        return "all"
    if isinstance(value, str) and value.endswith("_only"):
        return "adapted"
    raise _error(value, where, "none, all, lora_only")


def _task(value: Any, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise _error(value, where, msg("a task type"))
    return value or ""


Reader = Callable[[Any, str], Any]
_COMMON: dict[str, tuple[str, Reader]] = {"task_type": ("task", _task)}
_OF_MODULES: dict[str, tuple[str, Reader]] = _COMMON | {
    "target_modules": ("targets", _names),
    "exclude_modules": ("excluded", _excluded),
    "modules_to_save": ("trained_modules", _list),
    "bias": ("bias", _bias),
}
_OF_LAYERS: dict[str, tuple[str, Reader]] = {
    "r": ("rank", _rank),
    "layers_to_transform": ("layers", _layers),
    "layers_pattern": ("layer_lists", _lists),
}
_OF_LORA: dict[str, tuple[str, Reader]] = {
    "rank_pattern": ("ranks", _ranks),
    "target_parameters": ("parameters", _list),
    "lora_bias": ("has_bias", _flag),
}
_OF_TOKENS: dict[str, tuple[str, Reader]] = _COMMON | {
    "num_virtual_tokens": ("n_tokens", checked_tokens),
    "num_transformer_submodules": ("n_stacks", _size),
    "token_dim": ("token_width", _size),
    "num_layers": ("n_layers", _size),
}
# By the library's name of a method: ours, and its keys, each with the field that it sets.
_METHODS: dict[Any, tuple[MethodName, dict[str, tuple[str, Reader]]]] = {
    "LORA": ("lora", _OF_MODULES | _OF_LAYERS | _OF_LORA),
    "VERA": ("vera", _OF_MODULES | _OF_LAYERS),
    "IA3": ("ia3", _OF_MODULES | {"feedforward_modules": ("feedforward", _names)}),
    "PREFIX_TUNING": (
        "prefix_tuning",
        _OF_TOKENS | {"prefix_projection": ("is_projected", _flag), "encoder_hidden_size": ("d_prefix", _size)},
    ),
    "PROMPT_TUNING": ("prompt_tuning", _OF_TOKENS),
}
# What peft assumes where a file says nothing.
_DEFAULTS: dict[MethodName, dict[str, Any]] = {
    "lora": {"targets": None, "rank": 8},
    "vera": {"targets": None, "rank": 256},
    "ia3": {"targets": None},
}
# Settings that change shapes and are not counted, each with a value that changes none.
_REFUSED: dict[str, Any] = {
    "layer_replication": None,
    "use_qalora": False,
    "use_bdlora": None,
    "kasa_config": None,
    "velora_config": None,
    "monteclora_config": None,
    "arrow_config": None,
    "megatron_config": None,
    "ensure_weight_tying": False,
    "trainable_token_indices": None,
}
# Settings that change no shape, each with its default.
_NO_EFFECT: dict[str, Any] = {
    "lora_alpha": 8,
    "alpha_pattern": {},
    "use_rslora": False,
    "lora_dropout": 0.0,
    "vera_dropout": 0.0,
    "alora_invocation_tokens": None,
}
