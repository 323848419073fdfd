"""ModelOpt of NVIDIA: `hf_quant_config.json`, or the same settings in a config.json, as its checkpoints have them."""

from __future__ import annotations

from archcalc.formats.layouts import Grouped, Layout, PerRow, PerTensor, RowBlocks, Tiled
from archcalc.formats.packings import PackingName
from archcalc.formats.policy import Role
from archcalc.hf.storage.modules import ROUTED, WITH_HEAD, kept
from archcalc.hf.storage.patterns import wildcards
from archcalc.hf.storage.quantization import Quantization, UnreadSettingError
from archcalc.spec.storage import StoredFormat

# Each with its scale of inputs, which is stored in fp32.
_FORMATS: dict[str, tuple[str, Layout, PackingName]] = {
    "FP8": ("fp8", PerTensor(1, 4 + 4), "scaled"),
    "FP8_PER_CHANNEL_PER_TOKEN": ("fp8-row", PerRow(1, 4), "scaled"),
    "FP8_PB_WO": ("fp8-block", Tiled(1, 128, 4), "scaled"),
    "NVFP4": ("nvfp4", Grouped(4, 16, 1, matrix=4 + 4), "nvfp4_modelopt"),
    "W4A16_NVFP4": ("nvfp4", Grouped(4, 16, 1, matrix=4), "nvfp4_modelopt"),
    "MXFP4": ("mxfp4", RowBlocks(32, 16, 1), "fp4_scaled"),
    "MXFP8": ("mxfp8", RowBlocks(32, 32, 1), "scaled"),
}
_MIXED = "MIXED_PRECISION"


def read(settings: Quantization) -> list[StoredFormat]:
    """Return the formats; with mixed precision, one for each module that `quantized_layers` names."""
    inner = settings.within("quantization") or settings
    algorithm = inner.data.get("quant_algo")
    names = next((found for key in ("exclude_modules", "ignore") if (found := inner.words(key))), [])
    left_out = kept(settings, wildcards(names))
    if algorithm != _MIXED:
        return [*left_out, _format(algorithm, WITH_HEAD, None)]
    by_algorithm: dict[str, list[str]] = {}
    for name, own in inner.each("quantized_layers"):
        by_algorithm.setdefault(str(own.data.get("quant_algo")), []).append(name)
    if not by_algorithm:
        raise UnreadSettingError("quant_algo", algorithm)
    return [*left_out, *(_format(each, ROUTED, wildcards(modules)) for each, modules in by_algorithm.items())]


def _format(algorithm: object, roles: tuple[Role, ...], pattern: str | None) -> StoredFormat:
    if not isinstance(algorithm, str) or algorithm not in _FORMATS:
        raise UnreadSettingError("quant_algo", algorithm)
    name, layout, packing = _FORMATS[algorithm]
    return StoredFormat(name=name, layout=layout, roles=roles, pattern=pattern, packing=packing)
