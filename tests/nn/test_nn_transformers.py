"""Tiny random models of transformers and ours give the same logits from the same weights.

Each case says its config, its spec and its names by hand: nothing here passes through archcalc.hf.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from archcalc.nn import build
from archcalc.sources import load

SEQ = 11
Tensors = dict[str, Tensor]


@dataclass
class Case:
    """A model twice: transformers' class and config, our spec, and where each of our tensors stands in theirs."""

    kind: str  # the class of transformers, and the config's by the same stem
    config: dict[str, Any]
    spec: dict[str, Any]
    names: dict[str, str]  # pattern of our name → theirs; the first that matches counts
    before: Callable[[Tensors], None] = lambda theirs: None  # splits what they keep fused
    inputs: list[str] = field(default_factory=lambda: ["input_ids"])


RMS = {"kind": "rmsnorm", "eps": 1e-6}
LN = {"kind": "layernorm", "eps": 1e-5}
BIASES = {"q_bias": True, "k_bias": True, "v_bias": True, "out_bias": True}
SIZES = {"vocab_size": 37, "n_ctx": 24, "d_model": 24}
HF_SIZES = {"vocab_size": 37, "max_position_embeddings": 24, "hidden_size": 24, "num_hidden_layers": 3}
LLAMA_NAMES = {
    r"embed\.tokens": "model.embed_tokens",
    r"head\.": "lm_head.",
    r"final_norm": "model.norm",
    r"layers\.(\d+)\.attn\.out": r"model.layers.\1.self_attn.o_proj",
    r"layers\.(\d+)\.attn\.([qkv])_norm": r"model.layers.\1.self_attn.\2_norm",
    r"layers\.(\d+)\.attn\.([qkv])\.": r"model.layers.\1.self_attn.\2_proj.",
    r"layers\.(\d+)\.attn\.sinks": r"model.layers.\1.self_attn.sinks",
    r"layers\.(\d+)\.ffn\.(gate|up|down)": r"model.layers.\1.mlp.\2_proj",
    r"layers\.(\d+)\.attn_norm": r"model.layers.\1.input_layernorm",
    r"layers\.(\d+)\.ffn_norm": r"model.layers.\1.post_attention_layernorm",
}


def decoder(*pattern: dict[str, Any], n_layers: int = 3, head: Any = None, **more: Any) -> dict[str, Any]:
    """A decoder's spec; what goes to the stack and what to the model is told apart by name."""
    own = {key: more.pop(key) for key in ("position", "embed_norm", "final_norm", "runs") if key in more}
    stack = {"n_layers": n_layers, "runs": [{"pattern": list(pattern)}]} | own
    return SIZES | {"name": "x", "decoder": stack, "head": head or {"tied": False}} | more


def unfuse_experts(theirs: Tensors) -> None:
    for name in [name for name in theirs if name.endswith("experts.gate_up_proj")]:
        gate, up = theirs[name].chunk(2, dim=1)
        theirs |= {name.replace("gate_up", "gate"): gate, name.replace("gate_up", "up"): up}


def llama() -> Case:
    scaling = {"kind": "llama3", "factor": 8.0, "n_ctx_original": 16}
    rope = {"kind": "rope", "theta": 1000.0, "scaling": scaling}
    layer = {
        "norm": RMS,
        "attention": {"kind": "gqa", "n_heads": 6, "n_kv_heads": 2, "d_head": 10, "position": rope},
        "ffn": {"kind": "gated", "d_ff": 17},
    }
    theirs = {
        "rope_type": "llama3",
        "rope_theta": 1000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    sizes = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 17}
    config = HF_SIZES | sizes | {"rope_parameters": theirs}
    return Case("LlamaForCausalLM", config, decoder(layer, final_norm=RMS), LLAMA_NAMES)


def gpt2() -> Case:
    def split(theirs: Tensors) -> None:
        for name in [name for name in theirs if re.search(r"(c_attn|c_proj|c_fc)\.weight", name)]:
            theirs[name] = theirs[name].T
        for name in [name for name in theirs if "c_attn" in name]:
            theirs |= {name.replace("c_attn", part): x for part, x in zip("qkv", theirs[name].chunk(3), strict=True)}

    layer = {
        "norm": LN,
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu_tanh", "bias": True},
    }
    names = {
        r"embed\.tokens": "transformer.wte",
        r"positions": "transformer.wpe",
        r"final_norm": "transformer.ln_f",
        r"layers\.(\d+)\.attn\.out": r"transformer.h.\1.attn.c_proj",
        r"layers\.(\d+)\.attn\.([qkv])": r"transformer.h.\1.attn.\2",
        r"layers\.(\d+)\.ffn\.up": r"transformer.h.\1.mlp.c_fc",
        r"layers\.(\d+)\.ffn\.down": r"transformer.h.\1.mlp.c_proj",
        r"layers\.(\d+)\.attn_norm": r"transformer.h.\1.ln_1",
        r"layers\.(\d+)\.ffn_norm": r"transformer.h.\1.ln_2",
    }
    config = {"vocab_size": 37, "n_positions": 24, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_inner": 31}
    spec = decoder(layer, position={"kind": "learned"}, final_norm=LN, head={"tied": True})
    return Case("GPT2LMHeadModel", config, spec, names, split)


def gemma2() -> Case:
    norm = RMS | {"unit_offset": True}
    attention = {"kind": "gqa", "n_heads": 6, "n_kv_heads": 3, "d_head": 10, "position": {"kind": "rope"}}
    attention |= {"softcap": 5.0, "scale": 7**-0.5}
    ffn = {"kind": "gated", "d_ff": 17, "activation": "gelu_tanh"}
    layers = [
        {"norm": norm, "placement": "sandwich", "attention": attention | window, "ffn": ffn}
        for window in ({"window": 4}, {})
    ]
    names = {
        r"layers\.(\d+)\.attn_out_norm": r"model.layers.\1.post_attention_layernorm",
        r"layers\.(\d+)\.ffn_norm": r"model.layers.\1.pre_feedforward_layernorm",
        r"layers\.(\d+)\.ffn_out_norm": r"model.layers.\1.post_feedforward_layernorm",
    }
    config = HF_SIZES | {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 10, "intermediate_size": 17}
    config |= {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 7}
    config |= {"sliding_window": 4, "tie_word_embeddings": True}
    head = {"tied": True, "softcap": 3.0}
    spec = decoder(*layers, final_norm=norm, head=head, embedding={"scale": 24**0.5})
    return Case("Gemma2ForCausalLM", config, spec, LLAMA_NAMES | names)


def qwen3_moe() -> Case:
    layer = {
        "norm": RMS,
        "attention": {
            "kind": "gqa",
            "n_heads": 4,
            "n_kv_heads": 1,
            "d_head": 8,
            "qk_norm": {"norm": RMS},
            "position": {"kind": "rope"},
        },
        "ffn": {"kind": "moe", "n_experts": 7, "n_active": 3, "d_expert": 5, "normalize": True},
    }
    names = {
        r"layers\.(\d+)\.ffn\.router": r"model.layers.\1.mlp.gate",
        r"layers\.(\d+)\.ffn\.experts\.(gate|up|down)\.weight": r"model.layers.\1.mlp.experts.\2_proj",
    }
    config = HF_SIZES | {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 9}
    config |= {"num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 5, "norm_topk_prob": True}
    config |= {"tie_word_embeddings": False}
    spec = decoder(layer, final_norm=RMS)
    return Case("Qwen3MoeForCausalLM", config, spec, LLAMA_NAMES | names, unfuse_experts)


def deepseek_v3() -> Case:
    scaling = {"kind": "yarn", "factor": 40.0, "n_ctx_original": 16, "mscale": 0.7, "mscale_all_dim": 1.2}
    attention = {
        "kind": "mla",
        "n_heads": 3,
        "q_rank": 9,
        "kv_rank": 11,
        "d_nope": 5,
        "d_rope": 6,
        "d_v": 7,
        "norm": RMS,
        "position": {"kind": "rope", "interleaved": True, "scaling": scaling},
    }
    mixture = {
        "kind": "moe",
        "n_experts": 8,
        "n_active": 3,
        "d_expert": 5,
        "n_shared": 2,
        "choose": "sigmoid",
        "normalize": True,
        "scale": 2.5,
        "n_groups": 4,
        "n_active_groups": 2,
        "correction": "buffer",
    }
    dense = {"norm": RMS, "attention": attention, "ffn": {"kind": "gated", "d_ff": 13}}
    runs = [{"count": 1, "pattern": [dense]}, {"pattern": [dense | {"ffn": mixture}]}]
    names = {
        r"layers\.(\d+)\.attn\.q_down_norm": r"model.layers.\1.self_attn.q_a_layernorm",
        r"layers\.(\d+)\.attn\.q_down": r"model.layers.\1.self_attn.q_a_proj",
        r"layers\.(\d+)\.attn\.q_up": r"model.layers.\1.self_attn.q_b_proj",
        r"layers\.(\d+)\.attn\.kv_down_norm": r"model.layers.\1.self_attn.kv_a_layernorm",
        r"layers\.(\d+)\.attn\.kv_down": r"model.layers.\1.self_attn.kv_a_proj_with_mqa",
        r"layers\.(\d+)\.attn\.kv_up": r"model.layers.\1.self_attn.kv_b_proj",
        r"layers\.(\d+)\.ffn\.router": r"model.layers.\1.mlp.gate",
        r"layers\.(\d+)\.ffn\.correction_bias": r"model.layers.\1.mlp.gate.e_score_correction_bias",
        r"layers\.(\d+)\.ffn\.shared\.(gate|up|down)": r"model.layers.\1.mlp.shared_experts.\2_proj",
        r"layers\.(\d+)\.ffn\.experts\.(gate|up|down)\.weight": r"model.layers.\1.mlp.experts.\2_proj",
    }
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "original_max_position_embeddings": 16}
    config = HF_SIZES | {
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "q_lora_rank": 9,
        "kv_lora_rank": 11,
        "qk_nope_head_dim": 5,
        "qk_rope_head_dim": 6,
        "v_head_dim": 7,
        "intermediate_size": 13,
        "moe_intermediate_size": 5,
        "n_routed_experts": 8,
        "num_experts_per_tok": 3,
        "n_shared_experts": 2,
        "n_group": 4,
        "topk_group": 2,
        "first_k_dense_replace": 1,
        "routed_scaling_factor": 2.5,
        "norm_topk_prob": True,
        "rope_parameters": rope | {"mscale": 0.7, "mscale_all_dim": 1.2},
    }
    spec = decoder(runs=runs, final_norm=RMS)
    return Case("DeepseekV3ForCausalLM", config, spec, LLAMA_NAMES | names, unfuse_experts)


def gpt_oss() -> Case:
    scaling = {"kind": "yarn", "factor": 32.0, "n_ctx_original": 16, "truncate": False}
    rope = {"kind": "rope", "theta": 1500.0, "scaling": scaling}
    attention = {"kind": "gqa", "n_heads": 6, "n_kv_heads": 2, "d_head": 8, "sinks": True, "position": rope} | BIASES
    mixture = {"kind": "moe", "n_experts": 6, "n_active": 2, "d_expert": 7, "activation": "clamped_swish"}
    mixture |= {"expert_bias": True, "router_bias": True, "choose": "logits", "weigh": "softmax"}
    layers = [{"norm": RMS, "attention": attention | window, "ffn": mixture} for window in ({"window": 4}, {})]

    def split(theirs: Tensors) -> None:
        for name in [name for name in theirs if "experts." in name]:
            x = theirs.pop(name)
            kind = "bias" if name.endswith("_bias") else "weight"
            stem = name.removesuffix("_bias").removesuffix("_proj")
            parts = {"gate": x[..., 0::2], "up": x[..., 1::2]} if "gate_up" in stem else {"down": x}
            for part, y in parts.items():
                prefix = stem.rsplit(".", 1)[0]
                theirs[f"{prefix}.{part}.{kind}"] = y if kind == "bias" else y.transpose(1, 2)

    names = {
        r"layers\.(\d+)\.ffn\.router": r"model.layers.\1.mlp.router",
        r"layers\.(\d+)\.ffn\.experts": r"model.layers.\1.mlp.experts",
    }
    theirs = {"rope_type": "yarn", "rope_theta": 1500.0, "factor": 32.0, "original_max_position_embeddings": 16}
    config = HF_SIZES | {
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 7,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": theirs | {"truncate": False, "beta_fast": 32.0, "beta_slow": 1.0},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }
    return Case("GptOssForCausalLM", config, decoder(*layers, final_norm=RMS), LLAMA_NAMES | names, split)


def bert() -> Case:
    norm = LN | {"eps": 1e-12}
    layer = {
        "norm": norm,
        "placement": "post",
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True},
    }
    stack = {"n_layers": 3, "position": {"kind": "learned"}, "embed_norm": norm, "runs": [{"pattern": [layer]}]}
    head = {"tied": True, "bias": True, "transform": {"activation": "gelu", "norm": norm}}
    names = {
        r"embed\.tokens": "bert.embeddings.word_embeddings",
        r"embed\.types": "bert.embeddings.token_type_embeddings",
        r"positions": "bert.embeddings.position_embeddings",
        r"embed_norm": "bert.embeddings.LayerNorm",
        r"head\.transform": "cls.predictions.transform.dense",
        r"head\.norm": "cls.predictions.transform.LayerNorm",
        r"head\.bias": "cls.predictions.bias",
        r"layers\.(\d+)\.attn\.q\.": r"bert.encoder.layer.\1.attention.self.query.",
        r"layers\.(\d+)\.attn\.k\.": r"bert.encoder.layer.\1.attention.self.key.",
        r"layers\.(\d+)\.attn\.v\.": r"bert.encoder.layer.\1.attention.self.value.",
        r"layers\.(\d+)\.attn\.out": r"bert.encoder.layer.\1.attention.output.dense",
        r"layers\.(\d+)\.attn_norm": r"bert.encoder.layer.\1.attention.output.LayerNorm",
        r"layers\.(\d+)\.ffn\.up": r"bert.encoder.layer.\1.intermediate.dense",
        r"layers\.(\d+)\.ffn\.down": r"bert.encoder.layer.\1.output.dense",
        r"layers\.(\d+)\.ffn_norm": r"bert.encoder.layer.\1.output.LayerNorm",
    }
    config = HF_SIZES | {"num_attention_heads": 4, "intermediate_size": 31, "type_vocab_size": 3}
    spec = SIZES | {"name": "x", "encoder": stack, "head": head, "embedding": {"n_token_types": 3}}
    return Case("BertForMaskedLM", config, spec, names, inputs=["input_ids", "token_type_ids"])


def t5() -> Case:
    position = {"kind": "relative", "n_buckets": 8, "max_distance": 9}
    cross = {"kind": "gqa", "n_heads": 4, "d_head": 5, "scale": 1.0}
    ffn = {"kind": "plain", "d_ff": 31, "activation": "relu"}
    layer = {"norm": RMS, "attention": cross | {"position": position}, "ffn": ffn}
    encoder = {"n_layers": 2, "runs": [{"pattern": [layer]}], "final_norm": RMS}
    spec = SIZES | {
        "name": "x",
        "encoder": encoder,
        "decoder": encoder | {"n_layers": 3, "runs": [{"pattern": [layer | {"cross": cross}]}]},
        "head": {"tied": True, "scale": 24**-0.5},
    }
    names = {
        r"embed\.tokens": "shared",
        r"(encoder|decoder)\.relative_bias": r"\1.block.0.layer.0.SelfAttention.relative_attention_bias",
        r"(encoder|decoder)\.final_norm": r"\1.final_layer_norm",
        r"(\w+)\.layers\.(\d+)\.attn\.out": r"\1.block.\2.layer.0.SelfAttention.o",
        r"(\w+)\.layers\.(\d+)\.attn\.([qkv])": r"\1.block.\2.layer.0.SelfAttention.\3",
        r"(\w+)\.layers\.(\d+)\.cross\.out": r"\1.block.\2.layer.1.EncDecAttention.o",
        r"(\w+)\.layers\.(\d+)\.cross\.([qkv])": r"\1.block.\2.layer.1.EncDecAttention.\3",
        r"(\w+)\.layers\.(\d+)\.attn_norm": r"\1.block.\2.layer.0.layer_norm",
        r"(\w+)\.layers\.(\d+)\.cross_norm": r"\1.block.\2.layer.1.layer_norm",
        r"encoder\.layers\.(\d+)\.ffn_norm": r"encoder.block.\1.layer.1.layer_norm",
        r"decoder\.layers\.(\d+)\.ffn_norm": r"decoder.block.\1.layer.2.layer_norm",
        r"encoder\.layers\.(\d+)\.ffn\.up": r"encoder.block.\1.layer.1.DenseReluDense.wi",
        r"decoder\.layers\.(\d+)\.ffn\.up": r"decoder.block.\1.layer.2.DenseReluDense.wi",
        r"encoder\.layers\.(\d+)\.ffn\.down": r"encoder.block.\1.layer.1.DenseReluDense.wo",
        r"decoder\.layers\.(\d+)\.ffn\.down": r"decoder.block.\1.layer.2.DenseReluDense.wo",
    }
    config = {"vocab_size": 37, "d_model": 24, "d_kv": 5, "d_ff": 31, "num_layers": 2, "num_decoder_layers": 3}
    config |= {"num_heads": 4, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 9}
    return Case("T5ForConditionalGeneration", config, spec, names, inputs=["input_ids", "decoder_input_ids"])


def gpt_neox() -> Case:
    layer = {
        "norm": LN,
        "placement": "parallel_two",
        "attention": {"kind": "gqa", "n_heads": 3, "position": {"kind": "rope", "d_rotary": 2}} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True},
    }

    def split(theirs: Tensors) -> None:
        for name in [name for name in theirs if "query_key_value" in name]:
            each = theirs[name].unflatten(0, (3, 3, 8)).movedim(1, 0).flatten(1, 2)
            theirs |= {name.replace("query_key_value", part): x for part, x in zip("qkv", each, strict=True)}

    names = {
        r"embed\.tokens": "gpt_neox.embed_in",
        r"head\.": "lm_head.",
        r"final_norm": "gpt_neox.final_layer_norm",
        r"layers\.(\d+)\.attn\.out": r"gpt_neox.layers.\1.attention.dense",
        r"layers\.(\d+)\.attn\.([qkv])": r"gpt_neox.layers.\1.attention.\2",
        r"layers\.(\d+)\.ffn\.up": r"gpt_neox.layers.\1.mlp.dense_h_to_4h",
        r"layers\.(\d+)\.ffn\.down": r"gpt_neox.layers.\1.mlp.dense_4h_to_h",
        r"layers\.(\d+)\.attn_norm": r"gpt_neox.layers.\1.input_layernorm",
        r"layers\.(\d+)\.ffn_norm": r"gpt_neox.layers.\1.post_attention_layernorm",
    }
    config = HF_SIZES | {"num_attention_heads": 3, "intermediate_size": 31, "rotary_pct": 0.25}
    return Case("GPTNeoXForCausalLM", config, decoder(layer, final_norm=LN), names, split)


def bloom() -> Case:
    layer = {
        "norm": LN,
        "attention": {"kind": "gqa", "n_heads": 6, "position": {"kind": "alibi"}} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 96, "activation": "gelu_tanh", "bias": True},
    }

    def split(theirs: Tensors) -> None:
        for name in [name for name in theirs if "query_key_value" in name]:
            each = theirs[name].unflatten(0, (6, 3, 4)).movedim(1, 0).flatten(1, 2)
            theirs |= {name.replace("query_key_value", part): x for part, x in zip("qkv", each, strict=True)}

    names = {
        r"embed\.tokens": "transformer.word_embeddings",
        r"embed_norm": "transformer.word_embeddings_layernorm",
        r"final_norm": "transformer.ln_f",
        r"layers\.(\d+)\.attn\.out": r"transformer.h.\1.self_attention.dense",
        r"layers\.(\d+)\.attn\.([qkv])": r"transformer.h.\1.self_attention.\2",
        r"layers\.(\d+)\.ffn\.up": r"transformer.h.\1.mlp.dense_h_to_4h",
        r"layers\.(\d+)\.ffn\.down": r"transformer.h.\1.mlp.dense_4h_to_h",
        r"layers\.(\d+)\.attn_norm": r"transformer.h.\1.input_layernorm",
        r"layers\.(\d+)\.ffn_norm": r"transformer.h.\1.post_attention_layernorm",
    }
    config = {"vocab_size": 37, "hidden_size": 24, "n_layer": 3, "n_head": 6}
    return Case(
        "BloomForCausalLM", config, decoder(layer, embed_norm=LN, final_norm=LN, head={"tied": True}), names, split
    )


def olmo2() -> Case:
    layer = {
        "norm": RMS,
        "placement": "output",
        "attention": {
            "kind": "gqa",
            "n_heads": 4,
            "n_kv_heads": 2,
            "qk_norm": {"norm": RMS, "over": "full"},
            "position": {"kind": "rope"},
        },
        "ffn": {"kind": "gated", "d_ff": 17},
    }
    names = {
        r"layers\.(\d+)\.attn_out_norm": r"model.layers.\1.post_attention_layernorm",
        r"layers\.(\d+)\.ffn_out_norm": r"model.layers.\1.post_feedforward_layernorm",
    }
    config = HF_SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 17}
    config |= {"rms_norm_eps": 1e-6, "tie_word_embeddings": False}
    return Case("Olmo2ForCausalLM", config, decoder(layer, final_norm=RMS), LLAMA_NAMES | names)


def cohere() -> Case:
    norm = LN | {"bias": False}
    rope = {"kind": "rope", "interleaved": True, "theta": 500_000.0}
    layer = {
        "norm": norm,
        "placement": "parallel",
        "attention": {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "position": rope},
        "ffn": {"kind": "gated", "d_ff": 17},
    }
    config = HF_SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 17}
    config |= {"logit_scale": 0.25, "layer_norm_eps": 1e-5}
    spec = decoder(layer, final_norm=norm, head={"tied": True, "scale": 0.25})
    return Case("CohereForCausalLM", config, spec, LLAMA_NAMES)


def opt() -> Case:
    layer = {
        "norm": LN,
        "placement": "post",
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "relu", "bias": True},
    }
    names = {
        r"embed\.tokens": "model.decoder.embed_tokens",
        r"embed\.project": "model.decoder.project_in",
        r"head\.project": "model.decoder.project_out",
        r"positions": "model.decoder.embed_positions",
        r"layers\.(\d+)\.attn\.out": r"model.decoder.layers.\1.self_attn.out_proj",
        r"layers\.(\d+)\.attn\.([qkv])": r"model.decoder.layers.\1.self_attn.\2_proj",
        r"layers\.(\d+)\.ffn\.up": r"model.decoder.layers.\1.fc1",
        r"layers\.(\d+)\.ffn\.down": r"model.decoder.layers.\1.fc2",
        r"layers\.(\d+)\.attn_norm": r"model.decoder.layers.\1.self_attn_layer_norm",
        r"layers\.(\d+)\.ffn_norm": r"model.decoder.layers.\1.final_layer_norm",
    }
    config = HF_SIZES | {"num_attention_heads": 4, "ffn_dim": 31, "word_embed_proj_dim": 10}
    config |= {"do_layer_norm_before": False}
    embedding = {"factor": {"d_embed": 10}}
    spec = decoder(layer, position={"kind": "learned", "n_extra": 2}, head={"tied": True}, embedding=embedding)
    return Case("OPTForCausalLM", config, spec, names)


def albert() -> Case:
    norm = LN | {"eps": 1e-12}
    layer = {
        "norm": norm,
        "placement": "post",
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu_tanh", "bias": True},
    }
    stack = {
        "n_layers": 3,
        "position": {"kind": "learned"},
        "embed_norm": norm,
        "runs": [{"pattern": [layer], "share_weights": True}],
    }
    head = {"tied": True, "bias": True, "transform": {"activation": "gelu_tanh", "norm": norm}}
    turn = r"albert.encoder.albert_layer_groups.0.albert_layers.0."
    names = {
        r"embed\.tokens": "albert.embeddings.word_embeddings",
        r"embed\.types": "albert.embeddings.token_type_embeddings",
        r"embed\.project": "albert.encoder.embedding_hidden_mapping_in",
        r"positions": "albert.embeddings.position_embeddings",
        r"embed_norm": "albert.embeddings.LayerNorm",
        r"head\.transform": "predictions.dense",
        r"head\.norm": "predictions.LayerNorm",
        r"head\.bias": "predictions.bias",
        r"layers\.0\.attn\.q\.": turn + "attention.query.",
        r"layers\.0\.attn\.k\.": turn + "attention.key.",
        r"layers\.0\.attn\.v\.": turn + "attention.value.",
        r"layers\.0\.attn\.out": turn + "attention.dense",
        r"layers\.0\.attn_norm": turn + "attention.LayerNorm",
        r"layers\.0\.ffn\.up": turn + "ffn",
        r"layers\.0\.ffn\.down": turn + "ffn_output",
        r"layers\.0\.ffn_norm": turn + "full_layer_layer_norm",
    }
    config = HF_SIZES | {"num_attention_heads": 4, "intermediate_size": 31, "embedding_size": 10}
    factor = {"d_embed": 10, "bias": True, "widen": "after_positions"}
    embedding = {"n_token_types": 2, "factor": factor}
    spec = SIZES | {"name": "x", "encoder": stack, "head": head, "embedding": embedding}
    return Case("AlbertForMaskedLM", config, spec, names, inputs=["input_ids", "token_type_ids"])


def bart_alone() -> Case:
    """A decoder that keeps its cross-attention: without a source, neither it nor its norm is computed."""
    attention = {"kind": "gqa", "n_heads": 4} | BIASES
    layer = {
        "norm": LN,
        "placement": "post",
        "attention": attention,
        "cross": attention,
        "cross_reads": "nothing",
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True},
    }
    names = {
        r"embed\.tokens": "model.decoder.embed_tokens",
        r"embed_norm": "model.decoder.layernorm_embedding",
        r"positions": "model.decoder.embed_positions",
        r"layers\.(\d+)\.attn\.out": r"model.decoder.layers.\1.self_attn.out_proj",
        r"layers\.(\d+)\.attn\.([qkv])": r"model.decoder.layers.\1.self_attn.\2_proj",
        r"layers\.(\d+)\.cross\.out": r"model.decoder.layers.\1.encoder_attn.out_proj",
        r"layers\.(\d+)\.cross\.([qkv])": r"model.decoder.layers.\1.encoder_attn.\2_proj",
        r"layers\.(\d+)\.ffn\.up": r"model.decoder.layers.\1.fc1",
        r"layers\.(\d+)\.ffn\.down": r"model.decoder.layers.\1.fc2",
        r"layers\.(\d+)\.attn_norm": r"model.decoder.layers.\1.self_attn_layer_norm",
        r"layers\.(\d+)\.cross_norm": r"model.decoder.layers.\1.encoder_attn_layer_norm",
        r"layers\.(\d+)\.ffn_norm": r"model.decoder.layers.\1.final_layer_norm",
    }
    config = {"vocab_size": 37, "max_position_embeddings": 24, "d_model": 24, "decoder_layers": 3}
    config |= {"decoder_attention_heads": 4, "decoder_ffn_dim": 31, "activation_function": "gelu"}
    position = {"kind": "learned", "n_extra": 2}
    spec = decoder(layer, position=position, embed_norm=LN, head={"tied": True})
    return Case("BartForCausalLM", config, spec, names)


CASES = [
    llama,
    bart_alone,
    gpt2,
    gemma2,
    t5,
    deepseek_v3,
    gpt_oss,
    qwen3_moe,
    bert,
    gpt_neox,
    bloom,
    olmo2,
    cohere,
    opt,
    albert,
]


def their_model(case: Case) -> nn.Module:
    """transformers' model, every weight random, norms about 1."""
    kind = getattr(transformers, case.kind)
    eager = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = kind(kind.config_class(**case.config, **eager))
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for name, b in model.named_buffers() if "correction_bias" in name)):
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return model.eval()


def load_theirs(ours: nn.Module, theirs: Tensors, case: Case) -> None:
    case.before(theirs)
    for name, tensor in (*ours.named_parameters(), *ours.named_buffers()):
        pattern = next(pattern for pattern in case.names if re.match(pattern, name))
        found = theirs[re.sub("^" + pattern, case.names[pattern], name)]
        assert tensor.shape == found.shape, name
        with torch.no_grad():
            tensor.copy_(found)


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_same_logits_as_transformers(make: Callable[[], Case]) -> None:
    torch.manual_seed(1)
    case = make()
    theirs = their_model(case)
    ours = build(load(case.spec), "cpu").eval()
    load_theirs(ours, dict(theirs.state_dict()), case)
    # Token 1 pads in some models, which would hide it from attention.
    tops = {"token_type_ids": 2}
    ids = {name: torch.randint(2 if name not in tops else 0, tops.get(name, 37), (2, SEQ)) for name in case.inputs}
    with torch.no_grad():
        expected = theirs(**ids).logits
        first, *rest = ids.values()
        more = {"token_types_BT": rest[0]} if "token_type_ids" in ids else {}
        found = ours(first, **more) if more or not rest else ours(first, *rest)
    assert expected.std() > 0.05, "weights large enough to show a difference"
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
