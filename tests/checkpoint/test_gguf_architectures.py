"""GGUF files of more architectures, with the names of the `gguf` library, give transformers' logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from gguf import GGUFWriter, get_tensor_name_map
from gguf.constants import MODEL_ARCH_NAMES
from torch import Tensor

from archcalc.checkpoint import open_checkpoint
from archcalc.hf.registry import index
from archcalc.sources import load
from tests.checkpoint.random_models import LLAMA, random_model
from tests.checkpoint.test_gguf_logits import turned

Change = Callable[[str, Tensor, Any], dict[str, Tensor]]


class Architecture(msgspec.Struct, frozen=True):
    """A model of transformers, how the converter of llama.cpp changes its tensors, and the keys that it adds."""

    model: str
    name: str
    config: dict[str, Any] = {}
    change: Change = lambda name, weight, config: {name: weight}
    keys: dict[str, str | int | float | bool] = {}
    has_layernorm: bool = False


def with_one_added(name: str, weight: Tensor, config: Any) -> dict[str, Tensor]:
    return {name: weight + 1 if "norm" in name else weight}


def with_turned_rows(name: str, weight: Tensor, config: Any) -> dict[str, Tensor]:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    part = name.split(".")[-2]
    return {name: turned(weight, heads[part]) if part in heads else weight}


def with_split_experts(name: str, weight: Tensor, config: Any) -> dict[str, Tensor]:
    if name.endswith("experts.gate_up_proj"):
        gate, up = weight.chunk(2, 1)
        return {name.replace("gate_up", "gate") + ".weight": gate, name.replace("gate_up", "up") + ".weight": up}
    if name.endswith("experts.down_proj"):
        return {f"{name}.weight": weight}
    return {name: weight[0] if name.endswith("shared_expert_gate.weight") else weight}


def of_gpt_oss(name: str, weight: Tensor, config: Any) -> dict[str, Tensor]:
    """Experts are [in, out] in transformers, gate and up in turn."""
    kind = "bias" if name.endswith("_bias") else "weight"
    name, layer = name.removesuffix("_bias"), name.split("mlp.experts")[0]
    weight = weight.swapaxes(1, 2) if kind == "weight" and "experts" in name else weight
    if name.endswith("gate_up_proj"):
        parts = {"gate": weight[:, ::2], "up": weight[:, 1::2]}
        return {f"{layer}mlp.experts.{part}_proj.{kind}": each for part, each in parts.items()}
    if name.endswith("experts.down_proj"):
        return {f"{name}.{kind}": weight}
    return {f"{name}.weight" if name.endswith("sinks") else name: weight}


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "truncate": False}
YARN |= {"rope_theta": 10_000.0, "beta_fast": 32.0, "beta_slow": 1.0}
ARCHITECTURES = [
    Architecture("seed_oss", "seed_oss", LLAMA | {"head_dim": 10, "attention_out_bias": True}),
    Architecture("gemma", "gemma", LLAMA | {"head_dim": 10}, with_one_added),
    Architecture(
        "gemma3_text",
        "gemma3",
        LLAMA | {"num_hidden_layers": 7, "head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6},
        with_one_added,
        {"attention.sliding_window": 6},
    ),
    Architecture(
        "phi3", "phi3", LLAMA | {"sliding_window": 6, "pad_token_id": 0}, keys={"attention.sliding_window": 6}
    ),
    Architecture("olmo2", "olmo2", LLAMA),
    Architecture("starcoder2", "starcoder2", LLAMA, has_layernorm=True),
    Architecture(
        "stablelm",
        "stablelm",
        LLAMA | {"partial_rotary_factor": 0.5, "use_qkv_bias": True, "use_parallel_residual": False},
        keys={"rope.dimension_count": 4, "use_parallel_residual": False},
        has_layernorm=True,
    ),
    Architecture(
        "granite",
        "granite",
        LLAMA
        | {"attention_multiplier": 0.3, "embedding_multiplier": 2.5, "residual_multiplier": 0.7, "logits_scaling": 3.0},
        with_turned_rows,
        {"attention.scale": 0.3, "embedding_scale": 2.5, "residual_scale": 0.7, "logit_scale": 3.0},
    ),
    Architecture(
        "qwen2_moe",
        "qwen2moe",
        LLAMA
        | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": False}
        | {"shared_expert_intermediate_size": 20},
        with_split_experts,
        {
            "expert_count": 6,
            "expert_used_count": 2,
            "expert_feed_forward_length": 24,
            "expert_shared_feed_forward_length": 20,
        },
    ),
    Architecture(
        "gpt_oss",
        "gpt-oss",
        LLAMA
        | {"num_local_experts": 6, "num_experts_per_tok": 2, "head_dim": 12, "sliding_window": 6}
        | {"rope_parameters": YARN},
        of_gpt_oss,
        {
            "expert_count": 6,
            "expert_used_count": 2,
            "expert_feed_forward_length": 56,
            "attention.sliding_window": 6,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 16,
        },
    ),
]


def write(path: Path, model: Any, arch: Architecture) -> None:
    c, writer = model.config, GGUFWriter(path, arch.name)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    if arch.has_layernorm:
        writer.add_layer_norm_eps(getattr(c, "norm_epsilon", None) or c.layer_norm_eps)
    else:
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    rope = c.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if "head_dim" in arch.config:
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool}
    for key, value in arch.keys.items():
        add[type(value)](f"{arch.name}.{key}", value)
    by_name = {name: arch_id for arch_id, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(by_name[arch.name], c.num_hidden_layers)
    for name, weight in model.named_parameters():
        for part, changed in arch.change(name, weight.detach(), c).items():
            stored = names.get_name(part, try_suffixes=(".weight", ".bias"))
            assert stored, part
            writer.add_tensor(stored, np.ascontiguousarray(changed.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("arch", ARCHITECTURES, ids=lambda arch: arch.name)
@torch.no_grad()
def test_logits_are_those_of_transformers(arch: Architecture, tmp_path: Path) -> None:
    theirs = random_model(arch.model, **arch.config)
    write(tmp_path / "x.gguf", theirs, arch)
    found = open_checkpoint(str(tmp_path / "x.gguf"))
    assert found.spec == load(str(tmp_path / "x.gguf"))
    ids = torch.randint(96, (2, 19))
    wanted = theirs(input_ids=ids).logits
    assert (found.load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_every_architecture_is_tested() -> None:
    elsewhere = {"llama", "qwen2", "qwen3", "qwen3moe", "gemma2", "gpt2"}  # test_gguf_logits.py
    assert index()["gguf"].keys() == elsewhere | {arch.name for arch in ARCHITECTURES}
