"""Which token comes next: a distribution made of logits, and a draw from it.

Axes: B batch, V vocab, S tokens seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import ArchcalcError, InputError
from archcalc.words import msg


class NotNumbersError(ArchcalcError):
    """Logits that are infinite or no numbers at all."""

    exit_code = 1


Cut = Callable[[Tensor, float], Tensor]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen.

    `temperature` divides the logits; 0 takes the likeliest token. Of what that gives, `top_k` keeps the likeliest k
    tokens, then `top_p` the fewest whose probabilities sum to p or more (Holtzman et al. 2019, section 3.1), then
    `min_p` those of at least this share of the likeliest one's probability (Nguyen et al. 2024, section 3); what is
    kept is scaled to sum to 1. `repetition_penalty` comes before all: of tokens that stand in the text, prompt
    included, it divides logits above zero and multiplies those below (Keskar et al. 2019, section 4.1).

    Raises InputError for a value out of range, and for a cut that temperature 0 would leave without effect.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, (holds, allowed) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise InputError(msg("found {value}", value=value), where=name, allowed=allowed)
        if self.is_greedy and (idle := [name for name in CUTS if getattr(self, name) is not None]):
            raise InputError(msg("has no effect at temperature 0"), where=idle[0], allowed=msg("a temperature above 0"))

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, and nothing is drawn."""
        return self.temperature == 0


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda x: 0 <= x < float("inf"), "0 or more"),
    "top_k": (lambda x: x >= 1, "1 or more"),
    "top_p": (lambda x: 0 < x <= 1, "above 0, up to 1"),
    "min_p": (lambda x: 0 <= x <= 1, "from 0 to 1"),
    "repetition_penalty": (lambda x: 0 < x < float("inf"), "above 0"),
}


def penalised(logits_BV: Tensor, seen: Sequence[Set[int]], penalty: float) -> Tensor:
    """The logits, those of tokens seen made less likely; `seen` has the ids of each row."""
    if penalty == 1:
        return logits_BV
    found_BV = logits_BV.clone()
    for logits_V, ids in zip(found_BV, seen, strict=True):
        ids_S = torch.tensor(sorted(ids), dtype=torch.long, device=logits_V.device)
        at_S = logits_V[ids_S]
        logits_V[ids_S] = torch.where(at_S > 0, at_S / penalty, at_S * penalty)
    return found_BV


def choose(
    logits_BV: Tensor, sampling: Sampling, seen: Sequence[Set[int]], dice: Sequence[torch.Generator]
) -> list[int]:
    """The next id of each row; `seen` has the ids of each row so far, `dice` a generator for each.

    Raises NotNumbersError where logits are none, as those of broken weights.
    """
    logits_BV = penalised(logits_BV, seen, sampling.repetition_penalty)
    best = logits_BV.max(-1)
    check_finite(best.values)
    ids: list[int] = (best.indices if sampling.is_greedy else draw(distribution(logits_BV, sampling), dice)).tolist()
    return ids


def check_finite(largest_B: Tensor) -> None:
    """Raise NotNumbersError unless the largest logit of each row is a number."""
    if not all(map(math.isfinite, largest_B.tolist())):
        raise NotNumbersError(
            msg("the model's logits are not finite numbers: its weights are broken, or too coarse a dtype")
        )


def distribution(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """The probabilities [B, V], in float64, that the next token is drawn by; at temperature 0, all on the likeliest.

    >>> [round(p, 3) for p in distribution(torch.tensor([[2.0, 1.0, 0.1]]), Sampling(temperature=1.0))[0].tolist()]
    [0.659, 0.242, 0.099]
    """
    logits_BV = logits_BV.double()
    if sampling.is_greedy:
        return torch.zeros_like(logits_BV).scatter(-1, logits_BV.argmax(-1, keepdim=True), 1.0)
    # Below the largest, so that no temperature is low enough to overflow.
    below_BV = logits_BV - logits_BV.amax(-1, keepdim=True)
    probabilities_BV = (below_BV / sampling.temperature).softmax(-1)
    for name, cut in CUTS.items():
        value = getattr(sampling, name)
        if value is not None:
            probabilities_BV = probabilities_BV.masked_fill(~cut(probabilities_BV, value), 0.0)
            probabilities_BV = probabilities_BV / probabilities_BV.sum(-1, keepdim=True)
    return probabilities_BV


def draw(probabilities_BV: Tensor, dice: Sequence[torch.Generator]) -> Tensor:
    """An id [B] of each row, by the row's own generator: what stands beside it in the batch changes nothing.

    The first token whose cumulated probability is above a number drawn evenly from [0, 1): one of probability 0 never
    is.
    """
    thrown_B1 = torch.tensor([[torch.rand((), generator=die, dtype=torch.float64).item()] for die in dice])
    cumulated_BV = probabilities_BV.double().cumsum(-1)
    thrown_B1 = thrown_B1.to(cumulated_BV) * cumulated_BV[:, -1:]
    return torch.searchsorted(cumulated_BV, thrown_B1, right=True).squeeze(-1)


def _top_k(probabilities_BV: Tensor, k: float) -> Tensor:
    """True at the k likeliest, and at those as likely as the last of them."""
    least_B1 = probabilities_BV.topk(min(int(k), probabilities_BV.shape[-1]), dim=-1).values[:, -1:]
    return probabilities_BV >= least_B1


def _top_p(probabilities_BV: Tensor, p: float) -> Tensor:
    """True at a token whose likelier ones sum to less than p."""
    ordered_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = F.pad(ordered_BV.cumsum(-1)[:, :-1], (1, 0))
    return torch.zeros_like(before_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV < p)


def _min_p(probabilities_BV: Tensor, share: float) -> Tensor:
    """True at a token of this share of the likeliest one's probability."""
    return probabilities_BV >= share * probabilities_BV.amax(-1, keepdim=True)


# In the order in which they are made; a new one is a line here and a field of Sampling.
CUTS: dict[str, Cut] = {"top_k": _top_k, "top_p": _top_p, "min_p": _min_p}
