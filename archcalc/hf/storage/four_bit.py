"""Methods of at most 4 bits without groups by row: bitsandbytes (also its int8), MXFP4 of gpt-oss, BitNet.

Sources: bitsandbytes QuantState and Int8Params; transformers 5.23 integrations/mxfp4.py and bitnet.py.
"""

from __future__ import annotations

from archcalc.formats.layouts import Grouped, Nested, PerRow, RowBlocks
from archcalc.hf.config import FLAG
from archcalc.hf.storage.modules import kept, linears
from archcalc.hf.storage.patterns import skipped
from archcalc.hf.storage.quantization import FLAG_OR_NONE, Quantization, UnreadSettingError, one_of
from archcalc.spec.storage import StoredFormat

_SKIP = "llm_int8_skip_modules"
# 16 levels in fp32; with double quantization an offset of 4 bytes and the 256 levels of the scales' code too.
_LEVELS, _NESTED = 16 * 4, 4 + 256 * 4


def bitsandbytes(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of Linear8bitLt or Linear4bit."""
    if settings.get("load_in_8bit", FLAG_OR_NONE, False) or settings.get("_load_in_8bit", FLAG_OR_NONE, False):
        return linears(settings, "int8-bnb", PerRow(1, 4), _SKIP, "bnb_int8")
    kind = settings.get("bnb_4bit_quant_type", one_of("nf4", "fp4"), "fp4")
    if settings.get("bnb_4bit_use_double_quant", FLAG_OR_NONE, False):
        return linears(settings, kind, Nested(64, 256, _LEVELS + _NESTED), _SKIP, "bnb_4bit")
    return linears(settings, f"{kind}-single", Nested(64, 0, _LEVELS), _SKIP, "bnb_4bit")


def mxfp4(settings: Quantization) -> list[StoredFormat]:
    """Return the format of gpt-oss's experts: blocks of 32 of a row, a uint8 scale each."""
    keys = settings.words("modules_to_not_convert")
    pattern = skipped(keys, settings.where("modules_to_not_convert")) if keys else None
    blocks = StoredFormat(name="mxfp4", layout=RowBlocks(32, 16, 1), roles=("experts",), packing="mxfp4_blocks")
    return [*kept(settings, pattern), blocks]


def bitnet(settings: Quantization) -> list[StoredFormat]:
    """Return the format of BitLinear: 2 bits a weight, a scale for each matrix."""
    if settings.get("quantization_mode", one_of("offline", "online"), "offline") == "online":
        raise UnreadSettingError("quantization_mode", "online")
    if settings.get("use_rms_norm", FLAG, False):
        raise UnreadSettingError("use_rms_norm", True)
    layout = Grouped(2, 0, 0, matrix=settings.element_bytes)
    return linears(settings, "bitnet", layout)
