"""Decoders whose layers have attention or lightning attention, and add their outputs to the normed states: MiniMax."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.hf.config import Config
from archcalc.hf.families.moe_like import MIXTRAL, MIXTRAL_SPELLING
from archcalc.hf.family import derive
from archcalc.hf.lens import Constraint, ImpliedValue
from archcalc.hf.stack import INDEX, ListSchedule
from archcalc.hf.templates.decoder import LAYER
from archcalc.hf.tensors import fused_modules, modules
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
)

DEPTH, N_HEADS = layers(32), size("num_attention_heads", 32)


def rate(config: Config) -> float:
    """Return the factor of a layer's rates, which falls from 1 in the first layer nearly to 0 in the last."""
    return float(1 - config.data[INDEX] / (DEPTH.read(config) - 1 + 1e-5) + 1e-5)


def head_width(config: Config) -> int:
    """Return the default width of a head."""
    return int(size("hidden_size", 4096).read(config) // N_HEADS.read(config))


def with_factors(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose branches are added to their normed inputs, with the factors of its kind."""
    name, arm = ("full", "attn") if kind == "attention" else ("linear", "mixer")
    parts = (
        (f"{name}_attn", {"name": arm, "part": layer["attention"] or layer["mixer"]}),
        (
            "mlp",
            {"name": "ffn", "part": layer["ffn"]},
        ),
    )
    return {
        "branches": tuple(
            {
                "norm_in": layer["norm"],
                "arms": (arm,),
                "scale": positive(f"{key}_beta_factor", 1),
                "skip": positive(f"{key}_alpha_factor", 1),
                "skip_reads": "normed",
            }
            for key, arm in parts
        )
    }


MINIMAX = derive(
    MIXTRAL,
    "minimax",
    "MiniMaxForCausalLM",
    kinds={"attention": {}},
    mixers={
        "linear": {
            "kind": "lightning",
            "n_heads": N_HEADS,
            "d_head": size("head_dim", head_width, null=head_width),
            "chunk": size("block_size", 256),
            "rate": ImpliedValue(rate),
            # The mixer's norm does not read rms_norm_eps.
            "norm": {"kind": "rmsnorm", "eps": 1e-6},
        }
    },
    schedule=ListSchedule(
        {"full_attention": "attention", "linear_attention": "linear"},
        lambda config, index: "linear" if index % 2 else "attention",
    ),
    by_index=True,
    to_branches=with_factors,
    norm=rmsnorm(1e-5),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        LLAMA_EXPERTS,
        modules({"mixer_norm": "input_layernorm"}, *LAYER),
        fused_modules(
            tuple(f"layers.{{i}}.mixer.{name}" for name in "qkv"),
            "model.layers.{i}.self_attn.qkv_proj",
            order="by_head",
        ),
        modules(
            {"gate": "output_gate", "norm": "norm", "out": "out_proj"},
            "layers.{i}.mixer.",
            "model.layers.{i}.self_attn.",
        ),
    ),
    # The mixer is activated as the feed-forward is; ours always by silu.
    constraints=(Constraint("hidden_act", ("silu", "swish")),),
    irrelevant=keys("router_jitter_noise attn_type_list"),
    spelling=replace(
        MIXTRAL_SPELLING,
        unused={r".*\.self_attn\.(slope_rate|(query|key|diagonal)_decay)": "follows from the config"},
    ),
)

FAMILIES = (MINIMAX,)
