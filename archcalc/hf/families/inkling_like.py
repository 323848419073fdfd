"""Inkling: short convolutions everywhere, a bias of distances that the token decides, weighted shared experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import INDICES, LAYERS_OR_NONE, Config
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, Conversion, ImpliedValue, Key, NullCases, Override
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
    # The class cuts the logits of rows that pad the table.
    run_constraints=(Constraint("unpadded_vocab_size", (None, size("vocab_size", 201024))),),
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

FAMILIES = (INKLING,)
