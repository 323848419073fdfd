"""The table of quantization methods: how each is spelled, and which function reads its settings."""

from __future__ import annotations

from collections.abc import Callable

from archcalc.errors import shown
from archcalc.hf.storage import compressed_tensors, eight_bit, four_bit, groups, modelopt
from archcalc.hf.storage.quantization import Quantization, UnreadSettingError
from archcalc.spec.assumption import Assumption
from archcalc.spec.storage import StoredFormat

_METHODS: dict[str, Callable[[Quantization], list[StoredFormat]]] = {
    "auto-round": groups.auto_round,
    "awq": groups.awq,
    "bitnet": four_bit.bitnet,
    "bitsandbytes": four_bit.bitsandbytes,
    "compressed-tensors": compressed_tensors.read,
    "eetq": eight_bit.eetq,
    "fbgemm_fp8": eight_bit.fbgemm,
    "fp8": eight_bit.fp8,
    "gptq": groups.gptq,
    "hqq": groups.hqq,
    "mlx": groups.mlx,
    "modelopt": modelopt.read,
    "mxfp4": four_bit.mxfp4,
    "quanto": eight_bit.quanto,
    "torchao": eight_bit.torchao,
}
# Of which some packings are loaded, not only counted (`formats/packings.py`).
LOADED = (
    "auto-round", "awq", "bitsandbytes", "compressed-tensors", "fbgemm_fp8", "fp8", "gptq", "mlx", "modelopt", "mxfp4",
)  # fmt: skip
_SPELLINGS = {
    "auto_round": "auto-round",
    "intel/auto-round": "auto-round",
    "compressed_tensors": "compressed-tensors",
    "sparseml": "compressed-tensors",
    "modelopt_fp4": "modelopt",
    "modelopt_mixed": "modelopt",
}


def formats(settings: Quantization) -> tuple[str, list[StoredFormat], list[Assumption]]:
    """Return the method's name, its formats, and the assumption for settings that are not read.

    Raises InputError for a setting of a known method that has no valid value.
    """
    method = method_of(settings)
    read = _METHODS.get(method)
    if read is None:
        return method, [], [Assumption(kind="method", of=str(shown(method)))]
    try:
        return method, read(settings), []
    except UnreadSettingError as error:
        return method, [], [Assumption(kind="setting", value=method, of=str(error))]


def method_of(settings: Quantization) -> str:
    """Return the name of the method; MLX, ModelOpt and old files of bitsandbytes and AutoGPTQ do not state it."""
    stated = settings.data.get("quant_method")
    if isinstance(stated, str):
        return _SPELLINGS.get(stated.lower(), stated.lower())
    if "quant_algo" in settings.data or isinstance(settings.data.get("quantization"), dict):
        return "modelopt"
    if settings.data.get("load_in_4bit") or settings.data.get("load_in_8bit"):
        return "bitsandbytes"
    if "config_groups" in settings.data:
        return "compressed-tensors"
    if {"bits", "group_size"} <= settings.data.keys():
        return "gptq" if "desc_act" in settings.data else "mlx"
    return str(stated)
