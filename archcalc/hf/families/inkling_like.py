"""Inkling: short convolutions everywhere, a bias of distances that the token decides, weighted shared experts.

Inkling 2 has a stream that is set aside every few layers, and decides more by token: sinks, weights of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import INDICES, LAYERS_OR_NONE, TEXT, Config
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Conversion, ImpliedValue, Key, NullCases, Override
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule
from archcalc.hf.templates.decoder import LAYER, cross_product, decoder
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import CORRECTION, LLAMA_DENSE, LLAMA_EXPERTS, QK_NORMS, keys, positive, rmsnorm, size

WIDTH = size("intermediate_size", 24576)
DENSE_WIDTH = size("dense_intermediate_size", None)


@final
class ExpertWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The width of an expert: `intermediate_size` in files that have another key for that of dense layers."""

    own: Key = size("moe_intermediate_size", 3072)

    def names(self) -> Iterator[str]:
        """Yield all keys."""
        yield from (*self.own.names(), *WIDTH.names(), *DENSE_WIDTH.names())

    def read(self, config: Config) -> Any:
        """Return the width."""
        is_older = config.data.get(DENSE_WIDTH.name) is not None
        return (WIDTH if is_older else self.own).read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key of experts."""
        self.own.write(value, draft)


@final
class ScoredTokens(ConfigLens, msgspec.Struct, frozen=True):
    """The number of tokens whose logits are kept, None if these are all: the rows of other tokens pad the table."""

    key: Key

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the number, or None."""
        n_scored = self.key.read(config)
        return None if n_scored is None or n_scored >= VOCABULARY.read(config) else n_scored

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number, which is the vocabulary's if all are scored."""
        draft.put(self.key.name, draft[VOCABULARY.name] if value is None else value)


VOCABULARY = size("vocab_size", 201024)
LOCAL = Key("local_layer_ids", INDICES, None, null=None)
N_DENSE = Key("dense_mlp_idx", LAYERS_OR_NONE, 0)
WINDOW = size("sliding_window_size", 512, aliases=("sliding_window",))
CONVOLUTION = size("conv_kernel_size", 4, aliases=("sconv_kernel_size",))
LATE = size("log_scaling_n_floor", None, null=None)


def kind_of(config: Config, index: int) -> str:
    """Return the kind of a layer: sliding where it is listed, by default all but each sixth."""
    listed = LOCAL.read(config)
    return "sliding" if (index in listed if listed is not None else (index + 1) % 6) else "global"


def heads(prefix: str, kv: int, extent: Key) -> dict[str, Any]:
    """Return the fields of a kind of layers, whose own sizes have keys with a prefix."""
    width = size(f"{prefix}head_dim", 128)
    return {
        "n_heads": size(f"{prefix}num_attention_heads", 64),
        "n_kv_heads": size(f"{prefix}num_key_value_heads", kv),
        "d_head": width,
        # Queries and keys are normalized.
        "scale": ImpliedValue(lambda config: 1.0 / width.read(config)),
        "position": {"kind": "content", "d_rel": size("d_rel", 16), "n_distances": extent},
    }


def with_convolutions(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose branches' outputs are convolved."""
    parts = {"attn": layer["attention"], "ffn": layer["ffn"]}
    return {
        "branches": tuple(
            {"norm_in": layer["norm"], "arms": ({"name": name, "part": part, "d_out_conv": CONVOLUTION},)}
            for name, part in parts.items()
        )
    }


LATER = NullCases(LATE, None, {"kind": "late", "factor": positive("log_scaling_alpha", 0.1), "n_tokens": LATE})
INKLING = decoder(
    "inkling_text",
    "InklingForCausalLM",
    vocab=201024,
    n_ctx=size("max_position_embeddings", 131072, aliases=("model_max_length",)),
    width=6144,
    depth=66,
    attention={"qk_norm": "head", "d_conv": CONVOLUTION},
    ffn={"d_ff": Override(DENSE_WIDTH, WIDTH), "out_scale": True},
    schedule=CombinedSchedule(
        ListSchedule({"hybrid_sliding": "sliding", "hybrid": "global"}, kind_of, (LOCAL,)),
        layers_that(lambda config, index: index < N_DENSE.read(config), N_DENSE),
    ),
    to_branches=with_convolutions,
    stack_fields={"embed_norm": rmsnorm(1e-6), "embed_norm_reads": "tokens"},
    head={
        "tied": False,
        "n_scored": ScoredTokens(size("unpadded_vocab_size", None, null=None)),
        "scale": Conversion(
            positive("logits_mup_width_multiplier", 24.0, aliases=("embedding_multiplier",)),
            lambda multiplier: 1.0 / multiplier,
            lambda scale: 1.0 / scale,
        ),
    },
    tensors=(
        LLAMA_DENSE,
        QK_NORMS,
        LLAMA_EXPERTS,
        CORRECTION,
        module("embed_norm", "model.embed_tokens.embed_norm"),
        modules(
            {
                "attn.content.r": "self_attn.r_proj",
                "attn.k_conv": "self_attn.k_sconv.conv1d",
                "attn.v_conv": "self_attn.v_sconv.conv1d",
                "attn_conv": "attn_sconv.conv1d",
                "ffn_conv": "mlp_sconv.conv1d",
            },
            *LAYER,
        ),
        tuple(
            TensorEntry(f"model.layers.{{i}}.{theirs}", (f"layers.{{i}}.{ours}",))
            for theirs, ours in {
                "self_attn.rel_logits_proj.proj": "attn.content.profiles",
                "mlp.global_scale": "ffn.out_scale",
                "mlp.gate.global_scale": "ffn.weight_scale",
                **{f"mlp.shared_experts.{name}_proj": f"ffn.shared.{name}.weight" for name in ("gate", "up", "down")},
            }.items()
        ),
    ),
    irrelevant=keys(
        "shared_expert_sink rms_norm_eps_moe_gate num_mtp_layers chain_hidden_post_norm mtp_hidden_states_first"
        " mtp_local_layer_ids number_of_conv_states tie_word_embeddings"
    ),
    spelling=TIED_EXPERTS,
    **cross_product(
        {
            "global": heads("", 8, size("rel_extent", 1024)) | {"temperature": LATER},
            "sliding": heads("swa_", 16, WINDOW) | {"window": WINDOW},
        },
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", 256, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 6),
                ExpertWidth(),
                **CORRECTED,
                normalize=True,
                scale=positive("route_scale", 8.0),
                n_shared=size("n_shared_experts", 2),
                scores_shared=True,
                weight_scale=True,
            ),
        },
    ),
)

EPS = rmsnorm(1e-6)
WINDOW_2 = size("sliding_window_size", 1024, aliases=("sliding_window",))


def average(n_kernels: int) -> ImpliedValue:
    """Return the factor of a sum of a state and its convolutions by so many kernels: as if their terms had one size."""
    return ImpliedValue(lambda config: (n_kernels * CONVOLUTION.read(config) + 1) ** -0.5)


def heads_2(prefix: str, extent: Key, n_kernels: int) -> dict[str, Any]:
    """Return the fields of a kind of layers of Inkling 2."""
    content = {"kind": "content", "d_rel": size("d_rel", 16), "n_distances": extent}
    return {
        "n_heads": size(f"{prefix}num_attention_heads", 48),
        "n_kv_heads": size(f"{prefix}num_key_value_heads", 8),
        "d_head": size(f"{prefix}head_dim", 128),
        "position": content | {"clip": positive("rel_l2_clip_threshold", 8.0)},
        "conv_scale": average(n_kernels),
    }


def with_streams(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose branches' outputs are convolved, and whose full attention splits its input."""
    splits = {"attn": kind == "global", "ffn": False}
    parts = {"attn": layer["attention"], "ffn": layer["ffn"]}
    return {
        "branches": tuple(
            {
                "norm_in": layer["norm"],
                "splits_input": splits[name],
                "arms": ({"name": name, "part": part, "d_out_conv": CONVOLUTION, "scale": average(1)},),
            }
            for name, part in parts.items()
        )
    }


# Released files have names of their own, and the rows of experts' gate and up by turns.
RELEASED = replace(
    TIED_EXPERTS,
    renames={
        r"^model\.llm\.unembed\.": "lm_head.",
        r"^model\.llm\.": "model.",
        r"^(?=(?:embed|embed_norm|layers|norm|attn_res)\.)": "model.",
        r"^model\.embed\.": "model.embed_tokens.",
        r"^model\.embed_norm\.": "model.embed_tokens.embed_norm.",
        r"\.attn\.": ".self_attn.",
        r"\.w([qkvro])_(?:du|dv|ud)\.": r".\1_proj.",
        r"\.gate_attn\.": ".gate_proj.",
        r"\.attn_sink_proj\.": ".sink_proj.",
        r"\.attn_sconv\.": ".post_attention_convolution.",
        r"\.mlp_sconv\.": ".post_mlp_convolution.",
        r"(convolution|sconv)\.weight$": r"\1.conv1d.weight",
        r"sconv\.static_w$": "sconv.static_weight",
        r"sconv\.weight_proj$": "sconv.weight_proj.weight",
        r"\.mlp_norm\.": ".post_attention_layernorm.",
        r"\.attn_norm\.": ".input_layernorm.",
        r"\.([qkv])_input_norm\.": r".\1_input_layernorm.",
        r"\.experts\.w2_weight$": ".experts.down_proj",
        r"\.gate\.bias$": ".gate.e_score_correction_bias",
        r"^model\.attn_res\.mlp_queries\.(\d+)$": r"model.layers.\1.mlp_input.query",
        r"^model\.attn_res\.output_query$": "model.final_input.query",
    },
    of_next_layer={r"model\.attn_res\.attn_queries\.(\d+)": "model.layers.{i}.attention_input.query"},
    fused=(
        TensorEntry(
            "model.layers.{i}.mlp.experts.w13_weight",
            ("layers.{i}.ffn.experts.gate.weight", "layers.{i}.ffn.experts.up.weight"),
            axis=1,
            order="alternate",
        ),
    ),
)
_LATER = {
    "kind": "late",
    "factor": positive("log_scaling_alpha", 0.1),
    "n_tokens": size("log_scaling_n_floor", 128000),
}
INKLING_2 = decoder(
    "inkling2_text",
    "Inkling2ForCausalLM",
    vocab=201024,
    n_ctx=size("max_position_embeddings", 1048576, aliases=("model_max_length",)),
    width=4608,
    depth=48,
    attention={
        "d_conv": CONVOLUTION,
        "v_norm": {**EPS, "weight": False},
        "gate": {"over": "channel"},
        "token_sinks": True,
        "qk_clip": positive("qk_l2_clip_threshold", 22.627416997969522),
    },
    base_ffn=experts(
        size("n_routed_experts", 384, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 8),
        size("moe_intermediate_size", 2304, aliases=("intermediate_size",)),
        **CORRECTED
        | {
            "activation": {
                "kind": "capped_swish",
                "cap": positive("mlp_gate_softcap", 4.0),
                "up_cap": positive("mlp_up_softcap", 25.0),
            },
            "choose": Choice(
                Key("scoring_func", TEXT, "sigmoid"), {"sigmoid": "sigmoid", "sqrtsoftplus": "sqrt_softplus"}
            ),
        },
        normalize=True,
        scale=positive("route_scale", 8.0, aliases=("routed_scaling_factor",)),
    ),
    kinds={
        "global": heads_2("", size("rel_extent", 1024), 2) | {"conv_by_token": True, "temperature": _LATER},
        "sliding": heads_2("swa_", WINDOW_2, 1) | {"window": WINDOW_2},
    },
    schedule=ListSchedule(
        {"hybrid_sliding": "sliding", "hybrid": "global"},
        lambda config, index: "sliding" if (index + 1) % 6 else "global",
    ),
    to_branches=with_streams,
    stack_fields={
        "embed_norm": EPS,
        "embed_norm_reads": "tokens",
        "streams": {"kind": "set_aside", "n_block": size("n_layers_per_attn_res_block", 6)},
    },
    head={
        "tied": False,
        "softcap": positive("final_logit_softcapping", 30.0),
        "n_scored": ScoredTokens(size("unpadded_vocab_size", 200058)),
    },
    tensors=(
        module(
            "layers.{i}.attn_norm",
            "model.layers.{i}.q_input_layernorm",
            requires="layers.{i}.attn_norm_keys.weight",
        ),
        LLAMA_DENSE,
        LLAMA_EXPERTS,
        CORRECTION,
        module("embed_norm", "model.embed_tokens.embed_norm"),
        modules(
            {
                "attn.content.r": "self_attn.r_proj",
                "attn.gate": "self_attn.gate_proj",
                "attn.sink": "self_attn.sink_proj",
                "attn.k_conv": "self_attn.k_sconv.conv1d",
                "attn.v_conv": "self_attn.v_sconv.conv1d",
                "attn.k_conv.numbers": "self_attn.k_sconv.weight_proj",
                "attn.v_conv.numbers": "self_attn.v_sconv.weight_proj",
                "attn_conv": "post_attention_convolution.conv1d",
                "ffn_conv": "post_mlp_convolution.conv1d",
                "attn_norm_keys": "k_input_layernorm",
                "attn_norm_values": "v_input_layernorm",
            },
            *LAYER,
        ),
        tuple(
            TensorEntry(f"model.layers.{{i}}.{theirs}", (f"layers.{{i}}.{ours}",))
            for theirs, ours in {
                "self_attn.rel_logits_proj.proj": "attn.content.profiles",
                "self_attn.q_l2_clip.scale": "attn.q_scale",
                "self_attn.rel_l2_clip.scale": "attn.content.r_scale",
                "self_attn.k_sconv.static_weight": "attn.k_conv.kernel",
                "self_attn.v_sconv.static_weight": "attn.v_conv.kernel",
                "attention_input.query": "streams.attn.query",
                "mlp_input.query": "streams.ffn.query",
            }.items()
        ),
        TensorEntry("model.final_input.query", ("streams.query",)),
    ),
    irrelevant=keys("hidden_act number_of_conv_states tie_word_embeddings"),
    spelling=RELEASED,
)

FAMILIES = (INKLING, INKLING_2)
