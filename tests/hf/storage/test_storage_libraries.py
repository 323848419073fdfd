"""Bytes of quantized weights against the tensors that libraries make of the same settings: equal, to the byte."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import archcalc
from archcalc.analysis.stored_weights import stored_weights
from archcalc.analysis.weight_bytes import stored_bytes
from archcalc.ledger.build import build
from tests.hf.storage.compressed_groups import COMPRESSED
from tests.hf.storage.tiny_llama import LLAMA, bytes_of


@cache
def _model(device: str) -> torch.nn.Module:
    with torch.device(device):
        config = transformers.LlamaConfig(**LLAMA)
        return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


def model(device: str = "meta") -> torch.nn.Module:
    return copy.deepcopy(_model(device))


def n_bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def test_without_quantization_the_dtype_counts() -> None:
    assert bytes_of(None) == n_bytes(model())
    assert bytes_of(None, dtype="float32") == n_bytes(model().float())
    assert bytes_of(None, dtype=None, torch_dtype="torch.float64") == n_bytes(model().double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_without_a_stated_dtype_that_of_the_files_counts(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = model("cpu").to(dtype)
    stored.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = {key: value for key, value in json.loads(path.read_text()).items() if key != "dtype"}
    path.write_text(json.dumps(config))
    spec = archcalc.load(tmp_path)
    assert stored_bytes(stored_weights(spec, build(spec))) == n_bytes(stored)
    assert spec.about.storage.stated_by == ("model.safetensors",)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    assert archcalc.load(tmp_path).about.storage.stated_by == ()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_block_size": None},
        {"weight_block_size": [64, 32], "activation_scheme": "static"},
        {"modules_to_not_convert": ["model.layers.0", "down_proj"]},
        {"modules_to_not_convert": ["lm_head", r"model.layers.\d+.mlp.gate_proj"]},
        {"scale_fmt": "ue8m0"},
    ],
    ids=str,
)
def test_fp8_is_as_transformers_builds_it(settings: dict[str, Any]) -> None:
    from transformers.integrations.finegrained_fp8 import replace_with_fp8_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    config, theirs = transformers.FineGrainedFP8Config(**settings), model()
    skip = config.modules_to_not_convert
    skip = get_keys_to_not_convert(theirs) if skip is None else skip
    replace_with_fp8_linear(theirs, modules_to_not_convert=skip, quantization_config=config)
    assert bytes_of({"quant_method": "fp8"} | settings) == n_bytes(theirs)


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compressed_tensors_are_as_the_library_makes_them(name: str) -> None:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    packing, groups, ignore = COMPRESSED[name]
    settings: dict[str, Any] = {"format": packing, "ignore": ignore}
    settings["config_groups"] = {f"group_{place}": each for place, each in enumerate(groups)}
    theirs = model("cpu")
    config = QuantizationConfig.model_validate(copy.deepcopy(settings) | {"quantization_status": "frozen"})
    apply_quantization_config(theirs, config)
    for tensor_name, tensor in theirs.named_parameters():
        if tensor_name.endswith(("_scale", "_zero_point")):
            tensor.data.fill_(1)
    ModelCompressor(quantization_config=config).compress_model(theirs)
    assert bytes_of(settings | {"quant_method": "compressed-tensors"}) == n_bytes(theirs)


@pytest.mark.parametrize("name", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
@pytest.mark.filterwarnings("ignore")
def test_torchao_tensors_are_as_the_library_makes_them(name: str) -> None:
    from torchao import quantization
    from torchao.core.config import config_to_dict

    config = getattr(quantization, name)()
    theirs = model("cpu")
    quantization.quantize_(
        theirs, config, filter_fn=lambda module, path: isinstance(module, torch.nn.Linear) and path != "lm_head"
    )
    settings = {"quant_method": "torchao", "quant_type": {"default": config_to_dict(config)}}
    assert bytes_of(settings) == sum(map(inner_bytes, theirs.state_dict().values()))


def inner_bytes(tensor: torch.Tensor) -> int:
    """The bytes of a tensor, or of the tensors that a subclass is made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return tensor.nbytes
    names, _ = tensor.__tensor_flatten__()
    return sum(inner_bytes(getattr(tensor, name)) for name in names)


# Bytes of the whole model, as the library of this version made it of the same LLaMA in bf16.
RECORDED: dict[str, tuple[dict[str, Any], str, int]] = {
    "quanto 0.2.7, int8": ({"quant_method": "quanto", "weights": "int8"}, "quantization_config", 349_496),
    "quanto 0.2.7, float8": ({"quant_method": "quanto", "weights": "float8"}, "quantization_config", 349_496),
    "quanto 0.2.7, int4": ({"quant_method": "quanto", "weights": "int4"}, "quantization_config", 207_160),
    "quanto 0.2.7, int2": ({"quant_method": "quanto", "weights": "int2"}, "quantization_config", 133_432),
    **{
        f"hqq 0.2.8, {bits} bits": (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": bits, "group_size": size}}},
            "quantization_config",
            wanted,
        )
        for bits, size, wanted in ((8, 64, 364_742), (4, 64, 217_286), (2, 32, 161_990), (1, 64, 106_694))
    },
    **{
        f"mlx 0.32.4, {bits} bits by {size}": ({"bits": bits, "group_size": size}, "quantization", wanted)
        for bits, size, wanted in (
            (2, 128, 91_136),
            (3, 64, 141_056),
            (4, 64, 180_992),
            (5, 64, 220_928),
            (6, 32, 280_832),
            (8, 64, 340_736),
        )
    },
    **{
        f"mlx 0.32.4, {mode}": ({"bits": bits, "group_size": size, "mode": mode}, "quantization", wanted)
        for mode, bits, size, wanted in (
            ("mxfp4", 4, 32, 171_008),
            ("mxfp8", 8, 32, 330_752),
            ("nvfp4", 4, 16, 180_992),
        )
    },
}


@pytest.mark.parametrize("name", RECORDED)
def test_bytes_are_those_that_a_library_made(name: str) -> None:
    settings, key, wanted = RECORDED[name]
    assert bytes_of(settings, key) == wanted
