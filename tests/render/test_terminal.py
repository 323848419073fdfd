"""Pages as text: aligned, no wider than they may be, no number cut, nothing lost."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archcalc.render.page import Column, Page, Table, Text
from archcalc.render.terminal import MIN_WIDTH, as_text, table_lines
from tests.examples import examples

# Words that can be told from each other after folding has moved them about.
WORDS = st.text("abcdefghij /._-,·é模", max_size=90)
NUMBERS = st.integers(0, 10**40)
KINDS = st.sampled_from(("text", "count"))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = ["text", *draw(st.lists(KINDS, max_size=7))]
    columns = tuple(Column(draw(st.text("abc_ ", max_size=40)), kind) for kind in kinds)
    cells = {"text": WORDS, "count": NUMBERS}
    rows = draw(st.lists(st.tuples(*(cells[kind] for kind in kinds)), min_size=1, max_size=4))
    return Table("", columns, rows, n_sums=draw(st.integers(0, 1)))


def plain(table: Table, width: int) -> list[str]:
    return "\n".join(map(click.unstyle, table_lines(table, width))).split("\n")


def wide(text: str) -> int:
    return len(text) + text.count("模")


def letters(texts: Sequence[str]) -> list[str]:
    return sorted(re.sub(r"[\s─]", "", "".join(texts)))


@examples(300)
@given(tables(), st.integers(MIN_WIDTH, 200))
def test_any_table_fits_any_width_but_for_a_number(table: Table, width: int) -> None:
    numbers = [f"{cell:,}" for row in table.rows for cell in row if isinstance(cell, int)]
    key = min(width // 2, max(wide(str(row[0])) for row in table.rows) + 20)
    widest = max([width, *(len(number) + key + 4 for number in numbers)])
    lines = plain(table, width)
    assert max(map(wide, lines)) <= widest
    assert all(line == line.rstrip() for line in lines)


@examples(300)
@given(tables(), st.integers(MIN_WIDTH, 200))
def test_no_number_is_cut_and_no_letter_lost(table: Table, width: int) -> None:
    text = "\n".join(plain(table, width))
    for row in table.rows:
        for cell in row:
            if isinstance(cell, int):
                assert re.search(rf"(?<![\d,]){cell:,}(?![\d,])", text)
    every = [str(cell) if isinstance(cell, str) else f"{cell:,}" for row in table.rows for cell in row]
    every += [column.heading for column in table.columns]
    repeated = letters([text])
    for letter in letters(every):
        repeated.remove(letter)


@examples(300)
@given(st.lists(st.text("ab 12,345.·/_-模", max_size=200), min_size=1, max_size=3), st.integers(MIN_WIDTH, 120))
@example(["x" * 39 + "1,234,567"], 40)
def test_lines_of_text_fold_and_numbers_stay_whole(lines: list[str], width: int) -> None:
    text = click.unstyle(as_text(Page("t", "", [Text("", lines)]), width))
    runs = re.findall(r"\d[\d,.]*", " ".join(lines))
    longest = max(map(len, runs), default=0)
    assert max(map(wide, text.splitlines())) <= max(width, longest + 4)
    assert letters(lines) == letters(text.splitlines()[2:])


FIGURES = Table(
    "",
    (Column("model"), Column("parameters", "count"), Column("", "human"), Column("source")),
    [("gpt3-175b", 174_604_259_328, 174_604_259_328, "Brown et al. 2020, Table 2.1"), ("tiny", 12, 12, "")],
)


def test_wide_enough() -> None:
    assert plain(FIGURES, 100) == [
        "  model           parameters           source",
        "  ─────────  ───────────────  ───────  ────────────────────────────",
        "  gpt3-175b  174,604,259,328  174.6 B  Brown et al. 2020, Table 2.1",
        "  tiny                    12       12",
    ]


def test_words_fold_first() -> None:
    assert plain(FIGURES, 64) == [
        "  model           parameters           source",
        "  ─────────  ───────────────  ───────  ─────────────────────────",
        "  gpt3-175b  174,604,259,328  174.6 B  Brown et al. 2020, Table",
        "                                       2.1",
        "  tiny                    12       12",
    ]


def test_then_columns_stand_one_under_the_other() -> None:
    assert plain(FIGURES, 40) == [
        "  model           parameters",
        "  ─────────  ───────────────  ───────",
        "  gpt3-175b  174,604,259,328  174.6 B",
        "  tiny                    12       12",
        "",
        "  model      source",
        "  ─────────  ───────────────────────────",
        "  gpt3-175b  Brown et al. 2020, Table",
        "             2.1",
        "  tiny",
    ]


def test_sums_stand_under_a_rule_in_every_band() -> None:
    table = Table(
        "", (Column("a"), *(Column(f"c{i}", "count") for i in range(6))), [("x", *[10**12] * 6)] * 2, n_sums=1
    )
    lines = plain(table, 60)
    assert sum(line.startswith("  ─") for line in lines) == 2 * sum(line.startswith("  a") for line in lines) == 4


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("layers.*.attn.q_down_norm.weight_and_more_of_it_all", "layers.*.attn."),
        ("openai/gpt-oss-120b-and-a-name-that-goes-on-and-on", "openai/"),
        ("12·d_model²·n_layers + n_ctx·d_model + 13·d_model·n_layers", "12·d_model²·n_layers + n_ctx·d_model"),
    ],
)
def test_breaks_where_it_reads_best(text: str, first: str) -> None:
    lines = click.unstyle(as_text(Page("t", "", [Text("", [text])]), 44)).splitlines()
    assert lines[2].strip().startswith(first)
    assert lines[3].startswith("    ")


def test_east_asian_names_line_up() -> None:
    table = Table("", (Column("名"), Column("n", "count")), [("模型", 1), ("abcd", 22)])
    assert plain(table, 80) == ["  名     n", "  ────  ──", "  模型   1", "  abcd  22"]


def test_control_characters_are_escaped() -> None:
    page = Page("a\x1b[31m", "b\r\n", [Table("t\x07", (Column("c\t"),), [("\u202ed",)]), Text("", ["e\nf"])])
    text = click.unstyle(as_text(page, 80))
    assert text.replace("\n", "").isprintable()
    assert "a\\x1b[31m" in text


def test_titles_fold_too() -> None:
    page = Page("word " * 30, "word " * 30, [Text("word " * 30, [])])
    assert max(map(len, click.unstyle(as_text(page, 50)).splitlines())) <= 50


def test_a_table_of_no_rows_is_not_drawn() -> None:
    assert click.unstyle(as_text(Page("t", "none", [Table("x", FIGURES.columns, [])]))) == "t\nnone\n"


def test_chinese_characters_take_two_columns_of_a_table() -> None:
    table = Table(
        "", (Column("词元"), Column("id", "count"), Column("概率", "decimal")), [("开心", 3, 0.783), ("a", 4, 0)]
    )
    assert plain(table, 60) == [
        "  词元  id    概率",
        "  ────  ──  ──────",
        "  开心   3  0.7830",
        "  a      4  0.0000",
    ]


def test_chinese_breaks_at_its_characters_and_begins_no_line_with_a_mark() -> None:
    text = "注意力（attention）把每个词元的查询与所有键相乘，再做 softmax，得到的权重用来对值加权求和。"
    lines = click.unstyle(as_text(Page("t", "", [Text("", [text])]), 40)).splitlines()[2:]
    assert all(len(line.encode("gbk")) <= 40 for line in lines)
    assert max(len(line.encode("gbk")) for line in lines[:-1]) >= 36, "lines are filled"
    assert not any(line.strip()[0] in "，。）" for line in lines)
    assert not any(line.strip()[-1] == "（" for line in lines)
    assert all("attention" in line or "attent" not in line for line in lines)


def test_bars_are_as_long_as_their_shares() -> None:
    table = Table("", (Column("p", "decimal"), Column("", "bar")), [(1.0, 1.0), (0.5, 0.5), (0.03125, 0.03125), (0, 0)])
    assert [line[10:] for line in plain(table, 60)[2:]] == ["█" * 20, "█" * 10, "▋", ""]
