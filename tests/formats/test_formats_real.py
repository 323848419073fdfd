"""Formats against tensors that the libraries themselves make.

torch is there wherever the tests run; torchao, bitsandbytes and gguf are asked for by name and their tests are skipped,
with the reason, where they are not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from archcalc.formats import gguf_types
from archcalc.formats.layouts import ceil
from archcalc.formats.weight_formats import weight_format

SHAPES = [(48, 512), (576, 1536), (192, 576), (1, 32)]


def needs(package: str) -> pytest.MarkDecorator:
    found = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not found, reason=f"{package} is not installed, and what it stores is compared here")


def quiet(module: str) -> Any:
    """A module, whose warnings on import are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def inner(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that a tensor subclass is made of."""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:  # type: ignore[attr-defined]
        yield from inner(getattr(tensor, name))


def stored(tensor: torch.Tensor) -> int:
    return sum(part.nbytes for part in inner(tensor))


PLAIN = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 5)])
def test_plain_dtypes_as_torch(name: str, shape: tuple[int, ...]) -> None:
    assert weight_format(name).bytes_of(shape).total == torch.empty(shape, dtype=PLAIN[name]).nbytes


@pytest.mark.parametrize(("name", "dtype"), [("fp8-e4m3", torch.float8_e4m3fn), ("fp8-e5m2", torch.float8_e5m2)])
def test_fp8_per_tensor_as_torch(name: str, dtype: torch.dtype) -> None:
    weight, scale = torch.empty(48, 512, dtype=dtype), torch.tensor(1.0)
    found = weight_format(name).bytes_of((48, 512))
    assert (found.payload, found.scales, found.other) == (weight.nbytes, scale.nbytes, 0)


@needs("torchao")
@pytest.mark.parametrize(("name", "config"), [("int8", "Int8WeightOnlyConfig"), ("fp8-row", "Float8WeightOnlyConfig")])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_row_scales_as_torchao(name: str, config: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    ao = quiet("torchao.quantization")
    model = torch.nn.Sequential(torch.nn.Linear(shape[1], shape[0], bias=False, dtype=dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao.quantize_(model, getattr(ao, config)())
    weight = model[0].weight
    found = weight_format(name).bytes_of(shape)
    assert isinstance(weight, torch.Tensor)
    assert (found.payload, found.scales) == (weight.qdata.nbytes, weight.scale.nbytes)  # type: ignore[attr-defined]
    assert found.total == stored(weight)


@needs("torchao")
@pytest.mark.parametrize("group", [32, 64, 128])
def test_int4_as_torchao_holds_it(group: int) -> None:
    """Int4WeightOnlyConfig quantizes on a GPU only (its plain packing needs mslk, the tiled one CUDA), so the tensor is
    built of parts in the shapes that Int4Tensor documents."""
    ao = quiet("torchao.quantization")
    out, into = 48, 512
    weight = ao.Int4Tensor(
        torch.zeros(out, into // 2, dtype=torch.int8),
        torch.zeros(into // group, out, dtype=torch.bfloat16),
        torch.zeros(into // group, out, dtype=torch.bfloat16),
        [1, group],
        torch.Size((out, into)),
    )
    assert tuple(weight.shape) == (out, into)
    assert weight_format(f"int4-g{group}-asym").bytes_of((out, into)).total == stored(weight)


@needs("torchao")
@pytest.mark.parametrize("shape", [(64, 96), (3, 64, 96), (5, 32)])
def test_mxfp4_as_torchao(shape: tuple[int, ...]) -> None:
    mx = quiet("torchao.prototype.mx_formats.mx_tensor")
    tensor = mx.MXTensor.to_mx(torch.randn(shape, dtype=torch.bfloat16), torch.float4_e2m1fn_x2, 32)
    found = weight_format("mxfp4").bytes_of(shape)
    assert (found.payload, found.scales) == (tensor.qdata.nbytes, tensor.scale.nbytes)
    assert found.total == stored(tensor)


@needs("bitsandbytes")
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (5, 7), (64, 100), (128, 129)])
def test_nf4_as_bitsandbytes(shape: tuple[int, int], double: bool) -> None:
    functional = quiet("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(
        torch.randn(shape, dtype=torch.bfloat16), blocksize=64, compress_statistics=double, quant_type="nf4"
    )
    scales, tables = [state.absmax], [state.code]
    if double:
        scales.append(state.state2.absmax)
        tables += [state.offset, state.state2.code]
    found = weight_format("nf4" if double else "nf4-single").bytes_of(shape)
    assert found.payload == packed.nbytes
    assert found.scales == sum(part.nbytes for part in scales)
    assert found.other == sum(part.nbytes for part in tables)


@needs("bitsandbytes")
@pytest.mark.parametrize("shape", SHAPES)
def test_int8_as_bitsandbytes(shape: tuple[int, int]) -> None:
    functional = quiet("bitsandbytes.functional")
    weight, scales, _ = functional.int8_vectorwise_quant(torch.randn(shape, dtype=torch.float16))
    found = weight_format("int8-bnb").bytes_of(shape)
    assert (found.payload, found.scales, found.other) == (weight.nbytes, scales.nbytes, 0)


@needs("transformers")
@pytest.mark.parametrize("shape", [(576, 7168), (128, 128), (100, 130)])
def test_fp8_tiles_as_transformers(shape: tuple[int, int]) -> None:
    fp8 = quiet("transformers.integrations.finegrained_fp8")
    linear = fp8.FP8Linear(shape[1], shape[0], block_size=(128, 128))
    found = weight_format("fp8-block").bytes_of(shape)
    assert (found.payload, found.scales) == (linear.weight.nbytes, linear.weight_scale_inv.nbytes)


def packed_words(values: torch.Tensor) -> torch.Tensor:
    """4-bit values, eight rows to a row of 32-bit words, as GPTQ and AWQ pack along one axis."""
    words = torch.zeros(values.shape[0] // 8, values.shape[1], dtype=torch.int64)
    for k in range(8):
        words |= values[k::8].long() << (4 * k)
    assert words.max() < 2**32
    return words.to(torch.uint32)


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("shape", [(96, 512), (64, 4128), (1536, 576)])
def test_gptq_as_packed(shape: tuple[int, int], group: int) -> None:
    """The four buffers of AutoGPTQ's QuantLinear, in its shapes, from values that are really packed."""
    out, into = shape
    groups = ceil(into, group)
    qweight = packed_words(torch.randint(0, 16, (into, out)))
    qzeros = packed_words(torch.randint(0, 16, (out, groups))).T
    scales, g_idx = torch.ones(groups, out, dtype=torch.float16), torch.arange(into, dtype=torch.int32) // group
    assert (qweight.shape, qzeros.shape, g_idx.max() + 1) == ((into // 8, out), (groups, out // 8), groups)
    found = weight_format(f"gptq-int4-g{group}").bytes_of(shape)
    assert (found.payload, found.scales, found.other) == (qweight.nbytes, scales.nbytes, qzeros.nbytes + g_idx.nbytes)


@pytest.mark.parametrize("group", [32, 64, 128])
def test_awq_as_packed(group: int) -> None:
    """The three buffers of AutoAWQ's WQLinear_GEMM: weights are packed along the outputs."""
    out, into = 96, 512
    qweight = packed_words(torch.randint(0, 16, (out, into))).T
    qzeros = packed_words(torch.randint(0, 16, (out, into // group))).T
    scales = torch.ones(into // group, out, dtype=torch.float16)
    assert (qweight.shape, qzeros.shape) == ((into, out // 8), (into // group, out // 8))
    found = weight_format(f"awq-int4-g{group}").bytes_of((out, into))
    assert (found.payload, found.scales, found.other) == (qweight.nbytes, scales.nbytes, qzeros.nbytes)


# Bytes of the buffers that the libraries' own classes make on a CPU, recorded: AutoGPTQ 0.7.1 (qlinear_cuda_old and
# qlinear_cuda alike) and AutoAWQ 0.2.9, neither of which is developed or installs any more.
RECORDED = {
    ("gptq-int4-g32", 4096, 4096): 9_715_712,
    ("gptq-int4-g64", 11008, 4096): 24_322_048,
    ("gptq-int4-g128", 4096, 4096): 8_732_672,
    ("gptq-int4-g32", 96, 4128): 245_616,
    ("gptq-int4-g64", 96, 4128): 230_256,
    ("gptq-int4-g128", 96, 4128): 222_576,
    ("awq-int4-g32", 1536, 512): 454_656,
    ("awq-int4-g64", 11008, 4096): 24_305_664,
    ("awq-int4-g128", 4096, 4096): 8_716_288,
}


@pytest.mark.parametrize(("name", "out", "into"), RECORDED)
def test_int4_files_as_their_libraries_made_them(name: str, out: int, into: int) -> None:
    assert weight_format(name).bytes_of((out, into)).total == RECORDED[name, out, into]


# What ggml has types for and no weights are stored in: activations, and plain numbers of metadata.
NOT_WEIGHTS = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}


@needs("gguf")
def test_blocks_as_gguf_has_them() -> None:
    sizes = {kind.name: size for kind, size in quiet("gguf").GGML_QUANT_SIZES.items()}
    ours = {kind: (layout.block, layout.size) for kind, layout in gguf_types.BLOCKS.items()}
    assert ours == {kind: size for kind, size in sizes.items() if kind in ours}
    missing = set(sizes) - set(ours) - NOT_WEIGHTS
    assert not missing, f"types of this version of gguf that no format is for: {missing}"


# Those that the gguf library writes; of the others it knows the shape of the bytes.
WRITTEN = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"}


@needs("gguf")
@pytest.mark.parametrize("kind", sorted(gguf_types.BLOCKS))
@pytest.mark.parametrize("shape", [(1, 256), (48, 512), (3, 16, 768)])
def test_bytes_as_gguf_quantizes(kind: str, shape: tuple[int, ...]) -> None:
    gguf, numpy = quiet("gguf"), quiet("numpy")
    array = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    found, wanted = weight_format(f"gguf-{kind.lower()}").bytes_of(shape).total, gguf.GGMLQuantizationType[kind]
    if kind in WRITTEN:
        assert found == gguf.quants.quantize(array, wanted).nbytes
    else:
        assert found == math.prod(gguf.quants.quant_shape_to_byte_shape(shape, wanted))


@needs("bitsandbytes")
@needs("transformers")
def test_policy_of_nf4_as_transformers() -> None:
    """Of a mixture with shared experts: every Linear but the head; the router and the fused experts are none."""
    transformers = quiet("transformers")
    replaced, base = quiet("transformers.integrations.bitsandbytes"), quiet("transformers.quantizers.base")
    config = transformers.Qwen2MoeConfig(num_hidden_layers=1, hidden_size=64, num_experts=4, vocab_size=100)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model = replaced.replace_with_bnb_linear(
        model,
        modules_to_not_convert=base.get_keys_to_not_convert(model),
        quantization_config=transformers.BitsAndBytesConfig(load_in_4bit=True),
    )
    found = {name.rpartition(".")[2] for name, part in model.named_modules() if type(part).__name__ == "Linear4bit"}
    assert found == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "shared_expert_gate"}
    takes = weight_format("nf4").policy.roles
    assert {"linear", "gate"} <= set(takes)
    assert not {"router", "head", "embedding", "tied"} & set(takes)
