"""The parts that sum to a logit.

Axes: N heads, S key tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from archcalc.interp.heads.arms import AttentionArm
from archcalc.interp.heads.attribution_result import ContributionPart


@dataclass(frozen=True)
class Contribution:
    """What one part adds to the logit. `head` is None for parts that are no head."""

    path: str
    part: ContributionPart
    value: float
    layer: int | None = None
    head: int | None = None


@dataclass
class Attribution:
    """The parts of one logit, or of the difference of two, at one position.

    `contributions` sum to `logit` with `remainder`, the rounding of the forward pass. `edges` has the contribution of
    every token that is read by path: [N, S], each row the sum of its head; `arms` says what each path is. `logit` is
    before a softcap of the head.
    """

    position: int
    token: int
    against: int | None
    logit: float
    contributions: list[Contribution] = field(default_factory=list)
    edges: dict[str, Tensor] = field(default_factory=dict)
    patterns: dict[str, Tensor] = field(default_factory=dict)
    promoted_ids: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    arms: dict[str, AttentionArm] = field(default_factory=dict)

    @property
    def remainder(self) -> float:
        """Return the logit less the sum of all contributions."""
        return self.logit - sum(one.value for one in self.contributions)
