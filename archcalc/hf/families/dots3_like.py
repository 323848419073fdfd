"""Dots 3: latent attention of all tokens that an indexer selects, or of a window, each with its own sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import FLAG, SIZE, Config, ValueType
from archcalc.hf.families.gemma4 import OVERRIDES
from archcalc.hf.families.indexed_like import INDEXER, UNREAD, indexer
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.mla_like import FIRST_DENSE, MIXED, grouped, latent
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, Key
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import MTP_LAYERS, TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule, Schedule
from archcalc.hf.templates.decoder import LAYER, cross_product, decoder
from archcalc.hf.tensors import modules
from archcalc.hf.vocabulary import flag, keys, layers, positive, rmsnorm, size

N_LAYERS = layers(46)
WORDS = {"indexed_attention": "indexed", "full_attention": "full", "sliding_attention": "sliding"}
HAS_WINDOWS = flag("use_sliding_window", True)
TYPES = ListSchedule(
    WORDS,
    lambda config, index: "sliding" if HAS_WINDOWS.read(config) and index > 1 and index % 4 != 1 else "indexed",
    (HAS_WINDOWS,),
)


@final
class IndexedOrFull(Schedule, msgspec.Struct, frozen=True):
    """The kinds that a list says, of which `use_dsa` makes full layers indexed, or indexed ones full.

    Without the key full layers are indexed, unless the config has overrides of layers, as newer ones do.
    """

    types: ListSchedule = TYPES
    flag: str = "use_dsa"

    def names(self) -> Iterator[str]:
        """Yield the keys of the list and of the flag."""
        yield from (*self.types.names(), self.flag)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind of each layer."""
        default = None if OVERRIDES.name in config.data else True
        is_indexed = Key(self.flag, FLAG, default, null=None).read(config)
        words = {None: {}, True: {"full": "indexed"}, False: {"indexed": "full"}}[is_indexed]
        return [words.get(kind, kind) for kind in self.types.read(config, n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the list, whose words are to be taken as they are."""
        self.types.write(kinds, draft)
        draft.put(self.flag, None)


KINDS = IndexedOrFull()


@final
class SlidingSize(ConfigLens, msgspec.Struct, frozen=True):
    """A size of sliding layers: what `per_layer_config` says of all of them, or else a key of their own.

    With overrides, a size that they leave out is that of other layers, `base`. `also` is written with the same value,
    plus that of the key `beside`, if there is one.
    """

    base: Key
    default: int | Callable[[Config], int]
    also: str = ""
    beside: str = ""

    @property
    def own(self) -> Key:
        """Return the key of sliding layers."""
        return size(f"swa_{self.base.name}", self.default)

    def names(self) -> Iterator[str]:
        """Yield all keys."""
        yield from (OVERRIDES.name, self.own.name, *self.base.names(), *filter(None, [self.also]))

    def read(self, config: Config) -> int:
        """Return the size."""
        if OVERRIDES.name not in config.data:
            return int(self.own.read(config))
        fields = _overrides(config)
        found = config.nested(fields, config.where(OVERRIDES.name))
        return int(
            size(self.base.name, self.base.read).read(found) if self.base.name in fields else self.base.read(config)
        )

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key of sliding layers."""
        draft.put(self.own.name, value)
        if self.also:
            draft.put(self.also, value + (draft[self.beside] if self.beside else 0))


def _overrides(config: Config) -> Mapping[str, Any]:
    """Return what is overridden in sliding layers. Raises InputError unless it is the same in each, and in no other."""
    overrides = OVERRIDES.read(config) or {}
    kinds = KINDS.read(config, N_LAYERS.read(config))
    by_index = {int(index): fields for index, fields in overrides.items()}
    sliding = [by_index.pop(index, {}) for index, kind in enumerate(kinds) if kind == "sliding"]
    known = {*OVERRIDDEN, "head_dim", "num_key_value_heads"}
    if any(fields != sliding[0] for fields in sliding) or any(by_index.values()) or not known.issuperset(*sliding[:1]):
        raise config.error(OVERRIDES.name, overrides, f"{', '.join(OVERRIDDEN)} of all sliding layers, alike")
    return sliding[0] if sliding else {}


def sliding_width(config: Config) -> int:
    """Return the width of sliding heads with position by default: what the head's width leaves."""
    return int(size("swa_head_dim", 256).read(config) - size("swa_qk_nope_head_dim", 192).read(config))


NORM = rmsnorm(1e-5)
LATENT = latent(128, q_rank=1024, kv_rank=512, d_nope=128, d_rope=64, d_v=128) | {
    "q_rank": size("q_lora_rank", 1024),
    "norm": NORM,
    "key_norm": NORM,
    "scale_latents": True,
    "gate": {"activation": "sigmoid", "over": "head"},
}
SLIDING: dict[str, Any] = {
    "n_heads": SlidingSize(size("num_attention_heads", 128), 64, "swa_num_key_value_heads"),
    "q_rank": SlidingSize(size("q_lora_rank", 1024), 1024),
    "kv_rank": SlidingSize(size("kv_lora_rank", 512), 1024),
    "d_nope": SlidingSize(size("qk_nope_head_dim", 128), 192),
    "d_rope": SlidingSize(size("qk_rope_head_dim", 64), sliding_width, "swa_head_dim", "swa_qk_nope_head_dim"),
    "d_v": SlidingSize(size("v_head_dim", 128), 128),
}
OVERRIDDEN = tuple(lens.base.name for lens in SLIDING.values())


def rope(kind: str) -> Callable[[RopeLens], RopeLens]:
    """Return the function that makes a rotation that of one kind of layers."""
    own = {"theta": 50_000.0, "theta_key": "swa_rope_theta"} if kind == "sliding_attention" else {}
    return lambda common: replace(common, layer_kind=kind, **own)


STEP = Key(
    "moe_layer_freq",
    ValueType(
        lambda value: (
            SIZE.allows(value) or (isinstance(value, list) and all(type(one) in (int, bool) for one in value))
        ),
        f"{SIZE.description}, or a list of 0 and 1",
    ),
    1,
)


def is_dense(config: Config, index: int) -> bool:
    """Return whether a layer's feed-forward is dense, where no list of words says it."""
    step = STEP.read(config)
    if isinstance(step, list):
        if index >= len(step):
            raise config.error(STEP.name, f"{len(step)} numbers", "one for each layer")
        return index < FIRST_DENSE.read(config) or not step[index]
    return index < FIRST_DENSE.read(config) or bool(index % step)


@final
class RotationsByKind(Constraint, frozen=True):
    """The parameters of rotations are stated for each kind of layers."""

    def check(self, config: Config) -> None:
        """Raise InputError for parameters that all kinds would have."""
        found = config.data.get(self.name)
        if isinstance(found, dict) and found and not set(WORDS) & set(found):
            raise config.error(self.name, found, f"a mapping with {', '.join(WORDS)}")


WINDOW_2 = size("sliding_window_size", 512)
DOTS3_NOTE = decoder(
    "dots3_note_text",
    "Dots3NoteForCausalLM",
    vocab=152064,
    n_ctx=524288,
    width=5120,
    depth=46,
    d_ff=13824,
    norm=NORM,
    theta=80_000_000.0,
    rope={"interleaved": True, "scalings": {"default": None}},
    base_attention=LATENT,
    attention={"window": None, "indexer": None},
    schedule=CombinedSchedule(KINDS, layers_that(is_dense, FIRST_DENSE, STEP)),
    **cross_product(
        {
            "indexed": {"indexer": indexer(64, interleaved=True), "position": rope("indexed_attention")},
            "full": {"position": rope("full_attention")},
            "sliding": SLIDING
            | {
                "window": size("sliding_window", WINDOW_2.read, null=WINDOW_2.read),
                "position": rope("sliding_attention"),
            },
        },
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", 256, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 1536),
                **CORRECTED,
                **grouped(1, 1),
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 1.0),
                n_shared=size("n_shared_experts", 1),
                d_shared=size(
                    "shared_experts_intermediate_size", 1536, aliases=("moe_shared_expert_intermediate_size",)
                ),
            ),
        },
    ),
    tensors=(
        *MIXED,
        INDEXER,
        modules({"attn.gate": "self_attn.g_proj", "attn.key_norm": "self_attn.k_rope_only_layernorm"}, *LAYER),
    ),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("topk_method", ("noaux_tc",)),
        Constraint("rope_scaling", (None,)),
        RotationsByKind("rope_parameters", ()),
    ),
    irrelevant=keys(f"{UNREAD} sliding_window_size"),
    fixed_keys=NO_PADDING,
    spelling=replace(TIED_EXPERTS, mtp=MTP_LAYERS, unused={r"model\.mtp\..*": "predicts further tokens"}),
)

FAMILIES = (DOTS3_NOTE,)
