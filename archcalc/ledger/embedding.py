"""Token table, token types and the projection of a narrow table; tables of positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Forward, Matmul, Saved, Weight
from archcalc.ledger.symbols import Symbols, Table
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.embedding import Embedding
from archcalc.spec.execution import Execution
from archcalc.spec.position import Learned, Sinusoidal


def state(table: Table, owner: str, part: Embedding | None) -> None:
    """Record the sizes of an embedding."""
    table.state_part(owner, part)
    table.state(owner, {f"n_rows[{one.name}]": one.n_rows for one in part.tables} if part else {})


def leaves(part: Embedding, d: Symbols, tokens: Poly) -> Forward[None]:
    """An embedding that so many tokens pass: those of a source too, unless it has one of its own."""
    yield Weight("tokens.weight", (d.vocab_size, d.d_embed if part.factor else d.d_model), "embedding")
    if part.n_token_types:
        yield Weight("types.weight", (d.n_token_types, summed_width(part, d)), "embedding")
    for one in part.tables:
        rows = d[f"n_rows[{one.name}]"]
        yield Weight(f"tables.{one.name}.weight", (rows, summed_width(part, d)), "embedding")
    if part.factor:
        yield Weight("project.weight", (d.d_model, d.d_embed), "embedding")
        if part.factor.bias:
            yield Weight("project.bias", (d.d_model,), "embedding")
        yield Matmul("project", (BATCH, tokens, d.d_embed, d.d_model), "embedding")


def read(part: Embedding, d: Symbols, tokens: Poly, how: Execution) -> Forward[Tensor]:
    """What one stack keeps of reading its tokens: the indices, by which gradients find their rows."""
    ids = Tensor("token ids", (BATCH, tokens), "int64")
    yield Saved("embed.tokens", ids, "embedding")
    x = Tensor("tokens", (BATCH, tokens, d.d_embed if part.factor else d.d_model), how.dtype)
    if part.token_dropout:
        yield Saved("embed.token_dropout", x.new("rescaling", BATCH, tokens, ONE), "embedding")
    if part.factor and part.factor.widen == "before_positions":
        x = yield from _widened(x, d)
    if part.n_token_types:
        yield Saved("embed.types", ids.new("token types"), "embedding")
    for one in part.tables:
        if one.default_row is not None:
            yield Saved(f"embed.tables.{one.name}", ids.new(f"rows of {one.name}"), "embedding")
    return x


def widened(part: Embedding, d: Symbols, x: Tensor) -> Forward[Tensor]:
    """The sum of tokens and positions at the model's width."""
    if part.factor and part.factor.widen == "after_positions":
        return (yield from _widened(x, d))
    return x


def _widened(x: Tensor, d: Symbols) -> Forward[Tensor]:
    yield Saved("embed.project", x, "embedding")
    return x.new("widened", *x.axes[:-1], d.d_model)


def summed_width(part: Embedding, d: Symbols) -> Poly:
    """The width at which positions, token types and the embedding norm join the tokens."""
    late = part.factor is not None and part.factor.widen == "after_positions"
    return d.d_embed if late else d.d_model


def learned(part: Learned, d: Symbols, x: Tensor) -> Forward[None]:
    """A table of positions, and the indices that are read."""
    yield Weight("positions.weight", (_rows(part, d), x.axes[-1]), "position")
    yield Saved("positions", Tensor("places", (x.axes[1],), "int64"), "position")


def sinusoidal(part: Sinusoidal, d: Symbols, x: Tensor) -> Forward[None]:
    """A fixed table, where it is stored at all."""
    if part.stored:
        yield Weight("positions.weight", (_rows(part, d), x.axes[-1]), "position", kind="frozen")


def _rows(part: Learned | Sinusoidal, d: Symbols) -> Poly:
    return d.n_ctx + d.n_extra if part.n_extra else d.n_ctx


POSITIONS: dict[type, Callable[[Any, Symbols, Tensor], Forward[None]]] = {Learned: learned, Sinusoidal: sinusoidal}
