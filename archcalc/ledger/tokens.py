"""Numbers of tokens as symbols, and the values of these symbols for a workload.

`seq` new tokens follow `past` cached ones. `keys` are the keys of a causal layer after that, `cached` those that it
keeps, `pairs` the attended (query, key) pairs. `keys(window)` and so on are the same for a sliding layer of that
window; `near(window)` and `source_near(window)` are the pairs of a bidirectional one, `best(n)` and `source_best(n)`
those of one whose queries select n keys each. `chunked(n)`, `chunk_near(n)` and `source_chunk_near(n)` are the pairs of
layers, causal or bidirectional, whose queries attend to their own chunk of n tokens. `chunks(n)` are the chunks of n
tokens that a linear attention computes, the last one padded: none in a step of one token after others.
`later_chunks(n)` leaves out the first, `later_tokens(n)` are the tokens that are not in the first one, and
`chunk_pairs(n)` the pairs of a query and a key within each chunk, where the last one is shorter instead of padded.
`convolved(width)` are the positions that a causal convolution of this width computes: its padding too, which only the
pass that begins a text has. `nearest(n)` and `source_nearest(n)` are the rows of a table of n distances that a
bidirectional layer needs. `first(n)` are the tokens of a text up to n, `blocks(n)` its whole blocks of n tokens.
`near_first(w, n)` are the pairs of the later tokens, with those in their window w and with the first n;
`block_pairs(n, r)` those of blocks of n tokens that read r random ones, `staggered(n)` those within blocks of n tokens
that begin half a block earlier. `entries(n)` are the entries of n tokens each that a text has, `new_entries(n)` those
that the new tokens complete, `entry_pairs(n)` the pairs of a query and an entry whose tokens it sees, and
`best_entries(n, k)` the same with k entries or fewer for each query. With `source_` before it: of the source.
`source_new` is the number of source tokens while they are read, then 0; `source_passes` is 1 while they are read, then
0. `first_pass` is 1 in the pass that begins a text, then 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from archcalc.ledger.algebra import Poly
from archcalc.spec.workload import Workload

BATCH, SEQ = Poly.symbol("batch"), Poly.symbol("seq")
SOURCE, SOURCE_NEW = Poly.symbol("source_seq"), Poly.symbol("source_new")
SOURCE_PASSES = Poly.symbol("source_passes")
FIRST_PASS = Poly.symbol("first_pass")


class Span(msgspec.Struct, frozen=True):
    """The tokens of one attention, for one sequence: `queries`, and `input_tokens` that become keys and values.

    In a causal layer a query attends to earlier tokens, which the layer caches. Otherwise it attends to `n_keys` keys,
    or those in its window, and the layer caches `cache_tokens` of them, if any. `prefix` is that of the symbols of
    what follows from the number of tokens. `passes` is how often the stack is run, if not once. `n_global` of the
    queries and keys are global tokens of the stack, which those symbols leave out.
    """

    queries: Poly
    input_tokens: Poly
    is_causal: bool
    n_keys: Poly
    prefix: str = ""
    cache_tokens: Poly | None = None
    passes: Poly | None = None
    n_global: Poly | None = None

    def with_global(self, n_global: Poly) -> Span:
        """Return the span of layers whose input has global tokens after those of the text."""
        more = n_global if self.passes is None else n_global * self.passes
        return msgspec.structs.replace(
            self,
            queries=self.queries + more,
            input_tokens=self.input_tokens + more,
            n_keys=self.n_keys + n_global,
            n_global=n_global,
        )

    def with_lead(self, n_lead: Poly) -> Span:
        """Return the span of layers that read rows before the text in the pass that begins it, and cache them."""
        first = n_lead * FIRST_PASS
        return msgspec.structs.replace(
            self,
            queries=self.queries + first,
            input_tokens=self.input_tokens + first,
            n_keys=self.n_keys + n_lead,
            cache_tokens=None if self.cache_tokens is None else self.cache_tokens + n_lead,
        )

    def local_pairs(self, n_block: Poly, *, is_staggered: bool) -> Poly:
        """Return the attended pairs of the text's tokens within blocks, and of global tokens with all."""
        pairs = self._own("staggered" if is_staggered else "chunk_near", n_block)
        if self.n_global is None:
            return pairs
        as_queries = self.n_global if self.passes is None else self.n_global * self.passes
        return pairs + (self.queries - as_queries) * self.n_global + as_queries * self.n_keys

    def keys(self, window: Poly | None) -> Poly:
        """Return the keys that scores are computed for: all that the layer has (masked ones too)."""
        return _symbol("keys", window) if self.is_causal else self.n_keys

    def key_value_tokens(self, window: Poly | None) -> Poly:
        """Return the tokens whose keys and values a layer computes if it caches latents."""
        return _symbol("keys", window) if self.is_causal else self.input_tokens

    def nearest_rows(self, n_distances: Poly) -> Poly:
        """Return the rows on either side that a table of distances needs; a causal layer needs all."""
        return n_distances if self.is_causal else self._own("nearest", n_distances)

    def cached(self, window: Poly | None) -> Poly | None:
        """Return the tokens in the layer's cache; None if it has no cache."""
        return _symbol("cached", window) if self.is_causal else self.cache_tokens

    def pairs(self, window: Poly | None) -> Poly:
        """Return the attended (query, key) pairs."""
        if self.is_causal:
            return _symbol("pairs", window)
        return self.queries * self.n_keys if window is None else self._own("near", window)

    def chunk_pairs(self, chunk: Poly) -> Poly:
        """Return the attended pairs if a query attends to the tokens of its own chunk."""
        return _symbol("chunked", chunk) if self.is_causal else self._own("chunk_near", chunk)

    def selected_pairs(self, n_selected: Poly) -> Poly:
        """Return the attended pairs if a query attends to `n_selected` of the keys that it sees, or all if fewer."""
        return _symbol("pairs", n_selected) if self.is_causal else self._own("best", n_selected)

    def first(self, n: Poly) -> Poly:
        """Return the number of tokens of a text up to n."""
        return self._own("first", n)

    def blocks(self, n_block: Poly) -> Poly:
        """Return the whole blocks of n_block tokens."""
        return self._own("blocks", n_block)

    def later_pairs(self, window: Poly, n_first: Poly) -> Poly:
        """Return the attended pairs of the tokens after the first ones, which all of them read."""
        return self._own("near_first", window, n_first)

    def block_pairs(self, n_block: Poly, n_random: Poly) -> Poly:
        """Return the attended pairs of blocks that read their neighbors, the first, the last and random ones."""
        return self._own("block_pairs", n_block, n_random)

    def entries(self, n_pool: Poly) -> Poly:
        """Return the entries of n_pool tokens each that a text has."""
        return _symbol("entries", n_pool)

    def new_entries(self, n_pool: Poly) -> Poly:
        """Return the entries that the new tokens complete."""
        return _symbol("new_entries", n_pool)

    def entry_pairs(self, n_pool: Poly, n_selected: Poly | None) -> Poly:
        """Return the attended pairs of a query and an entry, of which `n_selected` are selected for each query."""
        return _symbol("entry_pairs", n_pool) if n_selected is None else _symbol("best_entries", n_pool, n_selected)

    def _own(self, kind: str, *sizes: Poly) -> Poly:
        """Return a symbol of the texts of this stack."""
        return _symbol(self.prefix + kind, *sizes)


DECODER = Span(SEQ, SEQ, True, SEQ)
# The tokens of a pass see each other, and those before it.
PASS = Span(SEQ, SEQ, False, Poly.symbol("keys"), cache_tokens=Poly.symbol("cached"))
ENCODER = Span(SEQ, SEQ, False, SEQ)
SOURCE_ENCODER = Span(
    SOURCE_NEW,
    SOURCE_NEW,
    False,
    SOURCE,
    prefix="source_",
    passes=SOURCE_PASSES,
)
CROSS = Span(SEQ, SOURCE_NEW, False, SOURCE, cache_tokens=SOURCE)


def _symbol(kind: str, *sizes: Poly | None) -> Poly:
    names = ", ".join(str(size) for size in sizes if size is not None)
    return Poly.symbol(f"{kind}({names})" if names else kind)


def convolved(width: Poly) -> Poly:
    """Return the positions that a causal convolution over `width` tokens computes."""
    return _symbol("convolved", width)


def chunks(size: Poly) -> Poly:
    """Return the number of chunks of `size` tokens; a step of one token after others has none."""
    return _symbol("chunks", size)


def whole_chunks(size: Poly) -> Poly:
    """Return the number of whole chunks of `size` tokens; a single token is none."""
    return _symbol("whole_chunks", size)


def later_chunks(size: Poly) -> Poly:
    """Return the number of chunks after the first."""
    return _symbol("later_chunks", size)


def later_tokens(size: Poly) -> Poly:
    """Return the number of tokens that are not in the first chunk."""
    return _symbol("later_tokens", size)


def chunk_pairs(size: Poly) -> Poly:
    """Return the pairs of tokens in the same chunk, the last one shorter; one token after others has none."""
    return _symbol("chunk_pairs", size)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of two numbers, or of two arrays elementwise."""
    return (a + b - abs(a - b)) // 2


def _keys(work: Mapping[str, Any], window: Any) -> Any:
    return work["seq"] + (work["past"] if window is None else minimum(work["past"], window - 1))


def _cached(work: Mapping[str, Any], window: Any) -> Any:
    """A sliding layer drops tokens outside the next token's window."""
    tokens = work["seq"] + work["past"]
    return tokens if window is None else minimum(tokens, window)


def _pairs(work: Mapping[str, Any], window: Any) -> Any:
    """New token t attends to past + t + 1 keys, at most those in the window."""
    seq, past = work["seq"], work["past"]
    if window is None:
        return seq * past + seq * (seq + 1) // 2
    growing = minimum(seq, window - minimum(past, window))
    return growing * past + growing * (growing + 1) // 2 + (seq - growing) * window


def _convolved(work: Mapping[str, Any], width: Any) -> Any:
    """A causal convolution computes one position for each token, and its padding in the pass that begins a text."""
    return work["seq"] + (width - 1) * work["source_passes"]


def _chunks(work: Mapping[str, Any], size: Any) -> Any:
    """One token after others is a step of the recurrence, without a chunk."""
    has_chunks = minimum(1, work["seq"] - 1 + work["source_passes"])
    return (work["seq"] + size - 1) // size * has_chunks


def _later_chunks(work: Mapping[str, Any], size: Any) -> Any:
    n_chunks = _chunks(work, size)
    return n_chunks - minimum(n_chunks, 1)


def _chunk_pairs(work: Mapping[str, Any], size: Any) -> Any:
    return _chunk_near(work["seq"], size) * minimum(1, work["seq"] - 1 + work["source_passes"])


def _near(n: Any, window: Any) -> Any:
    """Each of n tokens attends to itself and to window − 1 others on either side."""
    side = minimum(n, window)
    return n + 2 * (side * (side - 1) // 2 + (n - side) * (window - 1))


def _chunked(work: Mapping[str, Any], chunk: Any) -> Any:
    """New token t attends to itself and to the tokens before it in its chunk."""

    def until(n: Any) -> Any:
        whole, rest = n // chunk, n % chunk
        return whole * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2

    return until(work["past"] + work["seq"]) - until(work["past"])


def _chunk_near(n: Any, chunk: Any) -> Any:
    """Each of n tokens attends to all of its chunk."""
    rest = n % chunk
    return n // chunk * (chunk * chunk) + rest * rest


def _staggered(n: Any, size: Any) -> Any:
    """Each of n tokens attends to all of its block; the first block has half as many."""
    first = minimum(n, size - size // 2)
    return first * first + _chunk_near(n - first, size)


def _near_first(n: Any, window: Any, n_first: Any) -> Any:
    """Each token after the first ones attends to those, and to later ones in its window."""
    first = minimum(n, n_first)
    rest = n - first
    return _near(rest, window) + rest * first


def _block_pairs(n: Any, size: Any, n_random: Any) -> Any:
    """All tokens attend to all, or the blocks of a longer text to 5 + n_random blocks, and two of them to all."""
    most = (5 + 2 * n_random) * size
    is_sparse = minimum(1, n - minimum(n, most))
    n_blocks = (n + size - 1) // size
    last = n - (n_blocks - 1) * size
    next_to_outer, inner = (3 + n_random) * size + last, (4 + n_random) * size + last
    sparse = (size + last) * n + 2 * size * next_to_outer + (n_blocks - 4) * size * inner
    return n * n + is_sparse * (sparse - n * n)


def _entries(work: Mapping[str, Any], size: Any) -> Any:
    return (work["past"] + work["seq"]) // size


def _new_entries(work: Mapping[str, Any], size: Any) -> Any:
    return _entries(work, size) - work["past"] // size


def _seen_entries(n: Any, size: Any) -> Any:
    """The q-th of n tokens sees q // size entries."""
    whole = n // size
    return whole * (whole - 1) // 2 * size + whole * (n - whole * size + 1)


def _entry_pairs(work: Mapping[str, Any], size: Any) -> Any:
    return _seen_entries(work["past"] + work["seq"], size) - _seen_entries(work["past"], size)


def _best_entries(work: Mapping[str, Any], size: Any, n_selected: Any) -> Any:
    """A token that sees n_selected entries or more reads so many."""

    def until(n: Any) -> Any:
        few = minimum(n, size * n_selected)
        return _seen_entries(few, size) + (n - few) * n_selected

    return until(work["past"] + work["seq"]) - until(work["past"])


def _of_texts(count: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return a count of the tokens of a text, for the model's own and for the source's."""
    name = count.__name__.removeprefix("_")
    return {
        name: lambda work, *sizes: count(work["seq"], *sizes),
        f"source_{name}": lambda work, *sizes: count(work["source_new"], *sizes),
    }


def _first(n: Any, most: Any) -> Any:
    return minimum(n, most)


def _blocks(n: Any, size: Any) -> Any:
    return n // size


def _best(n: Any, n_selected: Any) -> Any:
    return n * minimum(n, n_selected)


def _nearest(n: Any, n_distances: Any) -> Any:
    return minimum(n, n_distances)


_WORKLOAD_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "keys": _keys,
    "cached": _cached,
    "pairs": _pairs,
    "convolved": _convolved,
    "chunks": _chunks,
    "whole_chunks": lambda work, size: work["seq"] // size * minimum(1, work["seq"] - 1),
    "later_chunks": _later_chunks,
    "later_tokens": lambda work, size: work["seq"] - minimum(work["seq"], size),
    "chunk_pairs": _chunk_pairs,
    "chunked": _chunked,
    "entries": _entries,
    "new_entries": _new_entries,
    "entry_pairs": _entry_pairs,
    "best_entries": _best_entries,
    **_of_texts(_near),
    **_of_texts(_nearest),
    **_of_texts(_chunk_near),
    **_of_texts(_staggered),
    **_of_texts(_best),
    **_of_texts(_first),
    **_of_texts(_blocks),
    **_of_texts(_near_first),
    **_of_texts(_block_pairs),
}


def symbol_parts(symbol: str) -> tuple[str, tuple[str, ...]]:
    """Return what a symbol counts, and the names of the sizes that it depends on, if any.

    >>> symbol_parts("keys(window)"), symbol_parts("seq")
    (('keys', ('window',)), ('seq', ()))
    """
    kind, _, names = symbol.partition("(")
    return kind, tuple(names.removesuffix(")").split(", ")) if names else ()


def workload_sizes(sizes: Mapping[str, Any], work: Workload, symbols: Iterable[str]) -> dict[str, Any]:
    """Return `sizes` with the workload's own sizes and the values of these symbols."""
    values = {
        **sizes,
        "batch": work.batch,
        "seq": work.seq,
        "past": work.past,
        "source_seq": work.source_seq,
        "source_new": 0 if work.past else work.source_seq,
        "source_passes": 0 if work.past else 1,
        "first_pass": 0 if work.past else 1,
    }
    for symbol in symbols:
        kind, names = symbol_parts(symbol)
        if kind in _WORKLOAD_FUNCTIONS:
            arguments = [sizes[name] for name in names] or [None]
            values[symbol] = _WORKLOAD_FUNCTIONS[kind](values, *arguments)
    return values
