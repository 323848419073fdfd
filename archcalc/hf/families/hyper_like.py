"""Decoders with hyper-connections (Hunyuan 4): several residual streams that every branch reads and writes."""

from __future__ import annotations

from msgspec.structs import replace

from archcalc.hf.config import AMOUNT, Config
from archcalc.hf.families.indexed_like import GLM_MOE_DSA, INDEXER, N_SELECTED, indexed_layers, indexer, sharing
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.mla_like import FOLLOWING, MIXED, grouped, latent
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.family import derive
from archcalc.hf.lens import Key
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule
from archcalc.hf.templates.decoder import cross_product
from archcalc.hf.tensors import TensorEntry, modules
from archcalc.hf.vocabulary import activation, flag, keys, layernorm, positive, rmsnorm, size

EPS = Key("hc_eps", AMOUNT, 1e-6)


def stream_tensors(name: str, *prefixes: str) -> tuple[TensorEntry, ...]:
    """Return the entries of the weights of streams; `prefixes` are those of transformers' names."""
    fields = {"projection": "fn", "bias": "base", "scale": "scale"}
    return tuple(
        TensorEntry(f"{prefix}{theirs}", (f"{name}.{ours}",)) for prefix in prefixes for ours, theirs in fields.items()
    )


STREAMS = (
    *stream_tensors("layers.{i}.streams.attn", "model.layers.{i}.attn_hc."),
    *stream_tensors("layers.{i}.streams.ffn", "model.layers.{i}.ffn_hc."),
    *stream_tensors("streams", "model.hc_head.hc_"),
)
N_STREAMS = size("hc_mult", 4)


def indexer_kind(config: Config, index: int) -> str:
    """Return whether a layer runs its indexer, where no list says it: the first two, and every fourth after them."""
    return "full" if index == 0 or (index - 1) % 4 == 0 else "shared"


INDEXER_TYPES = ListSchedule({"full": "full", "shared": "shared"}, indexer_kind, (), "indexer_types")
OWN = indexer(16, norm=layernorm(1e-5, "rms_norm_eps"), rotated="last")

HY_V4 = derive(
    GLM_MOE_DSA,
    "hy_v4",
    "HYV4ForCausalLM",
    vocab=120832,
    n_ctx=262144,
    width=2816,
    depth=34,
    d_ff=6912,
    norm=rmsnorm(1e-5),
    rope={},
    base_attention={
        **latent(32, q_rank=1536, kv_rank=512, d_nope=192, d_rope=64, d_v=256),
        "q_rank": size("q_lora_rank", 1536),
        "gate": {},
        "sinks": True,
    },
    schedule=CombinedSchedule(INDEXER_TYPES, layers_that(lambda config, index: index == 0)),
    to_branches=sharing(34, INDEXER_TYPES),
    stack_fields={
        "streams": {
            "kind": "hyper",
            "n_streams": N_STREAMS,
            "magnitude": positive("hc_magnitude", 2.0),
            "norm_eps": positive("rms_norm_eps", 1e-5),
            "eps": EPS,
            "write_eps": EPS,
        }
    },
    tensors=(
        *MIXED,
        INDEXER,
        modules({"attn.gate": "gate_proj"}, "layers.{i}.", "model.layers.{i}.self_attn."),
        TensorEntry("model.layers.{i}.self_attn.sinks", ("layers.{i}.attn.sinks",)),
        *STREAMS,
    ),
    constraints=(indexed_layers(34),),
    irrelevant=keys(f"{FOLLOWING} learnable_sink_init"),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.hc_pre\.hc_": ".hc_",
            r"\.hc_attn_layer\.hc_": ".attn_hc.",
            r"\.hc_mlp_layer\.hc_": ".ffn_hc.",
            r"\.hc_head_(fn|base|scale)$": r".hc_\1",
            r"\.learnable_sink_param$": ".sinks",
            r"\.linear_gate\.": ".gate_proj.",
        },
        unused={r"model\.mtp_layers\..*": "predicts further tokens"},
    ),
    fixed_keys=NO_PADDING,
    **cross_product(
        {"full": {"indexer": OWN}, "shared": {"indexer": {"kind": "shared", "n_selected": N_SELECTED}}},
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", 256, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 768),
                **CORRECTED,
                **grouped(1, 1),
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 2.827),
                n_shared=size("n_shared_experts", 1),
                shared_activation=activation("silu"),
            )
            # The routed experts alone are clamped, and always by this function.
            | {
                "activation": {
                    "kind": "clamped_swish",
                    "limit": positive("swiglu_limit", 10.0),
                    "alpha": 1.0,
                    "up_offset": 0.0,
                }
            },
        },
    ),
)

FAMILIES = (HY_V4,)
