"""Our own layout: what is saved is loaded, of any spec; a folder is there whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given

from archcalc import build, load
from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.native import file_contents, write
from archcalc.errors import InputError
from archcalc.spec import Spec
from tests.examples import examples
from tests.strategies import specs


@examples(30)
@given(specs())
def test_any_spec_comes_back(spec: Spec) -> None:
    model = build(spec, "cpu")
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there) / "saved"
        write(folder, file_contents(model, spec))
        assert load(str(folder)) == spec
        found = open_checkpoint(str(folder))
        loaded = found.load()
    assert found.spec == spec
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert found.n_bytes == sum(tensor.nbytes for tensor in ours.values())


def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"new: cannot be written \(No space left on device\)"):
        write(tmp_path / "new", {"a": b"1"})
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path / "once", {"notes.txt": b"kept"})
    with pytest.raises(InputError, match=r"once: is there already; expected the name of a new folder"):
        write(tmp_path / "once", {"notes.txt": b"other"})
    assert (tmp_path / "once" / "notes.txt").read_bytes() == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["once"]


def test_a_tensor_under_another_name_is_told(tmp_path: Path) -> None:
    spec, other = load("happy"), load("happy", {"d_model": 4})
    write(tmp_path / "a", file_contents(build(other, "cpu"), spec))
    with pytest.raises(InputError, match=r"a: 'positions\.weight': has shape \[4, 4\]; expected \[4, 3\]"):
        open_checkpoint(str(tmp_path / "a"))
