"""The metric of activation patching: how much a model prefers an answer.

Axes: B batch, V vocab.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_tokens
from archcalc.words import msg

MetricName = Literal["probability", "logit difference"]


class AnswerMetric(msgspec.Struct, frozen=True):
    """The probability of `answer`; with a `wrong` token, its logit minus the wrong one's."""

    answer: int
    wrong: int | None = None

    @property
    def name(self) -> MetricName:
        """Return the name of the metric."""
        return "probability" if self.wrong is None else "logit difference"

    def __call__(self, logits_BV: Tensor) -> Tensor:
        """Return the metric of each row [B] in float64."""
        logits_BV = logits_BV.double()
        if self.wrong is None:
            return logits_BV.softmax(-1)[:, self.answer]
        return logits_BV[:, self.answer] - logits_BV[:, self.wrong]

    def check(self, vocab_size: int) -> None:
        """Raise InputError for tokens outside the vocabulary, and a wrong token that is the answer."""
        for where, token in (("answer", self.answer), ("wrong", self.wrong)):
            check_tokens([token], vocab_size, where)
        if self.wrong == self.answer:
            raise InputError(msg("found the answer"), where="wrong", allowed=msg("another token"))
