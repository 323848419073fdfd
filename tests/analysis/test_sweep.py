"""A sweep is the loop over its cells: the same integers, and the same cells refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import archcalc
from archcalc import presets
from archcalc.analysis.sweep import arrays, sweep
from archcalc.errors import InputError
from archcalc.spec import Spec
from archcalc.spec.document import Document, encode, flat
from archcalc.spec.workload import LEAST
from tests.strategies import SIZES, specs

LAW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ABOUT = ("name", "title", "source", "note", "claims")
Grid = dict[str, list[Any]]


def flattened(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def looped(source: Any, grid: Grid, changes: Document | None = None, **work: Any) -> list[dict[str, Any]]:
    """Every row by the calls for one model; those refused left out."""
    rows = []
    for values in product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        fields = {field: value for field, value in cell.items() if field not in LEAST}
        try:
            spec = archcalc.load(source, (changes or {}) | fields)
            report = archcalc.report(spec, **work | {field: cell[field] for field in cell if field in LEAST})
        except InputError:
            continue
        rows.append(cell | dict(flattened({key: report[key] for key in ("params", "flops", "memory")})))
    return rows


def same(source: Any, grid: Grid, **asked: Any) -> None:
    """Holds a sweep against the loop."""
    found, rows = sweep(source, grid, **asked), looped(source, grid, **asked)
    assert found.to_dict("records") == rows
    refused = found.attrs["refused"]
    assert sum(each["cells"] for each in refused) == found.attrs["cells"] - len(rows)
    for each in refused:
        assert not looped(source, {field: [value] for field, value in each["first"].items()}, **asked)


def left_out(document: Any) -> Any:
    """The document without what can be derived, so that it is."""
    if isinstance(document, list):
        return [left_out(item) for item in document]
    if not isinstance(document, dict):
        return document
    return {key: left_out(value) for key, value in document.items() if key not in ("d_head", "d_rotary", "d_shared")}


@st.composite
def grids(draw: st.DrawFn, spec: Spec) -> Grid:
    """Values for some fields of a spec, by name or by path, and of its workload."""
    said = {path: value for path, value in flat(spec).items() if path.split(".")[0] not in ABOUT}
    sizes = [path for path, value in said.items() if type(value) is int]
    flags = [path for path, value in said.items() if type(value) is bool]
    named = sorted({path.split(".")[-1] for path in sizes})
    grid: Grid = {}
    for field in draw(st.lists(st.sampled_from(named) | st.sampled_from(sizes), min_size=1, max_size=3, unique=True)):
        own = st.sampled_from(sorted({said[path] for path in sizes if path.endswith(field.split(".")[-1])} - {0} | {1}))
        grid[field] = draw(st.lists(SIZES | own, min_size=1, max_size=4))
    if flags and draw(st.booleans()):
        grid[draw(st.sampled_from(flags))] = [True, False]
    for field in draw(st.lists(st.sampled_from(sorted(LEAST)), max_size=2, unique=True)):
        grid[field] = draw(st.lists(st.integers(LEAST[field], 9) | st.integers(2**31, 2**40), min_size=1, max_size=3))
    fields = draw(st.permutations(list(grid)))
    return {field: grid[field] for field in fields}


@LAW
@given(st.data(), specs())
def test_every_cell_is_the_report_of_that_cell(data: st.DataObject, spec: Spec) -> None:
    document = encode(spec)
    same(left_out(document) if data.draw(st.booleans()) else document, data.draw(grids(spec)))


@pytest.mark.parametrize("name", presets.names())
def test_presets(name: str) -> None:
    grid: Grid = {"d_model": [96, 256, 1000], "n_layers": [1, 2, 7, 24], "n_heads": [4, 12], "d_ff": [64, 5000]}
    has = {path.split(".")[-1] for path in flat(archcalc.load(name))}
    same(name, {field: values for field, values in grid.items() if field in has}, seq=64, batch=3)
