"""GGUF files that are not what they should be: one line that names the file, and the tensor or the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from tests.checkpoint.gguf_cases import ARCHITECTURES
from tests.checkpoint.gguf_models import model_of, write
from tests.checkpoint.random_models import random_model
from tests.checkpoint.test_gguf_logits import tensors

Q = "blk.1.attn_q.weight"
KEYS = {
    "block_count": 3, "context_length": 64, "embedding_length": 32, "feed_forward_length": 56,
    "attention.head_count": 4, "attention.head_count_kv": 2,
}  # fmt: skip
Raw = dict[str, tuple[np.ndarray, GGMLQuantizationType]]


def written(path: Path, raw: Raw, arch: str = "llama", **keys: Any) -> None:
    writer = GGUFWriter(path, arch)
    for key, value in (KEYS | keys).items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    for name, (data, kind) in raw.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def floats(**sizes: int) -> Raw:
    model = random_model("llama", **sizes)
    return {name: (weight.numpy(), GGMLQuantizationType.F32) for name, weight in tensors(model, "llama").items()}


def number(at: int, value: int, width: int = 8) -> Callable[[bytearray], object]:
    """Put a number into the header: 4 version, 8 tensors, 16 keys, 24 the length of the first key's name."""
    return lambda data: data.__setitem__(slice(at, at + width), value.to_bytes(width, "little"))


BYTES: dict[str, tuple[Callable[[bytearray], object], str]] = {
    "a version to come": (number(4, 9, 4), "has GGUF version 9; expected 2, 3"),
    "a number of tensors": (number(8, 2**60), "tensors: .* entries do not fit in"),
    "a number of keys": (number(16, 2**60), "metadata: .* entries do not fit in"),
    "a length of a name": (number(24, 2**62), "a text: .* entries do not fit in"),
    "data cut short": (lambda data: data.__delitem__(slice(-100, None)), "it is truncated or broken"),
    "a header cut short": (lambda data: data.__delitem__(slice(150, None)), "(is truncated|do not fit)"),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_lie(case: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    written(path, floats())
    data = bytearray(path.read_bytes())
    change, told = BYTES[case]
    change(data)
    path.write_bytes(data)
    refused(path, told)


def wide(raw: Raw) -> None:
    raw[Q] = (raw[Q][0][:, :-1].copy(), raw[Q][1])


TENSORS: dict[str, tuple[Callable[[Raw], object], str]] = {
    "one is missing": (lambda raw: raw.pop(Q), r"blk\.1\.attn_q\.weight.*: is missing"),
    "one too many": (lambda raw: raw.update({"blk.1.odd.weight": raw[Q]}), r"blk\.1\.odd\.weight"),
    "of another shape": (wide, r"blk\.1\.attn_q\.weight.*\[32, 31\].*\[32, 32\]"),
    "of a layer too many": (lambda raw: raw.update({"blk.3.attn_q.weight": raw[Q]}), r"blk\.3\.attn_q\.weight"),
    "no table": (lambda raw: raw.pop("token_embd.weight"), r"token_embd\.weight: is missing"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_are_not_the_architecture_s(case: str, tmp_path: Path) -> None:
    raw, (change, told) = floats(), TENSORS[case]
    change(raw)
    written(tmp_path / "x.gguf", raw)
    refused(tmp_path / "x.gguf", told)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"attention.head_count": 5}, "d_head|head"),
        ({"attention.sink_count": 5}, r"llama\.attention\.sink_count: is a key that is not understood"),
        ({"rope.dimension_count": 4}, r"llama\.rope\.dimension_count: found 4; expected 8"),
        ({"block_count": 0}, "0"),
    ],
)
def test_keys_that_do_not_fit(keys: dict[str, int], told: str, tmp_path: Path) -> None:
    written(tmp_path / "x.gguf", floats(), **keys)
    refused(tmp_path / "x.gguf", told)


def refused(path: Path, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        open_checkpoint(str(path))
    assert "x.gguf" in str(error.value)
    assert "\n" not in str(error.value)


QUANTIZED = [
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"),
    *("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4"),
]


@pytest.mark.parametrize("name", QUANTIZED)
def test_blocks_of_any_bytes_are_what_gguf_makes_of_them(name: str, tmp_path: Path) -> None:
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    raw = floats(hidden_size=256, intermediate_size=256, num_attention_heads=4)
    drawn = np.random.default_rng(0).integers(0, 256, (256, 256 // block * size), dtype=np.uint8)
    drawn = np.where((drawn & 0x70) == 0x70, drawn ^ 0x40, drawn)  # no half-precision scale is infinite
    raw["blk.1.ffn_up.weight"] = (drawn, kind)
    written(tmp_path / "x.gguf", raw, embedding_length=256, feed_forward_length=256)
    found = open_checkpoint(str(tmp_path / "x.gguf")).load().layers["1"].ffn.up.weight
    expected = torch.from_numpy(dequantize(drawn, kind))
    assert expected.isfinite().all()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["Q8_K", "Q8_1"])
def test_types_that_gguf_cannot_dequantize_are_refused(name: str, tmp_path: Path) -> None:
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    raw = floats(hidden_size=256, intermediate_size=256, num_attention_heads=4)
    raw["blk.1.ffn_up.weight"] = (np.zeros((256, 256 // block * size), np.uint8), kind)
    written(tmp_path / "x.gguf", raw, embedding_length=256, feed_forward_length=256)
    refused(tmp_path / "x.gguf", rf"blk\.1\.ffn_up\.weight': is stored as {name}, which the library gguf cannot")


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (1, r"'blk\.1\.xielu\.alpha_p': is missing; expected a tensor of shape \[1\]"),
        (5, r"'blk\.4\.xielu\.alpha_p': is a tensor that this architecture does not have"),
    ],
)
def test_a_list_of_weights_has_one_for_each_layer(n: int, message: str, tmp_path: Path) -> None:
    arch = next(arch for arch in ARCHITECTURES if arch.id == "apertus")
    model = model_of(arch)
    keys = {key: (2 * values)[:n] for key, values in arch.model_keys(model).items()}
    write(tmp_path / "x.gguf", model, msgspec.structs.replace(arch, model_keys=lambda _: keys))
    with pytest.raises(InputError, match=message):
        open_checkpoint(str(tmp_path / "x.gguf"))
