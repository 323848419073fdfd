"""The bottleneck of a layer: projections into the width of its branches, and back.

Axes: B batch, T tokens, D model, C the width of the bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from archcalc.nn.attention_context import Split
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import bottleneck as spec

# The branches of a layer, given their stream and the inputs of an arm that reads two, and dropout.
Branches = Callable[[Tensor, Mapping[str, Split]], Tensor]
Dropout = Callable[[Tensor], Tensor]


class Bottleneck(nn.Module):
    """Two or three projections with biases, each followed by a norm if there is one (Sun et al. 2020, section 3.1).

    `split_arm` is the attention whose queries and keys have a projection of their own, and whose values read the
    layer's input.
    """

    keys: Linear | None

    def __init__(self, part: spec.Bottleneck, model: Spec, first_arm: str) -> None:
        super().__init__()
        wide, narrow = model.d_model, part.d_bottleneck
        self.split_arm = first_arm if part.splits_attention else None
        self.down, self.up = Linear(wide, narrow), Linear(narrow, wide)
        self.down_norm = norm(part.norm, narrow) if part.norm else None
        self.up_norm = norm(part.norm, wide) if part.norm else None
        self.keys = Linear(wide, narrow) if part.has_keys else None
        self.keys_norm = norm(part.norm, narrow) if part.norm and part.has_keys else None

    def forward(self, x_BTD: Tensor, branches: Branches, dropout: Dropout) -> Tensor:
        """Map states [B, T, D] to states [B, T, D] by branches that work at the narrow width."""
        x_BTD, split = tap("resid_pre", x_BTD), dict[str, Split]()
        if self.keys is not None and self.split_arm is not None:
            split[self.split_arm] = tap("narrow_keys", _normed(self.keys(x_BTD), self.keys_norm)), None, x_BTD
        stream_BTC = branches(_normed(self.down(x_BTD), self.down_norm), split)
        sum_BTD = x_BTD + dropout(self.up(stream_BTC))
        sum_BTD = sum_BTD if self.up_norm is None else _normed(tap("widened", sum_BTD), self.up_norm)
        return tap("resid_post", sum_BTD)


def _normed(x: Tensor, module: nn.Module | None) -> Tensor:
    if module is None:
        return x
    y: Tensor = module(x)
    return y
