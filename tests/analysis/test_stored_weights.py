"""Weights as the files store them, for specs of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quant_shape_to_byte_shape
from hypothesis import given
from msgspec import structs

import archcalc
from archcalc.analysis.formulas import explanation
from archcalc.analysis.stored_weights import model_workload, stored_weights, weight_lines
from archcalc.analysis.weight_bytes import stored_bytes
from archcalc.analysis.weights import weights
from archcalc.errors import InputError
from archcalc.formats.layouts import PerRow
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.spec.workload import workload
from tests.strategies import specs


def stored_in(spec: Spec, storage: Storage) -> Spec:
    return structs.replace(spec, about=structs.replace(spec.about, storage=storage))


@given(specs())
def test_a_dtype_alone_is_the_format_of_every_tensor(spec: Spec) -> None:
    plain = stored_in(spec, Storage(dtype="fp32"))
    assert stored_weights(plain, build(plain)) == weights(build(spec), "fp32")


@given(specs())
def test_two_formats_part_the_bytes(spec: Spec) -> None:
    """What has a format by its role has it in no other, and the rest is as the dtype says."""
    in_rows = StoredFormat(name="rows", layout=PerRow(1, 2), roles=("linear", "experts"))
    quantized = stored_in(spec, Storage(formats=(in_rows,)))
    ledger = build(spec)
    lines, plain = stored_weights(quantized, ledger), weights(ledger, "bf16")
    assert {line.path for line in lines} == {line.path for line in plain}
    assert stored_bytes([line for line in lines if line.format == "bf16"]) == stored_bytes(
        [line for line, other in zip(plain, lines, strict=True) if other.format == "bf16"]
    )


def test_a_layer_may_have_a_format_of_its_own() -> None:
    spec = archcalc.load("gpt2")
    first = StoredFormat(name="rows", layout=PerRow(1, 0), roles=("linear",), pattern=r"layers\.0\..*")
    quantized = stored_in(spec, Storage(formats=(first,)))
    saved = 12 * 768 * 768
    assert stored_bytes(weight_lines(quantized, build(spec), "auto")) == 124_439_808 * 2 - saved


@pytest.mark.parametrize(
    ("storage", "problem"),
    [
        ({"formats": [{"name": "x", "pattern": "("}]}, "formats[0].pattern: the pattern '(' does not parse"),
        ({"formats": [{"name": "x", "pattern": "(a+)+"}]}, "formats[0].pattern: found '(a+)+'"),
        ({"formats": [{"name": "x"}], "naming": "gguf", "model_type": "bart"}, "naming: bart has no GGUF files"),
        (
            {"formats": [{"name": "x"}], "naming": "transformers", "model_type": "bert"},
            "no longer has the architecture",
        ),
        ({"formats": [{"name": "x", "layout": {"kind": "per_row", "element": 1}}]}, "formats[0].layout"),
    ],
    ids=str,
)
def test_a_storage_that_cannot_be_is_refused_in_one_line(storage: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        archcalc.report(archcalc.load({"base": "gpt2", "about": {"storage": storage}}))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_architecture_that_left_its_files_is_refused_by_name() -> None:
    config = {"model_type": "llama", "quantization_config": {"quant_method": "fp8"}}
    spec = archcalc.load(config, {"head.bias": True})
    with pytest.raises(InputError, match=r"about\.storage: no longer has the architecture of llama"):
        stored_weights(spec, build(spec))


SIZES = {"blk.0.attn_q": (256, 256), "blk.0.attn_k": (256, 256), "blk.0.attn_v": (256, 256)}
SIZES |= {"blk.0.attn_output": (256, 256), "blk.0.ffn_gate": (512, 256), "blk.0.ffn_up": (512, 256)}
SIZES |= {"blk.0.ffn_down": (256, 512), "token_embd": (32, 256), "output": (32, 256)}
NORMS = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")


@pytest.mark.parametrize("kind", [kind for kind in GGMLQuantizationType if kind.name[0] != "I" or kind.name[1] == "Q"])
def test_a_gguf_file_counts_as_the_library_reads_it(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    """Every type of the format; norms in F32, and a tensor that is no part of the model beside them."""
    path = str(tmp_path / "model.gguf")
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(256)
    writer.add_head_count(4)
    writer.add_feed_forward_length(512)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, shape in SIZES.items():
        row = quant_shape_to_byte_shape(shape, kind)
        writer.add_tensor(f"{name}.weight", np.zeros(row, dtype=np.uint8), raw_dtype=kind)
    for name in NORMS:
        writer.add_tensor(f"{name}.weight", np.zeros(256, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    spec = archcalc.load(path)
    assert archcalc.report(spec)["memory"]["weights_bytes"] == sum(int(one.n_bytes) for one in GGUFReader(path).tensors)
    assert archcalc.report(spec)["workload"]["dtype"] == "fp16", "as llama.cpp allocates the cache"
    assert explained_bytes(spec) == reported_bytes(spec)


def explained_bytes(spec: Spec) -> dict[str, int]:
    subject = model_workload(spec, build(spec), workload(spec), "auto")
    names = ("weights_bytes", "kv_cache_bytes", "state_bytes")
    return {name: explanation(subject, f"memory.{name}").formulas[0].value for name in names}


def reported_bytes(spec: Spec) -> dict[str, Any]:
    return {**archcalc.report(spec)["memory"]}


@given(specs())
def test_formulas_have_the_bytes_of_the_report(spec: Spec) -> None:
    in_rows = StoredFormat(name="rows", layout=PerRow(1, 2), roles=("linear", "experts"))
    for storage in (Storage(dtype="fp32"), Storage(dtype="fp16", formats=(in_rows,))):
        stored = stored_in(spec, storage)
        assert explained_bytes(stored) == reported_bytes(stored)
