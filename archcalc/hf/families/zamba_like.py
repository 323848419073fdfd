"""Decoders of Mamba layers, some of which read a shared block of attention and feed-forward: Zamba, Zamba 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from msgspec import Struct
from msgspec.structs import replace

from archcalc.hf.config import COUNT, SIZE, Config
from archcalc.hf.families.mamba2_like import MAMBA2_TENSORS, MAMBA2_VECTORS, HeadWidth
from archcalc.hf.families.mamba2_like import WIDTH as HEAD_WIDTHS
from archcalc.hf.families.mamba_like import MAMBA_IRRELEVANT, RANK, StepRank
from archcalc.hf.families.mamba_like import mixer_tensors as mamba_tensors
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, ScaledKey, Template
from archcalc.hf.stack import INDEX, ListSchedule, layers_of
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.hf.vocabulary import flag, keys, layers, positive, rmsnorm, size

WIDTH, DEPTH, TIED = size("hidden_size", 3712), layers(76), flag("tie_word_embeddings", True)
N_HEADS, EXPAND, MAMBA_HEADS = size("num_attention_heads", 16), size("mamba_expand", 2), size("n_mamba_heads", 2)
PERIOD, OFFSET = size("attn_layer_period", 6), Key("attn_layer_offset", COUNT, 4)
ToBranches = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
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


def joined_width(width: Key) -> ImpliedValue:
    """Return the width of a layer's input beside that of the first layer, of a model this wide."""
    return ImpliedValue(lambda config: 2 * int(width.read(config)))


def head_width(width: Key, n_heads: Key) -> Key:
    """Return the key of the width of a head, by default that of both inputs divided by the heads."""

    def default(config: Config) -> int:
        return 2 * int(width.read(config)) // int(n_heads.read(config))

    return Key("attention_head_dim", SIZE, default, null=default, aliases=("head_dim",))


def scale(head: Key) -> ImpliedValue:
    """Return the factor of the scores for heads of this width."""
    return ImpliedValue(lambda config: float((head.read(config) / 2) ** -0.5))


HEAD_WIDTH = head_width(WIDTH, N_HEADS)


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


def to_branches(mixer: Template, owner: Callable[[Config], int | None]) -> ToBranches:
    """Return how layers are written whose mixer is this one and whose block belongs to the layer `owner` returns."""

    def branches(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mixer alone, or one that reads the sum of the stream and of what a block gives, projected."""
        if kind == "mamba":
            return {**layer, "ffn": None}
        block = {"norm_in": layer["norm"], "joins": "next", "weights_of": ImpliedValue(owner)}
        return {
            "branches": (
                {"arms": ({"name": "attn", "part": layer["attention"]},), **block},
                {"arms": ({"name": "ffn", "part": layer["ffn"]},), **block},
                {"arms": ({"name": "link", "part": {"kind": "projection"}},), "joins": "next_sum"},
                {"arms": ({"name": "mixer", "part": mixer},), "norm_in": layer["norm"]},
            )
        }

    return branches


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


@final
class SharedBlocks(ConfigLens, Struct, frozen=True):
    """A stack with blocks that layers take by turns; `n_blocks` is the key of their number, if it is not always one.

    Only a model that ties its head shares them.
    """

    stack: ConfigLens
    n_blocks: Key | None = None

    def names(self) -> Iterator[str]:
        """Yield the keys of the stack, of the number of blocks and of what is tied."""
        yield from (*self.stack.names(), *TIED.names(), *(self.n_blocks.names() if self.n_blocks else ()))

    def read(self, config: Config) -> Any:
        """Return the stack."""
        return self.stack.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of blocks, which is that of first uses, what is tied, and the keys of the stack."""
        blocks = [layer["branches"] for layer in layers_of(value) if layer["branches"]] if value else []
        uses = [arm["part"].get("low_rank") for block in blocks for branch in block[1:2] for arm in branch["arms"]]
        n_blocks = 1
        if self.n_blocks is not None:
            n_blocks = max(1, sum(pairs is not None and pairs["active"] == 0 for pairs in uses))
            draft.put(self.n_blocks.name, n_blocks)
        if len(blocks) > n_blocks:
            draft.put(TIED.name, any(branch["weights_of"] is not None for block in blocks for branch in block))
        self.stack.write(value, draft)


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
        kinds={"hybrid": {"position": None, "reads_embedding": True, "scale": scale(HEAD_WIDTH)}},
        mixers={"mamba": MIXER},
        schedule=TYPES,
        to_branches=to_branches(MIXER, block_owner),
        by_index=True,
        constraints=(
            Constraint("attention_hidden_size", (joined_width(WIDTH), None)),
            Constraint("hidden_mamba_act", ("silu", "swish")),
        ),
        irrelevant=MAMBA_IRRELEVANT | keys("num_logits_to_keep"),
        # The class ties no block that one layer uses.
        small={"layers_block_type": ["hybrid", "linear_attention", "hybrid"]},
    ).family
    stack = SharedBlocks(base.template["decoder"])
    return replace(base, template={**base.template, "decoder": stack}, tensors_of=tensors)


WIDTH_2, DEPTH_2 = size("hidden_size", 2560), layers(54)
N_HEADS_2, MAMBA_HEADS_2 = size("num_attention_heads", 32), size("n_mamba_heads", 8)
N_BLOCKS, RANK_2 = size("num_mem_blocks", 1), size("adapter_rank", 128)
IS_LONG, LONG_CONTEXT = flag("use_long_context", False), 16384
# The layers of the class that read a block by default.
HYBRID = (6, 12, 18, 24, 30, 36, 42, 47, 51)


def of_class(config: Config, index: int) -> str:
    """Return the kind of a layer of the class's default, which has as many layers."""
    if DEPTH_2.read(config) != DEPTH_2.default:
        raise config.error(DEPTH_2.name, DEPTH_2.read(config), f"{DEPTH_2.default}, or a list layers_block_type")
    return "hybrid" if index in HYBRID else "mamba"


TYPES_2 = ListSchedule(WORDS, of_class, (), "layers_block_type", ("layer_types",))


def hybrid_layers(config: Config) -> list[int]:
    """Return the layers that read a block."""
    return [i for i, kind in enumerate(TYPES_2.read(config, DEPTH_2.read(config))) if kind == "hybrid"]


def use(config: Config) -> tuple[int, int]:
    """Return the block of a layer, which the layers take by turns, and the number of its uses before."""
    turn = hybrid_layers(config).index(config.data[INDEX])
    return turn % int(N_BLOCKS.read(config)), turn // int(N_BLOCKS.read(config))


def block_of_turn(config: Config) -> int | None:
    """Return the layer that has the block which this layer uses; None if that is its own, as all are if not tied."""
    block, n_before = use(config)
    return hybrid_layers(config)[block] if n_before and TIED.read(config) else None


def pairs_of_block(config: Config) -> int:
    """Return the number of uses of a layer's block, each of which has a low-rank pair."""
    block, _ = use(config)
    return len(range(block, len(hybrid_layers(config)), int(N_BLOCKS.read(config))))


@final
class LongContext(ConfigLens, Struct, frozen=True):
    """The context length: that of the key, unless a flag says that it is long."""

    key: Key

    def names(self) -> Iterator[str]:
        """Yield the spellings of both keys."""
        yield from (*self.key.names(), *IS_LONG.names())

    def read(self, config: Config) -> int:
        """Return the number of positions."""
        return LONG_CONTEXT if IS_LONG.read(config) else int(self.key.read(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key."""
        self.key.write(value, draft)


HEAD_WIDTH_2 = head_width(WIDTH_2, N_HEADS_2)
BIAS_2 = flag("add_bias_linear", False)
PAIRS = {
    "pair_rank": RANK_2,
    "n_pairs": ImpliedValue(pairs_of_block),
    "active": ImpliedValue(lambda config: use(config)[1]),
}
MIXER_2: Template = {
    "kind": "mamba2",
    "n_heads": MAMBA_HEADS_2,
    "d_head": HeadWidth(Key("mamba_headdim", HEAD_WIDTHS, "auto"), size("mamba_expand", 2), MAMBA_HEADS_2, WIDTH_2),
    "n_state_groups": size("mamba_ngroups", 1),
    "d_state": size("mamba_d_state", 64),
    "d_conv": size("mamba_d_conv", 4),
    "chunk": size("chunk_size", 256),
    "step_min": positive("time_step_min", 0.001),
    "bias": BIAS_2,
    "norm": {"kind": "rmsnorm", "eps": 1e-5},
}
_MIXER_2 = (
    *module("layers.{i}.mixer_norm", "input_layernorm"),
    *mamba_tensors("mamba.", MAMBA2_TENSORS, *MAMBA2_VECTORS),
)


def hidden_width(config: Config) -> int:
    """Return the width of the feed-forward if none is stated."""
    return 4 * int(WIDTH_2.read(config))


def pair_tensors(config: Config) -> Iterator[TensorEntry]:
    """Yield the entries of the low-rank pairs of each block, which are numbered by the uses of all blocks."""
    n_blocks, found = int(N_BLOCKS.read(config)), hybrid_layers(config)
    for turn, layer in enumerate(found):
        numbers = tuple(map(str, range(turn % n_blocks, len(found), n_blocks)))
        theirs = f"model.layers.{layer}.shared_transformer."
        lists = {f"attn.{name}_pairs": f"self_attn.linear_{name}_adapter_list" for name in "qkv"}
        lists["ffn.gate_up_pairs"] = "feed_forward.gate_up_proj_adapter_list"
        for ours, name in lists.items():
            for place, part in enumerate(("down", "up")):
                stored = f"{theirs}{name}.{{e}}.{place}.weight"
                yield TensorEntry(stored, (f"layers.{layer}.{ours}.{part}.weight",), row_names=numbers)


def tensors_2(config: Config) -> TensorMap:
    """Return the tensors of Zamba 2's class."""
    name = "shared_transformer"
    gate_up = f"model.layers.{{i}}.{name}.feed_forward.gate_up_proj"
    block = block_tensors(name, fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), gate_up))
    return table(OUTSIDE, block, in_both(_MIXER_2), tuple(pair_tensors(config)))


def zamba2() -> Family:
    """Return Zamba 2's row: several blocks in turn, with a low-rank pair for each use."""
    pairs = Cases(flag("use_shared_attention_adapter", False), {True: PAIRS, False: None})
    attention = {"reads_embedding": True, "scale": scale(HEAD_WIDTH_2), "low_rank": pairs}
    is_rotary = flag("use_mem_rope", False)
    base = decoder(
        "zamba2",
        "Zamba2ForCausalLM",
        vocab=32000,
        n_ctx=LongContext(size("max_position_embeddings", 4096)),
        width=2560,
        depth=54,
        heads=32,
        d_head=HEAD_WIDTH_2,
        act="gelu",
        norm=rmsnorm(1e-5),
        tie=True,
        ffn={
            "d_ff": size("intermediate_size", hidden_width, null=hidden_width),
            "bias": BIAS_2,
            "low_rank": PAIRS,
        },
        kinds={"hybrid": attention | {"position": lambda rope: Cases(is_rotary, {True: rope, False: None})}},
        mixers={"mamba": MIXER_2},
        schedule=TYPES_2,
        to_branches=to_branches(MIXER_2, block_of_turn),
        by_index=True,
        constraints=(
            Constraint("attention_hidden_size", (joined_width(WIDTH_2),)),
            Constraint("hybrid_layer_ids", (ImpliedValue(hybrid_layers),)),
        ),
        irrelevant=MAMBA_IRRELEVANT - {"time_step_min"}
        | keys("num_logits_to_keep kv_channels num_query_groups use_conv_bias use_mem_eff_path"),
        # The class ties no block that one layer uses.
        small={"layers_block_type": ["hybrid", "linear_attention", "hybrid"]},
    ).family
    stack = SharedBlocks(base.template["decoder"], N_BLOCKS)
    return replace(base, template={**base.template, "decoder": stack}, tensors_of=tensors_2)


FAMILIES = (zamba(), zamba2())
