"""Lenses with maps: the average Jacobian by its definition, training that comes nearer to the output, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from torch import Tensor

import archcalc
from archcalc.errors import InputError
from archcalc.inside import Lens, jacobian_lens, lens, lens_divergences, load_lens, save_lens, train_lens
from archcalc.interp.lens import memory
from archcalc.interp.readout import stream_sites
from archcalc.nn import taps
from archcalc.run.loading.memory_check import TooLargeError
from archcalc.spec import Spec
from tests.examples import examples
from tests.interp.test_lens import texts_of
from tests.nn.test_nn_cache import drawn
from tests.strategies import specs

TEXTS = [[5, 9, 2, 7], [400, 31, 8, 77]]


@pytest.fixture(scope="module")
def tiny() -> Any:
    return archcalc.load_model("tiny")


def jacobian(model: Any, texts: list[Tensor], site: str) -> Tensor:
    """∂ of the last states by those of a site, [T, D, T, D], dimension by dimension."""
    names = [site.name for site in stream_sites(model.spec)]
    x = taps.record(model, *texts, sites=site)[site]

    def last(y: Tensor) -> Tensor:
        start = taps.Edit(site, None, lambda _: y.clone())
        return taps.record(model, *texts, sites=names[-1:], edits=[start], grad=True)[names[-1]][0]

    return torch.autograd.functional.jacobian(last, x)[:, :, 0]


@examples(25)
@given(specs(per_token=True))
def test_an_average_jacobian_is_its_definition(spec: Spec) -> None:
    assume(spec.predicts_tokens)
    model, texts = drawn(spec), texts_of(spec)
    found = jacobian_lens(model, [texts[0]], [texts[1]] if len(texts) > 1 else None)
    names = [site.name for site in stream_sites(spec)]
    assert list(found.maps) == names[:-1]
    for name in {names[0], names[(len(names) - 1) // 2], names[-2]}:
        expected = jacobian(model, texts, name).sum(0).mean(1).float()
        assume(bool(expected.isfinite().all()))
        assert (found.maps[name][0] - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1e-6)
        assert found.maps[name][1] is None


def test_the_average_is_over_texts_and_positions(tiny: Any) -> None:
    both = jacobian_lens(tiny, TEXTS, skip=1)
    site = "layers.2.resid_mid"
    each = [jacobian(tiny, [torch.tensor([text])], site)[1:, :, 1:].sum(0).mean(1) for text in TEXTS]
    torch.testing.assert_close(both.maps[site][0], (each[0] + each[1]) / 2, atol=1e-5, rtol=1e-4)
    assert both.origin == {"model": "tiny", "n_texts": 2, "n_tokens": 8, "skip": 1}
    assert list(jacobian_lens(tiny, TEXTS[:1], sites="layers").maps)[1:] == [f"layers.{i}.resid_post" for i in range(3)]


def test_the_model_stays_without_gradients(tiny: Any) -> None:
    before = {name: x.clone() for name, x in tiny.state_dict().items()}
    jacobian_lens(tiny, TEXTS[:1])
    train_lens(tiny, TEXTS, steps=1)
    assert all(torch.equal(x, before[name]) for name, x in tiny.state_dict().items())
    assert not any(weight.requires_grad or weight.grad is not None for weight in tiny.parameters())


def test_training_starts_at_the_identity(tiny: Any) -> None:
    found = train_lens(tiny, TEXTS, steps=1, learning_rate=0.0)
    for weight, bias in found.maps.values():
        assert torch.equal(weight, torch.eye(192))
        assert bias is not None
        assert not bias.any()
    read, plain = (lens(tiny, TEXTS[0], positions="all", using=using) for using in (found, None))
    assert torch.equal(read.top_ids, plain.top_ids)


def test_training_comes_nearer_to_the_output(tiny: Any) -> None:
    texts = torch.randint(2048, (4, 16), generator=torch.Generator().manual_seed(0)).tolist()
    done: list[int] = []
    found = train_lens(tiny, texts, sites="layers", steps=30, progress=done.append)
    assert sum(done) == 30
    names = [f"layers.{i}.resid_post" for i in range(4)]
    before, after = lens_divergences(tiny, texts, names), lens_divergences(tiny, texts, names, found)
    assert (after[:3] < 0.7 * before[:3]).all()
    assert before[3] == after[3] == 0
    again = train_lens(tiny, texts, sites="layers", steps=30)
    assert all(torch.equal(again.maps[name][0], weight) for name, (weight, _) in found.maps.items())
    other = train_lens(tiny, texts, sites="layers", steps=30, seed=1)
    assert not torch.equal(other.maps[names[0]][0], found.maps[names[0]][0])
    # KL(output‖site), of the reading too.
    read = [lens(tiny, text, positions="all", sites="layers", using=found) for text in texts]
    mean = torch.stack([one.kl_nats[1:] for one in read]).mean((0, 2))
    torch.testing.assert_close(mean.double(), after, atol=1e-4, rtol=1e-3)


def test_an_encoder_is_trained_too() -> None:
    spec = archcalc.load("bert-base", {"n_layers": 2, "d_model": 24, "n_heads": 2, "d_ff": 16, "vocab_size": 50})
    model = archcalc.random_model(spec)
    found = train_lens(model, [[1, 2, 3], [4, 5, 6]], steps=2)
    assert len(found.maps) == 4


def test_a_file_has_the_lens_and_what_it_was_made_of(tiny: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "a.safetensors")
    found = train_lens(tiny, TEXTS, steps=2)
    save_lens(found, path)
    again = load_lens(path)
    assert (again.kind, again.origin) == ("tuned", dict(found.origin))
    assert again.origin["n_tokens"] == 8
    assert again.maps.keys() == found.maps.keys()
    for name, (weight, bias) in found.maps.items():
        assert torch.equal(again.maps[name][0], weight)
        assert bias is not None
        assert torch.equal(again.maps[name][1], bias)  # type: ignore[arg-type]
    save_lens(Lens("jacobian", {"layers.0.resid_pre": (torch.eye(3), None)}), path)
    assert load_lens(path).maps["layers.0.resid_pre"][1] is None


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "has no lens in its metadata (archcalc.lens: None)"),
        ({"archcalc.lens": "{"}, "has no lens"),
        ({"archcalc.lens": json.dumps({"kind": "x", "origin": {}})}, "has no lens"),
        ({"archcalc.lens": json.dumps(["kind"])}, "has no lens"),
    ],
)
def test_other_files_are_refused(metadata: Any, said: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.ones(1)}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(InputError) as error:
        load_lens(str(tmp_path / "a.safetensors"))
    assert said in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="expected a lens as safetensors"):
        load_lens(str(tmp_path / "b.safetensors"))
    with pytest.raises(InputError, match="cannot be read"):
        load_lens(str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match="cannot be written"):
        save_lens(Lens(), str(tmp_path / "none" / "a.safetensors"))


def test_a_tuned_lens_of_an_encoder_decoder_reads_the_decoder_given_the_source() -> None:
    model = archcalc.random_model(archcalc.load("tiny-seq2seq"))
    sources = [[i + 1, i + 2, 30 - i] for i in range(8)]
    targets = [[0, 30 - i, i + 2, i + 1, i + 3] for i in range(8)]
    found = train_lens(model, sources, targets, sites="layers", steps=40, learning_rate=3e-3)
    sites = [f"decoder.layers.{i}.{name}" for i, name in ((0, "resid_pre"), (0, "resid_post"), (1, "resid_post"))]
    assert list(found.maps) == sites[:-1]
    before = lens_divergences(model, sources, sites, targets=targets)
    after = lens_divergences(model, sources, sites, found, targets=targets)
    assert (after[:-1] < 0.5 * before[:-1]).all()
    assert after[-1] == before[-1] == 0
    reading = lens(model, sources[0], targets[0], using=found, sites="layers", positions="all")
    logits = model(torch.tensor([sources[0]]), torch.tensor([targets[0]]))[0]
    assert torch.equal(reading.output, logits)
    other = lens(model, sources[1], targets[0], using=found, sites="layers", positions="all")
    assert not torch.equal(reading.output, other.output)


def test_what_no_lens_is_made_of(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, said in (({"skip": 4}, "skip: found 4; expected 0 to 3"), ({"skip": -1}, "skip: found -1")):
        with pytest.raises(InputError, match=said):
            jacobian_lens(tiny, TEXTS, **options)
    with pytest.raises(InputError, match="texts: found none"):
        jacobian_lens(tiny, [])
    with pytest.raises(InputError, match="texts: found 0"):
        train_lens(tiny, [])
    with pytest.raises(InputError, match="steps: found 0"):
        train_lens(tiny, TEXTS, steps=0)
    pair = archcalc.random_model(archcalc.load("tiny-seq2seq"))
    with pytest.raises(InputError, match="target: reads a source and a target; expected both"):
        train_lens(pair, TEXTS)
    with pytest.raises(InputError, match="targets: found 1; expected 2, as texts"):
        train_lens(pair, [[1, 2], [3]], [[1]])
    with pytest.raises(InputError, match="target: reads one text; expected no value"):
        train_lens(tiny, TEXTS, TEXTS)
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    with pytest.raises(TooLargeError, match=r"the lens needs .*, of which .* for 8 maps; 1.000 kB are free on cpu"):
        jacobian_lens(tiny, TEXTS)
