"""Spec → Ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import structs

from archcalc.ledger import embedding, extras, head
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward import Pass
from archcalc.ledger.leaves import Cache, Elementwise, Forward, Kept, Matmul, State, Weight, drained, under
from archcalc.ledger.stack import Placed, StackReader
from archcalc.ledger.symbols import Symbols, Table
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.types import CacheRow, ElementwiseRow, KeptRow, Ledger, MatmulRow, Row, StateRow
from archcalc.spec.execution import Execution
from archcalc.spec.model import Spec


def build(spec: Spec, how: Execution | None = None) -> Ledger:
    """Every weight, matmul and cache of a resolved spec, with its axes named.

    With `how` a training step is carried out, also what autograd keeps of it and what is computed number by number.
    """
    training, how = how is not None, how or Execution()
    table = Table()
    table.state("", {"vocab_size": spec.vocab_size, "n_ctx": spec.n_ctx, "d_model": spec.d_model})
    embedding.state(table, "", spec.embedding)
    table.state_part("head", spec.head)
    stacks = [StackReader.of(each, how, training=training) for each in spec.stacks]
    for stack in stacks:
        stack.state(table)
    return _ledger(_placed(spec, stacks, table), spec, table)


def _placed(spec: Spec, stacks: list[StackReader], table: Table) -> Iterator[tuple[str, Placed]]:
    """Every leaf with its stack's prefix, in the order of a forward pass."""
    d = table.symbols("")
    readers = [stack for stack in stacks if stack.stack.embedding is None]
    tokens = Poly.sum(stack.span.queries for stack in reversed(readers))
    own = under("embed.", embedding.leaves(spec.embedding, d, tokens))
    yield from (("", placed) for placed in stacks[0].placed(own))
    source = None
    for stack in stacks:
        yield from ((stack.prefix, placed) for placed in stack.own_embedding(table))
        leaves, made = drained(stack.leaves(table, source))
        yield from ((stack.prefix, leaf) for leaf in leaves)
        source = structs.replace(made, label="source states", once=True)
    for leaf in stacks[-1].placed(_ending(spec, stacks, table, made)):
        yield "", leaf


def _ending(spec: Spec, stacks: list[StackReader], table: Table, x: Tensor) -> Forward[None]:
    """What reads the last stack's states, and what nothing reads."""
    d = table.symbols("head", "")
    if spec.pooler:
        x = yield from head.pooler(spec.pooler, d, x)
    if spec.head:
        here = Pass(stacks[-1].how, spec.dropout, stacks[-1].span)
        yield from under("head.", head.leaves(spec.head, d, x, _head_width(spec, d), here))
    for part in spec.extras:
        axes = tuple(extras.size(axis, d, table, stacks) for axis in part.axes)
        yield Weight(f"extras.{part.name}", axes, part.component, kind=part.storage)


def _ledger(found: Iterable[tuple[str, Placed]], spec: Spec, table: Table) -> Ledger:
    """The rows of all leaves, by kind."""
    sizes = table.sizes()
    rows: dict[type, list[Any]] = {kind: [] for kind in (Weight, *ROWS)}
    for prefix, p in found:
        kind, path = type(p.leaf), prefix + p.leaf.name
        if isinstance(p.leaf, Weight):
            rows[kind].append(Row(path, p.leaf, p.group, p.indices, p.repeats, sizes))
        else:
            rows[kind].append(ROWS[kind](path, p.leaf, p.group, p.turns, p.turn_repeats))
    tied = tuple(Row(leaf.name, leaf, "", (), ONE, sizes) for leaf in _tied(spec, table.symbols("head", "")))
    weights, matmuls, caches, states, kept, elementwise = map(tuple, rows.values())
    return Ledger(weights, tied, matmuls, caches, states, kept, elementwise, sizes)


ROWS: dict[type, Callable[..., Any]] = {
    Matmul: MatmulRow,
    Cache: CacheRow,
    State: StateRow,
    Kept: KeptRow,
    Elementwise: ElementwiseRow,
}


def _tied(spec: Spec, d: Symbols) -> list[Weight]:
    """The head's matrix where it is the token table."""
    if spec.head is None or not spec.head.tied:
        return []
    matrix = head.matrix(spec.head, d, _head_width(spec, d))
    return [structs.replace(matrix, name=f"head.{matrix.name}")]


def _head_width(spec: Spec, d: Symbols) -> Poly:
    """What the head's matrix reads: a state as narrow as a factorised table, if it is that table."""
    assert spec.head is not None, "asked for only where there is one"
    if spec.head.tied:
        return d.d_embed if spec.embedding.factor else d.d_model
    return d.d_model if spec.head.d_in is None else d.d_in
