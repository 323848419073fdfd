"""Every step of every architecture as a matrix; heat maps that Vega-Lite draws."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given

from archcalc import build
from archcalc.interp.trace.expression import Module, Value, call
from archcalc.interp.trace.glossary import FUNCTIONS, functions_of
from archcalc.interp.trace.run import Trace, trace
from archcalc.render.charts.file import as_bytes
from archcalc.render.charts.frame import dark
from archcalc.render.charts.heat_map import Matrix, heat_map
from archcalc.render.trace_matrix import (
    MAX_DIMENSIONS,
    MAX_POSITIONS,
    MAX_TOKENS,
    Slice,
    as_table,
    matrix,
    n_heads,
    token_text,
)
from archcalc.run.loading.source import ModelSource, open_source
from archcalc.spec import Spec
from archcalc.words import translator
from tests.examples import examples
from tests.strategies import specs

HAPPY = ("<SOS>", "我", "很", "开心", "<EOS>")


@pytest.fixture(scope="module")
def happy() -> tuple[ModelSource, Trace]:
    opened = open_source("happy")
    return opened, trace(opened.checkpoint.load(), [0, 1, 2])


def found(happy: tuple[ModelSource, Trace], name: str, look: Slice = Slice(), lang: str = "en") -> Matrix:  # noqa: B008
    opened, traced = happy
    one = next(one for one in traced.steps if one.step.name == name)
    return matrix(traced, one, opened.piece, look, translator(lang))


def test_a_pattern_hides_what_its_mask_hides(happy: tuple[ModelSource, Trace]) -> None:
    pattern = found(happy, "layers.0.attn.pattern")
    assert pattern.rows == pattern.columns == ("0 <SOS>", "1 我", "2 很")
    assert [[x is None for x in row] for row in pattern.values] == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]
    assert pattern.values[2] == pytest.approx((0.1, 0.3, 0.6), abs=1e-6)
    assert pattern.notes == ("hatched: masked, which is −∞ and not zero",)
    assert as_table(pattern).rows[0][2] == "masked"
    assert found(happy, "layers.0.attn.pattern", lang="zh").mask_label == "掩码"


def test_logits_are_named_by_tokens_and_ids_are_numbers(happy: tuple[ModelSource, Trace]) -> None:
    assert found(happy, "logits").columns == tuple(f"{token} {i}" for i, token in enumerate(HAPPY))
    ids = found(happy, "ids")
    assert (ids.values, ids.are_indices) == (((0, 1, 2),), True)


def test_of_much_the_neighborhood_of_the_place_is_shown() -> None:
    opened = open_source("tiny")
    traced = trace(opened.checkpoint.load(), list(range(40)), position=20)
    steps = {one.step.name: one for one in traced.steps}
    wide = matrix(traced, steps["layers.1.ffn.hidden"], opened.piece, Slice(start=500))
    assert (len(wide.rows), wide.rows[wide.here]) == (MAX_POSITIONS, f"20 {token_text(opened.piece(20))}")
    assert wide.columns == tuple(str(i) for i in range(512 - MAX_DIMENSIONS, 512))
    assert wide.values[wide.here][0] == steps["layers.1.ffn.hidden"].value[20, 512 - MAX_DIMENSIONS].item()
    assert wide.notes == ("16 of 40 rows and 32 of 512 columns are shown.",)
    likely = matrix(traced, steps["probabilities"], opened.piece)
    assert len(likely.columns) == MAX_TOKENS
    assert likely.values[likely.here][0] == pytest.approx(steps["probabilities"].value[20].max().item())
    key = matrix(traced, steps["layers.1.attn.k"], opened.piece, Slice(head=4))
    assert key.title == "layers.1.attn.k, head 1", "six query heads share two keys"


@examples(25)
@given(specs())
def test_every_step_of_every_architecture_is_a_matrix(spec: Spec) -> None:
    torch.manual_seed(1)
    model = build(spec, "cpu").eval()
    ids = [token % spec.vocab_size for token in range(min(spec.n_ctx, 4))]
    traced = trace(model, ids, [0] if spec.family == "encoder-decoder" else None)
    for one in traced.steps:
        last = n_heads(traced, one) - 1
        made = matrix(traced, one, str, Slice(head=last, start=3))
        assert {len(row) for row in made.values} == {len(made.columns)}, one.step.name
        assert len(made.values) == len(made.rows), one.step.name
        assert json.dumps(heat_map(made), allow_nan=False)


def test_what_functions_do_is_said_in_every_language() -> None:
    for called, explained in FUNCTIONS.items():
        assert "…" in called or all(f"{name}(" in called for name in explained.names)
    formula = call("gelu", call("linear", Value("layers.0.resid_mid"), Module("layers.0.ffn.up")))
    assert [name for name, _ in functions_of([formula])] == ["linear(x, m)", "relu(x), silu(x), gelu(x) …"]


MATRIX = Matrix(
    title="p",
    rows=("a", "b"),
    columns=("a", 'b"'),
    values=((1.0, None), (-0.25, 0.75)),
    mask_label="masked",
    here=1,
)


def layers(chart: dict[str, Any], mark: str) -> list[dict[str, Any]]:
    return [layer for layer in chart["layer"] if layer["mark"]["type"] == mark]


def test_a_hidden_cell_is_no_number_but_grey_and_hatched() -> None:
    chart = heat_map(MATRIX)
    seen, hidden, frame = layers(chart, "rect")
    assert [value["value"] for value in seen["data"]["values"]] == [1.0, -0.25, 0.75]
    assert [(value["row"], value["column"], value["text"]) for value in hidden["data"]["values"]] == [
        ("a", 'b"', "masked")
    ]
    assert len(layers(chart, "rule")[0]["data"]["values"]) == 3
    assert frame["data"]["values"] == [{"x": 0, "x2": 2, "y": 1, "y2": 2}]
    (numbers,) = layers(chart, "text")
    assert [value["text"] for value in numbers["data"]["values"]] == ["1.000", "masked", "−0.250", "0.750"]


@pytest.mark.parametrize("chart", [heat_map(MATRIX), dark(heat_map(MATRIX))])
def test_vega_draws_it(chart: dict[str, Any]) -> None:
    svg = as_bytes(chart, ".svg").decode()
    assert "masked" in svg
    assert "−0.250" in svg
    assert 'b"' in svg or "b&quot;" in svg
