"""Decoders with Mamba-2's state space: Mamba-2, Nemotron-H."""

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import MAX_NUMBER, SIZE, TEXT, WORDS, Config, ValueType
from archcalc.hf.families.delta_like import MTP_TENSORS
from archcalc.hf.families.mamba_like import (
    MAMBA,
    MAMBA_GGUF_SIZES,
    MAMBA_IRRELEVANT,
    NO_ATTENTION,
    SILU,
    UNBOUNDED,
    mixer_tensors,
)
from archcalc.hf.families.moe_like import CORRECTED, DOWN, GROUPED, UP, experts
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    BLOCK,
    CORRECTED_EXPERTS,
    HEAD_DIM,
    HYBRID_SIZES,
    KV_HEADS,
    OUTSIDE,
    RMS_EPS,
    SIGMOID,
    SSM2,
    UNPERMUTED_ENTRIES,
    GgufMap,
    factor_of,
    grouped_norm,
    layer_flags,
    layer_size,
    stored,
)
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, MismatchError, NullCases
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import ListSchedule
from archcalc.hf.templates.decoder import LAYER, MLP_BIAS, decoder
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import activation, flag, keys, positive, rmsnorm, size

WIDTH = ValueType(lambda value: value == "auto" or SIZE.allows(value), "auto, or an integer")
# How a file may write that there is no limit: in JSON, which has no infinity, or otherwise.
_UNLIMITED: tuple[Any, ...] = (float("inf"), "inf", "Infinity", {"__float__": "Infinity"})


def _is_limit(value: Any) -> bool:
    return value in _UNLIMITED or (type(value) in (int, float) and value >= 0)


LIMITS = ValueType(
    lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_limit, value)),
    "a list of two numbers ≥ 0, the smallest and the largest step",
)


@final
class StepLimit(ConfigLens, msgspec.Struct, frozen=True):
    """The smallest (`index` 0) or the largest step of a list of both; None if it limits nothing."""

    index: int
    key: Key

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> float | None:
        """Return the limit."""
        limit = self.key.read(config)[self.index]
        return None if limit in _UNLIMITED or limit == 0 or limit > MAX_NUMBER else limit

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the list with this limit, beside the other one."""
        if value is not None:
            limits = [*draft.get(self.key.name, (0.0, float("inf")))]
            limits[self.index] = value
            draft[self.key.name] = limits


@final
class HeadWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The width of a head, which must be d_inner / n_heads; "auto": it is. d_inner is `total`, or expand · width."""

    key: Key
    expand: Key
    n_heads: Key
    width: Key
    total: Key | None = None

    def names(self) -> Iterator[str]:
        """Yield the spellings of the key, of `expand` and of the total."""
        yield from (*self.key.names(), *self.expand.names(), *(self.total.names() if self.total else ()))

    def read(self, config: Config) -> int:
        """Return the width. Raises InputError unless the heads together are as wide as `expand` says."""
        stated, n_heads = self.key.read(config), int(self.n_heads.read(config))
        total = self.total.read(config) if self.total else None
        d_inner = int(total or self.expand.read(config) * self.width.read(config))
        if d_inner % n_heads:
            raise config.error(self.n_heads.name, n_heads, f"a divisor of {self._what(config)}, {d_inner}")
        if stated not in ("auto", d_inner // n_heads):
            expected = f"{self._what(config)} / {self.n_heads.name}, {d_inner // n_heads}"
            raise config.error(self.key.name, stated, expected)
        return d_inner // n_heads

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key, and the total or `expand`. The number of heads and the model's width must be in the draft."""
        d_inner, width = value * draft[self.n_heads.name], draft[self.width.name]
        draft.put(self.key.name, value)
        if self.total:
            draft.put(self.total.name, d_inner)
        elif d_inner % width:
            raise MismatchError(self.key.name)
        else:
            draft.put(self.expand.name, d_inner // width)

    def _what(self, config: Config) -> str:
        has_total = self.total is not None and self.total.read(config) is not None
        return self.total.name if self.total and has_total else f"{self.expand.name} · {self.width.name}"


LIMIT = Key("time_step_limit", LIMITS, (0.0, float("inf")))
NEMOTRON_LIMIT = msgspec.structs.replace(LIMIT, aliases=("mamba_dt_limit",))
STEP_LIMITS = {"step_min": StepLimit(0, LIMIT), "step_max": StepLimit(1, LIMIT)}
MAMBA2_HEADS = size("num_heads", 128)
# The modules of a Mamba-2 mixer in transformers' classes, and its tensors without a module.
MAMBA2_TENSORS = {"mixer.in": "in_proj", "mixer.conv": "conv1d", "mixer.norm": "norm", "mixer.out": "out_proj"}
MAMBA2_VECTORS = ("A_log", "D", "dt_bias")


def mamba2_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths that follow from that of all heads, and which biases are stored."""
    return {
        "expand": factor_of(header, "ssm.inner_size", "embedding_length"),
        "head_dim": factor_of(header, "ssm.inner_size", "ssm.time_step_rank"),
        **stored(use_bias="ssm_in.bias", use_conv_bias="ssm_conv1d.bias")(header, {}),
    }


MAMBA2_GGUF = {"ssm.group_count": "n_groups", "ssm.time_step_rank": "num_heads"}
MAMBA2 = derive(
    MAMBA,
    "mamba2",
    "Mamba2ForCausalLM",
    vocab=32768,
    n_ctx=ImpliedValue(UNBOUNDED),
    width=4096,
    depth=64,
    tie=False,
    mixers={
        "layer": {
            "kind": "mamba2",
            "n_heads": MAMBA2_HEADS,
            "d_head": HeadWidth(size("head_dim", 64), size("expand", 2), MAMBA2_HEADS, size("hidden_size", 4096)),
            "n_state_groups": size("n_groups", 8),
            "d_state": size("state_size", 128),
            "d_conv": size("conv_kernel", 4),
            "chunk": size("chunk_size", 256),
            **STEP_LIMITS,
            "bias": flag("use_bias", False),
            "conv_bias": flag("use_conv_bias", True),
            "norm": rmsnorm(1e-5, "layer_norm_epsilon"),
        }
    },
    constraints=(SILU,),
    irrelevant=MAMBA_IRRELEVANT - {"expand"} | keys("time_step_rank"),
    tensors=(
        modules({"embed.tokens": "embeddings", "final_norm": "norm_f"}, name="backbone."),
        module("head", "lm_head"),
        module("layers.{i}.mixer_norm", "backbone.layers.{i}.norm"),
        mixer_tensors("backbone.layers.{i}.mixer.", MAMBA2_TENSORS, *MAMBA2_VECTORS),
    ),
    gguf=GgufMap(
        "mamba2",
        MAMBA_GGUF_SIZES | MAMBA2_GGUF,
        table(OUTSIDE, SSM2),
        of_spec=grouped_norm,
        config_keys=mamba2_gguf,
        own_keys=(*NO_ATTENTION, "ssm.inner_size"),
        origins={"expand": "ssm.inner_size", "head_dim": "ssm.inner_size"},
    ),
)

# The words of a layer's kind, older ones last, and the letters of `hybrid_override_pattern`.
LINEAR_OR_FULL = {
    "linear_attention": "mamba",
    "full_attention": "attention",
    "mamba": "mamba",
    "attention": "attention",
}
LETTERS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
PATTERN = Key("hybrid_override_pattern", TEXT, "ME*-", null="ME*-")
BLOCK_TYPES = Key("layers_block_type", WORDS, None, null=None, aliases=("layer_types",))


def of_pattern(config: Config, index: int) -> str:
    """Return the kind of a layer by its letter. Raises InputError for an unknown one, or if there are too few."""
    pattern = PATTERN.read(config)
    if index >= len(pattern) or pattern[index] not in LETTERS:
        raise config.error(PATTERN.name, pattern, f"one of {' '.join(LETTERS)} for each of {index + 1} layers or more")
    return LETTERS[pattern[index]]


def n_blocks(config: Config) -> int:
    """Return the length of the list, or of the pattern."""
    return len(BLOCK_TYPES.read(config) or PATTERN.read(config))


def one_branch(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with its mixer or attention alone, or its feed-forward alone."""
    return {**layer, "ffn": layer["ffn"] if kind in ("mlp", "moe") else None}


def nemotron_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers: attention has key heads, a feed-forward its width, and a mixture a router."""
    has_heads, has_ffn = layer_flags(header, KV_HEADS), layer_flags(header, "feed_forward_length")
    width = layer_size(header, "feed_forward_length")
    types = [
        "attention"
        if full
        else "mamba"
        if not wide
        else "moe"
        if f"blk.{i}.ffn_gate_inp.weight" in header.tensors
        else "mlp"
        for i, (full, wide) in enumerate(zip(has_heads, has_ffn, strict=False))
    ]
    return {
        "layers_block_type": types,
        "hybrid_override_pattern": None,
        "num_key_value_heads": layer_size(header, KV_HEADS),
        **({"intermediate_size": width} if width else {}),
        "mamba_head_dim": factor_of(header, "ssm.inner_size", "ssm.time_step_rank"),
        "n_group": config.get("n_group", 1),
        "topk_group": config.get("topk_group", 1),
        "norm_topk_prob": config.get("norm_topk_prob", False),
        **stored(use_bias="ssm_in.bias", use_conv_bias="ssm_conv1d.bias", mlp_bias="ffn_up.bias")(header, {}),
    }


NEMOTRON_LATENT = size("moe_latent_size", None, null=None)
_NEMOTRON = "model.layers.{i}.mixer."
_NEMOTRON_EXPERTS = f"{_NEMOTRON}experts."
NEMOTRON_H = decoder(
    "nemotron_h",
    "NemotronHForCausalLM",
    vocab=131072,
    n_ctx=4096,
    depth=n_blocks,
    norm=rmsnorm(1e-5, "layer_norm_epsilon"),
    head={"tied": False},
    d_head=size("head_dim", 128),
    kinds={"attention": {"position": None}},
    kv=8,
    mixers={
        "mamba": {
            "kind": "mamba2",
            "n_heads": size("mamba_num_heads", 128),
            "d_head": size("mamba_head_dim", 64),
            "n_state_groups": size("n_groups", 8, aliases=("mamba_n_groups",)),
            "d_state": size("ssm_state_size", 128),
            "d_conv": size("conv_kernel", 4, aliases=("mamba_d_conv",)),
            "chunk": size("chunk_size", 128, aliases=("mamba_chunk_size",)),
            "step_min": StepLimit(0, NEMOTRON_LIMIT),
            "step_max": StepLimit(1, NEMOTRON_LIMIT),
            "bias": flag("use_bias", False),
            "conv_bias": flag("use_conv_bias", True, aliases=("mamba_conv_bias",)),
            "norm": rmsnorm(1e-5, "layer_norm_epsilon"),
        },
        "mlp": None,
        "moe": None,
    },
    base_ffn={
        "kind": "plain",
        "d_ff": size("intermediate_size", 21504),
        "activation": activation("relu2", "mlp_hidden_act"),
        "bias": MLP_BIAS,
    },
    ffn_kinds={
        "moe": experts(
            size("n_routed_experts", 8, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 2),
            size("moe_intermediate_size", 7688),
            **CORRECTED,
            **GROUPED,
            activation=activation("relu2", "mlp_hidden_act"),
            gated=False,
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 1.0),
            d_latent=NEMOTRON_LATENT,
            latent_bias=NullCases(NEMOTRON_LATENT, False, MLP_BIAS),
            n_shared=1,
            d_shared=size("moe_shared_expert_intermediate_size", 7688),
            shared_bias=MLP_BIAS,
        )
    },
    schedule=ListSchedule(
        LINEAR_OR_FULL | {"moe": "moe", "mlp": "mlp"}, of_pattern, (PATTERN,), "layers_block_type", ("layer_types",)
    ),
    to_branches=one_branch,
    constraints=(Constraint("mamba_hidden_act", ("silu", "swish")),),
    # The class reads none of these in a forward pass; projections of its attention have no biases, and it never ties.
    irrelevant=MAMBA_IRRELEVANT
    | keys(
        "tie_word_embeddings attention_bias hidden_dropout sliding_window mamba_proj_bias mamba_ssm_cache_dtype "
        "mamba_expand mamba_dt_min mamba_dt_max mamba_dt_init_floor moe_shared_expert_overlap n_shared_experts "
        "num_nextn_predict_layers mtp_layers_block_type mtp_hybrid_override_pattern partial_rotary_factor rope_theta"
    ),
    tensors=(
        modules({"embed.tokens": "embeddings", "final_norm": "norm_f"}, name="model."),
        module("head", "lm_head"),
        modules(dict.fromkeys(("attn_norm", "mixer_norm", "ffn_norm"), "norm"), *LAYER),
        mixer_tensors(_NEMOTRON, MAMBA2_TENSORS, *MAMBA2_VECTORS),
        modules({"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "o_proj"}, "layers.{i}.attn.", _NEMOTRON),
        modules(
            {
                "up": "up_proj",
                "down": "down_proj",
                "router": "gate",
                "shared.up": "shared_experts.up_proj",
                "shared.down": "shared_experts.down_proj",
                "latent_down": "fc1_latent_proj",
                "latent_up": "fc2_latent_proj",
            },
            "layers.{i}.ffn.",
            _NEMOTRON,
        ),
        TensorEntry(f"{_NEMOTRON}gate.e_score_correction_bias", ("layers.{i}.ffn.correction_bias",)),
        TensorEntry(f"{_NEMOTRON_EXPERTS}up_proj", (f"{UP}.weight",)),
        TensorEntry(f"{_NEMOTRON_EXPERTS}down_proj", (f"{DOWN}.weight",)),
    ),
    spelling=Spelling(
        renames={r"^backbone\.": "model."},
        per_expert={
            f"{_NEMOTRON_EXPERTS}{name}_proj": (f"{_NEMOTRON_EXPERTS}{{e}}.{name}_proj.weight",)
            for name in ("up", "down")
        },
        unused=MTP_TENSORS,
    ),
    gguf=GgufMap(
        "nemotron_h",
        {key: name for key, name in HYBRID_SIZES.items() if key not in (RMS_EPS, "feed_forward_length")}
        | HEAD_DIM
        | {key: name for key, name in CORRECTED_EXPERTS.items() if key != "leading_dense_block_count"}
        | {
            RMS_EPS: "layer_norm_epsilon",
            "ssm.conv_kernel": "conv_kernel",
            "ssm.state_size": "ssm_state_size",
            "ssm.group_count": "n_groups",
            "ssm.time_step_rank": "mamba_num_heads",
            "expert_shared_feed_forward_length": "moe_shared_expert_intermediate_size",
            "moe_latent_size": "moe_latent_size",
        },
        table(
            modules({"ffn_norm": "attn_norm"}, *BLOCK),
            modules({"ffn.latent_down": "ffn_latent_down", "ffn.latent_up": "ffn_latent_up"}, *BLOCK),
            UNPERMUTED_ENTRIES,
            SSM2,
        ),
        of_spec=grouped_norm,
        config_keys=nemotron_gguf,
        own_keys=(
            *("context_length", KV_HEADS, "feed_forward_length", "ssm.inner_size", "attention.layer_norm_epsilon"),
            *("rope.dimension_count", "rope.scaling.finetuned", "rope.freq_base"),
        ),
        aliases=("nemotron_h_moe",),
        values={"expert_gating_func": (SIGMOID,)},
        origins={
            "layers_block_type": KV_HEADS,
            "num_key_value_heads": KV_HEADS,
            "intermediate_size": "feed_forward_length",
            "mamba_head_dim": "ssm.inner_size",
        },
    ),
)

FAMILIES = (MAMBA2, NEMOTRON_H)
