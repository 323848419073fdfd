"""Files that compressed-tensors writes, against what it decompresses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from torch import Tensor

from tests.checkpoint.quantized.folders import configure, differences, distance
from tests.checkpoint.random_models import random_model
from tests.hf.storage.compressed_groups import COMPRESSED

SIZES = {"hidden_size": 128, "intermediate_size": 256}


def randomize(name: str, tensor: Tensor, *, is_packed_int: bool) -> Tensor:
    """A scale or a zero point; those of four-bit floating point are powers of 2, for the library multiplies in bf16."""
    if name.endswith("_global_scale"):
        return torch.full_like(tensor, 4.0)
    if name.endswith("_scale"):
        return torch.exp2(torch.randint(-8, -4, tensor.shape).float()).to(tensor.dtype)
    low, high = (-8, 8) if is_packed_int else (-100, 100)
    return torch.randint(low, high, tensor.shape).to(tensor.dtype)


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compressed_tensors_are_what_the_library_decompresses(name: str, tmp_path: Path) -> None:
    packing, groups, ignore = COMPRESSED[name]
    settings: dict[str, Any] = {"format": packing, "ignore": ignore}
    settings["config_groups"] = {f"group_{place}": each for place, each in enumerate(groups)}
    config = QuantizationConfig.model_validate(copy.deepcopy(settings) | {"quantization_status": "frozen"})
    model = random_model("llama", num_hidden_layers=1, **SIZES)
    apply_quantization_config(model, config)
    for key, tensor in model.named_parameters():
        if key.endswith(("_scale", "_zero_point")):
            tensor.data = randomize(key, tensor.data, is_packed_int="int4" in name)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(model)
    model.save_pretrained(tmp_path)
    configure(tmp_path, settings | {"quant_method": "compressed-tensors"})
    compressor.decompress_model(model)
    plain = random_model("llama", num_hidden_layers=1, **SIZES)
    values = {key: tensor.float() for key, tensor in model.state_dict().items() if key in plain.state_dict()}
    plain.load_state_dict(values)
    assert distance(tmp_path, plain) < 1e-5
    assert not differences(tmp_path)
