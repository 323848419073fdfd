"""The figures that `archcalc explain` knows by name, as formulas. Names are those of the report's JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from archcalc.analysis.memory import Dtype
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.params import EMBEDDING, HEAD_MATRIX, PER_LAYER, SOURCE_TABLE, TOKEN_TABLE, components
from archcalc.analysis.weight_bytes import WeightBytes
from archcalc.formats.element_types import ELEMENT_TYPES, element_bytes
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.ledger.rows import Ledger, MatmulRow, SavedActivationRow, WeightRow

PartName = Literal["weights", "biases", "tokens_by_weights", "tokens_by_tokens", "others"]


class Figure(msgspec.Struct, frozen=True):
    """A named sum of rows; `parts` are its named partial sums.

    `formats`: of the bytes of weights that are not all in one plain dtype, those in each format.
    """

    name: str
    formula: Poly
    parts: tuple[tuple[PartName, Poly], ...] = ()
    dtype: str = ""
    formats: tuple[tuple[str, int], ...] = ()

    @property
    def component(self) -> Component | None:
        """Return the component that the figure is of, None for a total."""
        name = self.name.removeprefix("flops.")
        return next((component for component in COMPONENTS if component == name), None)


def figures(subject: ModelWorkload) -> list[Figure]:
    """Return all figures: parameters, then FLOPs and bytes of a workload, whose sizes are in `ledger.at(work)`."""
    ledger = subject.ledger
    return [*params_figures(ledger), *flops_figures(ledger), *memory_figures(ledger, subject.dtype, subject.stored)]


def params_figures(ledger: Ledger) -> list[Figure]:
    """Return the totals of parameters and the components."""
    rows = ledger.counted_rows
    tied = Poly.sum(row.formula for row in ledger.tied)
    reads = (SOURCE_TABLE,) if ledger.tied else (SOURCE_TABLE, TOKEN_TABLE)
    return [
        Figure("total", ledger.formula()),
        Figure("untied", ledger.formula() + tied),
        Figure("active", _active(rows)),
        Figure("active_without_input_embedding", _active(rows, *reads)),
        Figure("active_without_embedding_and_head", _active(rows, SOURCE_TABLE, TOKEN_TABLE, HEAD_MATRIX)),
        Figure("non_embedding", Poly.sum(row.formula for row in rows if row.component not in EMBEDDING)),
        *(Figure(name, _of_kind(ledger, kind)) for kind, name in _KINDS.items()),
        *_without_tables(rows),
        *(_component(component, rows) for component in components(ledger)),
    ]


def _without_tables(rows: Sequence[WeightRow]) -> list[Figure]:
    """Return the total without per-layer embeddings, of a model that has them."""
    others = [row for row in rows if row.component != PER_LAYER]
    if len(others) == len(rows):
        return []
    return [Figure("without_per_layer_embedding", Poly.sum(row.formula for row in others))]


def flops_figures(ledger: Ledger) -> list[Figure]:
    """Return FLOPs of a workload, 2 for each multiply-accumulate."""
    forward = _forward(ledger.matmuls)
    causal = Poly.sum(row.causal_formula for row in ledger.matmuls)
    backward = Poly.sum(row.backward_formula for row in ledger.matmuls)
    return [
        Figure("flops.forward", forward),
        Figure("flops.forward_causal", causal),
        Figure("flops.backward", backward),
        Figure("flops.train_step", forward + backward),
        *(_component_flops(component, ledger) for component in COMPONENTS),
    ]


def memory_figures(ledger: Ledger, dtype: Dtype, stored: Sequence[WeightBytes] = ()) -> list[Figure]:
    """Return bytes of weights, caches, states and saved activations in a dtype; weights as `stored`, if given."""
    cached = Poly.sum(row.formula for row in ledger.caches)
    return [
        _weights_bytes(ledger, dtype, stored),
        Figure("memory.kv_cache_bytes", element_bytes(dtype) * cached),
        Figure("memory.state_bytes", Poly.sum(row.bytes_formula(element_bytes(dtype)) for row in ledger.states)),
        *([_activations(ledger.saved_activations)] if ledger.saved_activations else []),
    ]


def _weights_bytes(ledger: Ledger, dtype: Dtype, stored: Sequence[WeightBytes]) -> Figure:
    """Return the bytes of all parameters: a formula in one plain dtype, else the sum over the formats of the files."""
    by_format: Counter[str] = Counter()
    for line in stored:
        by_format[line.format] += line.total_bytes if line.kind != "buffer" else 0
    names = [name for name, n_bytes in by_format.items() if n_bytes] or [dtype]
    found = next((name for name in ELEMENT_TYPES if names == [name]), None)
    if found and found != "int4" and (not stored or by_format[found] == ledger.total() * element_bytes(found)):
        return Figure("memory.weights_bytes", element_bytes(found) * ledger.formula(), dtype=found)
    sizes = tuple((name, n_bytes) for name, n_bytes in by_format.most_common() if n_bytes)
    return Figure("memory.weights_bytes", Poly.constant(by_format.total()), formats=sizes)


def _activations(rows: Sequence[SavedActivationRow]) -> Figure:
    """Return saved activations, split into what grows with the square of the sequence and the rest."""
    square = Poly.sum(row.formula for row in rows if row.is_square)
    rest = Poly.sum(row.formula for row in rows if not row.is_square)
    return Figure("memory.activations_bytes", square + rest, (("tokens_by_tokens", square), ("others", rest)))


_KINDS = {"trainable": "trainable", "frozen": "frozen", "buffer": "buffers"}


def _active(rows: Sequence[WeightRow], *without: str) -> Poly:
    return Poly.sum(row.active_formula for row in rows if row.path not in without)


def _of_kind(ledger: Ledger, kind: str) -> Poly:
    return Poly.sum(row.formula for row in ledger.rows if row.kind == kind)


def _component(component: str, rows: Sequence[WeightRow]) -> Figure:
    """Return the parameters of a component, split into weights and biases."""
    own = [row for row in rows if row.component == component]
    weights, biases = (Poly.sum(row.formula for row in own if row.is_bias is is_bias) for is_bias in (False, True))
    return Figure(component, weights + biases, (("weights", weights), ("biases", biases)))


def _component_flops(component: str, ledger: Ledger) -> Figure:
    """Return the FLOPs of a component, split into products with weights and products of tokens with tokens."""
    own = [row for row in ledger.matmuls if row.component == component]
    pairs = [row for row in own if row.matmul.causal_axes]
    others = [row for row in own if row not in pairs]
    by_weights, by_tokens = _forward(others), _forward(pairs)
    parts: tuple[tuple[PartName, Poly], ...] = (("tokens_by_weights", by_weights), ("tokens_by_tokens", by_tokens))
    return Figure(f"flops.{component}", by_weights + by_tokens, parts)


def _forward(rows: Sequence[MatmulRow]) -> Poly:
    return Poly.sum(row.formula for row in rows)
