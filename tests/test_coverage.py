"""The command that compares model types with transformers, and the page that holds what it said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import force_setattr

from archcalc.cli.main import cli
from archcalc.coverage import CHECKS, model_type_coverage, model_types
from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, upstream
from archcalc.hf import model_types as read_types
from archcalc.hf.small_config import small_config
from archcalc.spec.document import decode

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def rows() -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line] for line in lines}


def test_every_model_type_is_on_the_page() -> None:
    page = rows()
    assert set(upstream.model_types()) <= page.keys()
    assert [name for name in read_types() if "not read" in page[name]] == [], "run archcalc coverage -o docs/models.md"
    assert [name for name, cells in page.items() if "differs" in cells] == []


@pytest.mark.parametrize("name", ["llama", "bert", "t5", "deepseek_v3"])
def test_a_type_that_is_read_is_exact(name: str) -> None:
    found = model_type_coverage(name)
    states = {check: getattr(found, check) for check in CHECKS}
    assert states == dict.fromkeys(CHECKS, "exact") | ({"cache": "none"} if name == "bert" else {})
    assert found.missing == ""


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that reads one width for another, and one whose norms add another number."""
    template = dict(family_of("llama").template)
    monkeypatch.setattr("archcalc.hf.tensor_map", lambda config: family_of("glm").tensors)
    assert model_type_coverage("llama").parameters == "differs"
    monkeypatch.undo()
    changed = template | {"embedding": {"scale": 2.0}}
    force_setattr(family_of("llama"), "template", changed)
    try:
        found = model_type_coverage("llama")
    finally:
        force_setattr(family_of("llama"), "template", template)
    assert (found.parameters, found.logits, found.cache) == ("exact", "differs", "differs")


def test_small_configs_are_small_and_whole() -> None:
    for name in read_types():
        spec = decode(from_config(small_config(family_of(name))))
        assert spec.vocab_size == 96
        assert spec.d_model <= 64


def test_the_command() -> None:
    result = CliRunner().invoke(cli, ["coverage", "re*", "-f", "json"])
    found = {one["model_type"]: one for one in json.loads(result.stdout)}
    assert list(found) == [name for name in upstream.model_types() if name.startswith("re")]
    assert found["rembert"]["logits"] == "exact"
    assert found["reformer"]["missing"] == "not read yet"
    assert found["reformer"]["class_name"].startswith("Reformer")


def test_a_pattern_without_a_model_type_is_refused() -> None:
    assert "qwen3" in model_types("wen3")
    with pytest.raises(InputError, match=r"^pattern: no model type matches 'nothing'; expected part of a name"):
        model_types("nothing")
