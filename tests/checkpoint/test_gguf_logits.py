"""GGUF files written as llama.cpp's converter writes them give transformers' logits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from torch import Tensor

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.sources import load
from tests.checkpoint.random_models import random_model
from tests.hf.llama3 import factors_of

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    r"model\.layers\.": "blk.",
    r"self_attn\.(q|k|v)_proj": r"attn_\1",
    r"self_attn\.(q|k)_norm": r"attn_\1_norm",
    r"self_attn\.o_proj": "attn_output",
    "input_layernorm": "attn_norm",
    r"mlp\.experts\.gate_proj": "ffn_gate_exps.weight",
    r"mlp\.experts\.up_proj": "ffn_up_exps.weight",
    r"mlp\.experts\.down_proj": "ffn_down_exps.weight",
    r"mlp\.gate\.": "ffn_gate_inp.",
    r"mlp\.(gate|up|down)_proj": r"ffn_\1",
    r"transformer\.wte": "token_embd",
    r"transformer\.wpe": "position_embd",
    r"transformer\.ln_f": "output_norm",
    r"transformer\.h\.": "blk.",
    r"attn\.c_attn": "attn_qkv",
    r"attn\.c_proj": "attn_output",
    r"mlp\.c_fc": "ffn_up",
    r"mlp\.c_proj": "ffn_down",
    r"ln_1": "attn_norm",
    r"ln_2": "ffn_norm",
}
LLAMA_NORMS = {"post_attention_layernorm": "ffn_norm"}
GEMMA_NORMS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
ARCHITECTURES = {"mistral": "llama", "mixtral": "llama", "qwen3_moe": "qwen3moe"}


def turned(weight: Tensor, heads: int) -> Tensor:
    """llama.cpp's permute: the halves of each head row by row in turn."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tensors(model: Any, arch: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    config = model.config
    names = NAMES | (GEMMA_NORMS if arch == "gemma2" else LLAMA_NORMS)
    # Parameters, not the state: what is tied comes once.
    parts = dict(model.named_parameters())
    for name in [name for name in parts if name.endswith("gate_up_proj")]:
        gate, up = parts.pop(name).chunk(2, 1)
        parts |= {name.replace("gate_up", "gate"): gate, name.replace("gate_up", "up"): up}
    for name, weight in parts.items():
        if arch == "llama" and (match := re.search(r"\.(q|k)_proj\.", name)):
            weight = turned(weight, config.num_attention_heads if match[1] == "q" else config.num_key_value_heads)
        if arch == "gemma2" and "norm" in name:
            weight = weight + 1
        if arch == "gpt2" and re.search(r"(c_attn|c_proj|c_fc)\.weight", name):
            weight = weight.T
        for pattern, there in names.items():
            name = re.sub(pattern, there, name)
        found[name] = weight.detach().contiguous()
    return found


def write(path: Path, model: Any, arch: str, kind: str = "F32", **extra: Any) -> dict[str, Tensor]:
    c, writer = model.config, GGUFWriter(path, arch)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_head_count(c.num_attention_heads)
    if arch == "gpt2":
        writer.add_feed_forward_length(4 * c.hidden_size)
        writer.add_layer_norm_eps(c.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(c.intermediate_size)
        writer.add_head_count_kv(c.num_key_value_heads)
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
        writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    if getattr(c, "head_dim", None) and arch != "qwen2":
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    if hasattr(c, "num_experts_per_tok"):
        writer.add_expert_count(getattr(c, "num_experts", None) or c.num_local_experts)
        writer.add_expert_used_count(c.num_experts_per_tok)
    if arch == "qwen3moe":
        writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    if arch == "gemma2":
        writer.add_sliding_window(c.sliding_window)
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    if (getattr(c, "rope_parameters", None) or {}).get("rope_type") == "llama3":
        factors = factors_of(c.rope_parameters["factor"], c.rope_parameters["rope_theta"], c.head_dim)
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    for key, value in extra.items():
        writer.add_uint32(key, value)
    written = {}
    for name, weight in tensors(model, arch).items():
        if weight.dim() == 1:
            writer.add_tensor(name, weight.numpy())
        else:
            q = GGMLQuantizationType[kind]
            data = quantize(weight.numpy(), q)
            writer.add_tensor(name, data, raw_dtype=q)
            weight = torch.from_numpy(np.array(dequantize(data, q)))
        written[name] = weight
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


@pytest.mark.parametrize("name", ["llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gpt2"])
@torch.no_grad()
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = random_model(name, **({"sliding_window": None} if name == "mistral" else {}))
    path = tmp_path / "x.gguf"
    write(path, theirs, ARCHITECTURES.get(name, name))
    found = open_checkpoint(str(path))
    assert found.spec == load(str(path))
    ids = torch.randint(96, (2, 11))
    wanted = theirs(input_ids=ids).logits
    assert (found.load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 32.0}
LLAMA3 |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@torch.no_grad()
def test_llama_3_scales_as_its_config_says(tmp_path: Path) -> None:
    more = {"rope_parameters": LLAMA3, "head_dim": 24, "max_position_embeddings": 131_072}
    theirs = random_model("llama", **more)
    write(tmp_path / "x.gguf", theirs, "llama")
    theirs.save_pretrained(tmp_path)
    found = open_checkpoint(str(tmp_path / "x.gguf"))
    assert found.spec == load(str(tmp_path / "x.gguf"))
    assert found.spec.decoder == open_checkpoint(str(tmp_path)).spec.decoder
    ids = torch.randint(96, (2, 300))
    wanted = theirs(input_ids=ids).logits
    bound = 1e-5 * wanted.abs().max()
    assert (found.load()(ids) - wanted).abs().max() <= bound
    plain = random_model("llama", **more | {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}})
    assert (plain(input_ids=ids).logits - wanted).abs().max() > 100 * bound, "the scaling is seen in the logits"


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
@torch.no_grad()
def test_every_type_is_dequantized(kind: str, tmp_path: Path) -> None:
    theirs = random_model("llama", intermediate_size=64)
    written = write(tmp_path / "x.gguf", theirs, "llama", kind)
    ours = open_checkpoint(str(tmp_path / "x.gguf")).load(dtype=torch.float32).state_dict()
    assert torch.equal(ours["layers.1.ffn.down.weight"], written["blk.1.ffn_down.weight"])
    assert torch.equal(turned(ours["layers.2.attn.q.weight"], 4), written["blk.2.attn_q.weight"])
    assert torch.equal(ours["embed.tokens.weight"], written["token_embd.weight"])


def test_keys_that_are_not_understood_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf", random_model("llama"), "llama", **{"llama.secret": 3})
    with pytest.raises(InputError, match=r"llama\.secret: is a key that is not understood"):
        load(str(tmp_path / "x.gguf"))


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf", random_model("llama"), "rwkv7")
    with pytest.raises(InputError, match=r"general\.architecture: found 'rwkv7'; expected gpt2, .*llama, "):
        load(str(tmp_path / "x.gguf"))
