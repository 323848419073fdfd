"""How a model's files store its weights, as its config states it: dtype and quantization.

Each file here reads the settings of some quantization methods and returns formats (`spec/storage.py`). `methods.py` has
the table of the methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from archcalc.errors import shown
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.hf.storage.methods import LOADED, formats, method_of
from archcalc.hf.storage.quantization import Quantization
from archcalc.spec.assumption import Assumption
from archcalc.spec.storage import FloatName, Storage

__all__ = ["LOADED", "quantization_method", "stated_dtype", "storage_of"]

_DTYPE_KEYS = ("dtype", "torch_dtype")
_BY_TORCH_NAME = {ELEMENT_TYPES[name].torch: name for name in get_args(FloatName)}
# Where a config, or a file beside it, says how the weights are quantized; the first that is there counts.
_QUANTIZATION_KEYS = ("quantization_config", "compression_config", "quantization")


def storage_of(config: Mapping[str, Any], resolved: Mapping[str, Any]) -> tuple[dict[str, Any], list[Assumption]]:
    """Return the storage that a config states, as plain data, and assumptions about it.

    `resolved` is the config of the text model whose class is read. The storage is empty if nothing is stated. Raises
    InputError for settings of a known quantization method that are not valid.
    """
    key, dtype, assumptions = _dtype(config, resolved)
    settings = _quantization(config, resolved, dtype)
    stated_by = [key] if key else []
    storage = Storage(dtype=dtype)
    if settings:
        method, stored, unread = formats(settings)
        assumptions += unread
        if stored:
            stated_by.append(f"{settings.key} ({method})")
            names = {"model_type": resolved["model_type"], "class_name": _class_name(resolved)}
            storage = msgspec.structs.replace(storage, formats=tuple(stored), naming="transformers", **names)
    if not stated_by:
        return {}, assumptions
    plain = msgspec.to_builtins(msgspec.structs.replace(storage, stated_by=tuple(stated_by)))
    return {name: value for name, value in plain.items() if value}, assumptions


def quantization_method(config: Mapping[str, Any]) -> str:
    """Return the name of the quantization method that a config states, whether it is known or not; "" for none."""
    settings = _quantization(config, {}, Storage().dtype)
    return method_of(settings) if settings else ""


def _quantization(config: Mapping[str, Any], resolved: Mapping[str, Any], dtype: FloatName) -> Quantization | None:
    """Return the settings of the quantization that a config states, the whole or that of its text model."""
    for source in (config, resolved):
        for key in _QUANTIZATION_KEYS:
            if isinstance(source.get(key), dict):
                return Quantization(source[key], key, dtype)
    return None


def stated_dtype(config: Mapping[str, Any]) -> FloatName:
    """Return the dtype that a config states for what is not quantized; bf16 if it states none."""
    text = config.get("text_config")
    return _dtype(config, text if isinstance(text, dict) else {})[1]


def _dtype(config: Mapping[str, Any], resolved: Mapping[str, Any]) -> tuple[str, FloatName, list[Assumption]]:
    """Return the key that states the dtype, the dtype, and what is assumed where the stated one is unknown."""
    stated = [(key, source[key]) for source in (resolved, config) for key in _DTYPE_KEYS if source.get(key) is not None]
    if not stated or stated[0][1] == "auto":
        return "", Storage().dtype, []
    key, value = stated[0]
    name: FloatName | None = _BY_TORCH_NAME.get(str(value).removeprefix("torch."))
    if name is None:
        return "", Storage().dtype, [Assumption(kind="dtype", value=Storage().dtype, of=f"{key}: {shown(value)}")]
    return key, name, []


def _class_name(resolved: Mapping[str, Any]) -> str:
    stated = resolved.get("architectures")
    return str(stated[0]) if isinstance(stated, list) and stated else ""
