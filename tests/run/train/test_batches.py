"""What a model is shown: consecutive, the same at the same step, and every held-out token once."""

from __future__ import annotations

import pytest
import torch

from archcalc.errors import InputError
from archcalc.run.train.batches import NO_TARGET, MaskedTokens, NextTokens, Sequences
from archcalc.run.train.settings import Settings

SETTINGS = Settings(steps=10, batch=5, seq=7, warmup=0)


def test_windows_of_a_text_and_what_comes_after() -> None:
    batches = NextTokens(SETTINGS, range(100, 160), range(40), 99)
    seen = set()
    for step in range(400):
        batch = batches.batch(step)
        (ids_BT,) = batch.inputs
        assert ids_BT.shape == (5, 7)
        assert torch.equal(ids_BT - ids_BT[:, :1], torch.arange(7).expand(5, 7))
        assert torch.equal(batch.targets_BT, ids_BT + 1)
        seen |= set(ids_BT[:, 0].tolist())
    assert seen == set(range(100, 153)), "from the first place to the last that has a window after it"
    assert torch.equal(batches.batch(3).inputs[0], batches.batch(3).inputs[0])
    assert not torch.equal(batches.batch(3).inputs[0], batches.batch(4).inputs[0])


@pytest.mark.parametrize("n_held", [2, 7, 8, 9, 36, 40, 80])
def test_every_held_out_token_but_the_first_is_a_target_once(n_held: int) -> None:
    batches = NextTokens(SETTINGS, range(100), range(n_held), 99)
    targets = [token for batch in batches.validation() for token in batch.targets_BT.flatten().tolist()]
    assert targets == list(range(1, n_held))
    for batch in batches.validation():
        assert torch.equal(batch.inputs[0] + 1, batch.targets_BT)


def test_masks_are_drawn_as_the_paper_says() -> None:
    settings = Settings(steps=10, batch=200, seq=100, warmup=0)
    batches = MaskedTokens(settings, [5] * 500, [5] * 250, mask_id=3, vocab_size=1000)
    (ids_BT,), targets_BT = batches.batch(0).inputs, batches.batch(0).targets_BT
    chosen_BT = targets_BT != NO_TARGET
    assert (targets_BT[chosen_BT] == 5).all()
    assert (ids_BT[~chosen_BT] == 5).all()
    shares = torch.tensor(
        [chosen_BT.float().mean(), *((ids_BT[chosen_BT] == token).float().mean() for token in (3, 5))]
    )
    # Five deviations of 20,000 draws, or of the 3,000 of them that are chosen.
    assert (shares - torch.tensor([0.15, 0.8, 0.1])).abs().max() < 0.04
    assert len(set(ids_BT[chosen_BT].tolist())) > 100, "the rest is any token"
    assert [batch.inputs[0].shape for batch in batches.validation()] == [(1, 100), (1, 100)]


def test_a_window_always_hides_something() -> None:
    settings = Settings(steps=1, batch=300, seq=2, warmup=0)
    batch = MaskedTokens(settings, [5] * 9, [5] * 9, mask_id=3, vocab_size=9).batch(0)
    assert ((batch.targets_BT != NO_TARGET).sum(1) > 0).all()


@pytest.mark.parametrize("reverse", [True, False])
def test_sequences_are_copied_or_turned_round(reverse: bool) -> None:
    batches = Sequences(SETTINGS, 12, reverse=reverse)
    source_BS, begun_BT = batches.batch(2).inputs
    targets_BT = batches.batch(2).targets_BT
    assert torch.equal(targets_BT, source_BS.flip(1) if reverse else source_BS)
    assert (begun_BT[:, 0] == 0).all()
    assert torch.equal(begun_BT[:, 1:], targets_BT[:, :-1])
    assert 1 <= source_BS.min() <= source_BS.max() <= 11
    held = [batch.inputs[0] for batch in batches.validation()]
    assert not any(torch.equal(one, batches.batch(step).inputs[0]) for one in held for step in range(10))


def test_a_text_that_is_too_short_is_told() -> None:
    with pytest.raises(InputError, match=r"text: has 7 tokens to learn from and 9 held out; expected more than the 7"):
        NextTokens(SETTINGS, range(7), range(9), 1)
    with pytest.raises(InputError, match=r"has 50 tokens .* and 6 held out"):
        MaskedTokens(SETTINGS, range(50), range(6), 3, 9)
