"""Build the ledger of a spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import structs

from archcalc.ledger import embedding, extra_tensors, head
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import (
    CachedTensor,
    Elementwise,
    Forward,
    Matmul,
    SavedActivation,
    State,
    Weight,
    collect,
    with_prefix,
)
from archcalc.ledger.rows import CacheRow, ElementwiseRow, Ledger, MatmulRow, SavedActivationRow, StateRow, WeightRow
from archcalc.ledger.stack import StackBuilder, StackLeaf
from archcalc.ledger.symbols import SizeTable, Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.execution import Execution
from archcalc.spec.model import Spec


def build(spec: Spec, execution: Execution | None = None) -> Ledger:
    """Return every weight, matmul and cache of a resolved spec, with named axes.

    With `execution`, also the saved activations and the elementwise operations of a training step.
    """
    is_training, execution = execution is not None, execution or Execution()
    table = SizeTable()
    table.add("", {"vocab_size": spec.vocab_size, "n_ctx": spec.n_ctx, "d_model": spec.d_model})
    embedding.add_sizes(table, "", spec.embedding)
    table.add_part("head", spec.head)
    stacks = [StackBuilder.of(each, execution, is_training=is_training) for each in spec.stacks]
    for stack in stacks:
        stack.add_sizes(table)
    return _ledger(_stack_leaves(spec, stacks, table), spec, table)


def _stack_leaves(spec: Spec, stacks: list[StackBuilder], table: SizeTable) -> Iterator[tuple[str, StackLeaf]]:
    """Yield every leaf with its stack's prefix, in the order of a forward pass."""
    d = table.symbols("")
    readers = [stack for stack in stacks if stack.stack.embedding is None]
    tokens = Poly.sum(stack.span.queries for stack in reversed(readers))
    own = with_prefix("embed.", embedding.leaves(spec.embedding, d, tokens))
    yield from (("", leaf) for leaf in stacks[0].outside_layers(own))
    source = None
    for stack in stacks:
        yield from ((stack.prefix, leaf) for leaf in stack.embedding_leaves(table))
        leaves, output = collect(stack.leaves(table, source))
        yield from ((stack.prefix, leaf) for leaf in leaves)
        source = structs.replace(output, label="source states", is_shared=True)
    for leaf in stacks[-1].outside_layers(_head_leaves(spec, stacks, table, output)):
        yield "", leaf


def _head_leaves(spec: Spec, stacks: list[StackBuilder], table: SizeTable, x: Tensor) -> Forward[None]:
    """Yield the leaves of pooler and head, and the extra tensors."""
    d = table.symbols("head", "")
    if spec.pooler:
        x = yield from head.pooler(spec.pooler, d, x)
    if spec.head:
        ctx = ForwardContext(stacks[-1].execution, spec.dropout, stacks[-1].span)
        yield from with_prefix("head.", head.leaves(spec.head, d, x, _head_width(spec, d), ctx))
    for part in spec.extras:
        axes = tuple(extra_tensors.size(axis, d, table, stacks) for axis in part.axes)
        yield Weight(f"extras.{part.name}", axes, part.component, kind=part.storage)


def _ledger(leaves: Iterable[tuple[str, StackLeaf]], spec: Spec, table: SizeTable) -> Ledger:
    """Return the ledger of all leaves."""
    sizes = table.sizes()
    rows: dict[type, list[Any]] = {kind: [] for kind in (Weight, *ROWS)}
    for prefix, p in leaves:
        kind, path = type(p.leaf), prefix + p.leaf.name
        if isinstance(p.leaf, Weight):
            rows[kind].append(WeightRow(path, p.leaf, p.group, p.weight_indices, p.repeats, sizes))
        else:
            rows[kind].append(ROWS[kind](path, p.leaf, p.group, p.layer_indices, p.layer_repeats))
    tied = tuple(WeightRow(leaf.name, leaf, "", (), ONE, sizes) for leaf in _tied(spec, table.symbols("head", "")))
    weights, matmuls, caches, states, activations, elementwise = map(tuple, rows.values())
    return Ledger(weights, tied, matmuls, caches, states, activations, elementwise, sizes)


ROWS: dict[type, Callable[..., Any]] = {
    Matmul: MatmulRow,
    CachedTensor: CacheRow,
    State: StateRow,
    SavedActivation: SavedActivationRow,
    Elementwise: ElementwiseRow,
}


def _tied(spec: Spec, d: Symbols) -> list[Weight]:
    """Return the head's matrix if it is the token table."""
    if spec.head is None or not spec.head.tied:
        return []
    matrix = head.matrix(spec.head, d, _head_width(spec, d))
    return [structs.replace(matrix, name=f"head.{matrix.name}")]


def _head_width(spec: Spec, d: Symbols) -> Poly:
    """Return the input width of the head's matrix: that of a factorized table, if the head is tied to one."""
    assert spec.head is not None, "the model has a head"
    if spec.head.tied:
        return d.d_embed if spec.embedding.factor else d.d_model
    return d.d_model if spec.head.d_in is None else d.d_in
