"""What the README shows is what the code prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from archcalc.cli.main import run

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n\$ archcalc (.+)\n((?:.*\n)*?)```$", README, re.MULTILINE)
SECONDS = re.compile(r"\s*\d+\.\d\d s")


def lines(text: str) -> list[str]:
    """The lines that say something, without what a clock decides."""
    kept = (SECONDS.sub("", line).rstrip() for line in text.splitlines())
    return [line for line in kept if line.strip() and not set(line) <= set(" ─…")]


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_readme_shows_what_is_printed(command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 0
    printed, expected = lines(capsys.readouterr().out), lines(shown)
    start = printed.index(expected[0])
    assert printed[start : start + len(expected)] == expected
