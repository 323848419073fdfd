"""Storage formats of weights, as data: layout, quantized tensors, source, and what the tests compare them with.

>>> from archcalc.formats.weight_formats import named
>>> named("nf4").bytes_of((576, 1536)).total  # 442,368 + 13,824 + 54·4 + 1,092
457500
"""

from __future__ import annotations

import msgspec

from archcalc.errors import InputError, nearest
from archcalc.formats import gguf_types
from archcalc.formats.element_types import ElementName, element_bytes
from archcalc.formats.gguf_types import Mix
from archcalc.formats.layouts import (
    ByteCount,
    Grouped,
    Layout,
    Nested,
    PerRow,
    PerTensor,
    PlainLayout,
    RowBlocks,
    Shape,
    Tiled,
    Words,
    bytes_of,
)
from archcalc.formats.policy import ALL_TENSORS, ROLES, Policy, Role
from archcalc.words import msg


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A storage format of weights.

    `layout`: the bytes of a tensor. `policy`: which tensors have this format. `mix`: for files of llama.cpp, the rules
    that choose the type of each tensor. `checked_against`: the tensors, files or figures that the tests compare with.
    """

    name: str
    title: str
    layout: Layout
    policy: Policy
    source: str
    checked_against: str
    mix: Mix | None = None

    def bytes_of(self, shape: Shape, where: str = "") -> ByteCount:
        """Return the bytes of one tensor. Raises InputError that names it if its shape does not fit the layout."""
        return bytes_of(self.layout, shape, where, self.name)


_MATRICES: tuple[Role, ...] = ("linear", "experts")
_EXPERTS_NOTE = (
    "An expert's matrix counts as a Linear of its own, as published checkpoints and transformers before 5 have it; "
    "where a library holds experts as one parameter, it leaves them as they are."
)

_LINEARS_BF16 = Policy(
    description="matrices of Linears; embeddings, head, router, norms and biases in bf16. " + _EXPERTS_NOTE,
    source="transformers quantizers/base.py get_keys_to_not_convert: the head and tied weights are left out",
    roles=(*_MATRICES, "gate"),
    default="bf16",
)
_LINEARS_FP16 = Policy(
    description="the layers' matrices; embeddings, head, router, norms and biases in fp16. " + _EXPERTS_NOTE,
    source="AutoGPTQ modeling/_base.py inside_layer_modules; AutoAWQ models/*.py get_layers_for_scaling",
    roles=_MATRICES,
    default="fp16",
)
_EXPERTS_ONLY = Policy(
    description="stacked matrices of experts; all others, biases too, in bf16",
    source="transformers quantizers/quantizer_mxfp4.py param_needs_quantization; gpt-oss model card, arXiv:2508.10925",
    roles=("experts",),
    default="bf16",
)
_GGUF = Policy(
    description=(
        "matrices, the token table and the head; norms, biases, sinks, router, positions and token types in F32, a "
        "relative bias in F16. A tensor whose rows don't divide by the block falls back as llama.cpp does."
    ),
    source="llama.cpp src/llama-quant.cpp tensor_allows_quantization; convert_hf_to_gguf.py prepare_tensors",
    roles=(*_MATRICES, "embedding", "tied", "head"),
    default="gguf-f16",
    exceptions=tuple((role, "gguf-f32") for role in ROLES if role in ("router", "gate", "position", "types", "vector")),
)


def _plain(name: str, title: str, source: str, element: ElementName) -> Format:
    return Format(
        name=name,
        title=title,
        layout=PlainLayout(element_bytes(element)),
        policy=ALL_TENSORS,
        source=source,
        checked_against="torch: nbytes of tensors",
    )


_OCP_FP8 = "OCP 8-bit Floating Point Specification (OFP8) 1.0, 2023"
_PLAIN = (
    _plain("fp32", "IEEE 754 single precision", "IEEE 754-2019, binary32", "fp32"),
    _plain(
        "tf32", "TensorFloat-32, a way to multiply: stored as fp32", "NVIDIA A100 architecture whitepaper, 2020", "fp32"
    ),
    _plain("fp16", "IEEE 754 half precision", "IEEE 754-2019, binary16", "fp16"),
    _plain("bf16", "bfloat16", "Kalamkar et al. 2019, arXiv:1905.12322", "bf16"),
    _plain("fp8", "either fp8, every tensor, no scales", _OCP_FP8, "fp8"),
)


def _fp8(name: str, title: str) -> Format:
    return Format(
        name=name,
        title=f"{title}, one fp32 scale for each matrix",
        layout=PerTensor(1, 4),
        policy=_LINEARS_BF16,
        source=f"{_OCP_FP8}; the scale as in Micikevicius et al. 2022, arXiv:2209.05433, section 3.1",
        checked_against="torch: nbytes of a float8 tensor and an fp32 scalar",
    )


_EIGHT_BIT = (
    _fp8("fp8-e4m3", "fp8, 4 bits of exponent"),
    _fp8("fp8-e5m2", "fp8, 5 bits of exponent"),
    Format(
        name="fp8-row",
        title="fp8 e4m3, an fp32 scale for each row (torchao Float8WeightOnlyConfig)",
        layout=PerRow(1, 4),
        policy=_LINEARS_BF16,
        source="torchao 0.18 quantization: Float8Tensor",
        checked_against="torchao: inner tensors of a quantized Linear",
    ),
    Format(
        name="fp8-block",
        title="fp8 e4m3, an fp32 scale for each tile of 128 by 128",
        layout=Tiled(1, 128, 4),
        policy=_LINEARS_BF16,
        source="DeepSeek-AI 2024, arXiv:2412.19437, section 3.3.2; transformers FP8Linear (weight_scale_inv)",
        checked_against="transformers: parameters of FP8Linear",
    ),
    Format(
        name="int8",
        title="int8, an fp32 scale and an int8 zero point for each row (torchao Int8WeightOnlyConfig)",
        layout=PerRow(1, 4, 1),
        policy=_LINEARS_BF16,
        source="torchao 0.18 quantization: Int8Tensor, whatever the weight's dtype was",
        checked_against="torchao: inner tensors of a quantized Linear",
    ),
    Format(
        name="int8-bnb",
        title="int8, an fp32 scale for each row (LLM.int8())",
        layout=PerRow(1, 4),
        policy=_LINEARS_BF16,
        source="Dettmers et al. 2022, arXiv:2208.07339; bitsandbytes Int8Params (CB, SCB)",
        checked_against="bitsandbytes: int8_vectorwise_quant",
    ),
)


def _gptq(group: int) -> Format:
    return Format(
        name=f"gptq-int4-g{group}",
        title=f"int4 in groups of {group}, GPTQ v1 files: qweight, qzeros, scales, g_idx",
        layout=Words(bits=4, group=group, scale=2, out_by=32, in_by=32, index=4),
        policy=_LINEARS_FP16,
        source="Frantar et al. 2022, arXiv:2210.17323; AutoGPTQ qlinear_cuda_old.py. Symmetric or not, the same bytes",
        checked_against="AutoGPTQ 0.7.1: buffers of QuantLinear, as recorded; values packed to words",
    )


def _awq(group: int) -> Format:
    return Format(
        name=f"awq-int4-g{group}",
        title=f"int4 in groups of {group}, AWQ files: qweight, qzeros, scales",
        layout=Words(bits=4, group=group, scale=2, out_by=8, in_by=group),
        policy=_LINEARS_FP16,
        source="Lin et al. 2023, arXiv:2306.00978; AutoAWQ awq/modules/linear/gemm.py WQLinear_GEMM",
        checked_against="AutoAWQ 0.2.9: buffers of WQLinear_GEMM, as recorded; values packed to words",
    )


def _int4(group: int, kind: str, zero: int) -> Format:
    stored = "bf16 scales and zero points" if zero else "bf16 scales"
    return Format(
        name=f"int4-g{group}-{kind}",
        title=f"int4 in groups of {group}, {stored}, two weights to a byte",
        layout=Grouped(bits=4, group=group, scale=2, zero=zero),
        policy=_LINEARS_BF16,
        source="torchao 0.18 Int4WeightOnlyConfig, plain packing: Int4Tensor"
        if zero
        else "the same without zero points",
        checked_against=(
            "torchao: an Int4Tensor built of its parts (its quantizer needs a GPU)" if zero else "arrays of its parts"
        ),
    )


_FOUR_BIT = (
    *(_gptq(group) for group in (32, 64, 128)),
    *(_awq(group) for group in (32, 64, 128)),
    *(_int4(group, kind, zero) for group in (32, 64, 128) for kind, zero in (("asym", 2), ("sym", 0))),
    Format(
        name="nf4",
        title="NF4 in blocks of 64, double quantized: 8-bit scales in blocks of 256 with fp32 scales and an offset",
        # An offset of 4 bytes, 16 levels and the 256 of the scales' own code in fp32.
        layout=Nested(block=64, nested=256, tables=4 + 16 * 4 + 256 * 4),
        policy=_LINEARS_BF16,
        source="Dettmers et al. 2023 (QLoRA), arXiv:2305.14314, section 3; bitsandbytes QuantState",
        checked_against="bitsandbytes: quantize_4bit and its QuantState's tensors; transformers: what it replaces",
    ),
    Format(
        name="nf4-single",
        title="NF4 in blocks of 64 with fp32 scales",
        layout=Nested(block=64, nested=0, tables=16 * 4),
        policy=_LINEARS_BF16,
        source="Dettmers et al. 2023 (QLoRA), arXiv:2305.14314, section 2; bitsandbytes QuantState",
        checked_against="bitsandbytes: quantize_4bit and every tensor of its QuantState",
    ),
    Format(
        name="mxfp4",
        title="MXFP4, experts only: blocks of 32 of a row, a uint8 scale each",
        layout=RowBlocks(32, 16, 1),
        policy=_EXPERTS_ONLY,
        source="OCP Microscaling Formats (MX) Specification 1.0, 2023; gpt-oss checkpoints (blocks, scales)",
        checked_against="torchao: MXTensor; the published sizes of both gpt-oss checkpoints",
    ),
    Format(
        name="mxfp4-linear",
        title="MXFP4, every Linear: blocks of 32 of a row, a uint8 scale each",
        layout=RowBlocks(32, 16, 1),
        policy=_LINEARS_BF16,
        source="OCP Microscaling Formats (MX) Specification 1.0, 2023",
        checked_against="torchao: MXTensor",
    ),
)

_GGUF_QUANTIZERS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F32", "F16", "BF16", "TQ1_0", "TQ2_0", "MXFP4")


def _block_type(kind: str, layout: RowBlocks) -> Format:
    quantized = ", and the bytes that its quantizer makes" if kind in _GGUF_QUANTIZERS else ""
    return Format(
        name=f"gguf-{kind.lower()}",
        title=f"GGUF {kind} for every tensor that it can be (llama-quantize --pure)",
        layout=layout,
        policy=_GGUF,
        source="ggml ggml-common.h; llama.cpp src/llama-quant.cpp",
        checked_against=f"gguf: GGML_QUANT_SIZES{quantized}",
        mix=Mix(kind),
    )


_LLAMA_3_SIZE = "the size that llama-quantize names for Llama 3 8B, to 0.01 GiB"
_FILES_CHECKED = {
    "Q4_1": "SmolLM2-135M-Instruct.Q4_1.gguf, tensor by tensor and to its last byte; " + _LLAMA_3_SIZE,
    "MXFP4_MOE": "nothing but the blocks of its types",
    **dict.fromkeys(
        ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"),
        "sizes of Llama 2 7B's published files, which all leave the same bytes for metadata; " + _LLAMA_3_SIZE,
    ),
}


def _file_type(kind: str, mix: Mix) -> Format:
    return Format(
        name=kind.lower(),
        title=f"a GGUF file of type {kind}, as llama-quantize makes it without an importance matrix",
        layout=gguf_types.BLOCKS[mix.kind],
        policy=_GGUF,
        source="llama.cpp src/llama-quant.cpp llama_tensor_get_type_impl",
        checked_against=_FILES_CHECKED.get(kind, _LLAMA_3_SIZE),
        mix=mix,
    )


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        *_PLAIN,
        *_EIGHT_BIT,
        *_FOUR_BIT,
        *(_block_type(kind, layout) for kind, layout in gguf_types.BLOCKS.items()),
        *(_file_type(kind, mix) for kind, mix in gguf_types.MIXES.items()),
    )
}


def weight_format(name: str) -> Format:
    """Return the format of this name. Raises InputError with the nearest name if there is none."""
    if name not in FORMATS:
        raise InputError(
            msg("no storage format {name}{hint}", name=repr(name), hint=nearest(name, FORMATS)),
            allowed=", ".join(FORMATS),
        )
    return FORMATS[name]
