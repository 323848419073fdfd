"""Files that bitsandbytes writes, against what it dequantizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.checkpoint.quantized.folders import differences, distance, write
from tests.checkpoint.quantized.test_quantized_layouts import read, storage_in
from tests.checkpoint.quantized.test_quantized_libraries import SIZES

bnb: Any = pytest.importorskip(
    "bitsandbytes.functional", reason="bitsandbytes is not installed; .ci/run installs it and runs these tests"
)

FOUR_BIT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nf4": ({"bnb_4bit_quant_type": "nf4"}, {"quant_type": "nf4"}),
    "fp4, double": (
        {"bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": True},
        {"quant_type": "fp4", "compress_statistics": True},
    ),
}


@pytest.mark.parametrize("name", [*FOUR_BIT, "int8"])
def test_bitsandbytes_is_what_the_library_dequantizes(name: str, tmp_path: Path) -> None:
    """Rows of whole blocks: of shorter ones the library's CPU kernel, version 0.50, takes the scales of others."""
    settings, how = FOUR_BIT.get(name, ({}, {}))
    truth: dict[str, Tensor] = {}

    def four_bit(key: str, weight: Tensor) -> dict[str, Tensor]:
        elements, state = bnb.quantize_4bit(weight, **how)
        truth[key] = bnb.dequantize_4bit(elements, state)
        return {key: elements} | {f"{key}.{part}": one for part, one in state.as_dict(packed=True).items()}

    def int8(key: str, weight: Tensor) -> dict[str, Tensor]:
        elements, scales, _ = bnb.int8_vectorwise_quant(weight.half())
        truth[key] = bnb.int8_vectorwise_dequant(elements, scales)
        module = key.removesuffix(".weight")
        order = {f"{module}.weight_format": torch.tensor(0, dtype=torch.uint8)}
        return {key: elements, f"{module}.SCB": scales} | order

    kind = {"load_in_8bit": True} if name == "int8" else {"load_in_4bit": True}
    pack = int8 if name == "int8" else four_bit
    model = write(tmp_path, "llama", pack, {"quant_method": "bitsandbytes"} | kind | settings, **SIZES)
    assert not model.load_state_dict(truth, strict=False).unexpected_keys
    assert distance(tmp_path, model) < 1e-5
    assert not differences(tmp_path)


@pytest.mark.parametrize(
    "how", [{"quant_type": "nf4"}, {"quant_type": "fp4", "compress_statistics": True, "blocksize": 128}], ids=str
)
def test_blocks_of_bitsandbytes_may_span_rows(how: dict[str, Any], tmp_path: Path) -> None:
    weight = torch.randn(57, 33)
    elements, state = bnb.quantize_4bit(weight, **how)
    parts = {"weight": elements} | {f"weight.{name}": one for name, one in state.as_dict(packed=True).items()}
    config = {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    values = read(parts, storage_in(config), tmp_path / "x.safetensors")
    torch.testing.assert_close(values, bnb.dequantize_4bit(elements, state), rtol=1e-6, atol=1e-7)
