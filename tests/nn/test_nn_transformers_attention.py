"""Attention and position features: tiny random models of transformers and ours give the same logits, cached too."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.models.beam import modeling_beam
from transformers.models.bitnet import modeling_bitnet
from transformers.models.m2m_100 import modeling_m2m_100
from transformers.models.marian import modeling_marian
from transformers.models.pegasus_x import modeling_pegasus_x
from transformers.models.phimoe import modeling_phimoe

from archcalc.nn import build, position, rope
from archcalc.nn.attention_context import AttentionContext
from archcalc.sources import load
from archcalc.spec.position import LongRopeScaling, Rope, Sinusoidal
from tests.nn.test_nn_transformers import (
    BIASES,
    HF_SIZES,
    LLAMA_NAMES,
    LN,
    RMS,
    SEQ,
    Case,
    Tensors,
    decoder,
    load_theirs,
    their_model,
)

SIZES = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 17}
GQA = {"kind": "gqa", "n_heads": 6, "n_kv_heads": 2, "d_head": 10}
ROPE = {"kind": "rope"}
ONE_NORM = LN | {"bias": False}


def like_llama(
    kind: str, config: dict[str, Any], *attentions: dict[str, Any], names: dict[str, str] | None = None, **more: Any
) -> Case:
    """A decoder of LLaMA's names, its attentions in turn."""
    own = names or {}
    norm = more.pop("norm", RMS)
    before = more.pop("before", lambda theirs: None)
    ffn = more.pop("ffn", {"kind": "gated", "d_ff": 17})
    placement = more.pop("placement", "pre")
    layers = [{"norm": norm, "placement": placement, "attention": GQA | part, "ffn": ffn} for part in attentions]
    final = more.pop("final_norm", norm)
    spec = decoder(*layers, final_norm=final, **more)
    return Case(
        kind,
        HF_SIZES | SIZES | config,
        spec,
        own | {name: there for name, there in LLAMA_NAMES.items() if name not in own},
        before,
    )


def hunyuan() -> Case:
    names = {
        r"layers\.(\d+)\.attn\.q_norm": r"model.layers.\1.self_attn.query_layernorm",
        r"layers\.(\d+)\.attn\.k_norm": r"model.layers.\1.self_attn.key_layernorm",
    }
    norm = {"norm": RMS | {"eps": 1e-5}, "when": "after"}
    config = {"rms_norm_eps": 1e-5}
    return like_llama(
        "HunYuanDenseV1ForCausalLM",
        config,
        {"position": ROPE, "qk_norm": norm},
        names=names,
        norm=RMS | {"eps": 1e-5},
    )


def nanochat() -> Case:
    """It turns the other way round: as if the halves of every query and key were swapped."""

    def swap(theirs: Tensors) -> None:
        for name in [name for name in theirs if re.search(r"[qk]_proj\.weight", name)]:
            theirs[name] = theirs[name].unflatten(0, (-1, 2, 5)).flip(1).flatten(0, 2)

    bare = RMS | {"weight": False}
    names = {
        r"layers\.(\d+)\.ffn\.up": r"model.layers.\1.mlp.fc1",
        r"layers\.(\d+)\.ffn\.down": r"model.layers.\1.mlp.fc2",
    }
    return like_llama(
        "NanoChatForCausalLM",
        {"final_logit_softcapping": 15.0},
        {"position": ROPE, "qk_norm": {"norm": bare, "when": "after"}},
        names=names,
        norm=bare,
        embed_norm=bare,
        before=swap,
        ffn={"kind": "plain", "d_ff": 17, "activation": "relu2"},
        head={"tied": False, "softcap": 15.0},
    )


def cohere_qk() -> Case:
    norm = {"norm": ONE_NORM | {"eps": 1e-4}, "over": "each"}
    return like_llama(
        "CohereForCausalLM",
        {"use_qk_norm": True, "layer_norm_eps": 1e-4, "logit_scale": 0.25},
        {"position": ROPE | {"interleaved": True, "theta": 500_000.0}, "qk_norm": norm},
        norm=ONE_NORM | {"eps": 1e-4},
        placement="parallel",
        head={"tied": True, "scale": 0.25},
    )


def stablelm_qk() -> Case:
    def stack(theirs: Tensors) -> None:
        for part in "qk":
            for layer in range(3):
                at = f"model.layers.{layer}.self_attn.{part}"
                rows = [theirs[f"{at}_layernorm.norms.{n}.weight"] for n in range({"q": 6, "k": 2}[part])]
                theirs[f"{at}_norm.weight"] = torch.stack(rows)

    config = {
        "qk_layernorm": True,
        "head_dim": 6,
        "hidden_size": 36,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.7},
    }
    part = {"d_head": 6, "position": ROPE | {"d_rotary": 4}, "qk_norm": {"norm": ONE_NORM, "over": "each"}}
    return like_llama("StableLmForCausalLM", config, part, norm=LN, before=stack, d_model=36)


def olmo_clip() -> Case:
    bare = LN | {"weight": False, "bias": False}
    part = {"d_head": 4, "position": ROPE, "clip": 0.3}
    return like_llama("OlmoForCausalLM", {"clip_qkv": 0.3, "head_dim": 4}, part, norm=bare)


def ministral3() -> Case:
    scaling = {"kind": "yarn", "factor": 4.0, "n_ctx_original": 4, "beta_fast": 4.0}
    theirs = {
        "rope_type": "yarn",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 4,
        "beta_fast": 4.0,
        "beta_slow": 1.0,
        "llama_4_scaling_beta": 0.5,
    }
    norm = RMS | {"eps": 1e-5}
    part = {"position": ROPE | {"scaling": scaling}, "temperature": {"kind": "log", "factor": 0.5, "n_tokens": 4}}
    return like_llama("Ministral3ForCausalLM", {"rope_parameters": theirs, "sliding_window": None}, part, norm=norm)


def dynamic(n_ctx_original: int) -> Case:
    theirs = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}
    scaling = {"kind": "dynamic", "factor": 3.0, "n_ctx_original": n_ctx_original}
    part = {"position": ROPE | {"theta": 1000.0, "scaling": scaling}}
    config = {"rope_parameters": theirs, "max_position_embeddings": n_ctx_original}
    return like_llama("LlamaForCausalLM", config, part)


def dynamic_beyond() -> Case:
    return dynamic(5)


def dynamic_within() -> Case:
    return dynamic(24)


def phi3(n_ctx_original: int) -> Case:
    def split(theirs: Tensors) -> None:
        for layer in range(3):
            at = f"model.layers.{layer}"
            q, k, v = theirs[f"{at}.self_attn.qkv_proj.weight"].split((24, 8, 8))
            gate, up = theirs[f"{at}.mlp.gate_up_proj.weight"].chunk(2)
            made = {"self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v}
            made |= {"mlp.gate_proj": gate, "mlp.up_proj": up}
            theirs |= {f"{at}.{name}.weight": value for name, value in made.items()}

    short, long = [1.0, 1.5], [2.0, 7.0]
    theirs = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": short, "long_factor": long}
    theirs |= {"original_max_position_embeddings": n_ctx_original}
    config = {"rope_parameters": theirs, "original_max_position_embeddings": n_ctx_original, "rms_norm_eps": 1e-6}
    scaling = {
        "kind": "longrope",
        "factor": 24 / n_ctx_original,
        "short": short,
        "long": long,
        "n_ctx_original": n_ctx_original,
    }
    part = {"d_head": 4, "position": ROPE | {"scaling": scaling}}
    config |= {"head_dim": 4, "pad_token_id": 1}
    return like_llama("Phi3ForCausalLM", config, part, before=split)


def phi3_long() -> Case:
    return phi3(5)


def phi3_short() -> Case:
    return phi3(16)


def afmoe() -> Case:
    names = {
        r"layers\.(\d+)\.attn\.gate": r"model.layers.\1.self_attn.gate_proj",
        r"layers\.(\d+)\.attn_out_norm": r"model.layers.\1.post_attention_layernorm",
        r"layers\.(\d+)\.ffn_norm": r"model.layers.\1.pre_mlp_layernorm",
        r"layers\.(\d+)\.ffn_out_norm": r"model.layers.\1.post_mlp_layernorm",
    }
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = {"num_dense_layers": 3, "layer_types": kinds, "sliding_window": 4, "rms_norm_eps": 1e-6}
    part = {"gate": {}, "qk_norm": {"norm": RMS}}
    window = {"window": 4, "position": ROPE}
    return like_llama("AfmoeForCausalLM", config, part | window, part, names=names, placement="sandwich")


def laguna(over: str) -> Case:
    names = {r"layers\.(\d+)\.attn\.gate": r"model.layers.\1.self_attn.g_proj"}
    config = {"gating": {"head": "per-head", "channel": "per-element"}[over], "mlp_layer_types": ["dense"] * 3}
    config |= {"num_attention_heads_per_layer": [6] * 3, "layer_types": ["full_attention"] * 3}
    config |= {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}}
    part = {"gate": {"over": over, "activation": "softplus"}, "qk_norm": {"norm": RMS}, "position": ROPE}
    return like_llama("LagunaForCausalLM", config, part, names=names)


def laguna_heads() -> Case:
    return laguna("head")


def laguna_channels() -> Case:
    return laguna("channel")


def mimo() -> Case:
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.4}
    config = {"v_head_dim": 7, "layer_types": kinds, "mlp_layer_types": ["dense"] * 3, "sliding_window": 4}
    config |= {"attention_value_scale": 0.5, "rms_norm_eps": 1e-6}
    config |= {"rope_parameters": dict.fromkeys(kinds, rope)}
    part = {"d_value": 7, "value_scale": 0.5, "position": ROPE | {"d_rotary": 4}}
    window = {"n_kv_heads": 2 * 2, "n_heads": 8, "window": 4, "sinks": True}
    config |= {"num_attention_heads": 8}
    return like_llama("MiMoV2FlashForCausalLM", config, part | {"n_heads": 8}, part | window)


def mpt() -> Case:
    def split(theirs: Tensors) -> None:
        for name in [name for name in theirs if "Wqkv" in name]:
            parts = zip("qkv", theirs[name].chunk(3), strict=True)
            theirs |= {name.replace("Wqkv", part): x for part, x in parts}

    attention = {"kind": "gqa", "n_heads": 6, "position": {"kind": "alibi", "max_bias": 8.0}, "clip": 0.4}
    ffn = {"kind": "plain", "d_ff": 96, "activation": "gelu"}
    names = {
        r"embed\.tokens": "transformer.wte",
        r"final_norm": "transformer.norm_f",
        r"layers\.(\d+)\.attn\.out": r"transformer.blocks.\1.attn.out_proj",
        r"layers\.(\d+)\.attn\.([qkv])": r"transformer.blocks.\1.attn.\2",
        r"layers\.(\d+)\.ffn\.up": r"transformer.blocks.\1.ffn.up_proj",
        r"layers\.(\d+)\.ffn\.down": r"transformer.blocks.\1.ffn.down_proj",
        r"layers\.(\d+)\.attn_norm": r"transformer.blocks.\1.norm_1",
        r"layers\.(\d+)\.ffn_norm": r"transformer.blocks.\1.norm_2",
    }
    config = {"vocab_size": 37, "max_seq_len": 24, "d_model": 24, "n_layers": 3, "n_heads": 6}
    config |= {"attn_config": {"clip_qkv": 0.4}}
    layer = {"norm": ONE_NORM, "attention": attention, "ffn": ffn}
    spec = decoder(layer, final_norm=ONE_NORM, head={"tied": True})
    return Case("MptForCausalLM", config, spec, names, split)


def roformer(values: bool = True) -> Case:
    norm = LN | {"eps": 1e-12}
    rope = ROPE | {"interleaved": True, "stored": True, "values": values}
    layer = {
        "norm": norm,
        "placement": "post",
        "attention": {"kind": "gqa", "n_heads": 4, "position": rope} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True},
    }
    at = r"roformer.encoder.layer.\1."
    names = {
        r"embed\.tokens": "roformer.embeddings.word_embeddings",
        r"embed\.types": "roformer.embeddings.token_type_embeddings",
        r"embed_norm": "roformer.embeddings.LayerNorm",
        r"rotary": "roformer.encoder.embed_positions",
        r"head\.transform": "cls.predictions.transform.dense",
        r"head\.norm": "cls.predictions.transform.LayerNorm",
        r"head\.bias": "cls.predictions.bias",
        r"layers\.(\d+)\.attn\.q\.": at + "attention.self.query.",
        r"layers\.(\d+)\.attn\.k\.": at + "attention.self.key.",
        r"layers\.(\d+)\.attn\.v\.": at + "attention.self.value.",
        r"layers\.(\d+)\.attn\.out": at + "attention.output.dense",
        r"layers\.(\d+)\.attn_norm": at + "attention.output.LayerNorm",
        r"layers\.(\d+)\.ffn\.up": at + "intermediate.dense",
        r"layers\.(\d+)\.ffn\.down": at + "output.dense",
        r"layers\.(\d+)\.ffn_norm": at + "output.LayerNorm",
    }
    stack = {"n_layers": 3, "embed_norm": norm, "runs": [{"pattern": [layer]}]}
    head = {"tied": True, "bias": True, "transform": {"activation": "gelu", "norm": norm}}
    spec = {"name": "x", "vocab_size": 37, "n_ctx": 24, "d_model": 24, "encoder": stack, "head": head}
    spec |= {"embedding": {"n_token_types": 2}}
    config = HF_SIZES | {"num_attention_heads": 4, "intermediate_size": 31, "rotary_value": values}
    return Case("RoFormerForMaskedLM", config, spec, names, inputs=["input_ids", "token_type_ids"])


def ctrl() -> Case:
    norm = LN | {"eps": 1e-6}
    layer = {
        "norm": norm,
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "relu", "bias": True},
    }
    at = r"transformer.h.\1."
    names = {
        r"embed\.tokens": "transformer.w",
        r"final_norm": "transformer.layernorm",
        r"head\.bias": "lm_head.bias",
        r"layers\.(\d+)\.attn\.([qkv])": at + r"multi_head_attention.W\2",
        r"layers\.(\d+)\.attn\.out": at + "multi_head_attention.dense",
        r"layers\.(\d+)\.ffn\.up": at + "ffn.0",
        r"layers\.(\d+)\.ffn\.down": at + "ffn.2",
        r"layers\.(\d+)\.attn_norm": at + "layernorm1",
        r"layers\.(\d+)\.ffn_norm": at + "layernorm2",
    }
    config = {"vocab_size": 37, "n_positions": 24, "n_embd": 24, "n_layer": 3, "n_head": 4, "dff": 31}
    config |= {"layer_norm_epsilon": 1e-6}
    spec = decoder(
        layer,
        position={"kind": "sinusoidal", "order": "halves"},
        final_norm=norm,
        head={"tied": True, "bias": True},
        embedding={"scale": 24**0.5},
    )
    return Case("CTRLLMHeadModel", config, spec, names)


def xglm() -> Case:
    layer = {
        "norm": LN,
        "attention": {"kind": "gqa", "n_heads": 4} | BIASES,
        "ffn": {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True},
    }
    at = r"model.layers.\1."
    names = {
        r"embed\.tokens": "model.embed_tokens",
        r"final_norm": "model.layer_norm",
        r"layers\.(\d+)\.attn\.([qkv])": at + r"self_attn.\2_proj",
        r"layers\.(\d+)\.attn\.out": at + "self_attn.out_proj",
        r"layers\.(\d+)\.ffn\.up": at + "fc1",
        r"layers\.(\d+)\.ffn\.down": at + "fc2",
        r"layers\.(\d+)\.attn_norm": at + "self_attn_layer_norm",
        r"layers\.(\d+)\.ffn_norm": at + "final_layer_norm",
    }
    config = {"vocab_size": 37, "max_position_embeddings": 24, "d_model": 24, "num_layers": 3}
    config |= {"attention_heads": 4, "ffn_dim": 31}
    spec = decoder(
        layer,
        position={"kind": "sinusoidal", "order": "fairseq", "n_extra": 2},
        final_norm=LN,
        head={"tied": True},
        embedding={"scale": 24**0.5},
    )
    return Case("XGLMForCausalLM", config, spec, names)


def umt5() -> Case:
    relative = {"kind": "relative", "n_buckets": 8, "max_distance": 10, "shared": "layer"}
    attention = {"kind": "gqa", "n_heads": 4, "d_head": 5, "scale": 1.0}
    layer = {
        "norm": RMS,
        "attention": attention | {"position": relative},
        "ffn": {"kind": "gated", "d_ff": 17, "activation": "gelu_tanh"},
    }
    names = {r"embed\.tokens": "shared", r"head\.": "lm_head."}
    for stack, (cross, ffn) in {"encoder": (None, 1), "decoder": (1, 2)}.items():
        at = stack + r".block.\1.layer."
        names |= {
            rf"{stack}\.layers\.(\d+)\.attn\.relative_bias": at + "0.SelfAttention.relative_attention_bias",
            rf"{stack}\.layers\.(\d+)\.attn\.out": at + "0.SelfAttention.o",
            rf"{stack}\.layers\.(\d+)\.attn\.([qkv])": at + r"0.SelfAttention.\2",
            rf"{stack}\.layers\.(\d+)\.attn_norm": at + "0.layer_norm",
            rf"{stack}\.layers\.(\d+)\.cross\.out": at + f"{cross}.EncDecAttention.o",
            rf"{stack}\.layers\.(\d+)\.cross\.([qkv])": at + rf"{cross}.EncDecAttention.\2",
            rf"{stack}\.layers\.(\d+)\.cross_norm": at + f"{cross}.layer_norm",
            rf"{stack}\.layers\.(\d+)\.ffn\.gate": at + f"{ffn}.DenseReluDense.wi_0",
            rf"{stack}\.layers\.(\d+)\.ffn\.up": at + f"{ffn}.DenseReluDense.wi_1",
            rf"{stack}\.layers\.(\d+)\.ffn\.down": at + f"{ffn}.DenseReluDense.wo",
            rf"{stack}\.layers\.(\d+)\.ffn_norm": at + f"{ffn}.layer_norm",
            rf"{stack}\.final_norm": f"{stack}.final_layer_norm",
        }
    stacks = {
        "encoder": {"n_layers": 2, "runs": [{"pattern": [layer]}], "final_norm": RMS},
        "decoder": {"n_layers": 2, "runs": [{"pattern": [layer | {"cross": attention}]}], "final_norm": RMS},
    }
    spec = {
        "name": "x",
        "vocab_size": 37,
        "n_ctx": 24,
        "d_model": 24,
        "head": {"tied": False, "scale": 24**-0.5},
    } | stacks
    config = {"vocab_size": 37, "d_model": 24, "d_kv": 5, "d_ff": 17, "num_layers": 2, "num_heads": 4}
    config |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 10}
    config |= {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 2}
    return Case("UMT5ForConditionalGeneration", config, spec, names, inputs=["input_ids", "decoder_input_ids"])


DECODERS = [
    hunyuan,
    nanochat,
    cohere_qk,
    stablelm_qk,
    olmo_clip,
    ministral3,
    dynamic_beyond,
    dynamic_within,
    phi3_long,
    phi3_short,
    afmoe,
    laguna_heads,
    laguna_channels,
    mimo,
    mpt,
    ctrl,
    xglm,
]


def both(make: Callable[[], Case]) -> tuple[Any, Any, Case]:
    torch.manual_seed(1)
    case = make()
    theirs = their_model(case)
    ours = build(load(case.spec), "cpu").eval()
    load_theirs(ours, dict(theirs.state_dict()), case)
    return theirs, ours, case


def near(found: Tensor, expected: Tensor) -> bool:
    assert expected.std() > 0.05, "weights large enough to show a difference"
    return bool((found - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize("make", DECODERS, ids=lambda make: make.__name__)
def test_same_logits_at_once_and_cached(make: Callable[[], Case]) -> None:
    theirs, ours, _ = both(make)
    again = deepcopy(theirs)  # whose dynamic rope has seen no longer text
    ids = torch.randint(2, 37, (2, SEQ))
    with torch.no_grad():
        assert near(ours(ids), theirs(input_ids=ids).logits)
        cache, past = ours.new_cache(2, SEQ), None
        for chunk in ids.split((3, 4, 1, 2, 1), dim=1):
            stepped = again(input_ids=chunk, past_key_values=past, use_cache=True)
            past = stepped.past_key_values
            assert near(ours(chunk, cache=cache), stepped.logits)


@pytest.mark.parametrize("make", [roformer, umt5], ids=lambda make: make.__name__)
def test_same_logits(make: Callable[[], Case]) -> None:
    theirs, ours, case = both(make)
    tops = {"token_type_ids": 2}
    ids = {name: torch.randint(2 if name not in tops else 0, tops.get(name, 37), (2, SEQ)) for name in case.inputs}
    with torch.no_grad():
        first, second = ids.values()
        found = ours(first, token_types_BT=second) if "token_type_ids" in ids else ours(first, second)
        assert near(found, theirs(**ids).logits)


def test_a_stored_table_of_angles_holds_what_transformers_computes() -> None:
    case = roformer()
    model = transformers.RoFormerForMaskedLM(transformers.RoFormerConfig(**case.config))
    theirs = model.roformer.encoder.embed_positions.weight
    torch.testing.assert_close(build(load(case.spec), "cpu").rotary.weight, theirs, rtol=0, atol=1e-5)


def attended(part: dict[str, Any], names: dict[str, str], theirs: nn.Module, x_BTD: Tensor) -> Tensor:
    """What our attention gives, with the weights of one of theirs."""
    spec = load(decoder({"norm": RMS, "attention": part}, n_layers=1))
    ours = build(spec, "cpu").layers["0"].attn
    own = dict(theirs.state_dict())
    with torch.no_grad():
        for name, tensor in ours.named_parameters():
            pattern = next(pattern for pattern in names if re.match(pattern, name))
            tensor.copy_(own[re.sub("^" + pattern, names[pattern], name)])
        places_T = torch.arange(x_BTD.shape[1])
        found: Tensor = ours(x_BTD, AttentionContext(places_T, places_T, True))
    return found


PROJECTIONS = {r"([qkv])\.": r"\1_proj.", r"out\.": "o_proj.", r"([qk])_norm": r"\1_norm", r"gate\.": "gate_proj."}


def varied(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return module.eval()


def test_beams_gate_has_a_bias_a_head_and_its_queries_a_temperature() -> None:
    torch.manual_seed(1)
    config = modeling_beam.BeamConfig(**HF_SIZES | SIZES, layer_types=["full_attention"] * 3)
    config._attn_implementation = "eager"
    theirs = varied(modeling_beam.BeamAttention(config, 0))
    x_BTD, hidden_TT = torch.randn(2, SEQ, 24), torch.full((SEQ, SEQ), -torch.inf).triu(1)
    scaling = modeling_beam.compute_attention_scaling(torch.arange(SEQ).unsqueeze(0))
    expected, _ = theirs(x_BTD, None, hidden_TT[None, None], attention_scaling=scaling)
    temperature = {"kind": "power", "exponent": 0.1, "n_tokens": 2048, "from_one": True}
    norm = {"norm": RMS | {"eps": config.rms_norm_eps}}
    part = GQA | {"gate": {"bias": True}, "temperature": temperature, "qk_norm": norm}
    assert near(attended(part, PROJECTIONS | {"gate_bias": "gate_bias"}, theirs, x_BTD), expected)


def test_bitnets_heads_are_normed_before_they_are_projected() -> None:
    torch.manual_seed(1)
    config = modeling_bitnet.BitNetConfig(**HF_SIZES | SIZES | {"head_dim": 4})
    config._attn_implementation = "eager"
    theirs = varied(modeling_bitnet.BitNetAttention(config, 0))
    x_BTD, hidden_TT = torch.randn(2, SEQ, 24), torch.full((SEQ, SEQ), -torch.inf).triu(1)
    angles = modeling_bitnet.BitNetRotaryEmbedding(config)(x_BTD, torch.arange(SEQ).unsqueeze(0))
    expected, _ = theirs(x_BTD, angles, hidden_TT[None, None])
    position = ROPE | {"theta": config.rope_parameters["rope_theta"]}
    part = GQA | {"d_head": 4, "position": position, "out_norm": RMS | {"eps": config.rms_norm_eps}}
    assert near(attended(part, PROJECTIONS | {"out_norm": "attn_sub_norm"}, theirs, x_BTD), expected)


@pytest.mark.parametrize("n_tokens", [4, 9])
def test_phimoe_takes_the_short_factors_and_an_attention_factor_by_length(n_tokens: int) -> None:
    """Its class computes the frequencies anew at every pass, without the length."""
    parameters = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.5], "long_factor": [2.0, 7.0]}
    parameters |= {"original_max_position_embeddings": 6, "short_mscale": 1.25, "long_mscale": 1.75}
    config = modeling_phimoe.PhimoeConfig(hidden_size=24, num_attention_heads=6, rope_parameters=parameters)
    places_T = torch.arange(n_tokens)
    cosines, sines = modeling_phimoe.PhimoeRotaryEmbedding(config)(torch.zeros(1), places_T.unsqueeze(0))
    factors = (1.0, 1.5)
    scaling = LongRopeScaling(
        factor=1.0, short=factors, long=factors, n_ctx_original=6, attention_factor=1.25, long_attention_factor=1.75
    )
    for ours, theirs in zip(
        rope.rotary_tables(Rope(d_rotary=4, scaling=scaling), places_T), (cosines, sines), strict=True
    ):
        torch.testing.assert_close(ours, theirs[0, :, :2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [10, 7])
def test_tables_of_sinusoids_are_those_of_each_order(width: int) -> None:
    m2m = modeling_m2m_100.M2M100SinusoidalPositionalEmbedding.get_embedding(9, width, 1)
    ours = position.table_rows(Sinusoidal(order="fairseq", n_extra=2), 9, width)
    torch.testing.assert_close(ours, m2m, rtol=0, atol=1e-5)
    marian = modeling_marian.MarianSinusoidalPositionalEmbedding(9, width).create_weight()
    torch.testing.assert_close(position.table_rows(Sinusoidal(order="halves"), 9, width), marian, rtol=0, atol=1e-5)


def test_pegasus_x_counts_from_zero() -> None:
    theirs = modeling_pegasus_x.PegasusXSinusoidalPositionalEmbedding(10)(torch.zeros(1, 9, 10))[0]
    torch.testing.assert_close(position.fairseq_sinusoids(torch.arange(9), 10), theirs, rtol=0, atol=1e-5)
