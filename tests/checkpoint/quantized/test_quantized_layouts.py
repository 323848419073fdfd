"""Packings without a library here: random elements and scales, multiplied as their makers document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from archcalc.checkpoint.memory_map import file_maps
from archcalc.checkpoint.quantized.group import with_quantized
from archcalc.checkpoint.quantized.reader import row_reader, whole
from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.formats.safetensors_file import read_header
from archcalc.hf.storage import storage_of
from archcalc.sources import with_quantization
from archcalc.spec.storage import Storage
from tests.checkpoint.quantized.test_quantized_words import words

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
N_OUT, N_IN = 16, 64
E4M3 = torch.float8_e4m3fn
Parts = dict[str, Tensor]
# The tensors of a weight `w.weight`, and its values.
Made = tuple[Parts, Tensor]


def fp4_bytes() -> tuple[Tensor, Tensor]:
    codes = torch.randint(16, (N_OUT, N_IN))
    return (codes[:, ::2] | codes[:, 1::2] << 4).to(torch.uint8), FP4[codes]


def by(values: Tensor, scales: Tensor) -> Tensor:
    """Values times a scale for each group of a row."""
    return values * scales.float().repeat_interleave(N_IN // scales.shape[1], 1)


def nvfp4() -> Made:
    elements, values = fp4_bytes()
    scales = (torch.rand(N_OUT, N_IN // 16) * 4).to(E4M3)
    parts = {"weight": elements, "weight_scale": scales, "weight_scale_2": torch.tensor(0.3)}
    return parts | {"input_scale": torch.tensor(1.0)}, by(values, scales) * 0.3


def mxfp4() -> Made:
    elements, values = fp4_bytes()
    exponents = torch.randint(120, 130, (N_OUT, N_IN // 32), dtype=torch.uint8)
    return {"weight": elements, "weight_scale": exponents}, by(values, 2.0 ** (exponents.float() - 127))


def mxfp8() -> Made:
    elements = torch.randn(N_OUT, N_IN).to(E4M3)
    exponents = torch.randint(120, 130, (N_OUT, N_IN // 32), dtype=torch.uint8)
    return {"weight": elements, "weight_scale": exponents}, by(elements.float(), 2.0 ** (exponents.float() - 127))


def fp8(scales: Tensor) -> Callable[[], Made]:
    def made() -> Made:
        elements = torch.randn(N_OUT, N_IN).to(E4M3)
        return {"weight": elements, "weight_scale": scales}, elements.float() * scales

    return made


def fp4_experts() -> Made:
    """Of DeepSeek-V4: scales are exponents, too."""
    elements, values = fp4_bytes()
    exponents = torch.randint(120, 130, (N_OUT, N_IN // 32), dtype=torch.uint8)
    parts = {"weight": elements.view(torch.int8), "weight_scale_inv": exponents.view(torch.float8_e8m0fnu)}
    return parts, by(values, 2.0 ** (exponents.float() - 127))


def in_order_of_activations() -> Made:
    """Former versions of compressed-tensors store the group of each input."""
    numbers, index = torch.randint(16, (N_OUT, N_IN)), torch.arange(N_IN) // 16
    index, scales = index[torch.randperm(N_IN)], torch.rand(N_OUT, 4)
    parts = {"weight_packed": words(numbers, 4), "weight_scale": scales, "weight_shape": torch.tensor([N_OUT, N_IN])}
    return parts | {"weight_g_idx": index.int()}, (numbers - 8) * scales[:, index]


def modelopt(algorithm: str) -> dict[str, Any]:
    return {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": algorithm, "exclude_modules": ["lm_head"]}}


INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16, "actorder": "group"}
CASES: dict[str, tuple[dict[str, Any], Callable[[], Made]]] = {
    "NVFP4": (modelopt("NVFP4"), nvfp4),
    "MXFP4": (modelopt("MXFP4"), mxfp4),
    "MXFP8": (modelopt("MXFP8"), mxfp8),
    "FP8": (modelopt("FP8"), fp8(torch.tensor(0.3))),
    "FP8 by row": (modelopt("FP8_PER_CHANNEL_PER_TOKEN"), fp8(torch.rand(N_OUT, 1))),
    "FBGEMM": ({"quant_method": "fbgemm_fp8"}, fp8(torch.rand(N_OUT, 1))),
    "fp4 experts": ({"quant_method": "fp8", "expert_dtype": "fp4", "scale_fmt": "ue8m0"}, fp4_experts),
    "int4 in order of activations": (
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": INT4}},
        },
        in_order_of_activations,
    ),
}


def storage_in(config: dict[str, Any]) -> Storage:
    return msgspec.convert(storage_of(config, config)[0], Storage)


def read(parts: Parts, storage: Storage, path: Path) -> Tensor:
    save_file({f"w.{name}": one.contiguous() for name, one in parts.items()}, path)
    stored = with_quantized(read_header(path), storage)["w.weight"]
    assert isinstance(stored, QuantizedTensor)
    with file_maps() as maps:
        some = row_reader(maps, stored)(slice(5, 9)).clone()
        values = whole(maps, stored).clone()
    assert torch.equal(values[5:9], some)
    return values


@pytest.mark.parametrize("name", CASES)
def test_values_are_elements_times_scales(name: str, tmp_path: Path) -> None:
    settings, make = CASES[name]
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(settings))
    config = with_quantization({"model_type": "llama"}, tmp_path)
    parts, wanted = make()
    values = read(parts, storage_in(config), tmp_path / "x.safetensors")
    torch.testing.assert_close(values, wanted, rtol=1e-6, atol=0)
