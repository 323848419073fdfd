"""Parameters: totals, and rows by weight, component and layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, NotRequired, TypedDict, get_args

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.value_names import COMPONENT_NAMES, KIND_NAMES
from archcalc.ledger.leaves import COMPONENTS, Component, Kind
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.results import Row, Sureness, count, counts, data, product, share, text
from archcalc.words import msg

# The tensors that accountings leave out by name, and the components that "non-embedding" leaves out.
TOKEN_TABLE, SOURCE_TABLE, HEAD_MATRIX = "embed.tokens.weight", "encoder.embed.tokens.weight", "head.weight"
PER_LAYER: Component = "per_layer_embedding"
EMBEDDING: tuple[Component, ...] = ("embedding", PER_LAYER, "position", "head")


class Summary(TypedDict):
    """The totals of a model, in parameters.

    total: trainable and frozen, each stored tensor once. untied: the head's matrix counted beside the embedding.
    active: what one token uses, embedding and head included; its variants leave out the input embedding's table (unless
    the head reads it too), or the embedding's table and the head's matrix. non_embedding: without embedding, per-layer
    embedding, positions and head. buffers are stored beside the parameters and are in none of the totals. Only a model
    with per-layer embeddings has them as a component, and a total without them.
    """

    total: int
    untied: int
    active: int
    active_without_input_embedding: int
    active_without_embedding_and_head: int
    non_embedding: int
    trainable: int
    frozen: int
    buffers: int
    without_per_layer_embedding: NotRequired[int]
    by_component: dict[Component, int]


def summary(ledger: Ledger) -> Summary:
    """Return all totals of a ledger."""
    by_component, by_kind = dict.fromkeys(components(ledger), 0), dict.fromkeys(get_args(Kind), 0)
    for row in ledger.rows:
        by_kind[row.kind] += row.total
        if row.is_counted:
            by_component[row.component] += row.total
    total = ledger.total()
    assert sum(by_component.values()) == total, "every counted row has one component"
    active = sum(row.active for row in ledger.counted_rows)
    table, source, head = (_total_of_path(ledger.rows, name) for name in (TOKEN_TABLE, SOURCE_TABLE, HEAD_MATRIX))
    tables = {"without_per_layer_embedding": total - by_component[PER_LAYER]} if PER_LAYER in by_component else {}
    return {
        "total": total,
        "untied": total + sum(row.total for row in ledger.tied),
        "active": active,
        "active_without_input_embedding": active - source - (0 if ledger.tied else table),
        "active_without_embedding_and_head": active - source - table - head,
        "non_embedding": total - sum(by_component.get(component, 0) for component in EMBEDDING),
        "trainable": by_kind["trainable"],
        "frozen": by_kind["frozen"],
        "buffers": by_kind["buffer"],
        **tables,  # type: ignore[typeddict-item]
        "by_component": by_component,
    }


def components(ledger: Ledger) -> tuple[Component, ...]:
    """Return the components that a report lists: all, but the per-layer embedding only of a model that has one."""
    has_tables = any(row.component == PER_LAYER for row in ledger.rows)
    return tuple(component for component in COMPONENTS if has_tables or component != PER_LAYER)


def total_of(ledger: Ledger, component: Component) -> int:
    """Return the parameters of one component."""
    return sum(row.total for row in ledger.counted_rows if row.component == component)


def biases_of(ledger: Ledger, component: Component) -> int:
    """Return the parameters of one component that are added, not multiplied."""
    return sum(row.total for row in ledger.counted_rows if row.component == component and row.is_bias)


def _total_of_path(rows: Iterable[WeightRow], path: str) -> int:
    return sum(row.total for row in rows if row.path == path)


class WeightParams(Row, frozen=True, kw_only=True):
    """A weight over all its layers. A buffer is in no total, and has no share."""

    path: Annotated[str, text(msg("weight"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    tensor_kind: Annotated[Kind, text(msg("kind of tensor"), names=KIND_NAMES, shown="varied")]
    axes: Annotated[tuple[str, ...], product(msg("axes"))]
    shape: Annotated[tuple[int, ...], product(msg("shape"))]
    elements_per_layer: Annotated[int, count(msg("each"), is_summed=False)]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    layer_indices: Annotated[tuple[int, ...], data(msg("indices of the layers"))]
    elements: Annotated[int, count(msg("total"))]
    share: Annotated[float | None, share(msg("share"))]
    active: Annotated[int, data(msg("elements that one token uses"))]
    formula: Annotated[str, text(msg("formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ComponentParams(Row, frozen=True, kw_only=True):
    """The parameters of one component. The untied ones count a tied head's matrix beside the embedding."""

    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    weights: Annotated[int, count(msg("weights"))]
    biases: Annotated[int, count(msg("biases"))]
    parameters: Annotated[int, count(msg("parameters"), rounded="count")]
    share: Annotated[float, share(msg("share"))]
    untied_parameters: Annotated[int, data(msg("parameters, untied"))]
    untied_share: Annotated[float, share(msg("untied"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class LayerParams(Row, frozen=True, kw_only=True):
    """The parameters of one layer by component; `path` is empty for all that is outside the layers."""

    path: Annotated[str, text(msg("layer"), names={"": msg("outside the layers")})]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    by_component: Annotated[dict[Component, int], counts(msg("by component"), names=COMPONENT_NAMES)]
    parameters: Annotated[int, count(msg("total"))]
    active: Annotated[int, count(msg("active"))]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


def weight_params(ledger: Ledger) -> tuple[WeightParams, ...]:
    """Return a row for each weight and buffer."""
    total, rewriter = ledger.total(), Rewriter(ledger)
    return tuple(
        WeightParams(
            path=path_pattern(row.path),
            group=row.group,
            component=row.component,
            tensor_kind=row.kind,
            axes=tuple(axis.factored() for axis in row.weight.axes),
            shape=row.shape,
            elements_per_layer=row.count,
            layers=row.layers,
            layer_indices=row.indices,
            elements=row.total,
            share=row.total / total if row.is_counted and total else None,
            active=row.active,
            formula=rewriter.equation(row.formula),
        )
        for row in ledger.rows
    )


def component_params(ledger: Ledger) -> tuple[ComponentParams, ...]:
    """Return a row for each component that the model has, that of a tied head too."""
    total, tied = ledger.total(), sum(row.total for row in ledger.tied)
    rows = []
    for component in COMPONENTS:
        parameters, biases = total_of(ledger, component), biases_of(ledger, component)
        untied = parameters + sum(row.total for row in ledger.tied if row.component == component)
        if untied:
            rows.append(
                ComponentParams(
                    component=component,
                    weights=parameters - biases,
                    biases=biases,
                    parameters=parameters,
                    share=parameters / total,
                    untied_parameters=untied,
                    untied_share=untied / (total + tied),
                )
            )
    return tuple(rows)


def layer_params(ledger: Ledger) -> tuple[LayerParams, ...]:
    """Return a row for what is outside the layers, then one for each layer that owns weights."""
    rows: dict[str, list[WeightRow]] = {}
    for row in ledger.counted_rows:
        before, repeated, _ = row.path.partition("{i}")
        for layer in [f"{before}{index}" for index in row.indices] if repeated else [""]:
            rows.setdefault(layer, []).append(row)
    used = [component for component in COMPONENTS if any(row.component == component for row in ledger.counted_rows)]
    sizes = Counter(name for row in ledger.counted_rows for name in _groups(row))
    return tuple(_layer(layer, rows[layer], used, sizes, ledger.total()) for layer in sorted(rows, key=_layer_order))


def _layer_order(layer: str) -> tuple[str, int]:
    prefix, _, index = layer.rpartition(".")
    return (prefix, int(index)) if index.isdigit() else ("", 0)


def _layer(path: str, rows: list[WeightRow], used: Sequence[Component], sizes: Counter[str], total: int) -> LayerParams:
    by_component = {component: sum(row.count for row in rows if row.component == component) for component in used}
    parameters = sum(by_component.values())
    return LayerParams(
        path=path,
        group=_group_of(rows, sizes),
        by_component=by_component,
        parameters=parameters,
        active=sum(row.active // row.layers for row in rows),
        share=parameters / total,
    )


def _groups(row: WeightRow) -> set[str]:
    return set(row.group.split(", ")) if row.group else set()


def _group_of(rows: list[WeightRow], sizes: Counter[str]) -> str:
    """Return the group that has all of a layer's rows and no others: of those that have them all, the smallest."""
    groups = [names for row in rows if (names := _groups(row))]
    common = set.intersection(*groups) if groups else set()
    return ", ".join(sorted(name for name in common if sizes[name] == min(sizes[other] for other in common)))


def largest(weights: Sequence[WeightParams], n: int = 12) -> tuple[WeightParams, ...]:
    """Return the weights with the largest single tensors, the largest first."""
    return tuple(sorted(weights, key=lambda weight: weight.elements_per_layer, reverse=True)[:n])
