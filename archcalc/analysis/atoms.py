"""The symbols that a workload gives sizes to: those it states, and those that follow (`ledger.tokens`)."""

from __future__ import annotations

from archcalc.ledger.tokens import symbol_parts

# What formulas may name, with a window in brackets or without.
ATOMS = (
    "keys",
    "cached",
    "pairs",
    "convolved",
    "near",
    "source_near",
    "best",
    "source_best",
    "chunks",
    "later_chunks",
    "whole_chunks",
    "staggered",
    "source_staggered",
    "later_tokens",
    "chunk_pairs",
    "chunked",
    "chunk_near",
    "source_chunk_near",
    "first",
    "source_first",
    "blocks",
    "source_blocks",
    "near_first",
    "source_near_first",
    "entries",
    "new_entries",
    "entry_pairs",
    "best_entries",
    "block_pairs",
    "source_block_pairs",
    "nearest",
    "source_nearest",
    "source_new",
    "source_passes",
    "first_pass",
)

# What a workload states itself; a formula may name them, and so may the atoms.
STATED = ("batch", "seq", "past", "source_seq")


def is_of_work(symbol: str) -> bool:
    """Return whether a symbol's size is the workload's, not the model's."""
    return symbol in STATED or symbol_parts(symbol)[0] in ATOMS
