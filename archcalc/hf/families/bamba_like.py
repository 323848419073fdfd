"""Decoders with attention or Mamba-2's state space, and a feed-forward: Bamba, Granite 4 hybrid, Falcon-H1."""

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT, FACTORS, TEXT, Config
from archcalc.hf.families.granite_like import MULTIPLIERS
from archcalc.hf.families.granite_moe_like import (
    GRANITE_MOE,
    GRANITE_MOE_GGUF,
    GRANITE_SHARED_TENSORS,
    GRANITE_TENSORS,
    granite_experts,
)
from archcalc.hf.families.mamba2_like import (
    LINEAR_OR_FULL,
    MAMBA2_TENSORS,
    MAMBA2_VECTORS,
    STEP_LIMITS,
    WIDTH,
    HeadWidth,
)
from archcalc.hf.families.mamba_like import SILU, mixer_tensors
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    HEAD_DIM,
    KV_HEADS,
    MAMBA_SIZES,
    PARTIAL_ROTARY,
    PERMUTED_QK,
    SIZES,
    SSM2,
    UNPERMUTED_ENTRIES,
    GgufMap,
    factor_of,
    grouped_norm,
    layer_flags,
    layer_size,
    partial_rotary,
    stored,
    value_of,
)
from archcalc.hf.lens import Cases, Choice, ConfigDraft, ConfigLens, Key, NullCases, ScaledKey
from archcalc.hf.stack import IndexSchedule, ListSchedule, UniformSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, decoder
from archcalc.hf.tensors import TensorEntry, fused_modules, module, modules, table
from archcalc.hf.vocabulary import LLAMA_ATTENTION, activation, flag, keys, positive, rmsnorm, size


@final
class Multiplier(ConfigLens, msgspec.Struct, frozen=True):
    """The item at `index` of a list of multipliers."""

    key: Key
    index: int

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> float:
        """Return the number. Raises InputError unless there are as many as by default."""
        return _multipliers(self.key, config)[self.index]

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the list with this number, beside the others."""
        numbers = [*draft.get(self.key.name, self.key.default)]
        numbers[self.index] = value
        draft[self.key.name] = numbers


@final
class SliceMultipliers(ConfigLens, msgspec.Struct, frozen=True):
    """The multipliers of the slices of a mixer's first projection; None if all are 1."""

    key: Key

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> dict[str, float] | None:
        """Return a number for each slice. Raises InputError unless there are five."""
        numbers = _multipliers(self.key, config)
        return None if set(numbers) == {1.0} else dict(zip(("z", "v", "b", "c", "delta"), numbers, strict=True))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the list."""
        draft.put(self.key.name, [*(value.values() if value else self.key.default)])


def _multipliers(key: Key, config: Config) -> tuple[float, ...]:
    numbers = tuple(map(float, key.read(config)))
    if len(numbers) != len(key.default):
        raise config.error(key.name, f"{len(numbers)} numbers", f"{len(key.default)}")
    return numbers


BAMBA_HEADS = size("mamba_n_heads", 128)
MIXER: dict[str, Any] = {
    "kind": "mamba2",
    "n_heads": BAMBA_HEADS,
    "d_head": HeadWidth(
        Key("mamba_d_head", WIDTH, "auto"), size("mamba_expand", 2), BAMBA_HEADS, size("hidden_size", 4096)
    ),
    "n_state_groups": size("mamba_n_groups", 1),
    "d_state": size("mamba_d_state", 256),
    "d_conv": size("mamba_d_conv", 4),
    "chunk": size("mamba_chunk_size", 256),
    **STEP_LIMITS,
    "bias": flag("mamba_proj_bias", False),
    "conv_bias": flag("mamba_conv_bias", True),
}
MIXER_TENSORS = mixer_tensors("model.layers.{i}.mamba.", MAMBA2_TENSORS, *MAMBA2_VECTORS)
OUTSIDE = (
    *modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
    *module("head", "lm_head"),
)
FEED_FORWARD = modules(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}, "layers.{i}.ffn.", "model.layers.{i}.feed_forward."
)
NORMS = modules(
    {"attn_norm": "input_layernorm", "mixer_norm": "input_layernorm", "ffn_norm": "pre_ff_layernorm"}, *LAYER
)

BAMBA = decoder(
    "bamba",
    "BambaForCausalLM",
    vocab=128000,
    n_ctx=262144,
    kv=8,
    d_ff=14336,
    norm=rmsnorm(1e-5),
    partial=0.5,
    attention=BIASED,
    ffn={"bias": MLP_BIAS},
    kinds={"attention": {}},
    mixers={"mamba": MIXER | {"norm": rmsnorm(1e-5)}},
    schedule=IndexSchedule("attn_layer_indices", "attention", "mamba"),
    constraints=(SILU,),
    irrelevant=keys("z_loss_coefficient"),
    tensors=(OUTSIDE, LLAMA_ATTENTION, NORMS, FEED_FORWARD, MIXER_TENSORS),
)

GGUF_BIASES = {
    "attention_bias": "attn_q.bias",
    "mlp_bias": "ffn_up.bias",
    "mamba_proj_bias": "ssm_in.bias",
    "mamba_conv_bias": "ssm_conv1d.bias",
}


def hybrid_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of Granite's hybrids, or of Bamba, which has no multipliers."""
    is_full = layer_flags(header, KV_HEADS)
    common = {
        "num_key_value_heads": layer_size(header, KV_HEADS),
        "mamba_expand": factor_of(header, "ssm.inner_size", "embedding_length"),
        "mamba_d_head": factor_of(header, "ssm.inner_size", "ssm.time_step_rank"),
        **stored(**GGUF_BIASES)(header, {}),
    }
    if "embedding_multiplier" not in config:
        indices = [index for index, full in enumerate(is_full) if full]
        return {"model_type": "bamba", "attn_layer_indices": indices, **partial_rotary(header, config), **common}
    n_experts = config.get("num_local_experts", 0)
    return common | {
        "layer_types": ["attention" if full else "mamba" for full in is_full],
        "num_local_experts": n_experts,
        # Without experts, the files state the width of the feed-forward of all tokens.
        "shared_intermediate_size": config["shared_intermediate_size"] if n_experts else config["intermediate_size"],
        "position_embedding_type": "rope" if value_of(header, "rope.scaling.finetuned") else "nope",
    }


N_EXPERTS, SHARED_WIDTH = Key("num_local_experts", COUNT, 8), size("shared_intermediate_size", 1024)
IS_ROTARY = Choice(Key("position_embedding_type", TEXT, None, null=None), {"nope": False, None: False, "rope": True})
_DENSE = {"kind": "gated", "d_ff": SHARED_WIDTH, "activation": activation("silu")}
GRANITE_MOE_HYBRID = derive(
    GRANITE_MOE,
    "granitemoehybrid",
    "GraniteMoeHybridForCausalLM",
    kinds={"attention": {"position": lambda rope: Cases(IS_ROTARY, {True: rope, False: None})}},
    mixers={"mamba": MIXER | {"norm": rmsnorm(1e-6)}},
    # Without experts, the feed-forward of all tokens is left.
    base_ffn=NullCases(
        N_EXPERTS,
        _DENSE,
        granite_experts(n_shared=1, d_shared=SHARED_WIDTH) | {"n_experts": N_EXPERTS},
        empty=0,
    ),
    schedule=ListSchedule(
        LINEAR_OR_FULL, lambda config, index: "mamba", key="layer_types", aliases=("layers_block_type",)
    ),
    constraints=(SILU,),
    # The class checks its mixers' sizes also without mixers: one head divides every width.
    fixed_keys={BAMBA_HEADS.name: 1},
    gguf=GgufMap(
        "granitehybrid",
        {key: name for key, name in (GRANITE_MOE_GGUF | HEAD_DIM | MAMBA_SIZES).items() if key != KV_HEADS},
        table(PERMUTED_QK, UNPERMUTED_ENTRIES, SSM2),
        of_spec=grouped_norm,
        config_keys=hybrid_gguf,
        own_keys=(KV_HEADS, "ssm.inner_size", "rope.scaling.finetuned", PARTIAL_ROTARY),
        origins={
            "layer_types": KV_HEADS,
            "num_key_value_heads": KV_HEADS,
            "mamba_expand": "ssm.inner_size",
            "mamba_d_head": "ssm.inner_size",
            "shared_intermediate_size": "expert_shared_feed_forward_length",
        },
    ),
    tensors=(
        *GRANITE_TENSORS,
        *GRANITE_SHARED_TENSORS,
        fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "model.layers.{i}.shared_mlp.input_linear"),
        module("layers.{i}.ffn.down", "model.layers.{i}.shared_mlp.output_linear"),
        module("layers.{i}.mixer_norm", "model.layers.{i}.input_layernorm"),
        MIXER_TENSORS,
    ),
    **MULTIPLIERS,
)

GATE_AND_DOWN = Key("mlp_multipliers", FACTORS, (1.0, 1.0), null=(1.0, 1.0))
KEY_MULTIPLIER = positive("key_multiplier", 1.0)
HAS_NORM = flag("mamba_rms_norm", False)
FALCON_HEADS, FALCON_WIDTH = size("num_attention_heads", 32), size("hidden_size", 4096)
FALCON_HEAD_WIDTH = size("head_dim", None, null=None)


def plain_scale(config: Config) -> float:
    """Return the scale of the scores without a multiplier of keys."""
    width = FALCON_HEAD_WIDTH.read(config) or FALCON_WIDTH.read(config) // FALCON_HEADS.read(config)
    return float(max(1, width) ** -0.5)


FALCON_MIXER = MIXER | {
    "d_head": HeadWidth(
        Key("mamba_d_head", WIDTH, "auto"),
        size("mamba_expand", 2),
        BAMBA_HEADS,
        FALCON_WIDTH,
        size("mamba_d_ssm", 1024, null=None),
    ),
    "out_bias": flag("projectors_bias", False),
    "norm": Cases(HAS_NORM, {False: None, True: rmsnorm(1e-5)}),
    "norm_when": Cases(
        HAS_NORM,
        {False: "after", True: Choice(flag("mamba_norm_before_gate", True), {True: "before", False: "after"})},
    ),
    "multipliers": SliceMultipliers(Key("ssm_multipliers", FACTORS, (1.0,) * 5, null=(1.0,) * 5)),
}


def parallel_arms(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose attention and mixer read one norm, and whose parts have multipliers."""
    attention = {
        "name": "attn",
        "part": layer["attention"],
        "in_scale": positive("attention_in_multiplier", 1.0),
        "scale": positive("attention_out_multiplier", 1.0),
    }
    mixer = {
        "name": "mixer",
        "part": FALCON_MIXER,
        "in_scale": positive("ssm_in_multiplier", 1.0),
        "scale": positive("ssm_out_multiplier", 1.0),
    }
    feed_forward = {"name": "ffn", "part": layer["ffn"]}
    return {
        "branches": (
            {"arms": (attention, mixer), "norm_in": layer["norm"]},
            {"arms": (feed_forward,), "norm_in": layer["norm"], "scale": Multiplier(GATE_AND_DOWN, 1)},
        )
    }


def falcon_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the width of a mixer's heads, and whether a norm follows its gate. Multipliers are part of the weights."""
    return {
        "mamba_d_head": factor_of(header, "ssm.inner_size", "ssm.time_step_rank"),
        "mamba_norm_before_gate": False,
        **stored(mamba_rms_norm="ssm_norm.weight", **GGUF_BIASES)(header, {}),
    }


FALCON_H1 = derive(
    BAMBA,
    "falcon_h1",
    "FalconH1ForCausalLM",
    n_ctx=8192,
    partial=None,
    # Keys multiplied by a number give scores multiplied by it.
    attention=BIASED | {"scale": NullCases(KEY_MULTIPLIER, None, ScaledKey(KEY_MULTIPLIER, plain_scale), empty=1.0)},
    ffn={"bias": MLP_BIAS, "gate_scale": Multiplier(GATE_AND_DOWN, 0)},
    kinds=None,
    mixers={},
    schedule=UniformSchedule(),
    to_branches=parallel_arms,
    model_fields={"embedding": {"scale": positive("embedding_multiplier", 1.0)}},
    head={"scale": positive("lm_head_multiplier", 1.0)},
    irrelevant=frozenset(),
    gguf=GgufMap(
        "falcon-h1",
        SIZES | HEAD_DIM | MAMBA_SIZES | {"ssm.inner_size": "mamba_d_ssm"},
        # Files name this norm so.
        table(TensorEntry("blk.{i}.ffn_norm", ("layers.{i}.ffn_norm.weight",)), UNPERMUTED_ENTRIES, SSM2),
        of_spec=grouped_norm,
        config_keys=falcon_gguf,
        origins={"mamba_d_head": "ssm.inner_size"},
    ),
)

FAMILIES = (BAMBA, GRANITE_MOE_HYBRID, FALCON_H1)
