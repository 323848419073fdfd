"""RWKV-4: decoders whose layers mix tokens and channels by recurrences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config, ValueType
from archcalc.hf.lens import ConfigDraft, ConfigLens, Key
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import INDEX
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import layernorm, layers, positive, size

INTEGER = ValueType(lambda value: type(value) is int, "an integer")
WIDTH, DEPTH = size("hidden_size", 4096), layers(32)
DEFAULT = 1e-5
MOST = 500  # halvings beyond which no float holds the epsilon
EVERY = Key("rescale_every", INTEGER, 6)


def four_widths(config: Config) -> int:
    """Return the default width of the feed-forward."""
    return int(4 * WIDTH.read(config))


@final
class HalvedEpsilon(ConfigLens, msgspec.Struct, frozen=True):
    """The epsilon of a layer's norms, or of the norm after the last layer, which is torch's default.

    At inference the class halves the states after every `rescale_every` layers, and what later layers add to them, so a
    norm's epsilon counts for more. Nothing else changes.
    """

    is_last: bool = False
    key: Key = positive("layer_norm_epsilon", 1e-5)

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from (*self.key.names(), *EVERY.names())

    def read(self, config: Config) -> float:
        """Return the epsilon for states that are not halved."""
        every = EVERY.read(config)
        n_halvings = min(self._index(config) // every, MOST) if every > 0 else 0
        return float((DEFAULT if self.is_last else self.key.read(config)) * 4**n_halvings)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the epsilon of the first layer, and the number of layers after which it grows; 0 if it never does."""
        index = self._index(Config(draft))
        if not index:
            self.key.write(value, draft)
        elif value != (DEFAULT if self.is_last else draft[self.key.name]):
            draft.setdefault(EVERY.name, index)
        elif self.is_last:
            draft.setdefault(EVERY.name, 0)

    def _index(self, config: Config) -> int:
        return int(DEPTH.read(config) if self.is_last else config.data[INDEX])


MIXES = {
    "mixer": ("attention", {"k": "key", "v": "value", "r": "receptance"}),
    "ffn": ("feed_forward", {"k": "key", "r": "receptance"}),
}


def two_mixers(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with a branch for each of the two mixers."""
    parts = {"mixer": layer["mixer"], "ffn": layer["ffn"]}
    return {
        "branches": tuple(
            {"norm_in": layer["norm"], "arms": ({"name": name, "part": part},)} for name, part in parts.items()
        )
    }


RWKV = decoder(
    "rwkv",
    "RwkvForCausalLM",
    vocab=50277,
    n_ctx=size("context_length", 1024, aliases=("max_position_embeddings",)),
    norm=layernorm(1e-5, "layer_norm_epsilon") | {"eps": HalvedEpsilon()},
    mixers={"layer": {"kind": "time_mix", "d_inner": size("attention_hidden_size", WIDTH.read, null=WIDTH.read)}},
    base_ffn={"kind": "channel_mix", "d_ff": size("intermediate_size", four_widths, null=four_widths)},
    to_branches=two_mixers,
    by_index=True,
    stack_fields={
        "embed_norm": layernorm(1e-5, "layer_norm_epsilon"),
        "final_norm": {"kind": "layernorm", "eps": HalvedEpsilon(is_last=True)},
    },
    dropouts={},
    tensors=(
        modules({"embed.tokens": "embeddings", "embed_norm": "blocks.0.pre_ln", "final_norm": "ln_out"}, name="rwkv."),
        module("head", "head"),
        modules({"mixer_norm": "ln1", "ffn_norm": "ln2"}, "layers.{i}.", "rwkv.blocks.{i}."),
        *(
            TensorEntry(
                f"rwkv.blocks.{{i}}.{theirs}.time_mix_{word}", (f"layers.{{i}}.{ours}.mix_{name}",), unit_axes=(0, 1)
            )
            for ours, (theirs, words) in MIXES.items()
            for name, word in words.items()
        ),
        modules(
            {"k": "key", "v": "value", "r": "receptance", "out": "output"},
            "layers.{i}.mixer.",
            "rwkv.blocks.{i}.attention.",
        ),
        modules({"k": "key", "v": "value", "r": "receptance"}, "layers.{i}.ffn.", "rwkv.blocks.{i}.feed_forward."),
        TensorEntry("rwkv.blocks.{i}.attention.time_decay", ("layers.{i}.mixer.decay",)),
        TensorEntry("rwkv.blocks.{i}.attention.time_first", ("layers.{i}.mixer.bonus",)),
    ),
    spelling=msgspec.structs.replace(TIED, copies={"head.weight": "rwkv.embeddings.weight"}),
)

FAMILIES = (RWKV,)
