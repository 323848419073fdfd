"""Matrices that AutoGPTQ 0.7.1, AutoAWQ 0.2.9 and MLX 0.32.4 packed, with the values to which they dequantized them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from archcalc.checkpoint.memory_map import file_maps
from archcalc.checkpoint.quantized.group import with_quantized
from archcalc.checkpoint.quantized.matrix import raw_tensor
from archcalc.checkpoint.quantized.reader import row_reader, whole
from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.formats.layouts import Grouped, Layout, Words
from archcalc.formats.packings import PackingName
from archcalc.formats.safetensors_file import read_header
from archcalc.spec.storage import Storage, StoredFormat

RECORDED = Path(__file__).with_name("recorded.safetensors")
VALUES = ".values"
NAMES = sorted(name.removesuffix(VALUES) for name in read_header(RECORDED) if name.endswith(VALUES))


def format_of(packing: PackingName, bits: int) -> StoredFormat:
    of_words = Words(bits=bits, group=0 if bits == 8 else 16, scale=2, out_by=32, in_by=32, index=4)
    layout: Layout = Grouped(bits, 32, 4, 4, word=4) if packing == "mlx" else of_words
    return StoredFormat(name="recorded", layout=layout, packing=packing)


def quantized(path: Path, name: str, packing: PackingName, bits: int) -> QuantizedTensor:
    header = {key: one for key, one in read_header(path).items() if key.startswith(name) and not key.endswith(VALUES)}
    storage = Storage(formats=(format_of(packing, bits),), naming="transformers")
    found = with_quantized(header, storage)
    assert list(found) == [f"{name}.weight"], "its parts are no tensors of their own"
    one = found[f"{name}.weight"]
    assert isinstance(one, QuantizedTensor)
    return one


@pytest.mark.parametrize("name", NAMES)
def test_values_are_the_library_s(name: str) -> None:
    packing, bits = name.split(".")[:2]
    stored = quantized(RECORDED, name, packing, int(bits))  # type: ignore[arg-type]
    with file_maps() as maps:
        wanted = raw_tensor(maps, read_header(RECORDED)[name + VALUES]).clone()
        torch.testing.assert_close(whole(maps, stored), wanted, rtol=1e-6, atol=1e-7)
        some = slice(3, 7)
        torch.testing.assert_close(row_reader(maps, stored)(some), wanted[some], rtol=1e-6, atol=1e-7)


def test_zero_points_of_the_second_version_are_stored_as_they_are(tmp_path: Path) -> None:
    """GPTQModel's `gptq_v2`: each of the eight zero points in a word is 1 more than in the first version."""
    name = "gptq.4.act"
    tensors = {key: one for key, one in load_file(RECORDED).items() if key.startswith(name)}
    tensors[f"{name}.qzeros"] += 0x11111111
    save_file(tensors, tmp_path / "x.safetensors")
    stored = quantized(tmp_path / "x.safetensors", name, "gptq_v2", 4)
    with file_maps() as maps:
        torch.testing.assert_close(whole(maps, stored), tensors[name + VALUES], rtol=1e-6, atol=1e-7)
