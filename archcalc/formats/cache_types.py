"""Storage formats of caches, as data: element type, groups of elements that share a scale, source.

The last axis of a cached tensor is its width (d_head, kv_rank, d_rope). The elements that share a scale and a zero
point are the whole width (a token of a head) or a group of it, so that single tokens can be added and dropped. Formats
that share scales across tokens (transformers' QuantizedCache, keys in KIVI) keep the last tokens unquantized; they are
not supported. A width that is not a whole number of groups or bytes is refused, as in llama.cpp ("does not divide
n_embd_head_k") and LMDeploy (head_size % 2).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from archcalc.errors import InputError, nearest
from archcalc.formats.element_types import ELEMENT_TYPES, ElementName
from archcalc.words import msg


class CacheType(msgspec.Struct, frozen=True, kw_only=True):
    """A storage format of cached tensors.

    `group` elements along the width (0: all) share a scale of dtype `scale` ("": none), and with `zero` a zero point of
    the same dtype. Two int4 share a byte.
    """

    name: str
    title: str
    element: ElementName
    source: str
    checked_against: str
    scale: ElementName | Literal[""] = ""
    zero: bool = False
    group: int = 0

    def check(self, width: int, where: str) -> None:
        """Raise InputError if the format does not support this width."""
        if self.group and width % self.group:
            raise self._error(width, where, f"widths divisible by {self.group}")
        if width * ELEMENT_TYPES[self.element].bits % 8:
            raise self._error(width, where, "even widths: two to a byte")

    def _error(self, width: int, where: str, allowed: str) -> InputError:
        engine = next((f" ({engine})" for engine, name in LLAMACPP_NAMES.items() if name == self.name), "")
        problem = msg("{name} cannot hold a width of {width}", name=self.name + engine, width=width)
        return InputError(problem, where=where, allowed=allowed)


_TORCH = "torch: nbytes of the cache that our module allocates"
_GGUF = f"gguf: bytes and values of its quantizer; {_TORCH}"
_VLLM = "vLLM kv_cache_dtype"
_LMDEPLOY = "LMDeploy lmdeploy/pytorch/engine/cache_engine.py, quant_policy"


def _plain(element: ElementName, title: str, source: str) -> CacheType:
    return CacheType(name=element, title=title, element=element, source=source, checked_against=_TORCH)


def _int4(group: int, source: str) -> CacheType:
    return CacheType(
        name=f"int4-g{group}",
        title=f"int4, a bf16 scale and zero point for each {group} of a token's width",
        element="int4",
        scale="bf16",
        zero=True,
        group=group,
        source=source,
        checked_against=_TORCH,
    )


CACHE_TYPES: dict[str, CacheType] = {
    entry.name: entry
    for entry in (
        _plain("fp32", "IEEE 754 single precision", "IEEE 754-2019, binary32"),
        _plain("fp16", "IEEE 754 half precision", "IEEE 754-2019, binary16"),
        _plain("bf16", "bfloat16", "Kalamkar et al. 2019, arXiv:1905.12322"),
        _plain(
            "fp8",
            "fp8 e4m3 without scales: those that are calibrated once for a layer are weights",
            f"{_VLLM}=fp8: k_scale and v_scale are parameters of the layer",
        ),
        CacheType(
            name="fp8-token",
            title="fp8 e4m3, an fp32 scale for each token of a head",
            element="fp8",
            scale="fp32",
            source=f"{_VLLM}=fp8_per_token_head",
            checked_against=_TORCH,
        ),
        CacheType(
            name="int8",
            title="int8, an fp32 scale for each token of a head",
            element="int8",
            scale="fp32",
            source=f"{_VLLM}=int8_per_token_head",
            checked_against=_TORCH,
        ),
        CacheType(
            name="int8-asym",
            title="int8, a bf16 scale and zero point for each token of a head",
            element="int8",
            scale="bf16",
            zero=True,
            source=f"{_LMDEPLOY}=8",
            checked_against=_TORCH,
        ),
        CacheType(
            name="int8-g32",
            title="int8, an fp16 scale for each 32 of a token's width (q8_0)",
            element="int8",
            scale="fp16",
            group=32,
            source="llama.cpp --cache-type-k q8_0; ggml ggml-common.h block_q8_0",
            checked_against=_GGUF,
        ),
        CacheType(
            name="int4",
            title="int4, a bf16 scale and zero point for each token of a head",
            element="int4",
            scale="bf16",
            zero=True,
            source=f"{_LMDEPLOY}=4",
            checked_against=_TORCH,
        ),
        _int4(32, "Liu et al. 2024 (KIVI), arXiv:2402.02750, section 4: as its values are stored"),
        _int4(64, "Sheng et al. 2023 (FlexGen), arXiv:2303.06865, section 4.2, groups of 64"),
        CacheType(
            name="int4-g32-sym",
            title="int4, an fp16 scale for each 32 of a token's width (as large as q4_0)",
            element="int4",
            scale="fp16",
            group=32,
            source="llama.cpp --cache-type-k q4_0; ggml ggml-common.h block_q4_0",
            checked_against=f"gguf: bytes of its quantizer; {_TORCH}",
        ),
    )
}

# By llama.cpp's names (--cache-type-k).
LLAMACPP_NAMES = {"f32": "fp32", "f16": "fp16", "q8_0": "int8-g32", "q4_0": "int4-g32-sym"}


def cache_type(name: str, where: str = "") -> CacheType:
    """Return the cache type of this name. Raises InputError with the nearest name if there is none."""
    name = LLAMACPP_NAMES.get(name, name)
    if name not in CACHE_TYPES:
        raise InputError(
            msg("no cache format {name}{hint}", name=repr(name), hint=nearest(name, CACHE_TYPES)),
            where=where,
            allowed=", ".join(CACHE_TYPES),
        )
    return CACHE_TYPES[name]
