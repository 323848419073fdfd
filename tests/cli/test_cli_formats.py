"""Every command in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

from archcalc.cli.main import COMMANDS
from archcalc.render.output import FORMATS

Good = Callable[..., str]

# What a command is called with; SOURCE alone if it is not here.
ARGUMENTS = {
    "presets": [],
    "claims": ["gpt3"],
    "diff": ["tiny", "happy"],
    "compare": ["tiny", "happy", "t5-small"],
    "verify": ["tiny", "happy"],
    "coverage": ["arcee"],
    "next": ["happy", "--random-weights", "--ids", "0,1,2", "--ids", "0,2", "--top-k", "3"],
    "demo": ["softmax"],
    "steer": ["tiny", "-p", "And the man", "--positive", "the king", "--negative", "the field", "-n", "4"],
    "trace": ["happy"],
    "lens": ["tiny", "--prompt", "God", "--token", " said"],
    "patch": ["tiny", "--prompt", "God said", "--corrupted", "man said", "--component", "residual"],
    "patchscope": ["tiny", "--ids", "295,258", "--into-ids", "1,2", "--into-position", "0", "-n", "2"],
    "embed": ["tiny", "--near", "God", "--top", "3"],
    "attention": ["tiny", "--prompt", "God said", "--no-kinds"],
    "attribute": ["tiny", "--prompt", "God said"],
    "train": ["tiny", "--text", __file__, "--set=vocab_size=300", "--steps=1", "--seq=8", "--batch=1", "-q"],
    "tokenize": ["--train", "bpe", __file__, "--vocab-size", "300"],
    "sweep": ["tiny", "--over", "d_ff=64,128", "--over", "n_kv_heads=null,2"],
}
# Their HTML is a page that is stepped through or clicked on.
INTERACTIVE = {"attention", "lens", "patch", "patchscope", "structures", "trace"}
PIPE_WIDTH = 180


def takes_format(command: str) -> bool:
    parameters = import_module(f"archcalc.cli.{COMMANDS[command][0]}").command.params
    forms = (parameter.type for parameter in parameters if parameter.name == "form")
    return any(isinstance(kind, click.Choice) and tuple(kind.choices) == FORMATS for kind in forms)


CALLS = [[name, *ARGUMENTS.get(name, ["tiny"])] for name in COMMANDS if takes_format(name)]
CALLS += [["report", "mixtral-8x7b", "--view", view] for view in ("weights", "layers", "largest")]
CALLS += [["flops", "mixtral-8x7b", "--view", view] for view in ("ops", "layers")]
CALLS += [["explain", "gpt3", "head"], ["explain", "gpt-oss-20b", "attn"], ["claims", "tiny"], ["diff", "gpt2", "gpt2"]]
CALLS += [["claims", "zero"]]
CALLS += [["memory", "deepseek-v3", "--train", "--optimizer", "adamw8bit"], ["memory", "gpt-oss-20b", "--lora", "8"]]
CALLS += [["demo"], ["demo", "cost", "--lang", "zh"], ["explain", "tiny", "attention", "--lang", "zh"]]


@pytest.fixture(scope="module", params=CALLS, ids=" ".join)
def call(request: pytest.FixtureRequest) -> list[str]:
    return request.param


@pytest.fixture(scope="module")
def cache(call: list[str]) -> dict[str, str]:
    """Each format of a call is printed once."""
    return {}


@pytest.fixture
def printed(call: list[str], good: Good, cache: dict[str, str]) -> Callable[[str], str]:
    """Return what the call prints in a format."""

    def text(form: str) -> str:
        if form not in cache:
            cache[form] = good(*call, "--format", form)
        return cache[form]

    return text


def test_nearly_every_command_has_formats() -> None:
    of_text = {"generate", "chat", "fill-mask", "export"}
    assert {name for name in COMMANDS if not takes_format(name)} == {"app", "new", "schema", "completion"} | of_text


def test_table(call: list[str], good: Good) -> None:
    lines = good(*call).splitlines()
    assert lines[0].strip()
    assert max(map(len, lines)) <= PIPE_WIDTH
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in "".join(lines)


def test_json(printed: Callable[[str], str]) -> None:
    text = printed("json")
    assert text.endswith("\n")
    assert isinstance(json.loads(text), dict | list)


def test_csv_is_rectangular_and_raw(call: list[str], printed: Callable[[str], str]) -> None:
    head, *rows = csv.reader(io.StringIO(printed("csv")))
    assert rows or call == ["claims", "tiny"]
    assert {len(row) for row in (head, *rows)} == {len(head)}
    if call[0] != "claims":  # which shows figures as they were published
        assert not [cell for row in rows for cell in row if re.fullmatch(r"\d{1,3}(,\d{3})+|[\d.]+ [KMBT%]", cell)]


def test_markdown_tables_have_as_many_cells_in_each_line(printed: Callable[[str], str]) -> None:
    text = printed("md")
    assert text.startswith("# ")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( -+:? \|)+", lines[1])


def test_html_stands_alone(call: list[str], printed: Callable[[str], str]) -> None:
    text = printed("html")
    assert text.startswith("<!doctype html>")
    assert ("<script" in text) == (call[0] in INTERACTIVE)
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", text)
    assert not re.search(r"<(?:link|iframe|img|object|embed)\b", text)
    for tag in ("table", "tr", "ul", "li", "svg", "g", "section", "h2"):
        assert len(re.findall(rf"<{tag}[ >]", text)) == text.count(f"</{tag}>")


@pytest.mark.parametrize("form", FORMATS)
def test_file_holds_what_would_be_printed(
    call: list[str], form: str, printed: Callable[[str], str], good: Good, tmp_path: Path
) -> None:
    if call[0] in ("verify", "train"):  # say how long it took
        return
    assert good(*call, "-f", form, "--output", "here") == ""
    assert (tmp_path / "here").read_text() == printed(form)


@pytest.mark.parametrize(
    ("file", "start"),
    [
        ("a.json", "{"),
        ("a.csv", "component,"),
        ("a.md", "# "),
        ("a.html", "<!doctype"),
        ("A.HTM", "<!doctype"),
        ("a.txt", "A decoder"),
    ],
)
def test_suffix_says_the_format(file: str, start: str, good: Good, tmp_path: Path) -> None:
    good("report", "tiny", "-o", file)
    assert (tmp_path / file).read_text().startswith(start)


def test_format_wins_over_suffix(good: Good, tmp_path: Path) -> None:
    good("report", "tiny", "-o", "a.json", "-f", "md")
    assert (tmp_path / "a.json").read_text().startswith("# ")


def test_dash_is_standard_output(good: Good, tmp_path: Path) -> None:
    assert good("report", "tiny", "-o", "-") == good("report", "tiny")
    assert list(tmp_path.iterdir()) == []


def test_schema_is_json(good: Good, tmp_path: Path) -> None:
    schema = json.loads(good("schema"))
    assert schema["$schema"].endswith("2020-12/schema")
    good("schema", "-o", "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == schema


def test_schema_describes_every_field(good: Good) -> None:
    parts = json.loads(good("schema"))["$defs"]
    assert parts["Attention"]["properties"]["window"]["description"].startswith("how many of the last tokens")
    undescribed = [
        (name, field)
        for name, part in parts.items()
        for field, what in part["properties"].items()
        if field != "kind" and not what.get("description")
    ]
    assert undescribed == []
