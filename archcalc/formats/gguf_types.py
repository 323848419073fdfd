"""GGUF: the block types of ggml as layouts, and the rules by which llama.cpp chooses the type of each tensor.

Block sizes and their split are those of ggml's `ggml-common.h` (struct block_q4_K and the like). If a field packs
scales and minima, or weights and scales, each counts with its own bits, which are whole bytes in every block. The rules
are those of `src/llama-quant.cpp` in llama.cpp as of 2026 (`llama_tensor_get_type_impl`, `tensor_type_fallback`),
without an importance matrix.
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
# The types of tensors in files: also those that are no format of a model's weights.
FILE_BLOCKS: dict[str, RowBlocks] = BLOCKS | {
    "Q8_1": RowBlocks(32, 32, 4, 4),
    "Q8_K": RowBlocks(256, 256, 4, 32),
    "F64": RowBlocks(1, 8, 0),
    "I8": RowBlocks(1, 1, 0),
    "I16": RowBlocks(1, 2, 0),
    "I32": RowBlocks(1, 4, 0),
    "I64": RowBlocks(1, 8, 0),
}

# The types that llama.cpp uses if rows don't divide by the block; then F16 if they don't divide by that one's either.
# For other types, llama.cpp fails, and so do we.
FALLBACKS: dict[str, str] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


def type_for_row(kind: str, row: int) -> str:
    """Return the type of a tensor with rows of this length for which `kind` was chosen.

    Rows of 576 don't divide by 256: Q6_K becomes Q8_0. A type without a fallback does not change.
    """
    if row % BLOCKS[kind].block == 0 or kind not in FALLBACKS:
        return kind
    other = FALLBACKS[kind]
    return other if row % BLOCKS[other].block == 0 else "F16"


class TensorPlace(msgspec.Struct, frozen=True):
    """The properties of a tensor that the rules depend on: its role, layer and model.

    `index` is that among the `count` layers with such a tensor. `row` is the length of its rows.
    """

    role: str
    part: str
    row: int
    index: int = 0
    count: int = 1
    n_layers: int = 1
    n_experts: int = 0
    queries_per_kv: int = 1

    @property
    def has_more_bits(self) -> bool:
        """Return llama.cpp's `use_more_bits`: the first and last eighth, and every third layer between."""
        first = self.count // 8
        return self.index < first or self.index >= 7 * self.count // 8 or (self.index - first) % 3 == 2

    @property
    def is_70b(self) -> bool:
        """Return whether llama.cpp treats the model as a 70B: 80 layers and shared keys."""
        return self.n_layers == 80 and self.queries_per_kv > 1


When = Literal["always", "more bits", "first 2", "first 4", "first 1/8", "first 1/16", "8 experts", "4 queries a key"]
_CONDITIONS: dict[When, Callable[[TensorPlace], bool]] = {
    "always": lambda place: True,
    "more bits": lambda place: place.has_more_bits,
    "first 2": lambda place: place.index < 2,
    "first 4": lambda place: place.index < 4,
    "first 1/8": lambda place: place.index < place.count // 8,
    "first 1/16": lambda place: place.index < place.count // 16,
    "8 experts": lambda place: place.n_experts == 8,
    "4 queries a key": lambda place: place.queries_per_kv >= 4,
}


class Rule(msgspec.Struct, frozen=True):
    """The type of tensors of a part or role, under a condition."""

    part: str
    when: When
    kind: str

    @property
    def is_by_layer(self) -> bool:
        """Return whether its condition depends on the layer."""
        return self.when == "more bits" or self.when.startswith("first")


class Mix(msgspec.Struct, frozen=True):
    """A file type of llama-quantize: the type of the first rule that applies, else `kind`.

    `head` is the type of the matrix of the logits, which may be the token table; it is Q8_0 if rows don't divide by the
    block of `kind`.
    """

    kind: str
    rules: tuple[Rule, ...] = ()
    head: str = ""

    @property
    def is_by_layer(self) -> bool:
        """Return whether the types differ between layers."""
        return any(rule.is_by_layer for rule in self.rules)

    def is_by_layer_for(self, part: str) -> bool:
        """Return whether the types of this part differ between layers."""
        return any(rule.is_by_layer for rule in self.rules if rule.part == part)

    def choose(self, place: TensorPlace) -> str:
        """Return the type of a tensor, by the rules and then by the length of its rows."""
        return type_for_row(self._type_by_rule(place), place.row)

    def _type_by_rule(self, place: TensorPlace) -> str:
        if place.role in ("head", "tied") and self.head:
            return self.head if place.row % BLOCKS[self.kind].block == 0 else "Q8_0"
        for rule in self.rules:
            if rule.part in (place.part, place.role) and _CONDITIONS[rule.when](place):
                return self._type_of_70b(rule.kind, place)
        return self._type_of_70b(self.kind, place)

    def _type_of_70b(self, kind: str, place: TensorPlace) -> str:
        """Return Q5_K instead of Q3_K and Q4_K for values of a '70B'."""
        is_small = self.head and place.part == "attn.v" and place.is_70b and kind in ("Q3_K", "Q4_K")
        return "Q5_K" if is_small else kind


# With 8 experts, keys and values are comparatively small.
_MIXTRAL = (Rule("attn.v", "8 experts", "Q8_0"), Rule("attn.k", "8 experts", "Q8_0"))
_OUT_8 = Rule("attn.out", "8 experts", "Q5_K")


def _mix(kind: str, *rules: Rule) -> Mix:
    return Mix(kind, _MIXTRAL + rules, "Q8_0" if kind == "Q8_0" else "Q6_K")


# Most file types of llama-quantize by name; the rules of IQ types are not supported.
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
