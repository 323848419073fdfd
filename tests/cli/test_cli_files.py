"""Files are written whole or not at all, and stay what they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from archcalc.errors import InputError
from archcalc.render import output
from tests.cli.conftest import Cli

Good = Callable[..., str]


def test_nothing_half_written_on_failure(monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.md").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    found = cli("report", "tiny", "-o", "a.md")
    assert (found.code, found.out) == (2, "")
    assert found.err == "archcalc: a.md: cannot be written (No space left on device)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]
    assert (tmp_path / "a.md").read_text() == "old"


@pytest.mark.parametrize("call", [["report", "gtp3"], ["explain", "tiny", "xyz"], ["diff", "tiny", "nope"]])
def test_bad_input_writes_no_file(call: list[str], cli: Cli, tmp_path: Path) -> None:
    assert cli(*call, "-o", "a.md").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_and_keeps_its_mode(good: Good, tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("old" * 10_000)
    file.chmod(0o640)
    good("report", "tiny", "-o", "a.md")
    assert file.read_text().startswith("# A decoder")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_mode(good: Good, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    good("report", "tiny", "-o", "a.md")
    assert (tmp_path / "a.md").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_leads_on(good: Good, tmp_path: Path) -> None:
    (tmp_path / "link.md").symlink_to("a.md")
    good("report", "tiny", "-o", "link.md")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "a.md").read_text().startswith("# A decoder")


def test_a_device_stays_one(good: Good) -> None:
    good("report", "tiny", "-o", os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.md").touch(0o444)
    (tmp_path / "folder").mkdir(0o555)
    for name in ("a.md", "folder/b.md"):
        assert cli("report", "tiny", "-o", name).err == f"archcalc: {name}: cannot be written (Permission denied)\n"


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already; expected the name of a new file"):
        output.write(str(tmp_path / "a"), "x", replace=(tmp_path / "a").write_text("y") == 0)
