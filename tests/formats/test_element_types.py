"""The table of element types against PyTorch and safetensors, and that it is the only one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
import safetensors.torch
import torch

from archcalc.analysis.memory import Dtype
from archcalc.formats.element_types import ELEMENT_TYPES, ElementName, element_bytes
from archcalc.nn.dtypes import MODEL_DTYPES, torch_dtype

PACKAGE = Path(__file__).parents[2] / "archcalc"


def test_every_name_has_a_row() -> None:
    assert list(ELEMENT_TYPES) == list(get_args(ElementName))


@pytest.mark.parametrize("name", sorted(set(ELEMENT_TYPES) - {"int4"}))
def test_a_type_is_as_wide_as_in_pytorch(name: ElementName) -> None:
    assert element_bytes(name) * 8 == ELEMENT_TYPES[name].bits == torch_dtype(name).itemsize * 8


def test_two_int4_share_a_byte() -> None:
    assert ELEMENT_TYPES["int4"].bits * 2 == torch_dtype("int4").itemsize * 8
    with pytest.raises(AssertionError):
        element_bytes("int4")


def test_safetensors_has_the_same_words() -> None:
    """What it writes for a dtype is our word. (Its table for reading lacks some that it writes.)"""
    for name in set(ELEMENT_TYPES) - {"int4"}:
        header = safetensors.torch.save({"x": torch.zeros(1).to(torch_dtype(name))})[8:]
        assert f'"dtype":"{ELEMENT_TYPES[name].safetensors}"'.encode() in header


def test_what_a_model_runs_in() -> None:
    assert {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16} == MODEL_DTYPES
    assert set(MODEL_DTYPES) < set(get_args(Dtype)) < set(ELEMENT_TYPES)


def tables(tree: ast.AST) -> list[ast.Dict]:
    """Return the dicts that say how wide or which dtype of PyTorch several element types are."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if len(keys & {"fp32", "fp16", "bf16", "F32", "F16", "BF16"}) > 1:
            found.append(node)
    return found


def test_it_is_the_only_table() -> None:
    found = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")) if tables(ast.parse(path.read_text()))]
    assert found == [Path("formats/element_types.py"), Path("formats/gguf_types.py")]  # the latter: blocks of ggml
