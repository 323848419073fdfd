"""The symbols of a workload, such as `keys` and `pairs(window)`, with their meanings, formulas and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec

from archcalc.analysis.atoms import ATOMS, STATED
from archcalc.ledger.tokens import symbol_parts
from archcalc.results import Row, count, data, text
from archcalc.words import Message, msg


class WorkloadSymbol(Row, frozen=True, kw_only=True):
    """A size of a workload; one that is stated has no meaning and no formula here."""

    symbol: Annotated[str, text(msg("symbol"))]
    meaning: Annotated[Message | None, data(msg("meaning"))] = None
    formula: Annotated[Message | None, data(msg("formula"))] = None
    value: Annotated[int, count(msg("value"), is_summed=False)]


class SymbolWords(msgspec.Struct, frozen=True):
    """The meaning of a symbol, and its formula without and with a window `w` (and one more size, `n`)."""

    meaning: Message
    formula: Message | None
    windowed: Message | None


SYMBOL_WORDS = {
    "keys": SymbolWords(
        msg("tokens that a layer holds, the new ones added"), msg("seq + past"), msg("seq + min(past, {w} − 1)")
    ),
    "cached": SymbolWords(
        msg("tokens that a layer keeps for the next step"), msg("seq + past"), msg("min(seq + past, {w})")
    ),
    "pairs": SymbolWords(
        msg("pairs of a query and a key that are attended"),
        msg("seq·past + seq·(seq + 1)/2"),
        msg("sum of min(past + t, {w}) over t = 1 … seq"),
    ),
    "convolved": SymbolWords(
        msg("positions that a causal convolution computes, padding included"),
        None,
        msg("seq + {w} − 1 if past = 0, else seq"),
    ),
    "chunks": SymbolWords(
        msg("chunks of tokens, the last one padded"),
        None,
        msg("⌈seq / {w}⌉; 0 for one token after others"),
    ),
    "later_chunks": SymbolWords(
        msg("chunks after the first"),
        None,
        msg("max(⌈seq / {w}⌉ − 1, 0); 0 for one token after others"),
    ),
    "later_tokens": SymbolWords(msg("tokens after the first chunk"), None, msg("max(seq − {w}, 0)")),
    "chunk_pairs": SymbolWords(
        msg("pairs of a query and a key in the same chunk"),
        None,
        msg("(seq − seq mod {w})·{w} + (seq mod {w})·(seq mod {w}); 0 for one token after others"),
    ),
    "near": SymbolWords(
        msg("pairs of tokens less than a window apart"),
        None,
        msg("sum of min(t, {w}) + min(seq − t + 1, {w}) − 1 over t = 1 … seq"),
    ),
    "source_near": SymbolWords(
        msg("pairs of the source's tokens less than a window apart"),
        None,
        msg("sum of min(t, {w}) + min(source_new − t + 1, {w}) − 1 over t = 1 … source_new"),
    ),
    "nearest": SymbolWords(msg("distances of a text that have a row of their own"), None, msg("min(seq, {w})")),
    "source_nearest": SymbolWords(
        msg("distances of the source that have a row of their own"), None, msg("min(source_new, {w})")
    ),
    "best": SymbolWords(
        msg("pairs of a query and a key that it selects"),
        None,
        msg("seq · min(seq, {w})"),
    ),
    "source_best": SymbolWords(
        msg("pairs of a query and a key that it selects, in the source"),
        None,
        msg("source_new · min(source_new, {w})"),
    ),
    "chunked": SymbolWords(
        msg("pairs of a query and a key before it in its chunk"),
        None,
        msg("sum of (past + t − 1) mod {w} + 1 over t = 1 … seq"),
    ),
    "chunk_near": SymbolWords(
        msg("pairs of tokens of one chunk"),
        None,
        msg("sum of min({w}, seq − t + 1 + (t − 1) mod {w}) over t = 1 … seq"),
    ),
    "source_chunk_near": SymbolWords(
        msg("pairs of the source's tokens of one chunk"),
        None,
        msg("sum of min({w}, source_new − t + 1 + (t − 1) mod {w}) over t = 1 … source_new"),
    ),
    "staggered": SymbolWords(
        msg("pairs of tokens of one block, where blocks begin half a block earlier"),
        None,
        msg(
            "sum of min(seq, t + {w} − 1 − (t − 1 + {w}/2) mod {w})"
            " − max(1, t − (t − 1 + {w}/2) mod {w}) + 1 over t = 1 … seq"
        ),
    ),
    "source_staggered": SymbolWords(
        msg("pairs of the source's tokens of one block, where blocks begin half a block earlier"),
        None,
        msg(
            "sum of min(source_new, t + {w} − 1 − (t − 1 + {w}/2) mod {w})"
            " − max(1, t − (t − 1 + {w}/2) mod {w}) + 1 over t = 1 … source_new"
        ),
    ),
    "whole_chunks": SymbolWords(
        msg("whole chunks of a text; none for a single token"), None, msg("⌊seq / {w}⌋ · min(1, seq − 1)")
    ),
    "first": SymbolWords(msg("tokens that all others attend to"), None, msg("min(seq, {w})")),
    "source_first": SymbolWords(
        msg("tokens of the source that all others attend to"), None, msg("min(source_new, {w})")
    ),
    "blocks": SymbolWords(msg("whole blocks of tokens"), None, msg("⌊seq / {w}⌋")),
    "source_blocks": SymbolWords(msg("whole blocks of the source's tokens"), None, msg("⌊source_new / {w}⌋")),
    "near_first": SymbolWords(
        msg("pairs of a token after the first ones, and of one less than a window apart or of the first"),
        None,
        msg(
            "sum of min(1, max(t − {n}, 0))·({n} + min(t − {n}, {w}) + min(seq − t + 1, {w}) − 1) over t = 1 … seq",
        ),
    ),
    "source_near_first": SymbolWords(
        msg("pairs of a token of the source after the first ones, and of one less than a window apart or of the first"),
        None,
        msg(
            "sum of min(1, max(t − {n}, 0))·({n} + min(t − {n}, {w}) + min(source_new − t + 1, {w}) − 1) over t = 1 … "
            "source_new",
        ),
    ),
    "entries": SymbolWords(msg("entries of compressed tokens"), None, msg("⌊(past + seq) / {w}⌋")),
    "new_entries": SymbolWords(
        msg("entries of compressed tokens that the new tokens complete"),
        None,
        msg("⌊(past + seq) / {w}⌋ − ⌊past / {w}⌋"),
    ),
    "entry_pairs": SymbolWords(
        msg("pairs of a query and an entry of compressed tokens that are attended"),
        None,
        msg("sum of ⌊(past + t) / {w}⌋ over t = 1 … seq"),
    ),
    "best_entries": SymbolWords(
        msg("pairs of a query and an entry of compressed tokens that is selected for it"),
        None,
        msg("sum of min(⌊(past + t) / {w}⌋, {n}) over t = 1 … seq"),
    ),
    "block_pairs": SymbolWords(
        msg("pairs of tokens in blocks that attend to each other"),
        None,
        msg(
            "seq·seq if seq ≤ (5 + 2·{n})·{w}, else ({w} + l)·seq + 2·{w}·((3 + {n})·{w} + l) + "
            "(m − 4)·{w}·((4 + {n})·{w} + l); m = ⌈seq / {w}⌉, l = seq − (m − 1)·{w}"
        ),
    ),
    "source_block_pairs": SymbolWords(
        msg("pairs of the source's tokens in blocks that attend to each other"),
        None,
        msg(
            "source_new·source_new if source_new ≤ (5 + 2·{n})·{w}, else ({w} + l)·source_new + "
            "2·{w}·((3 + {n})·{w} + l) + (m − 4)·{w}·((4 + {n})·{w} + l); m = ⌈source_new / {w}⌉, "
            "l = source_new − (m − 1)·{w}"
        ),
    ),
    "source_new": SymbolWords(
        msg("tokens of the source that are read now"), msg("source_seq if past = 0, else 0"), None
    ),
    "first_pass": SymbolWords(msg("whether the pass begins the text"), msg("1 if past = 0, else 0"), None),
    "source_passes": SymbolWords(msg("passes through the encoder"), msg("1 if past = 0, else 0"), None),
}


def workload_symbols(symbols: Iterable[str], sizes: Mapping[str, int]) -> Iterator[WorkloadSymbol]:
    """Yield the sizes that the workload states, then each of the symbols that follows from them."""
    named = sorted(symbols)
    has_source = any("source" in symbol for symbol in named)
    for name in STATED:
        if has_source or name != "source_seq":
            yield WorkloadSymbol(symbol=name, value=sizes[name])
    yield from (_derived(symbol, sizes) for symbol in named if symbol_parts(symbol)[0] in ATOMS)


def _derived(symbol: str, sizes: Mapping[str, int]) -> WorkloadSymbol:
    kind, names = symbol_parts(symbol)
    atom = SYMBOL_WORDS[kind]
    formula = atom.windowed.fill(**dict(zip("wn", names, strict=False))) if names and atom.windowed else atom.formula
    assert formula is not None, "the ledger names no other"
    return WorkloadSymbol(symbol=symbol, meaning=atom.meaning, formula=formula, value=sizes[symbol])
