"""Decoders of Mamba layers, some of which read a shared block of attention and feed-forward: Zamba."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.hf.config import COUNT, SIZE, Config
from archcalc.hf.families.mamba_like import MAMBA_IRRELEVANT, RANK, StepRank
from archcalc.hf.family import Family
from archcalc.hf.lens import Constraint, ImpliedValue, Key, ScaledKey, Template
from archcalc.hf.stack import INDEX, ListSchedule
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, TensorMap, module, modules, table
from archcalc.hf.vocabulary import flag, keys, layers, rmsnorm, size

WIDTH, DEPTH, TIED = size("hidden_size", 3712), layers(76), flag("tie_word_embeddings", True)
N_HEADS, EXPAND, MAMBA_HEADS = size("num_attention_heads", 16), size("mamba_expand", 2), size("n_mamba_heads", 2)
PERIOD, OFFSET = size("attn_layer_period", 6), Key("attn_layer_offset", COUNT, 4)
# The words of a layer's kind, older ones last.
WORDS = {"linear_attention": "mamba", "hybrid": "hybrid", "mamba": "mamba"}


def of_period(config: Config, index: int) -> str:
    """Return the kind of a layer: the third one, and one of each period after it, read the shared block."""
    if (n_layers := DEPTH.read(config)) < 3:
        raise config.error(DEPTH.name, n_layers, "3 or more, or a list layers_block_type")
    is_hybrid = index == 2 if index < 3 else (index - 3) % PERIOD.read(config) == OFFSET.read(config)
    return "hybrid" if is_hybrid else "mamba"


TYPES = ListSchedule(WORDS, of_period, (PERIOD, OFFSET), "layers_block_type", ("layer_types",))


def block_owner(config: Config) -> int | None:
    """Return the layer that has the block which this layer uses; None if that is its own, as all are if not tied."""
    hybrid = [i for i, kind in enumerate(TYPES.read(config, DEPTH.read(config))) if kind == "hybrid"]
    return hybrid[0] if TIED.read(config) and config.data[INDEX] > hybrid[0] else None


def joined_width(config: Config) -> int:
    """Return the width of a layer's input beside that of the first layer."""
    return 2 * int(WIDTH.read(config))


def head_width(config: Config) -> int:
    """Return the width of a head if none is stated."""
    return joined_width(config) // int(N_HEADS.read(config))


HEAD_WIDTH = Key("attention_head_dim", SIZE, head_width, null=head_width, aliases=("head_dim",))


def scale(config: Config) -> float:
    """Return the factor of the scores."""
    return float((HEAD_WIDTH.read(config) / 2) ** -0.5)


def channels_per_head(config: Config) -> int:
    """Return the number of channels of a mixer's head."""
    n_channels, n_heads = int(EXPAND.read(config) * WIDTH.read(config)), int(MAMBA_HEADS.read(config))
    if n_channels % n_heads:
        raise config.error(MAMBA_HEADS.name, n_heads, f"a divisor of mamba_expand · hidden_size, {n_channels}")
    return n_channels // n_heads


MIXER: Template = {
    "kind": "mamba1",
    "d_inner": ScaledKey(EXPAND, WIDTH.read),
    "n_heads": MAMBA_HEADS,
    "d_head": ImpliedValue(channels_per_head),
    "d_state": size("mamba_d_state", 16),
    "d_conv": size("mamba_d_conv", 4),
    "dt_rank": StepRank(Key("mamba_dt_rank", RANK, "auto"), WIDTH),
    "bias": flag("mamba_proj_bias", False),
    "conv_bias": flag("mamba_conv_bias", True),
}


def with_block(mixer: Template, attention: Template, ffn: Template, norm: Template) -> dict[str, Any]:
    """Return a layer whose mixer reads the sum of the stream and of what a block gives, projected."""
    block = {"norm_in": norm, "joins": "next", "weights_of": ImpliedValue(block_owner)}
    branches = (
        {"arms": ({"name": "attn", "part": attention},), **block},
        {"arms": ({"name": "ffn", "part": ffn},), **block},
        {"arms": ({"name": "link", "part": {"kind": "projection"}},), "joins": "next_sum"},
        {"arms": ({"name": "mixer", "part": mixer},), "norm_in": norm},
    )
    return {"branches": branches}


def to_branches(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a layer of this kind."""
    if kind == "mamba":
        return {**layer, "ffn": None}
    return with_block(MIXER, layer["attention"], layer["ffn"], layer["norm"])


OUTSIDE = (
    *modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
    *module("head", "lm_head"),
)
_LINK = "layers.{i}.link.project"


def block_tensors(name: str, ffn: tuple[TensorEntry, ...]) -> tuple[TensorEntry, ...]:
    """Return the entries of a block under this name, with those of its feed-forward, and of the projection after it."""
    attention = {f"attn.{ours}": f"self_attn.{theirs}_proj" for ours, theirs in zip("qkv", "qkv", strict=True)}
    pairs = attention | {
        "attn.out": "self_attn.o_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "pre_ff_layernorm",
        "ffn.down": "feed_forward.down_proj",
    }
    block = modules(pairs, "layers.{i}.", f"model.layers.{{i}}.{name}.")
    return (*block, *ffn, *module(_LINK, "model.layers.{i}.linear"))


def in_both(entries: tuple[TensorEntry, ...]) -> tuple[TensorEntry, ...]:
    """Return the entries of a mixer, in layers with a block and in others."""
    return tuple(
        replace(one, name=f"model.layers.{{i}}.{inner}{one.name}", requires=requires)
        for inner, requires in (("mamba_decoder.", f"{_LINK}.weight"), ("", ""))
        for one in entries
    )


def mixer_tensors(n_heads: int) -> tuple[TensorEntry, ...]:
    """Return the entries of a mixer with so many heads, without the prefix of the layer."""
    ours = "layers.{i}.mixer."
    by_head = {"x.weight": "x_proj_weight", "dt.weight": "dt_proj_weight", "dt.bias": "dt_proj_bias"}
    by_head |= {"A_log": "A_log", "D": "D"}
    return (
        *module("layers.{i}.mixer_norm", "input_layernorm"),
        *module(f"{ours}in", "mamba.in_proj", order="halves"),
        *modules({"conv": "conv1d", "out": "out_proj"}, ours, "mamba."),
        *(TensorEntry(f"mamba.{name}", (ours + part,), n_row_groups=n_heads) for part, name in by_head.items()),
    )


def tensors(config: Config) -> TensorMap:
    """Return the tensors of the class."""
    pairs = {"ffn.gate": "feed_forward.gate_proj", "ffn.up": "feed_forward.up_proj"}
    block = block_tensors("shared_transf", modules(pairs, "layers.{i}.", "model.layers.{i}.shared_transf."))
    return table(OUTSIDE, block, in_both(mixer_tensors(int(MAMBA_HEADS.read(config)))))


def zamba() -> Family:
    """Return Zamba's row: heads of Mamba's channels, and one block for all layers that have one."""
    base = decoder(
        "zamba",
        "ZambaForCausalLM",
        vocab=32000,
        n_ctx=4096,
        width=3712,
        depth=76,
        heads=16,
        kv=16,
        d_head=HEAD_WIDTH,
        d_ff=14848,
        act="gelu",
        norm=rmsnorm(1e-5),
        tie=True,
        kinds={"hybrid": {"position": None, "reads_embedding": True, "scale": ImpliedValue(scale)}},
        mixers={"mamba": MIXER},
        schedule=TYPES,
        to_branches=to_branches,
        by_index=True,
        constraints=(
            Constraint("attention_hidden_size", (ImpliedValue(joined_width), None)),
            Constraint("hidden_mamba_act", ("silu", "swish")),
        ),
        irrelevant=MAMBA_IRRELEVANT | keys("num_logits_to_keep"),
        # The class ties no block that one layer uses.
        small={"layers_block_type": ["hybrid", "linear_attention", "hybrid"]},
    ).family
    return replace(base, tensors_of=tensors)


FAMILIES = (zamba(),)
