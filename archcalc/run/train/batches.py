"""Training and validation batches.

Axes: B batch, T tokens, S the source's tokens, W windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.run.train.settings import Settings, generator
from archcalc.words import Message, msg

NO_TARGET = -100  # the default ignore_index of PyTorch's cross-entropy
MASKED_SHARE, MASK_SHARE, RANDOM_SHARE = 0.15, 0.8, 0.1  # Devlin et al. 2019, section 3.1
START_ID, FIRST_ID = 0, 1  # of the sequences in a toy task


@dataclass(frozen=True)
class Batch:
    """The model's inputs, and the target token of each logit, or NO_TARGET."""

    inputs: tuple[Tensor, ...]
    targets_BT: Tensor  # noqa: N815

    @property
    def n_targets(self) -> int:
        """Return the number of targets."""
        return int((self.targets_BT != NO_TARGET).sum())

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(tuple(ids.to(device) for ids in self.inputs), self.targets_BT.to(device))


class Batches(ABC):
    """Batches of one kind; the same settings give the same batches, in whatever order they are requested.

    `n_characters`: of the validation text, if there is one.
    """

    n_characters: int | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Return the training batch of a step."""

    @abstractmethod
    def validation(self) -> Iterator[Batch]:
        """Yield the validation batches, the same each time."""


class NextTokens(Batches):
    """Windows at random positions of a text; the target of each token is the next one."""

    def __init__(
        self, settings: Settings, ids: Sequence[int], validation_ids: Sequence[int], n_characters: int
    ) -> None:
        super().__init__(settings)
        self.ids, self.validation_ids, self.n_characters = torch.tensor(ids), torch.tensor(validation_ids), n_characters
        if len(ids) <= settings.seq or len(validation_ids) < 2:
            problem = _too_short(ids, validation_ids)
            raise InputError(
                problem, where="text", allowed=msg("more than the {seq:,} of `seq`, and 2", seq=settings.seq)
            )

    def batch(self, step: int) -> Batch:
        """Return windows at random positions."""
        starts_B1 = _starts(self.settings, len(self.ids) - self.settings.seq, step)
        window_BT = self.ids[starts_B1 + torch.arange(self.settings.seq + 1)]
        return Batch((window_BT[:, :-1],), window_BT[:, 1:])

    def validation(self) -> Iterator[Batch]:
        """Yield consecutive windows; every token except the first is a target once."""
        seq, n_whole = self.settings.seq, (len(self.validation_ids) - 1) // self.settings.seq
        ids, n_tokens = self.validation_ids, n_whole * seq
        windows_WT = ids[: n_tokens + 1].unfold(0, seq + 1, seq) if n_whole else ids[:0].view(0, 1)
        rest_1T = ids[n_tokens:].unsqueeze(0)
        for window_BT in (*torch.split(windows_WT, self.settings.batch), rest_1T):
            if window_BT.numel() > 1:
                yield Batch((window_BT[:, :-1],), window_BT[:, 1:])


class MaskedTokens(Batches):
    """Windows of a text with masked tokens, which are the targets (Devlin et al. 2019, section 3.1).

    Of 15 % of the tokens, 80 % become the mask, 10 % a random token, and 10 % stay as they are.
    """

    def __init__(
        self, settings: Settings, ids: Sequence[int], validation_ids: Sequence[int], mask_id: int, vocab_size: int
    ) -> None:
        super().__init__(settings)
        self.ids, self.validation_ids = torch.tensor(ids), torch.tensor(validation_ids)
        self.mask_id, self.vocab_size = mask_id, vocab_size
        if min(len(ids), len(validation_ids)) < settings.seq:
            problem = _too_short(ids, validation_ids)
            raise InputError(problem, where="text", allowed=msg("the {seq:,} of `seq` each", seq=settings.seq))

    def batch(self, step: int) -> Batch:
        """Return windows at random positions."""
        starts_B1 = _starts(self.settings, len(self.ids) - self.settings.seq + 1, step)
        return self._mask(self.ids[starts_B1 + torch.arange(self.settings.seq)], "mask", step)

    def validation(self) -> Iterator[Batch]:
        """Yield consecutive whole windows."""
        for start in range(0, len(self.validation_ids) - self.settings.seq + 1, self.settings.seq):
            window_1T = self.validation_ids[start : start + self.settings.seq].unsqueeze(0)
            yield self._mask(window_1T, "held out", start)

    def _mask(self, ids_BT: Tensor, *purpose: object) -> Batch:
        rng = generator(self.settings.seed, *purpose)
        masked_BT = torch.rand(ids_BT.shape, generator=rng) < MASKED_SHARE
        masked_BT[:, 0] |= ~masked_BT.any(1)  # a window without a mask has no loss
        kind_BT = torch.rand(ids_BT.shape, generator=rng)
        random_BT = torch.randint(self.vocab_size, ids_BT.shape, generator=rng)
        inputs_BT = torch.where(masked_BT & (kind_BT < MASK_SHARE), self.mask_id, ids_BT)
        inputs_BT = torch.where(
            masked_BT & (kind_BT >= MASK_SHARE) & (kind_BT < MASK_SHARE + RANDOM_SHARE), random_BT, inputs_BT
        )
        return Batch((inputs_BT,), torch.where(masked_BT, ids_BT, NO_TARGET))


class Sequences(Batches):
    """A toy sequence-to-sequence task: random tokens to copy or reverse. Targets begin with token 0."""

    N_VALIDATION = 8

    def __init__(self, settings: Settings, vocab_size: int, *, reverse: bool) -> None:
        super().__init__(settings)
        self.vocab_size, self.reverse = vocab_size, reverse

    def batch(self, step: int) -> Batch:
        """Return new tokens for each step."""
        return self._draw("sequences", step)

    def validation(self) -> Iterator[Batch]:
        """Yield some batches with a seed of their own."""
        return (self._draw("held out", number) for number in range(self.N_VALIDATION))

    def _draw(self, *purpose: object) -> Batch:
        shape, rng = (self.settings.batch, self.settings.seq), generator(self.settings.seed, *purpose)
        source_BS = torch.randint(FIRST_ID, self.vocab_size, shape, generator=rng)
        targets_BT = source_BS.flip(1) if self.reverse else source_BS
        shifted_BT = torch.cat((torch.full((shape[0], 1), START_ID), targets_BT[:, :-1]), 1)
        return Batch((source_BS, shifted_BT), targets_BT)


def _too_short(ids: Sequence[int], validation_ids: Sequence[int]) -> Message:
    return msg(
        "has {n:,} tokens to learn from and {n_validation:,} held out", n=len(ids), n_validation=len(validation_ids)
    )


def _starts(settings: Settings, n_positions: int, step: int) -> Tensor:
    return torch.randint(n_positions, (settings.batch, 1), generator=generator(settings.seed, "windows", step))
