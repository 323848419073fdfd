"""The index of model types, and rows that derive from rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archcalc.hf import registry
from archcalc.hf.families.llama_like import LLAMA
from archcalc.hf.family import derive
from archcalc.spec.document import decode


def test_the_index_is_what_the_modules_say() -> None:
    assert registry.index() == registry.scan(), "run python -m archcalc.hf"


def test_a_row_that_the_index_misses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "index", lambda: {"families": {"gpt2": {"decoder": ["gpt2"]}}, "gguf": {}})
    family = registry.find("olmo2")
    assert family is not None
    assert family.model_type == "olmo2"


def test_the_documentation_lists_the_gguf_architectures() -> None:
    text = (Path(__file__).parents[2] / "docs/files.md").read_text().split("These are read:")[1].split(".")[0]
    assert re.findall(r"[\w-]+", text) == sorted(registry.index()["gguf"])


def test_an_unknown_name_is_no_family() -> None:
    assert registry.find("nothing") is None
    assert registry.find_gguf("nothing") is None


def test_a_row_derives_from_a_row() -> None:
    child = derive(LLAMA, "child", "ChildForCausalLM", act="relu2", depth=3, constraints=()).family
    spec = decode(child.document({"model_type": "child"}))
    assert (spec.decoder.n_layers, spec.decoder.runs[0].pattern[0].ffn.activation) == (3, "relu2")
    assert spec.vocab_size == 32000
    assert child.classes == ("ChildForCausalLM",)
    assert derive(LLAMA, "other").family.classes == ("LlamaForCausalLM",)
