"""Models side by side: sizes, parameters, fields that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from archcalc.analysis.params import Summary, summary
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.results import Result, Row, Sureness, count, counts, data, number, text
from archcalc.spec import Spec
from archcalc.spec.document import flat_fields
from archcalc.words import Message, msg

TOTAL_NAMES: Final = {
    "total": msg("total"),
    "untied": msg("untied"),
    "active": msg("active"),
    "non_embedding": msg("non_embedding"),
}
_FIGURE_NAMES: Mapping[str, Message] = {**COMPONENT_NAMES, **TOTAL_NAMES}
_NOT_ARCHITECTURE = ("name", "about")


class FigureDifference(Row, frozen=True, kw_only=True):
    """The parameters of one component, or one total, of two models."""

    figure: Annotated[str, text(msg("parameters"), names=_FIGURE_NAMES)]
    left: Annotated[int, count(msg("left"))]
    right: Annotated[int, count(msg("right"))]
    difference: Annotated[int, number(msg("difference"), "signed")]
    change: Annotated[float | None, number(msg("change"), "change")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class FieldDifference(Row, frozen=True, kw_only=True):
    """A field whose values differ; None also where a model lacks it."""

    field: Annotated[str, text(msg("field"))]
    left: Annotated[Any, number(msg("left"), "value")]
    right: Annotated[Any, number(msg("right"), "value")]


class ModelDifference(Result, frozen=True, kw_only=True):
    """The differences of the model on the right from the one on the left."""

    left: Annotated[str, data(msg("name of the left model"))]
    right: Annotated[str, data(msg("name of the right model"))]
    left_label: Annotated[str, data(msg("title of the left model"))]
    right_label: Annotated[str, data(msg("title of the right model"))]
    params: Annotated[tuple[FigureDifference, ...], data(msg("parameters by component, and totals"))]
    fields: Annotated[tuple[FieldDifference, ...], data(msg("fields that differ"))]


class ModelFigure(Row, frozen=True, kw_only=True):
    """One figure of several models."""

    figure: Annotated[str, text("", names=_FIGURE_NAMES)]
    models: Annotated[dict[str, int], counts(msg("by model"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ModelComparison(Result, frozen=True, kw_only=True):
    """Models side by side: sizes and parameters."""

    sizes: Annotated[tuple[ModelFigure, ...], data(msg("sizes"))]
    params: Annotated[tuple[ModelFigure, ...], data(msg("parameters by component, and totals"))]


def model_difference(left: Spec, right: Spec) -> ModelDifference:
    """Return what differs between two models: parameters, then fields of the architecture."""
    a, b = (_params(summary(build(spec))) for spec in (left, right))
    return ModelDifference(
        left=left.name,
        right=right.name,
        left_label=left.label,
        right_label=right.label,
        params=tuple(_difference(figure, a[figure], b[figure]) for figure in a),
        fields=tuple(_field_differences(flat_fields(left), flat_fields(right))),
    )


def _params(params: Summary) -> dict[str, int]:
    """Return components, then totals, by name."""
    totals = {name: int(params[name]) for name in TOTAL_NAMES}  # type: ignore[literal-required]
    return {**{component: params["by_component"].get(component, 0) for component in COMPONENTS}, **totals}


def _difference(figure: str, left: int, right: int) -> FigureDifference:
    change = (right - left) / left if left else None
    return FigureDifference(figure=figure, left=left, right=right, difference=right - left, change=change)


def _field_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[FieldDifference]:
    paths = [path for path in _in_order(list(left), list(right)) if path.split(".")[0] not in _NOT_ARCHITECTURE]
    return [
        FieldDifference(field=path, left=left.get(path), right=right.get(path))
        for path in paths
        if left.get(path) != right.get(path)
    ]


def _in_order(left: list[str], right: list[str]) -> list[str]:
    """Return all paths in the left's order; a path of the right alone follows the one before it there."""
    common, after, last = set(left), {"": list[str]()}, ""
    for path in right:
        if path in common:
            last = path
        else:
            after.setdefault(last, []).append(path)
    return [*after[""], *(each for path in left for each in (path, *after.get(path, ())))]


def unique_names(specs: Sequence[Spec]) -> list[str]:
    """Return the models' names, numbered where others before have the same."""
    names = [spec.name for spec in specs]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, before, strict=True)]


def model_comparison(specs: Sequence[Spec]) -> ModelComparison:
    """Return models side by side."""
    models = dict(zip(unique_names(specs), specs, strict=True))
    return ModelComparison(
        sizes=_rows({name: _sizes(spec) for name, spec in models.items()}),
        params=_rows({name: _params(summary(build(spec))) for name, spec in models.items()}),
    )


def _rows(models: Mapping[str, Mapping[str, int]]) -> tuple[ModelFigure, ...]:
    """Return a row for each figure that is not 0 in all models."""
    (first, *_) = models.values()
    rows = (ModelFigure(figure=name, models={model: of[name] for model, of in models.items()}) for name in first)
    return tuple(row for row in rows if any(row.models.values()))


def _sizes(spec: Spec) -> dict[str, int]:
    n_layers = sum(each.stack.n_layers or 0 for each in spec.stacks)
    return {"vocab_size": spec.vocab_size, "n_ctx": spec.n_ctx, "d_model": spec.d_model, "n_layers": n_layers}
