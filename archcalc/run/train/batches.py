"""What a model is shown, step by step, and what it should make of it.

Axes: B batch, T tokens, S the source's tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.run.train.settings import Settings, generator
from archcalc.words import msg

NO_TARGET = -100  # of PyTorch's cross-entropy
MASKED_SHARE, AS_MASK, AS_ANY = 0.15, 0.8, 0.1  # Devlin et al. 2019, section 3.1
START_ID, FIRST_ID = 0, 1  # of the sequences of a toy task


@dataclass(frozen=True)
class Batch:
    """The model's inputs, and for each place of its logits the token that is right, or NO_TARGET."""

    inputs: tuple[Tensor, ...]
    targets_BT: Tensor  # noqa: N815

    @property
    def n_targets(self) -> int:
        """Places that count."""
        return int((self.targets_BT != NO_TARGET).sum())

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(tuple(ids.to(device) for ids in self.inputs), self.targets_BT.to(device))


class Batches(ABC):
    """Batches of one kind; the same settings give the same ones, whichever is asked for first.

    `n_characters`: of the text that is held out, where there is one.
    """

    n_characters: int | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """What the model is shown at a step."""

    @abstractmethod
    def held_out(self) -> Iterator[Batch]:
        """What it never is shown, the same each time."""


class NextTokens(Batches):
    """Windows of a text, from anywhere in it; each place's target is the token after it."""

    def __init__(self, settings: Settings, ids: Sequence[int], held: Sequence[int], n_characters: int) -> None:
        super().__init__(settings)
        self.ids, self.held, self.n_characters = torch.tensor(ids), torch.tensor(held), n_characters
        if len(ids) <= settings.seq or len(held) < 2:
            found = f"has {len(ids):,} tokens to learn from and {len(held):,} held out"
            raise InputError(
                found, where="text", allowed=msg("more than the {seq:,} of `seq`, and 2", seq=settings.seq)
            )

    def batch(self, step: int) -> Batch:
        """Windows that begin anywhere."""
        starts_B1 = _starts(self.settings, len(self.ids) - self.settings.seq, step)
        window_BT = self.ids[starts_B1 + torch.arange(self.settings.seq + 1)]
        return Batch((window_BT[:, :-1],), window_BT[:, 1:])

    def held_out(self) -> Iterator[Batch]:
        """One window after another, every token but the first a target once."""
        seq, n_whole = self.settings.seq, (len(self.held) - 1) // self.settings.seq
        windows_ZT = self.held[: n_whole * seq + 1].unfold(0, seq + 1, seq) if n_whole else self.held[:0].view(0, 1)
        rest_1T = self.held[n_whole * seq :].unsqueeze(0)
        for window_BT in (*torch.split(windows_ZT, self.settings.batch), rest_1T):
            if window_BT.numel() > 1:
                yield Batch((window_BT[:, :-1],), window_BT[:, 1:])


class MaskedTokens(Batches):
    """Windows of a text some of whose tokens are hidden; these are the targets (Devlin et al. 2019, section 3.1).

    Of 15 %, 8 in 10 become the mask, 1 any token, 1 stays as it is.
    """

    def __init__(
        self, settings: Settings, ids: Sequence[int], held: Sequence[int], mask_id: int, vocab_size: int
    ) -> None:
        super().__init__(settings)
        self.ids, self.held, self.mask_id, self.vocab_size = torch.tensor(ids), torch.tensor(held), mask_id, vocab_size
        if min(len(ids), len(held)) < settings.seq:
            found = f"has {len(ids):,} tokens to learn from and {len(held):,} held out"
            raise InputError(found, where="text", allowed=msg("the {seq:,} of `seq` each", seq=settings.seq))

    def batch(self, step: int) -> Batch:
        """Windows that begin anywhere."""
        starts_B1 = _starts(self.settings, len(self.ids) - self.settings.seq + 1, step)
        return self._masked(self.ids[starts_B1 + torch.arange(self.settings.seq)], "mask", step)

    def held_out(self) -> Iterator[Batch]:
        """One whole window after another."""
        for start in range(0, len(self.held) - self.settings.seq + 1, self.settings.seq):
            yield self._masked(self.held[start : start + self.settings.seq].unsqueeze(0), "held out", start)

    def _masked(self, ids_BT: Tensor, *what: object) -> Batch:
        drawn = generator(self.settings.seed, *what)
        chosen_BT = torch.rand(ids_BT.shape, generator=drawn) < MASKED_SHARE
        chosen_BT[:, 0] |= ~chosen_BT.any(1)  # a window that nothing is hidden of would teach nothing
        kind_BT = torch.rand(ids_BT.shape, generator=drawn)
        any_BT = torch.randint(self.vocab_size, ids_BT.shape, generator=drawn)
        shown_BT = torch.where(chosen_BT & (kind_BT < AS_MASK), self.mask_id, ids_BT)
        shown_BT = torch.where(chosen_BT & (kind_BT >= AS_MASK) & (kind_BT < AS_MASK + AS_ANY), any_BT, shown_BT)
        return Batch((shown_BT,), torch.where(chosen_BT, ids_BT, NO_TARGET))


class Sequences(Batches):
    """A toy of sequence to sequence: random tokens, copied or turned round. Targets begin with the token 0."""

    N_HELD_OUT = 8

    def __init__(self, settings: Settings, vocab_size: int, *, reverse: bool) -> None:
        super().__init__(settings)
        self.vocab_size, self.reverse = vocab_size, reverse

    def batch(self, step: int) -> Batch:
        """Other tokens at each step."""
        return self._drawn("sequences", step)

    def held_out(self) -> Iterator[Batch]:
        """Some batches of a seed of their own."""
        return (self._drawn("held out", number) for number in range(self.N_HELD_OUT))

    def _drawn(self, *what: object) -> Batch:
        shape, drawn = (self.settings.batch, self.settings.seq), generator(self.settings.seed, *what)
        source_BS = torch.randint(FIRST_ID, self.vocab_size, shape, generator=drawn)
        targets_BT = source_BS.flip(1) if self.reverse else source_BS
        begun_BT = torch.cat((torch.full((shape[0], 1), START_ID), targets_BT[:, :-1]), 1)
        return Batch((source_BS, begun_BT), targets_BT)


def _starts(settings: Settings, n_places: int, step: int) -> Tensor:
    return torch.randint(n_places, (settings.batch, 1), generator=generator(settings.seed, "windows", step))
