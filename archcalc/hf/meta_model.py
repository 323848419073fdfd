"""A model as transformers builds it on the meta device, of any of its model types: what no spec describes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from archcalc.errors import InputError, RefusedError, nearest, shown
from archcalc.extras import require
from archcalc.hf.config import MAX_LAYERS
from archcalc.hf.reference import error_line, quiet
from archcalc.words import msg

# The tensors of all experts of the largest published models, and what a buffer outside the meta device may hold.
MAX_PARAMETERS, MAX_REAL_ELEMENTS = 1_000_000, 1 << 24
_COUNT = re.compile(r"(.*_)?(layers?|depth|blocks?|stages?|experts?)")
# Keys that choose code or kernels, or describe stored weights.
_UNUSED = ("auto_map", "quantization_config", "attn_implementation", "experts_implementation", "torch_dtype", "dtype")
# Classes of a model type without a named one, in the order of preference.
_FIRST_MAPPINGS = (
    "CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "MASKED_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "PRETRAINING",
)


def meta_model(config: Mapping[str, Any]) -> Any:
    """Return transformers' model of a config, with every parameter on the meta device.

    The class is the one that `architectures` names, else the first of the model type. Only code of the installed
    package runs: `auto_map` is ignored. Raises InputError for a model type or class that transformers does not have,
    RefusedError if it cannot build the model, MissingExtraError if it is not installed.
    """
    require("transformers", does=msg("counting with transformers"), extra="oracle")
    require("torch", does=msg("counting with transformers"), extra="oracle")
    import torch

    _check_counts(config)
    with quiet(), _bounded():
        try:
            settings = _settings(config)
            with torch.device("meta"):
                return _first_built(_classes(config, settings), settings)
        except InputError:
            raise
        except Exception as error:
            raise RefusedError(msg("transformers refuses it: {line}", line=error_line(error)), where="config") from None


def version() -> str:
    """Return the version of the installed transformers."""
    import transformers

    return str(transformers.__version__)


def _settings(config: Mapping[str, Any]) -> Any:
    """Return the config object of a model type."""
    import transformers

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in transformers.CONFIG_MAPPING:
        hint = nearest(model_type, transformers.CONFIG_MAPPING, cutoff=0.85) if isinstance(model_type, str) else ""
        raise InputError(
            msg("found {found}{hint}", found=shown(model_type), hint=hint),
            where="model_type",
            allowed=msg("a model type of transformers {version}", version=transformers.__version__),
        )
    settings: Any = transformers.CONFIG_MAPPING[model_type].from_dict(_without_unused(copy.deepcopy(dict(config))))
    settings._attn_implementation = "eager"
    _check_flat(config, settings)
    return settings


def _check_flat(config: Mapping[str, Any], settings: Any) -> None:
    """Raise InputError for a text model's sizes at the top of a file whose class reads them in `text_config` alone."""
    text = getattr(settings, "text_config", None)
    if text is None or config.get("text_config") is not None:
        return
    for key in ("hidden_size", "num_hidden_layers", "vocab_size"):
        if key in config and getattr(text, key, None) != config[key]:
            raise InputError(msg("found {found}", found=shown(config[key])), where=key, allowed=f"text_config.{key}")


def _without_unused(value: Any) -> Any:
    """Return plain data without the keys that a count does not need, nested ones included."""
    if isinstance(value, dict):
        return {key: _without_unused(inner) for key, inner in value.items() if str(key).lstrip("_") not in _UNUSED}
    return [_without_unused(inner) for inner in value] if isinstance(value, list) else value


def _first_built(classes: list[Any], settings: Any) -> Any:
    """Return a model of the first class that the config suits. Raises the error of the first."""
    first, *others = classes
    try:
        return first(settings)
    except (ValueError, AssertionError):
        for other in others:
            with suppress(Exception):
                return other(settings)
        raise


def _classes(config: Mapping[str, Any], settings: Any) -> list[Any]:
    """Return the class that a config names, or those of its type. A config cannot name another package's."""
    import transformers
    from transformers.models.auto import modeling_auto

    names = config.get("architectures") or ()
    name = names[0] if isinstance(names, list) else names
    stated = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    if isinstance(stated, type) and issubclass(stated, transformers.PreTrainedModel):
        return [stated]
    mappings = {key: value for key, value in vars(modeling_auto).items() if key.endswith("MAPPING_NAMES")}
    order = [f"MODEL_FOR_{mapping}_MAPPING_NAMES" for mapping in _FIRST_MAPPINGS]
    found = [
        name
        for mapping in dict.fromkeys((*order, "MODEL_MAPPING_NAMES", *sorted(mappings)))
        if (name := mappings.get(mapping, {}).get(settings.model_type))
    ]
    if found:
        names = dict.fromkeys(name if isinstance(name, str) else name[0] for name in found)
        return [getattr(transformers, name) for name in list(names)[:3]]
    raise InputError(
        msg("transformers has no model of {found}", found=shown(settings.model_type)),
        where="architectures",
        allowed=msg("the name of one class"),
    )


def _check_counts(value: Any, path: str = "") -> None:
    """Raise InputError for more layers or experts than a model has, of which transformers would make lists."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_counts(inner, f"{path}.{key}" if path else str(key))
    elif type(value) is int and value > MAX_LAYERS and _COUNT.fullmatch(path.rpartition(".")[2]):
        raise InputError(
            msg("found {found}", found=shown(value)), where=path, allowed=msg("{n:,} at most", n=MAX_LAYERS)
        )


@contextmanager
def _bounded() -> Iterator[None]:
    """Raise RefusedError, within the block, for too many tensors, and for a large one that is not on meta."""
    from torch.nn.modules import module

    n_tensors = 0

    def check(_: Any, name: str, tensor: Any) -> None:
        nonlocal n_tensors
        n_tensors += 1
        is_real = tensor is not None and tensor.device.type != "meta" and tensor.numel() > MAX_REAL_ELEMENTS
        if is_real or n_tensors > MAX_PARAMETERS:
            problem = msg("{name} needs real memory", name=name) if is_real else msg("it has too many tensors")
            raise RefusedError(problem, where="config")

    handles = (
        module.register_module_parameter_registration_hook(check),
        module.register_module_buffer_registration_hook(check),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
