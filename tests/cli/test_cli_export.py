"""`archcalc export`; tests/hf/test_oracle.py compares what transformers builds of each family's written config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import archcalc
from archcalc.errors import InputError
from archcalc.hf import to_config
from archcalc.hf.equivalence import is_same_architecture

Good = Callable[..., str]


@pytest.mark.parametrize("source", ["gpt2", "deepseek-v3", "bert-base", "t5-small"])
@pytest.mark.parametrize(("target", "name"), [("hf-config", "config.json"), ("yaml", "spec.yaml")])
def test_what_is_written_is_read_as_the_same_architecture(
    source: str, target: str, name: str, good: Good, tmp_path: Path
) -> None:
    spec, path = archcalc.load(source), tmp_path / name
    good("export", source, "--to", target, "-o", str(path))
    again = archcalc.load(str(path))
    assert is_same_architecture(again, spec)
    assert again.about.stored_mtp == spec.about.stored_mtp
    assert good("export", str(path), "--to", target) == path.read_text()


def test_settings_are_written(good: Good, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    good("export", "gpt2", "--to", "yaml", "--set", "n_layers=3", "-o", str(path))
    assert archcalc.load(str(path)).decoder == archcalc.load("gpt2", {"n_layers": 3}).decoder


@pytest.mark.parametrize(
    ("source", "changes", "problem"),
    [
        ("t5-small", {"encoder.final_norm": {"kind": "layernorm"}}, "t5, cannot express encoder.final_norm.kind, "),
        ("gpt2", {"softcap": 3.0}, "gpt2, cannot express softcap"),
    ],
)
def test_the_fields_are_named_that_no_model_type_has(source: str, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(
        InputError, match=f"no Hugging Face model has the architecture of '{source}': the nearest, {problem}"
    ):
        to_config(archcalc.load(source, changes))
