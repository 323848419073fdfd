"""GGUF: the block types of ggml as layouts, and how llama.cpp chooses a type for each tensor of a file.

Block sizes and their split are those of ggml's `ggml-common.h` (struct block_q4_K and the like). Where a field holds
scales and minima or weights and scales together, each counts for its own bits, which are whole bytes in every block.
The rules of choice are `src/llama-quant.cpp` of llama.cpp as of 2026 (`llama_tensor_get_type_impl`,
`tensor_type_fallback`), without an importance matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from archcalc.formats.layouts import RowBlocks

# type: elements of a block, bytes of weights, of scales, of minima (or of shifts, in IQ1)
BLOCKS: dict[str, RowBlocks] = {
    "F32": RowBlocks(1, 4, 0),
    "F16": RowBlocks(1, 2, 0),
    "BF16": RowBlocks(1, 2, 0),
    "Q4_0": RowBlocks(32, 16, 2),
    "Q4_1": RowBlocks(32, 16, 2, 2),
    "Q5_0": RowBlocks(32, 20, 2),
    "Q5_1": RowBlocks(32, 20, 2, 2),
    "Q8_0": RowBlocks(32, 32, 2),
    "Q1_0": RowBlocks(128, 16, 2),
    "Q2_K": RowBlocks(256, 64, 10, 10),
    "Q3_K": RowBlocks(256, 96, 14),
    "Q4_K": RowBlocks(256, 128, 8, 8),
    "Q5_K": RowBlocks(256, 160, 8, 8),
    "Q6_K": RowBlocks(256, 192, 18),
    "IQ1_S": RowBlocks(256, 44, 5, 1),
    "IQ1_M": RowBlocks(256, 44, 8, 4),
    "IQ2_XXS": RowBlocks(256, 60, 6),
    "IQ2_XS": RowBlocks(256, 64, 10),
    "IQ2_S": RowBlocks(256, 72, 10),
    "IQ3_XXS": RowBlocks(256, 92, 6),
    "IQ3_S": RowBlocks(256, 104, 6),
    "IQ4_NL": RowBlocks(32, 16, 2),
    "IQ4_XS": RowBlocks(256, 128, 8),
    "TQ1_0": RowBlocks(256, 52, 2),
    "TQ2_0": RowBlocks(256, 64, 2),
    "MXFP4": RowBlocks(32, 16, 1),
    "NVFP4": RowBlocks(64, 32, 4),
}

# What llama.cpp takes instead where rows don't divide by the block; then F16 if they don't divide by that one's either.
# A type that is not here has no fallback: llama.cpp stops, and so do we.
FALLBACKS: dict[str, str] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


def type_for_row(kind: str, row: int) -> str:
    """The type that a tensor with rows of this length gets where `kind` was chosen.

    Rows of 576 don't divide by 256: Q6_K becomes Q8_0. A type without a fallback is returned as it is.
    """
    if row % BLOCKS[kind].block == 0 or kind not in FALLBACKS:
        return kind
    other = FALLBACKS[kind]
    return other if row % BLOCKS[other].block == 0 else "F16"


class TensorPlace(msgspec.Struct, frozen=True):
    """Where in a model a tensor stands, as the rules ask: what it is, in which layer of how many, of what model.

    `turn` counts the layers that have such a tensor, of `turns`. `row` is the length of its rows.
    """

    role: str
    part: str
    row: int
    turn: int = 0
    turns: int = 1
    n_layers: int = 1
    n_experts: int = 0
    queries_per_kv: int = 1

    @property
    def more_bits(self) -> bool:
        """llama.cpp's `use_more_bits`: the first and last eighth, and every third layer between."""
        first = self.turns // 8
        return self.turn < first or self.turn >= 7 * self.turns // 8 or (self.turn - first) % 3 == 2

    @property
    def is_70b(self) -> bool:
        """llama.cpp calls any model so that has 80 layers and shares keys among queries."""
        return self.n_layers == 80 and self.queries_per_kv > 1


When = Literal["always", "more bits", "first 2", "first 4", "first 1/8", "first 1/16", "8 experts", "4 queries a key"]
_HOLDS: dict[When, Callable[[TensorPlace], bool]] = {
    "always": lambda place: True,
    "more bits": lambda place: place.more_bits,
    "first 2": lambda place: place.turn < 2,
    "first 4": lambda place: place.turn < 4,
    "first 1/8": lambda place: place.turn < place.turns // 8,
    "first 1/16": lambda place: place.turn < place.turns // 16,
    "8 experts": lambda place: place.n_experts == 8,
    "4 queries a key": lambda place: place.queries_per_kv >= 4,
}


class Rule(msgspec.Struct, frozen=True):
    """Tensors of a part, or of a role, that get a type of their own, and when."""

    part: str
    when: When
    kind: str

    @property
    def by_layer(self) -> bool:
        """Whether it tells layers apart."""
        return self.when == "more bits" or self.when.startswith("first")


class Mix(msgspec.Struct, frozen=True):
    """A file type of llama-quantize: a type, the rules that come before it (the first that holds), and the head's.

    `head` is for the matrix that makes the logits, the token table too if they are one; it is Q8_0 where rows don't
    divide by the block of `kind`.
    """

    kind: str
    rules: tuple[Rule, ...] = ()
    head: str = ""

    @property
    def by_layer(self) -> bool:
        """Whether layers of a model differ."""
        return any(rule.by_layer for rule in self.rules)

    def tells_layers_of(self, part: str) -> bool:
        """Whether layers differ in this part."""
        return any(rule.by_layer for rule in self.rules if rule.part == part)

    def choose(self, place: TensorPlace) -> str:
        """The type of a tensor, by the rules and then by what its rows divide by."""
        return type_for_row(self._wanted(place), place.row)

    def _wanted(self, place: TensorPlace) -> str:
        if place.role in ("head", "tied") and self.head:
            return self.head if place.row % BLOCKS[self.kind].block == 0 else "Q8_0"
        for rule in self.rules:
            if rule.part in (place.part, place.role) and _HOLDS[rule.when](place):
                return self._bumped(rule.kind, place)
        return self._bumped(self.kind, place)

    def _bumped(self, kind: str, place: TensorPlace) -> str:
        """Of a '70B', values get Q5_K instead of Q3_K and Q4_K."""
        small = self.head and place.part == "attn.v" and place.is_70b and kind in ("Q3_K", "Q4_K")
        return "Q5_K" if small else kind


# 8 experts: keys and values are small beside them.
_MIXTRAL = (Rule("attn.v", "8 experts", "Q8_0"), Rule("attn.k", "8 experts", "Q8_0"))
_OUT_8 = Rule("attn.out", "8 experts", "Q5_K")


def _mix(kind: str, *rules: Rule) -> Mix:
    return Mix(kind, _MIXTRAL + rules, "Q8_0" if kind == "Q8_0" else "Q6_K")


# Most file types of llama-quantize by name; those of IQ types choose by rules that are not here.
MIXES: dict[str, Mix] = {
    "Q4_0": _mix("Q4_0"),
    "Q4_1": _mix("Q4_1"),
    "Q5_0": _mix("Q5_0"),
    "Q5_1": _mix("Q5_1"),
    "Q8_0": _mix("Q8_0"),
    "Q2_K": _mix(
        "Q2_K",
        Rule("attn.v", "4 queries a key", "Q4_K"),
        Rule("attn.v", "always", "Q3_K"),
        Rule("ffn.down", "always", "Q3_K"),
        _OUT_8,
        Rule("attn.out", "always", "Q3_K"),
    ),
    "Q3_K_S": _mix("Q3_K", _OUT_8),
    "Q3_K_M": _mix(
        "Q3_K",
        Rule("attn.v", "first 2", "Q5_K"),
        Rule("attn.v", "always", "Q4_K"),
        Rule("ffn.down", "first 1/16", "Q5_K"),
        Rule("ffn.down", "always", "Q4_K"),
        _OUT_8,
        Rule("attn.out", "always", "Q4_K"),
    ),
    "Q3_K_L": _mix(
        "Q3_K",
        Rule("attn.v", "always", "Q5_K"),
        Rule("ffn.down", "always", "Q5_K"),
        Rule("attn.out", "8 experts", "Q3_K"),
        Rule("attn.out", "always", "Q5_K"),
    ),
    "Q4_K_S": _mix("Q4_K", Rule("attn.v", "first 4", "Q5_K"), Rule("ffn.down", "first 1/8", "Q5_K"), _OUT_8),
    "Q4_K_M": _mix("Q4_K", Rule("attn.v", "more bits", "Q6_K"), Rule("ffn.down", "more bits", "Q6_K"), _OUT_8),
    "Q5_K_S": _mix("Q5_K"),
    "Q5_K_M": _mix("Q5_K", Rule("attn.v", "more bits", "Q6_K"), Rule("ffn.down", "more bits", "Q6_K")),
    "Q6_K": _mix("Q6_K"),
    "MXFP4_MOE": Mix("Q8_0", (Rule("experts", "always", "MXFP4"),), "Q8_0"),
}
