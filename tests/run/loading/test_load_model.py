"""`archcalc.load_model`: the public way to a model with its weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import archcalc
from archcalc.nn.dtypes import MODEL_DTYPES
from archcalc.run.loading import memory_check
from archcalc.run.loading.memory_check import TooLargeError
from tests.checkpoint.random_models import random_model

IDS, SOURCE = torch.tensor([[5, 7, 11, 2, 9], [3, 1, 4, 1, 5]]), torch.tensor([[8, 6, 7], [9, 2, 6]])
PACKED = pytest.mark.parametrize("packed", [False, True])


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], tuple[Any, Path]]:
    """A random model of transformers, and the folder that it lies in."""

    def save(name: str) -> tuple[Any, Path]:
        model = random_model(name)
        model.save_pretrained(tmp_path / name)
        return model, tmp_path / name

    return save


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@PACKED
def test_a_decoder_with_and_without_a_cache(packed: bool) -> None:
    model = archcalc.load_model("tiny", packed=packed)
    logits = model(IDS)
    assert logits.shape == (2, 5, model.spec.vocab_size)
    assert not logits.requires_grad
    cache = model.new_cache(2, 5)
    pieces = [model(ids, cache=cache) for ids in (IDS[:, :3], IDS[:, 3:4], IDS[:, 4:])]
    assert_same(torch.cat(pieces, 1), logits)


@PACKED
@torch.no_grad()
def test_an_encoder_decoder_has_the_logits_of_transformers(saved: Any, packed: bool) -> None:
    theirs, folder = saved("t5 gated")
    expected = theirs(input_ids=SOURCE, decoder_input_ids=IDS).logits
    model = archcalc.load_model(folder, packed=packed)
    assert_same(model(SOURCE, IDS), expected)
    for next_of in (lambda ids, cache: model(ids, cache=cache), lambda ids, cache: model(None, ids, cache=cache)):
        cache = model.new_cache(2, 5)
        states = model.encode(SOURCE, cache=cache)
        assert states.shape == (2, 3, model.spec.d_model)
        assert_same(torch.cat([next_of(IDS[:, :3], cache), next_of(IDS[:, 3:4], cache)], 1), expected[:, :4])


@PACKED
@torch.no_grad()
def test_an_encoder_has_the_logits_of_transformers(saved: Any, packed: bool) -> None:
    theirs, folder = saved("bert")
    model = archcalc.load_model(str(folder), packed=packed)
    assert_same(model(IDS), theirs(input_ids=IDS).logits)
    with pytest.raises(archcalc.InputError, match="an encoder caches nothing"):
        model.new_cache(2, 5)


def test_an_encoder_decoder_wants_a_source(saved: Any) -> None:
    _, folder = saved("t5")
    model = archcalc.load_model(folder)
    with pytest.raises(archcalc.InputError, match="nothing to attend to"):
        model(IDS)
    with pytest.raises(archcalc.InputError, match="has seen no source"):
        model(IDS, cache=model.new_cache(2, 5))
    with pytest.raises(archcalc.InputError, match="no ids"):
        model(None, cache=model.new_cache(2, 5))


@pytest.mark.parametrize(("name", "dtype"), list(MODEL_DTYPES.items()))
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    model = archcalc.load_model("tiny", dtype=name)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model.new_cache(1, 2).layers[0]["attn"].tensors[0].dtype == dtype
    assert model(IDS).dtype == dtype


@pytest.mark.parametrize(
    ("source", "options", "line"),
    [
        ("tiny", {"dtype": "fp33"}, "dtype: found 'fp33' (did you mean 'fp32'?); expected 'fp32', 'bf16', 'fp16'"),
        ("tiny", {"dtype": torch.bfloat16}, "dtype: found torch.bfloat16; expected 'fp32', 'bf16', 'fp16'"),
        (
            "tiny",
            {"dtype": "bf16", "packed": True},
            "dtype: found 'bf16' for a packed model; expected 'fp32', or packed=False",
        ),
        ("tiny", {"device": "meta"}, "device: found meta; expected cpu, cuda, cuda:0 …"),
        (
            "gpt2",
            {},
            "gpt2: has no weights; expected a folder with safetensors, a .gguf file, a Hugging Face repo id",
        ),
        ("./nowhere", {}, "./nowhere: no such file"),
        ("nowhere", {}, "nowhere: no preset is called 'nowhere'; expected a preset"),
    ],
)
def test_what_cannot_be_loaded_gets_one_line(source: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(archcalc.InputError) as caught:
        archcalc.load_model(source, **options)
    assert str(caught.value).startswith(line)
    assert "--" not in str(caught.value)


def test_the_guide_shows_what_works() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "running-models.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"^```python\n(.*?)^```$", guide, re.M | re.S) if "new_cache" in block)
    names: dict[str, Any] = {"archcalc": archcalc, "torch": torch}
    exec(block, names)  # noqa: S102
    assert_same(names["logits"], names["model"](names["ids"])[:, 3:])


def test_what_does_not_fit_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "free_memory", lambda device: 1_000_000)
    problem = r"^tiny needs 7.871 MB \(7.507 MiB\) of weights in fp32; 1.000 MB \(976.6 KiB\) are free on cpu$"
    with pytest.raises(TooLargeError, match=problem):
        archcalc.load_model("tiny")


def test_what_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda package: None)
    with pytest.raises(archcalc.MissingExtraError, match=r"pip install 'archcalc\[run\]'"):
        archcalc.load_model("tiny")
