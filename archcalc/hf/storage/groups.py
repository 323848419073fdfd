"""Methods with scales by groups of a row: GPTQ, AWQ, AutoRound, HQQ, MLX, each with exceptions by module.

Sources: AutoGPTQ 0.7 and GPTQModel (qlinear, `dynamic`); AutoAWQ 0.2 (WQLinear_GEMM); AutoRound (`extra_config`);
hqq 0.2 (HQQLinear); MLX nn/layers/quantized.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.formats.layouts import Grouped, Layout, RowBlocks, Words
from archcalc.formats.packings import PackingName
from archcalc.formats.policy import Role
from archcalc.hf.storage.modules import LINEARS, WITH_HEAD, kept
from archcalc.hf.storage.patterns import checked, containing
from archcalc.hf.storage.quantization import FLAG_OR_NONE, Quantization, UnreadSettingError, one_of
from archcalc.spec.storage import StoredFormat

_WORD_BITS = one_of(2, 3, 4, 8)
# By the setting `checkpoint_format`; the files of other kernels (marlin) have another order.
_GPTQ_PACKINGS: dict[str, PackingName] = {"gptq": "gptq", "gptq_v2": "gptq_v2"}


def gptq(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of GPTQ files; GPTQModel's `dynamic` has other settings for the modules that it names."""
    roles = WITH_HEAD if settings.get("lm_head", FLAG_OR_NONE, False) else LINEARS
    named = settings.data.get("modules_in_block_to_quantize")
    pattern = containing(_flat(named)) if isinstance(named, list) else None
    return [*_dynamic(settings), _gptq(settings, roles, pattern)]


def _gptq(settings: Quantization, roles: tuple[Role, ...], pattern: str | None) -> StoredFormat:
    bits, group = settings.get("bits", _WORD_BITS, 4), settings.group(128)
    return StoredFormat(
        name=f"gptq-int{bits}" + (f"-g{group}" if group else ""),
        layout=Words(bits=bits, group=group, scale=2, out_by=32, in_by=32, index=4),
        roles=roles,
        pattern=pattern,
        packing=_GPTQ_PACKINGS.get(
            str(settings.data.get("checkpoint_format") or settings.data.get("format") or "gptq")
        ),
    )


def _flat(named: list[Any]) -> Iterator[str]:
    for item in named:
        yield from _flat(item) if isinstance(item, list) else [item] if isinstance(item, str) else []


def _dynamic(settings: Quantization) -> Iterator[StoredFormat]:
    """Yield the formats of modules that `dynamic` names: '-:expression' are kept, others have settings of their own."""
    dynamic = settings.within("dynamic")
    for key, changes in dynamic.data.items() if dynamic else ():
        sign, _, expression = key.partition(":") if key[:2] in ("+:", "-:") else ("+", "", key)
        pattern = f"(?:{checked(expression, settings.where('dynamic'))}).*"
        if sign == "-":
            yield StoredFormat(name=settings.dtype, pattern=pattern)
        elif isinstance(changes, dict):
            own = Quantization({**settings.data, **changes}, settings.where("dynamic"), settings.dtype)
            yield _gptq(own, WITH_HEAD, pattern)


def awq(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of AWQ files; the head is never quantized."""
    version = str(settings.data.get("version") or settings.data.get("format") or "gemm").lower()
    if version not in ("gemm", "exllama", "ipex"):
        raise UnreadSettingError("version", version)
    bits, group = settings.get("bits", one_of(4), settings.get("w_bit", one_of(4), 4)), _awq_group(settings)
    layout = Words(bits=bits, group=group, scale=2, out_by=8, in_by=group or 1)
    pattern = containing(settings.words("modules_to_not_convert") or ())
    name = f"awq-int{bits}" + (f"-g{group}" if group else "")
    packing: PackingName | None = "awq" if version != "ipex" else None
    return [*kept(settings, pattern), StoredFormat(name=name, layout=layout, roles=LINEARS, packing=packing)]


def _awq_group(settings: Quantization) -> int:
    return settings.group(128) if "q_group_size" not in settings.data else int(settings.data["q_group_size"])


def auto_round(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of AutoRound files in the packing of GPTQ or AWQ; `extra_config` has settings by module."""
    packing = str(settings.data.get("packing_format") or settings.data.get("backend") or "auto_round:auto_gptq")
    if not any(name in packing for name in ("gptq", "awq", "auto_round")):
        raise UnreadSettingError("packing_format", packing)
    found: list[StoredFormat] = []
    for name, changes in settings.each("extra_config"):
        own = Quantization({**settings.data, **changes.data}, changes.key, settings.dtype)
        pattern = re.escape(name)
        if own.data.get("bits") in (16, 32):
            found.append(StoredFormat(name=settings.dtype, pattern=pattern))
        else:
            found.append(_rounded(own, packing, pattern))
    return [*found, _rounded(settings, packing, None)]


def _rounded(settings: Quantization, packing: str, pattern: str | None) -> StoredFormat:
    bits, group = settings.get("bits", _WORD_BITS, 4), settings.group(128)
    tensors: PackingName
    if "awq" in packing:
        tensors, layout = "awq", Words(bits=bits, group=group, scale=2, out_by=8, in_by=group or 1)
    else:
        index = 4 if "auto_gptq" in packing else 0
        tensors, layout = "gptq", Words(bits=bits, group=group, scale=2, out_by=32, in_by=32, index=index)
    name, roles = f"auto-round-int{bits}" + (f"-g{group}" if group else ""), WITH_HEAD if pattern else LINEARS
    return StoredFormat(name=name, layout=layout, roles=roles, pattern=pattern, packing=tensors)


def hqq(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of HQQLinear: packed weights, a scale and a zero point for each group."""
    config = settings.within("quant_config") or settings
    if isinstance(config.data.get("weight_quant_params"), dict) or "nbits" in config.data:
        found = [_hqq(config.within("weight_quant_params") or config, None)]
    else:  # settings by the ends of modules' names
        by_name = dict(settings.each("quant_config"))
        own = {name: each.within("weight_quant_params") for name, each in by_name.items()}
        found = [_hqq(each, containing([f".{name}"])) for name, each in own.items() if each]
        if not found:
            raise UnreadSettingError("quant_config", config.data)
    names = settings.words("skip_modules")
    return [*kept(settings, containing(["lm_head"] if names is None else names)), *found]


def _hqq(settings: Quantization, pattern: str | None) -> StoredFormat:
    bits, group = settings.get("nbits", one_of(8, 4, 2, 1), 4), settings.group(64)
    wide = settings.element_bytes
    # The settings of each matrix are stored beside it, the dtype by its name.
    described = 55 + len(f"torch.{ELEMENT_TYPES[settings.dtype].torch}")
    return StoredFormat(
        name=f"hqq-int{bits}" + (f"-g{group}" if group else ""),
        layout=Grouped(bits, group, wide, wide, matrix=described),
        roles=WITH_HEAD,
        pattern=pattern,
    )


def mlx(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of MLX files: tables and the head too; a module's own settings, or false, by its name."""
    found: list[StoredFormat] = []
    for name, changes in settings.data.items():
        if changes is False:
            found.append(StoredFormat(name=settings.dtype, pattern=re.escape(name)))
        elif isinstance(changes, dict):
            own = Quantization({**settings.data, **changes}, settings.where(name), settings.dtype)
            found.append(_mlx(own, re.escape(name)))
    return [*found, _mlx(settings, None)]


def _mlx(settings: Quantization, pattern: str | None) -> StoredFormat:
    bits, group = settings.get("bits", one_of(2, 3, 4, 5, 6, 8), 4), settings.group(64)
    roles = (*WITH_HEAD, "router", "embedding", "tied")
    mode = settings.get("mode", one_of("affine", "mxfp4", "mxfp8", "nvfp4"), "affine")
    layouts: dict[str, Layout] = {
        "affine": Grouped(bits, group, settings.element_bytes, settings.element_bytes, word=4),
        "mxfp4": RowBlocks(32, 16, 1),
        "mxfp8": RowBlocks(32, 32, 1),
        "nvfp4": RowBlocks(16, 8, 1),
    }
    name = f"mlx-int{bits}-g{group}" if mode == "affine" else f"mlx-{mode}"
    packing: PackingName | None = "mlx" if mode == "affine" else None
    return StoredFormat(name=name, layout=layouts[mode], roles=roles, pattern=pattern, packing=packing)
