"""A run that is broken off goes on as if it had not been."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest
import torch

from archcalc.errors import InputError
from archcalc.run.loading.memory_check import TooLargeError
from archcalc.run.train.checkpoints import checkpoint_folders
from archcalc.run.train.dataset import Dataset, of_task, of_text
from archcalc.run.train.session import Session, open_session
from archcalc.run.train.settings import Settings
from tests.run.train.small_specs import TEXT, decoder, encoder, sequences

SETTINGS = Settings(steps=7, batch=3, seq=16, warmup=2, every=2)
CPU = torch.device("cpu")


def dataset(settings: Settings = SETTINGS, **changes: object) -> Dataset:
    return of_text(decoder(**changes), TEXT, "bpe", settings)


def whole(folder: Path) -> Session:
    session = open_session(dataset(), SETTINGS, folder, device=CPU)
    for _ in session:
        pass
    return session


def equal(a: Session, b: Session) -> bool:
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in weights) and a.run.losses == b.run.losses


@pytest.mark.parametrize("killed_after", [3, 4, 5])
def test_a_run_goes_on_bit_by_bit(killed_after: int, tmp_path: Path) -> None:
    unbroken = whole(tmp_path / "a")
    broken = open_session(dataset(), SETTINGS, tmp_path / "b", device=CPU)
    for _ in islice(broken, killed_after):
        pass
    resumed = open_session(dataset(), SETTINGS, tmp_path / "b", device=CPU, resume=True)
    assert resumed.run.step == killed_after // 2 * 2, "no more is lost than since the last checkpoint"
    for _ in resumed:
        pass
    assert equal(resumed, unbroken)
    assert resumed.run.held_out == unbroken.run.held_out
    assert [line[0] for line in resumed.run.held_out] == [2, 4, 6, 7]
    for name in ("model.safetensors", "optimizer.safetensors", "spec.yaml", "tokenizer.json"):
        assert (tmp_path / "a/step-00000007" / name).read_bytes() == (tmp_path / "b/step-00000007" / name).read_bytes()


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    whole(tmp_path)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000006", "step-00000007"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "run.json", "sums.json"])
@pytest.mark.parametrize("how", ["a byte", "cut", "gone"])
def test_a_broken_checkpoint_costs_no_earlier_one(name: str, how: str, tmp_path: Path) -> None:
    unbroken = whole(tmp_path / "a")
    path = tmp_path / "a/step-00000007" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    {"a byte": lambda: path.write_bytes(data), "cut": lambda: path.write_bytes(data[:99]), "gone": path.unlink}[how]()
    resumed = open_session(dataset(), SETTINGS, tmp_path / "a", device=CPU, resume=True)
    assert len(resumed.notes) == 1
    assert "step-00000007" in str(resumed.notes[0])
    assert resumed.run.step == 6
    for _ in resumed:
        pass
    assert equal(resumed, unbroken)


def test_a_full_disk_costs_no_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, full = open_session(dataset(), SETTINGS, tmp_path, device=CPU), OSError(28, "No space left on device")

    def refuse(handle: int) -> None:
        raise full

    with pytest.raises(InputError, match=r"step-00000004: cannot be written \(No space left on device\)"):  # noqa: PT012
        for step, _ in session:
            if step.number == 3:
                monkeypatch.setattr(os, "fsync", refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    monkeypatch.undo()
    assert open_session(dataset(), SETTINGS, tmp_path, device=CPU, resume=True).run.step == 2


def test_the_same_seed_gives_the_same_losses_and_another_others(tmp_path: Path) -> None:
    first, second = whole(tmp_path / "a"), whole(tmp_path / "b")
    assert first.run.losses == second.run.losses
    other = Settings(**{name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__} | {"seed": 1})
    third = open_session(dataset(other), other, tmp_path / "c", device=CPU)
    assert [step.loss for step, _ in third] != first.run.losses


def test_a_run_is_not_mixed_with_another(tmp_path: Path) -> None:
    whole(tmp_path)
    with pytest.raises(InputError, match=r"holds a run already; expected `resume`, or another folder"):
        open_session(dataset(), SETTINGS, tmp_path, device=CPU)
    with pytest.raises(InputError, match=r"holds no run to resume"):
        open_session(dataset(), SETTINGS, tmp_path / "new", device=CPU, resume=True)
    longer = Settings(steps=9, batch=3, seq=16, warmup=2, every=2)
    with pytest.raises(InputError, match=r"^steps: found 9; expected 7, as in .*step-00000007"):
        open_session(dataset(longer), longer, tmp_path, device=CPU, resume=True)
    with pytest.raises(InputError, match=r"learned from another text"):
        open_session(
            of_text(decoder(), TEXT.replace("cat", "tac"), "bpe", SETTINGS), SETTINGS, tmp_path, device=CPU, resume=True
        )
    with pytest.raises(InputError, match=r"has no whole checkpoint \(skipped: .*step-00000007: is of another spec"):
        open_session(dataset(n_layers=1), SETTINGS, tmp_path, device=CPU, resume=True)


def test_what_cannot_fit_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    large = Settings(steps=1, batch=4096, seq=16, warmup=0)
    with pytest.raises(TooLargeError, match=r"tiny needs about .* for a step of 4096 × 16 tokens \(modeled\); .* free"):
        open_session(dataset(large, n_layers=3000), large, tmp_path, device=CPU)


def test_an_encoder_learns_to_fill_gaps(tmp_path: Path) -> None:
    told = Settings(steps=100, batch=16, seq=16, lr=0.01, warmup=5, every=100)
    found = of_text(encoder(), TEXT, "char", told)
    session = open_session(found, told, tmp_path, device=CPU)
    for _ in session:
        pass
    assert sum(session.run.losses[-5:]) / 5 < 0.85 * session.run.losses[0]
    assert (tmp_path / "step-00000100" / "tokenizer_config.json").read_text() == '{"mask_token": "[MASK]"}'


def test_sequences_are_turned_round_without_a_mistake(tmp_path: Path) -> None:
    told = Settings(steps=240, batch=48, seq=6, lr=4e-3, warmup=20, every=240, seed=1)
    session = open_session(of_task(sequences(), "reverse", told), told, tmp_path, device=CPU)
    (*_, (_, found)) = session
    assert found is not None
    assert found.accuracy == 1.0
    source = torch.randint(1, 20, (50, 6), generator=torch.Generator().manual_seed(9))
    made = torch.zeros(50, 1, dtype=torch.long)
    with torch.no_grad():
        for _ in range(6):
            made = torch.cat((made, session.model(source, made)[:, -1:].argmax(-1)), 1)
    assert torch.equal(made[:, 1:], source.flip(1))


def test_texts_and_tasks_are_for_models_that_can(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it is not trained on a text; expected `task`, or"):
        of_text(sequences(), TEXT, "char", SETTINGS)
    with pytest.raises(InputError, match=r"^task: is for an encoder-decoder"):
        of_task(decoder(), "copy", SETTINGS)
    with pytest.raises(InputError, match=r"^seq: found 33; expected up to the context's 32"):
        of_text(decoder(), TEXT, "bpe", Settings(steps=1, batch=1, seq=33, warmup=0))
    with pytest.raises(InputError, match=r"^tokenizer: found 'bpee'; expected bpe, char"):
        of_text(decoder(), TEXT, "bpee", SETTINGS)
