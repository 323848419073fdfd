"""Token table, token types, the projection of a narrow table, and position tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import SizeTable, Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.embedding import Embedding, Factor
from archcalc.spec.execution import Execution
from archcalc.spec.position import Learned, Sinusoidal


def add_sizes(sizes: SizeTable, owner: str, part: Embedding | None) -> None:
    """Record the sizes of an embedding."""
    sizes.add_part(owner, part)
    for table in part.tables if part else ():
        named = {"n_rows": table.n_rows, "n_reads": table.n_reads, "d_table": table.d_table}
        sizes.add(owner, {f"{size}[{table.name}]": n for size, n in named.items() if n is not None})


def leaves(part: Embedding, d: Symbols, tokens: Poly) -> Forward[None]:
    """Yield the leaves of an embedding that reads `tokens` tokens (those of a source too, unless it has its own)."""
    yield Weight("tokens.weight", (d.vocab_size, d.d_embed if part.factor else d.d_model), "embedding")
    if part.n_token_types:
        yield Weight("types.weight", (d.n_token_types, summed_width(part, d)), "embedding")
    for table in part.tables:
        width = d[f"d_table[{table.name}]"] if table.d_table is not None else summed_width(part, d)
        yield Weight(f"tables.{table.name}.weight", (d[f"n_rows[{table.name}]"], width), "embedding")
    if part.join:
        yield Weight("join.weight", (d.d_model, joined_width(part, d)), "embedding")
        if part.join.bias:
            yield Weight("join.bias", (d.d_model,), "embedding")
        yield Matmul("join", (BATCH, tokens, joined_width(part, d), d.d_model), "embedding")
    if part.factor:
        read = projected_width(part.factor, d)
        yield Weight("project.weight", (d.d_model, read), "embedding")
        if part.factor.bias:
            yield Weight("project.bias", (d.d_model,), "embedding")
        yield Matmul("project", (BATCH, tokens, read, d.d_model), "embedding")


def token_input(part: Embedding, d: Symbols, tokens: Poly, execution: Execution) -> Forward[Tensor]:
    """Yield what one stack saves when it reads its tokens: the indices, which the gradients of the tables need."""
    ids = Tensor("token ids", (BATCH, tokens), "int64")
    yield Save("embed.tokens", ids, "embedding")
    x = Tensor("tokens", (BATCH, tokens, d.d_embed if part.factor else d.d_model), execution.dtype)
    if part.token_dropout:
        yield Save("embed.token_dropout", x.new("rescaling", BATCH, tokens, ONE), "embedding")
    if part.factor and part.factor.widen == "before_positions":
        if part.factor.n_neighbors:
            x = x.new("tokens and their neighbors", BATCH, tokens, projected_width(part.factor, d))
        x = yield from _project(x, d)
    if part.n_token_types:
        yield Save("embed.types", ids.new("token types"), "embedding")
    if part.join:
        yield Save("embed.join", x.new("joined", BATCH, tokens, joined_width(part, d)), "embedding")
        x = x.new("projected", BATCH, tokens, d.d_model)
    for table in part.tables:
        if table.is_read:
            n_reads = d[f"n_reads[{table.name}]"]
            yield Save(f"embed.tables.{table.name}", ids.new(f"rows of {table.name}", *ids.axes, n_reads), "embedding")
    return x


def projection(part: Embedding, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the projection after positions, if there is one; return states of the model's width."""
    if part.factor and part.factor.widen == "after_positions":
        return (yield from _project(x, d))
    return x


def _project(x: Tensor, d: Symbols) -> Forward[Tensor]:
    yield Save("embed.project", x, "embedding")
    return x.new("widened", *x.axes[:-1], d.d_model)


def summed_width(part: Embedding, d: Symbols) -> Poly:
    """Return the width of the tokens when positions, token types and the embedding norm join them."""
    is_late = part.factor is not None and part.factor.widen == "after_positions"
    return d.d_embed if is_late else d.d_model


def projected_width(part: Factor, d: Symbols) -> Poly:
    """Return the width of what the projection of a narrow table reads: of a token's row and those of its neighbors."""
    return d.d_embed * (d.n_neighbors * 2 + ONE) if part.n_neighbors else d.d_embed


def joined_width(part: Embedding, d: Symbols) -> Poly:
    """Return the width of a token's row and the rows beside it."""
    width = d.d_model
    for table in part.tables:
        width = width + d[f"d_table[{table.name}]"] if table.use == "joined" else width
    return width


def learned_positions(part: Learned, d: Symbols, x: Tensor) -> Forward[None]:
    """Yield a position table and the indices that are read."""
    yield Weight("positions.weight", (_n_rows(part, d), x.axes[-1]), "position")
    yield Save("positions", Tensor("places", (x.axes[1],), "int64"), "position")


def sinusoidal_positions(part: Sinusoidal, d: Symbols, x: Tensor) -> Forward[None]:
    """Yield the fixed table, if it is stored."""
    if part.stored:
        yield Weight("positions.weight", (_n_rows(part, d), x.axes[-1]), "position", kind="frozen")


def _n_rows(part: Learned | Sinusoidal, d: Symbols) -> Poly:
    return d.n_ctx + d.n_extra if part.n_extra else d.n_ctx


POSITIONS: dict[type, Callable[[Any, Symbols, Tensor], Forward[None]]] = {
    Learned: learned_positions,
    Sinusoidal: sinusoidal_positions,
}
