"""Every example of the README, CONTRIBUTING and docs/ runs, and every path that they name is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archcalc.cli.main import run
from archcalc.sources import load
from archcalc.spec.branches import PLACEMENTS
from archcalc.spec.text import parse

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_COMMENT = re.compile(r"# (\S+\.(?:yaml|py))\n")
SECONDS = re.compile(r"\s*\d+\.\d\d s")


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGES[page]) if kind == language]


def named(page: str, language: str) -> Iterator[tuple[str, str]]:
    """A block's first comment, a file's name ('' without one), and the text."""
    for text in blocks(page, language):
        first = FIRST_COMMENT.match(text)
        yield (first[1], text[first.end() :]) if first else ("", text)


COMMANDS = [
    (page, *text.removeprefix("$ archcalc ").split("\n", 1))
    for page in PAGES
    for text in blocks(page, "")
    if text.startswith("$ archcalc ")
]
SPECS = [(page, name, text) for page in PAGES for name, text in named(page, "yaml")]
EXCERPTS = [(page, name, text) for page in PAGES for name, text in named(page, "python") if name]


def lines(text: str) -> list[str]:
    """The lines that say something, without what a clock decides."""
    kept = (SECONDS.sub("", line).rstrip() for line in text.splitlines())
    return [line for line in kept if line.strip() and not set(line) <= set(" ─…")]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the specs that the pages name."""
    monkeypatch.chdir(tmp_path)
    for _, name, text in SPECS:
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")


def test_there_are_blocks() -> None:
    assert {page for page, *_ in COMMANDS} >= {"README.md", "writing-a-spec.md"}
    assert {page for page, *_ in SPECS} >= {"README.md", "writing-a-spec.md"}
    assert {page for page, *_ in EXCERPTS} >= {"CONTRIBUTING.md"}


@pytest.mark.parametrize(("page", "command", "shown"), COMMANDS, ids=[command for _, command, _ in COMMANDS])
def test_a_page_shows_what_is_printed(page: str, command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 0
    printed, expected = lines(capsys.readouterr().out), lines(shown)
    start = printed.index(expected[0])
    assert printed[start : start + len(expected)] == expected


@pytest.mark.parametrize(("page", "name", "text"), SPECS)
def test_a_spec_is_valid(page: str, name: str, text: str) -> None:
    assert load(f"./{name}" if name else parse(text.encode()))


def test_the_scaled_spec_scales_the_branches_alone() -> None:
    small, scaled = load("./small.yaml"), load("./scaled.yaml")
    layer = scaled.decoder.runs[0].pattern[0]
    assert (layer.scale, layer.skip, layer.attention.scale) == (0.22, 0.5, None)
    assert scaled.embedding == small.embedding


def test_every_placement_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGES["writing-a-spec.md"], re.MULTILINE)
    assert rows == list(PLACEMENTS)


@pytest.mark.parametrize(("page", "name", "text"), EXCERPTS)
def test_an_excerpt_is_in_its_file(page: str, name: str, text: str) -> None:
    assert text.strip("\n") in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if any(not name for name, _ in named(page, "python"))])
def test_python_runs(page: str) -> None:
    """A page's blocks one after another, in one namespace; results in comments are compared."""
    names: dict[str, Any] = {}
    for name, text in named(page, "python"):
        if not name:
            exec(text, names)  # noqa: S102 - our own pages
            for code, result in re.findall(r"^([^\n]*?)  # (\d+)$", text, re.MULTILINE):
                assert eval(code, names) == int(result)  # noqa: S307


# In backticks, with a folder: a path from the root, from the package, or from a folder that a table is about.
PATH = re.compile(r"`([a-z_][\w./-]*/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_is_there(page: str) -> None:
    paths = {path for path in PATH.findall(BLOCK.sub("", PAGES[page])) if path.endswith(("/", ".py", ".md", ".json"))}
    paths |= set(re.findall(r"\]\(([^)#:]+)\)", PAGES[page]))
    folder = ROOT if (ROOT / page).exists() else ROOT / "docs"
    missing = {path for path in paths if not any((base / path).exists() for base in (folder, ROOT, ROOT / "archcalc"))}
    assert not missing
