"""Pages as CSV, Markdown and HTML; what any of them shows of a value."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.analysis.params import WeightParams, weight_params
from archcalc.errors import printable
from archcalc.ledger.build import build
from archcalc.render.html import HEIGHT, WIDTH, as_html, rectangles
from archcalc.render.page import Column, Page, Table, Text, Treemap, TreemapBox, cell_text
from archcalc.render.report import treemap
from archcalc.render.tables import table
from archcalc.render.text import as_csv, as_markdown
from archcalc.sources import load
from tests.examples import examples

HOSTILE = st.text(st.sampled_from('ab|*`<>&"\\_#\n\r\t\x1b,;\u202e模'), max_size=12)


def page(*cells: str) -> Page:
    return Page("t", "", [Table("", tuple(Column(f"c{i}") for i in range(len(cells))), [cells])])


@examples(100)
@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_csv_is_read_back(cells: list[str]) -> None:
    _, row = csv.reader(io.StringIO(as_csv(page(*cells)), newline=""))
    assert row == [printable(cell) for cell in cells]


def test_csv_joins_a_shape_as_a_product_and_other_lists_as_a_list() -> None:
    rows = weight_params(build(load("tiny", {"n_layers": 2})))
    text = as_csv(Page("t", "", [table("", rows, WeightParams)]))
    found = next(row for row in csv.DictReader(io.StringIO(text)) if row["path"].endswith("attn.q.weight"))
    assert (found["shape"], found["layer_indices"]) == ("192 × 192", "0; 1")
    assert found["axes"].count(" × ") == 1


@examples(100)
@given(st.lists(HOSTILE, min_size=1, max_size=4), HOSTILE)
def test_markdown_keeps_its_cells_apart(cells: list[str], title: str) -> None:
    text = as_markdown(Page(title, "", [*page(*cells).blocks, Text(title or "x", [title])]))
    table = [line for line in text.split("\n") if line.startswith("|")]
    assert len(table) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {len(cells) + 1}
    assert text.replace("\n", "").isprintable()
    assert "<" not in text


@examples(100)
@given(st.lists(HOSTILE, min_size=1, max_size=4), HOSTILE)
def test_html_escapes_whatever_it_is_told(cells: list[str], title: str) -> None:
    text = as_html(
        Page(title, title, [*page(*cells).blocks, Text(title, [title]), Treemap(title, [TreemapBox(title, 3, title)])])
    )
    assert [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", text, re.DOTALL)] == cells
    tags = set(re.findall(r"<([a-z0-9]+)[ >/]", text))
    assert tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "table", "thead", "tbody", "tr",
        "th", "td", "div", "ul", "li", "svg", "g", "rect", "text", "span",
    }  # fmt: skip


def test_csv_is_raw_and_leaves_out_what_says_the_same_in_words() -> None:
    columns = (Column("n", "count"), Column("", "human"), Column("share", "percent"))
    assert as_csv(
        Page("t", "", [Text("", []), Table("", columns, [(1234567, 1234567, 0.25), (None, None, None)])])
    ) == ("n,share\n1234567,0.25\n,\n")


def test_markdown() -> None:
    columns = (Column("a"), Column("n", "count"))
    text = as_markdown(
        Page("A|B", "sub", [Table("T", columns, [("x", 1234)]), Text("N", ["one", "two"]), Text("", ["x"])])
    )
    assert text == (
        "# A\\|B\n\nsub\n\n## T\n\n| a | n |\n| --- | ---: |\n| x | 1,234 |\n\n## N\n\n- one\n- two\n\n- x\n"
    )


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("count", 1234567, "1,234,567"),
        ("human", 1234567, "1.235 M"),
        ("percent", 0.0035, "0.35 %"),
        ("seconds", 1.5, "1.50 s"),
        ("signed", 1234, "+1,234"),
        ("signed", -1234, "-1,234"),
        ("signed", 0, "0"),
        ("change", 0.5, "+50.00 %"),
        ("change", -1.0, "-100.00 %"),
        ("change", 99.0, "× 100.0"),
        ("change", 0.0, "0 %"),
        ("words", "12 %", "12 %"),
        ("text", None, ""),
    ],
)
def test_cells(kind: str, value: object, text: str) -> None:
    assert cell_text(Column("x", kind), value) == text


@pytest.mark.parametrize("name", presets.names())
def test_areas_are_proportional_to_parameters(name: str) -> None:
    boxes = treemap(weight_params(build(load(name)))).boxes
    total = sum(box.value for box in boxes)
    assert total == build(load(name)).total()
    kept = [box for box in boxes if box.value > total / 1e6]
    drawn = rectangles(boxes)
    assert len(drawn) == len(kept)
    whole = sum(box.value for box in kept)
    for box, rectangle in zip(kept, drawn, strict=True):
        at = rectangle.area
        assert at.width * at.height == pytest.approx(WIDTH * HEIGHT * box.value / whole)
        assert 0 <= at.x <= at.x + at.width <= WIDTH + 1e-6
        assert 0 <= at.y <= at.y + at.height <= HEIGHT + 1e-6
        assert f"{box.value:,} = {100 * box.value / total:.2f} %" in rectangle.title


def test_the_svg_is_what_was_placed() -> None:
    boxes = [TreemapBox("layers.*.ffn.up.weight", 300, "ffn"), TreemapBox("head.weight", 100, "head")]
    text = as_html(Page("t", "", [Treemap("Where", boxes)]))
    sizes = [float(w) * float(h) for w, h in re.findall(r'<rect [^>]*width="([\d.]+)" height="([\d.]+)"', text)]
    assert sizes == pytest.approx([WIDTH * HEIGHT * 0.75, WIDTH * HEIGHT * 0.25])
    assert ">ffn.up.weight 300</text>" in text
    assert len(re.findall(r'class="key"', text)) == 2
