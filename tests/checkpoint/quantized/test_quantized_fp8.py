"""FP8 and MXFP4 files: transformers writes them, and loads them dequantized."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.integrations.finegrained_fp8 import Fp8Quantize

from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.tensor_shard import TensorShard
from archcalc.run.loading.source import open_source
from archcalc.run.pack import pack
from tests.checkpoint.quantized.folders import Pack, change, configure, differences, distance, theirs, write
from tests.checkpoint.random_models import random_model

BLOCKS = {"weight_block_size": [8, 4]}


def fp8(**settings: Any) -> Pack:
    """What transformers stores for a weight."""
    config = transformers.FineGrainedFP8Config(**settings)
    return Fp8Quantize(SimpleNamespace(quantization_config=config))._quantize_one


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"weight_block_size": None}),
        ("mixtral", BLOCKS | {"scale_fmt": "ue8m0"}),
        ("deepseek_v3", {"weight_block_size": [4, 4], "modules_to_not_convert": ["lm_head", "kv_a_proj_with_mqa"]}),
    ],
)
def test_fp8_is_what_transformers_dequantizes(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    pack, kept = fp8(**settings), tuple(settings.get("modules_to_not_convert", ()))
    write(
        tmp_path,
        name,
        lambda name, weight: {name: weight} if any(part in name for part in kept) else pack(name, weight),
        {"quant_method": "fp8"} | settings,
    )
    assert distance(tmp_path, theirs(tmp_path, transformers.FineGrainedFP8Config(dequantize=True, **settings))) < 1e-5
    assert not differences(tmp_path)


def test_fp8_may_have_partial_tiles_and_static_scales_of_activations(tmp_path: Path) -> None:
    """Tiles of 24 by 20 in matrices of 32 and 56; the truth is scaled here, element by element."""
    truth: dict[str, Tensor] = {}

    def pack(name: str, weight: Tensor) -> dict[str, Tensor]:
        rows, columns = (torch.arange(size) // tile for size, tile in zip(weight.shape, (24, 20), strict=True))
        scales = torch.rand(int(rows[-1]) + 1, int(columns[-1]) + 1) / 100
        elements = (weight / scales[rows][:, columns]).clamp(-448, 448).to(torch.float8_e4m3fn)
        truth[name] = elements.float() * scales[rows][:, columns]
        module = name.removesuffix(".weight")
        return {name: elements, f"{name}_scale_inv": scales, f"{module}.activation_scale": torch.ones(())}

    settings = {"quant_method": "fp8", "weight_block_size": [24, 20], "activation_scheme": "static"}
    model = write(tmp_path, "llama", pack, settings)
    change(tmp_path, lambda tensors: tensors.update({"model.layers.0.self_attn.k_scale": torch.ones(1)}))
    model.load_state_dict(truth, strict=False)
    assert distance(tmp_path, model) < 1e-5
    assert not differences(tmp_path)


def mxfp4_folder(folder: Path) -> None:
    """gpt-oss with experts of random blocks."""
    model = random_model("gpt_oss", intermediate_size=64)
    model.save_pretrained(folder)

    def blocks(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
            n_experts, n_in, n_out = tensors.pop(name).shape
            tensors[f"{name}_blocks"] = torch.randint(256, (n_experts, n_out, n_in // 32, 16), dtype=torch.uint8)
            tensors[f"{name}_scales"] = torch.randint(119, 124, (n_experts, n_out, n_in // 32), dtype=torch.uint8)

    change(folder, blocks)
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    configure(folder, {"quant_method": "mxfp4", "modules_to_not_convert": kept})


def test_mxfp4_is_what_transformers_dequantizes(tmp_path: Path) -> None:
    mxfp4_folder(tmp_path)
    model = theirs(tmp_path, transformers.Mxfp4Config(dequantize=True))
    assert distance(tmp_path, model) < 1e-5
    assert not differences(tmp_path)
    assert open_checkpoint(str(tmp_path)).dtype == torch.float32, "as the config states"


def test_parts_of_a_model_are_filled_from_quantized_files(tmp_path: Path) -> None:
    """The second half of each tensor, along its first axis (of experts) or its last."""
    mxfp4_folder(tmp_path)
    checkpoint = open_checkpoint(str(tmp_path))
    whole = checkpoint.load().state_dict()
    for axis in (0, -1):
        axes = {name: axis % max(1, tensor.dim()) for name, tensor in whole.items()}
        first = {name: tensor.shape[axes[name]] // 2 for name, tensor in whole.items()}
        wanted = {
            name: one.narrow(axes[name], first[name], one.shape[axes[name]] - first[name])
            for name, one in whole.items()
        }
        parts = {
            name: TensorShard(torch.empty(one.shape), tuple(whole[name].shape), axes[name], first[name])
            for name, one in wanted.items()
        }
        checkpoint.fill(parts)
        assert all(torch.equal(parts[name].local, one) for name, one in wanted.items())


@torch.no_grad()
@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_they_are_packed_as_the_dequantized_model_is(quantize: Any, tmp_path: Path) -> None:
    settings = {"weight_block_size": [16, 16]}
    write(tmp_path, "llama", fp8(**settings), {"quant_method": "fp8"} | settings, hidden_size=64, intermediate_size=128)
    ids = torch.randint(96, (1, 9))
    wanted = pack(open_checkpoint(str(tmp_path)).load(), quantize=quantize)(ids)
    assert torch.equal(open_source(str(tmp_path)).load(None, quantize=quantize).model(ids), wanted)
