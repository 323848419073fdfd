"""Decoders with Mamba's selective state space: Mamba, Falcon Mamba, Jamba."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import msgspec

from archcalc.errors import InputError, shown
from archcalc.formats.gguf_file import Header
from archcalc.hf.config import POSITIVE, SIZE, Config, ValueType
from archcalc.hf.families.moe_like import experts
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    HYBRID_SIZES,
    KV_HEADS,
    OUTSIDE,
    RMS_EPS,
    SSM1,
    UNPERMUTED_ENTRIES,
    GgufMap,
    factor_of,
    layer_flags,
    layer_size,
    layer_values,
    stored,
    value_of,
)
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, NullCases
from archcalc.hf.spellings import TIED, TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, PeriodSchedule
from archcalc.hf.templates.decoder import LAYER, decoder
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import LLAMA_ATTENTION, flag, keys, rmsnorm, size
from archcalc.words import msg

# No table and no rotation bounds the context of a state-space model; llama.cpp states this number too.
UNBOUNDED = 2**20
EXPAND = Key("expand", POSITIVE, 2)
RANK = ValueType(lambda value: value == "auto" or SIZE.allows(value), "auto, or an integer")


@final
class StepRank(ConfigLens, msgspec.Struct, frozen=True):
    """The width from which steps are projected; "auto" is a sixteenth of the model's width, rounded up."""

    key: Key
    width: Key

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> int:
        """Return the width."""
        rank = self.key.read(config)
        return -(-int(self.width.read(config)) // 16) if rank == "auto" else int(rank)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number."""
        self.key.write(value, draft)


def without_ffn(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with a mixer alone."""
    return {**layer, "ffn": None}


def inner_width(config: Config) -> int:
    """Return the width that `expand` gives, unless the config states another."""
    return int(EXPAND.read(config) * size("hidden_size", 768).read(config))


MAMBA_MIXER = {
    "kind": "mamba1",
    "d_inner": size("intermediate_size", inner_width),
    "d_state": size("state_size", 16),
    "d_conv": size("conv_kernel", 4),
    "dt_rank": StepRank(Key("time_step_rank", RANK, "auto"), size("hidden_size", 768)),
    "bias": flag("use_bias", False),
    "conv_bias": flag("use_conv_bias", True),
}
# How weights are initialized, and which kernels run.
MAMBA_IRRELEVANT = keys(
    "expand time_step_scale time_step_min time_step_max time_step_init_scheme time_step_floor rescale_prenorm_residual "
    "residual_in_fp32 use_mambapy use_falcon_mambapy use_associative_scan use_mamba_kernels"
)
# The projections of a Mamba mixer in transformers' classes.
MAMBA_TENSORS = {
    "mixer.in": "in_proj",
    "mixer.conv": "conv1d",
    "mixer.x": "x_proj",
    "mixer.dt": "dt_proj",
    "mixer.out": "out_proj",
}
SILU = Constraint("hidden_act", ("silu", "swish"))


def mixer_tensors(name: str, pairs: Mapping[str, str], *vectors: str) -> tuple[TensorEntry, ...]:
    """Return the entries of a mixer's modules, and of its tensors without a module."""
    own = (TensorEntry(f"{name}{vector}", (f"layers.{{i}}.mixer.{vector}",)) for vector in vectors)
    return (*modules(pairs, "layers.{i}.", name), *own)


def mamba_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return which biases are stored, and that Falcon Mamba's steps and states are normed."""
    flags = stored(use_bias="ssm_in.bias", use_conv_bias="ssm_conv1d.bias")(header, {})
    if not value_of(header, "ssm.dt_b_c_rms"):
        return flags
    return flags | {"model_type": "falcon_mamba", "mixer_rms_eps": config.get("layer_norm_epsilon", 1e-5)}


# Of a model without attention, which its files state all the same.
NO_ATTENTION = ("context_length", "feed_forward_length", "attention.head_count", KV_HEADS)
MAMBA_GGUF_SIZES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "state_size",
    RMS_EPS: "layer_norm_epsilon",
}
MAMBA = decoder(
    "mamba",
    "MambaForCausalLM",
    vocab=50280,
    n_ctx=ImpliedValue(UNBOUNDED),
    width=768,
    norm=rmsnorm(1e-5, "layer_norm_epsilon"),
    tie=True,
    mixers={"layer": MAMBA_MIXER},
    to_branches=without_ffn,
    dropouts={},
    constraints=(SILU,),
    irrelevant=MAMBA_IRRELEVANT,
    tensors=(
        modules({"embed.tokens": "embeddings", "final_norm": "norm_f"}, name="backbone."),
        module("head", "lm_head"),
        module("layers.{i}.mixer_norm", "backbone.layers.{i}.norm"),
        mixer_tensors("backbone.layers.{i}.mixer.", MAMBA_TENSORS, "A_log", "D"),
    ),
    spelling=msgspec.structs.replace(
        TIED,
        renames={r"^backbone\.embedding\.": "backbone.embeddings."},
        copies={"lm_head.weight": "backbone.embeddings.weight"},
    ),
    gguf=GgufMap(
        "mamba",
        MAMBA_GGUF_SIZES | {"ssm.inner_size": "intermediate_size", "ssm.time_step_rank": "time_step_rank"},
        table(OUTSIDE, SSM1),
        config_keys=mamba_gguf,
        own_keys=(*NO_ATTENTION, "ssm.dt_b_c_rms"),
    ),
)
FALCON_MAMBA = derive(
    MAMBA,
    "falcon_mamba",
    "FalconMambaForCausalLM",
    mixers={"layer": MAMBA_MIXER | {"norm": rmsnorm(1e-6, "mixer_rms_eps", weight=False)}},
)

JAMBA_WIDTH, JAMBA_FFN = size("hidden_size", 4096), size("intermediate_size", 14336)
N_EXPERTS = size("num_experts", 16, aliases=("num_local_experts",))
JAMBA_EXPAND = size("mamba_expand", 2)
JAMBA_MIXER = {
    "kind": "mamba1",
    "d_inner": ImpliedValue(lambda config: JAMBA_EXPAND.read(config) * JAMBA_WIDTH.read(config)),
    "d_state": size("mamba_d_state", 16),
    "d_conv": size("mamba_d_conv", 4),
    "dt_rank": StepRank(Key("mamba_dt_rank", RANK, "auto"), JAMBA_WIDTH),
    "bias": flag("mamba_proj_bias", False),
    "conv_bias": flag("mamba_conv_bias", True),
    "norm": rmsnorm(1e-6),
}
JAMBA_DENSE = {"kind": "gated", "d_ff": JAMBA_FFN, "activation": "silu"}
JAMBA_EXPERTS = NullCases(
    N_EXPERTS, JAMBA_DENSE, experts(N_EXPERTS, size("num_experts_per_tok", 2), JAMBA_FFN), empty=1
)
_FEED_FORWARD = "model.layers.{i}.feed_forward."


def period_of(places: Sequence[bool], where: str) -> tuple[int, int]:
    """Return the period and the offset of layers at regular places. Raises InputError if they are irregular."""
    found = [index for index, is_there in enumerate(places) if is_there] or [len(places)]
    period = found[1] - found[0] if len(found) > 1 else found[0] + len(places) + 1
    if any(is_there != (index % period == found[0]) for index, is_there in enumerate(places)):
        raise InputError(
            msg("found layers {found}", found=shown(found)), where=where, allowed=msg("layers at a regular distance")
        )
    return period, found[0]


def jamba_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return which layers have attention, by their key heads, and which have experts, by their routers."""
    n_layers = len(layer_values(header, KV_HEADS))
    routers = [f"blk.{index}.ffn_gate_inp.weight" for index in range(n_layers)]
    attention = period_of(layer_flags(header, KV_HEADS), f"jamba.{KV_HEADS}")
    experts = period_of([name in header.tensors for name in routers], "blk.{i}.ffn_gate_inp.weight")
    return {
        "num_key_value_heads": layer_size(header, KV_HEADS),
        "mamba_expand": factor_of(header, "ssm.inner_size", "embedding_length"),
        **dict(zip(("attn_layer_period", "attn_layer_offset"), attention, strict=True)),
        **dict(zip(("expert_layer_period", "expert_layer_offset"), experts, strict=True)),
        **stored(mamba_proj_bias="ssm_in.bias", mamba_conv_bias="ssm_conv1d.bias")(header, {}),
    }


JAMBA = decoder(
    "jamba",
    "JambaForCausalLM",
    vocab=65536,
    n_ctx=262144,
    kv=8,
    d_ff=14336,
    kinds={f"attention_{ffn}": {"position": None} for ffn in ("dense", "moe")},
    mixers={f"mamba_{ffn}": JAMBA_MIXER for ffn in ("dense", "moe")},
    ffn_kinds={f"{kind}_moe": JAMBA_EXPERTS for kind in ("attention", "mamba")},
    schedule=CombinedSchedule(
        PeriodSchedule(size("attn_layer_period", 8), "attn_layer_offset", 4, "attention", "mamba"),
        PeriodSchedule(size("expert_layer_period", 2), "expert_layer_offset", 1, "moe", "dense"),
    ),
    constraints=(SILU,),
    irrelevant=MAMBA_IRRELEVANT | {"mamba_expand"},
    tensors=(
        modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
        module("head", "lm_head"),
        LLAMA_ATTENTION,
        modules(
            {
                "attn_norm": "input_layernorm",
                "mixer_norm": "input_layernorm",
                "ffn_norm": "pre_ff_layernorm",
                "ffn.gate": "feed_forward.gate_proj",
                "ffn.up": "feed_forward.up_proj",
                "ffn.down": "feed_forward.down_proj",
                "ffn.router": "feed_forward.router",
            },
            *LAYER,
        ),
        mixer_tensors(
            "model.layers.{i}.mamba.",
            MAMBA_TENSORS | {f"mixer.{name}_norm": f"{name}_layernorm" for name in ("dt", "b", "c")},
            *("A_log", "D"),
        ),
        TensorEntry(
            f"{_FEED_FORWARD}experts.gate_up_proj",
            ("layers.{i}.ffn.experts.gate.weight", "layers.{i}.ffn.experts.up.weight"),
            axis=1,
        ),
        TensorEntry(f"{_FEED_FORWARD}experts.down_proj", ("layers.{i}.ffn.experts.down.weight",)),
    ),
    spelling=msgspec.structs.replace(
        TIED_EXPERTS,
        per_expert={
            f"{_FEED_FORWARD}experts.gate_up_proj": (
                f"{_FEED_FORWARD}experts.{{e}}.gate_proj.weight",
                f"{_FEED_FORWARD}experts.{{e}}.up_proj.weight",
            ),
            f"{_FEED_FORWARD}experts.down_proj": (f"{_FEED_FORWARD}experts.{{e}}.down_proj.weight",),
        },
    ),
    gguf=GgufMap(
        "jamba",
        HYBRID_SIZES
        | {
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.state_size": "mamba_d_state",
            "ssm.time_step_rank": "mamba_dt_rank",
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_tok",
        },
        table(UNPERMUTED_ENTRIES, SSM1),
        config_keys=jamba_gguf,
        own_keys=(KV_HEADS, "ssm.inner_size"),
        origins={"num_key_value_heads": KV_HEADS, "mamba_expand": "ssm.inner_size"},
    ),
)

FAMILIES = (MAMBA, FALCON_MAMBA, JAMBA)
