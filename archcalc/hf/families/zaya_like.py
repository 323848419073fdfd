"""ZAYA1: convolved queries and keys, routers with a state, an expert that does nothing, scaled residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.hf.config import SIZE, Config
from archcalc.hf.families.moe_like import experts
from archcalc.hf.lens import Constraint, Key
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import FirstLayerSchedule, ListSchedule
from archcalc.hf.templates.decoder import LAYER, decoder
from archcalc.hf.tensors import TensorEntry, modules
from archcalc.hf.vocabulary import LLAMA_EXPERTS, LLAMA_NORMS, LLAMA_OUTSIDE, flag, keys, rmsnorm, size

D_HEAD = size("head_dim", 128)
NORM, SCALED = rmsnorm(1e-5), {"kind": "affine", "bias_first": True}


def rotated_share(config: Config) -> float:
    """Return the default of the share of a head that is rotated: half, unless the config has parameters."""
    return 1.0 if config.data.get("rope_parameters") else 0.5


def rotation(word: str, theta: float) -> RopeLens:
    """Return the rotary position of the layers of this word."""
    return RopeLens(
        theta=theta,
        theta_key=None,
        share_key=None,
        default_share=rotated_share,
        head_width=D_HEAD.read,
        layer_kind=word,
        needs_kind=True,
    )


def scaled(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with a factor and a bias of each channel on both sides of each sum.

    The router of the first layer has no state to add.
    """
    router = layer["ffn"]["router_mlp"] | {"adds_previous": not kind.startswith("first_")}
    parts = {"attn": layer["attention"], "ffn": layer["ffn"] | {"router_mlp": router}}
    own = {"norm_in": layer["norm"], "norm_out": SCALED, "skip_weight": True, "skip_bias": True}
    return {"branches": tuple({**own, "arms": ({"name": name, "part": part},)} for name, part in parts.items())}


SLIDING = {"window": Key("sliding_window", SIZE), "position": rotation("hybrid_sliding", 10_000.0)}
KINDS: dict[str, dict[str, Any]] = {"global": {"window": None}, "sliding": SLIDING}
SIDES = {
    "attn_out_norm": ("post_attention_residual_scale", "hidden_states"),
    "attn_skip": ("post_attention_residual_scale", "residual"),
    "ffn_out_norm": ("post_mlp_residual_scale", "hidden_states"),
    "ffn_skip": ("post_mlp_residual_scale", "residual"),
}
OF_LAYERS = {
    **{f"{ours}.weight": f"{module}.{side}_scale" for ours, (module, side) in SIDES.items()},
    **{f"{ours}.bias": f"{module}.{side}_bias" for ours, (module, side) in SIDES.items()},
    "attn.temperature": "self_attn.qk_norm.temp",
    "ffn.router_mlp.state_scale": "mlp.gate.router_states_scale",
    "ffn.correction_bias": "mlp.gate.balancing_biases",
}

# With attention_bias the class's convolutions read the bias at padding before a text, so that its logits of a padded
# text are others than those of the text alone. Ours read 0 there, as before any text.
ZAYA = decoder(
    "zaya",
    "ZayaForCausalLM",
    vocab=262272,
    n_ctx=131072,
    width=2048,
    depth=40,
    norm=NORM,
    tie=True,
    head={"bias": flag("lm_head_bias", False)},
    base_attention={
        "kind": "cca",
        "n_heads": size("num_attention_heads", 8),
        "n_kv_heads": size("num_key_value_heads", 2),
        "d_head": D_HEAD,
        "d_conv": size("cca_time0", 2),
        "d_group_conv": size("cca_time1", 2),
        "norm": {"kind": "rmsnorm", "weight": False, "eps": 1e-12},
        "bias": flag("attention_bias", False),
        "out_bias": flag("attention_bias", False),
    },
    attention={"position": rotation("hybrid", 5_000_000.0)},
    kinds={f"first_{name}": kind for name, kind in KINDS.items()} | KINDS,
    schedule=FirstLayerSchedule(
        ListSchedule({"hybrid": "global", "hybrid_sliding": "sliding"}, lambda config, index: "global")
    ),
    base_ffn=experts(
        size("num_experts", 16, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 1),
        size("moe_intermediate_size", 2048),
        correction="buffer",
        n_zero=1,
        zero_returns="nothing",
        router_mlp={"d_router": size("router_hidden_size", 256), "norm": NORM},
    ),
    to_branches=scaled,
    stack_fields={"embed_norm": SCALED},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_NORMS,
        LLAMA_EXPERTS[:2],
        modules({"attn.out": "self_attn.o_proj"}, *LAYER),
        modules(
            {
                "q": "q_proj",
                "k": "k_proj",
                "v": "v_proj_current",
                "v_before": "v_proj_delayed",
                "qk_conv.depthwise": "conv_qk_depthwise",
                "qk_conv.grouped": "conv_qk_grouped",
            },
            "layers.{i}.attn.",
            "model.layers.{i}.self_attn.qkv_proj.",
        ),
        modules(
            {
                "router": "router_mlp.out_proj",
                "router_mlp.down": "down_proj",
                "router_mlp.norm": "router_mlp.norm",
                "router_mlp.first": "router_mlp.fc1",
                "router_mlp.second": "router_mlp.fc2",
            },
            "layers.{i}.ffn.",
            "model.layers.{i}.mlp.gate.",
        ),
        tuple(
            TensorEntry(f"model.layers.{{i}}.{theirs}", (f"layers.{{i}}.{ours}",)) for ours, theirs in OF_LAYERS.items()
        ),
        TensorEntry("model.input_hidden_states_scale", ("embed_norm.weight",)),
        TensorEntry("model.input_hidden_states_bias", ("embed_norm.bias",)),
    ),
    constraints=(Constraint("num_experts_per_tok", (1,)),),
    irrelevant=keys("output_router_logits"),
    spelling=TIED,
    small={"num_experts_per_tok": 1, "router_hidden_size": 10},
)

FAMILIES = (ZAYA,)
