"""Encoders whose projections are in groups: SqueezeBERT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.families.bert_like import ABSOLUTE, BERT
from archcalc.hf.family import derive
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, DuplicateKey, Key, MismatchError
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES
from archcalc.hf.vocabulary import biases, size


@final
class GroupWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The channels that each output of a projection reads, from the number of its groups and the width of its input."""

    n_groups: Key
    width: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the groups."""
        yield from self.n_groups.names()

    def read(self, config: Config) -> int:
        """Return the channels of a group. Raises InputError if groups do not divide the width."""
        n_groups, width = self.n_groups.read(config), self.width.read(config)
        if width % n_groups:
            raise config.error(self.n_groups.name, n_groups, f"a divisor of {self.width.name}, {width}")
        n_channels: int = width // n_groups
        return n_channels

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of groups. The width must be in the draft already."""
        if value is None:
            raise MismatchError(self.n_groups.name)
        draft.put(self.n_groups.name, self.width.read(Config(draft)) // value)


WIDTH, FFN_WIDTH = size("hidden_size", 768), size("intermediate_size", 3072)
# Every projection is a convolution over one token, also that of one group.
PROJECTIONS = {
    "attn.q": "attention.query",
    "attn.k": "attention.key",
    "attn.v": "attention.value",
    "attn.out": "post_attention.conv1d",
    "ffn.up": "intermediate.conv1d",
    "ffn.down": "output.conv1d",
}
NORMS = {"attn_norm": "post_attention.layernorm", "ffn_norm": "output.layernorm"}


def fixed_norms(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose norms have the epsilon of the class, whatever the config says."""
    return {**layer, "norm": {"kind": "layernorm", "eps": 1e-12}}


SQUEEZEBERT = derive(
    BERT,
    "squeezebert",
    "SqueezeBertForMaskedLM",
    root="transformer",
    d_model=DuplicateKey(WIDTH, "embedding_size"),
    d_ff=FFN_WIDTH,
    attention=biases(True)
    | {f"{name}_block": GroupWidth(size(f"{name}_groups", 4), WIDTH) for name in "qkv"}
    | {"out_block": GroupWidth(size("post_attention_groups", 1), WIDTH)},
    ffn={
        "kind": "plain",
        "bias": True,
        "up_block": GroupWidth(size("intermediate_groups", 4), WIDTH),
        "down_block": GroupWidth(size("output_groups", 4), FFN_WIDTH),
    },
    layer=fixed_norms,
    causal_key=None,
    keeps_pooler=True,
    names=EMBEDDING_NAMES
    | {
        f"layers.{{i}}.{ours}": f"{{root}}.encoder.layers.{{i}}.{theirs}"
        for ours, theirs in (PROJECTIONS | NORMS).items()
    },
    constraints=(ABSOLUTE, Constraint("embedding_size", (WIDTH,))),
    irrelevant="",
    unused={},
)

FAMILIES = (SQUEEZEBERT,)
