"""Sources that stand for nothing, and bases that lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcalc.errors import InputError
from archcalc.sources import load

# (the file's text, what the message says)
BASES = {
    "missing": ("base: ./nowhere.yaml", "base: ./nowhere.yaml: no such file"),
    "unknown": ("base: gpt33", "no preset is called 'gpt33' (did you mean 'gpt3'?)"),
    "a number": ("base: 5", "base: found 5; expected the name or path of another spec"),
    "a list": ("base: [gpt3]", "base: found a list; expected the name or path of another spec"),
    "unknown override": (
        "base: tiny\nn_layrs: 3",
        "n_layrs: there is no field 'n_layrs' (did you mean 'n_layers'?)",
    ),
    "unknown place": ("base: tiny\nffn.d_model: 3", "ffn.d_model: there is no field 'ffn.d_model'"),
    "bad override": ("base: tiny\nd_model: wide", "d_model: found 'wide'; expected an integer from 1"),
    "contradiction": ("base: tiny\nn_heads: 5", "n_kv_heads: 2 does not divide n_heads 5"),
    "no name": ("base: tiny\n'': 3", "there is no field ''"),
}


@pytest.mark.parametrize("case", BASES)
def test_bad_bases(case: str, tmp_path: Path):
    text, says = BASES[case]
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "spec.yaml")
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_base_that_leads_back_to_itself(tmp_path: Path):
    for name, base in {"a": "b", "b": "c", "c": "a"}.items():
        (tmp_path / f"{name}.yaml").write_text(f"base: {tmp_path}/{base}.yaml")
    with pytest.raises(InputError, match=r"base: .* leads back to itself"):
        load(tmp_path / "a.yaml")


def test_a_base_is_looked_for_beside_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.yaml").write_text("base: ./b.yaml\nn_ctx: 8")
    (tmp_path / "in" / "b.yaml").write_text("base: ../c.yaml\nn_layers: 3")
    (tmp_path / "c.yaml").write_text("base: tiny\nd_ff: 64")
    (tmp_path / "b.yaml").write_text("base: tiny\nn_layers: 7")
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.yaml", "./in/a.yaml", str(tmp_path / "in" / "a.yaml")):
        found = load(name)
        assert (found.n_ctx, found.decoder.n_layers) == (8, 3)
    assert load({"base": "./b.yaml"}).decoder.n_layers == 7


FAULTS = {
    "of its own": ("n_layers: many", r"/b\.yaml: decoder\.n_layers: found 'many'"),
    "of what it says": ("n_heads: 5", r"/b\.yaml: .*n_kv_heads: 2 does not divide n_heads 5"),
    "of its text": ("n_heads: [", r"/b\.yaml: .*line 3"),
    "of its names": ("n_headz: 5", r"/b\.yaml: n_headz: there is no field"),
    "of none": ("n_layers: 3", r"/a\.yaml: d_model: found 'wide'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_of_the_file_that_has_it(case: str, tmp_path: Path):
    text, says = FAULTS[case]
    (tmp_path / "b.yaml").write_text(f"base: tiny\n{text}")
    (tmp_path / "a.yaml").write_text("base: ./b.yaml\nd_model: wide" if case == "of none" else "base: ./b.yaml")
    with pytest.raises(InputError, match=says):
        load(tmp_path / "a.yaml")


def test_a_folder_needs_a_config(tmp_path: Path):
    with pytest.raises(InputError, match=r"\(No such file or directory\)"):
        load(tmp_path)


def test_what_cannot_be_read_is_said(tmp_path: Path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("gpt33", "no preset is called 'gpt33' (did you mean 'gpt3'?); expected a preset"),
        ("llama-3-8c", "(did you mean 'llama-3-8b'?)"),
        ("", "no preset is called ''"),
        ("a\0b", r"a\x00b: no preset is called"),
        ("\x1b[31m", r"\x1b[31m: no preset is called"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
        ("./nowhere", "./nowhere: no such file"),
        ("a/b/c", "a/b/c: no such file"),
        (".", ".: no preset is called '.'"),
    ],
)
def test_unknown_names(source: str, says: str):
    with pytest.raises(InputError) as caught:
        load(source)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
