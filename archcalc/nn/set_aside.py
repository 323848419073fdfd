"""A stream that is set aside now and then; branches read sums of all streams with weights of a softmax.

Axes: B batch, T tokens, J streams, Q queries, D model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import streams as spec
from archcalc.spec.branches import stream_branches, streams_names
from archcalc.spec.layer import Layer

if TYPE_CHECKING:
    from archcalc.nn.attention_context import LayerContext
    from archcalc.nn.block import Block


class StreamQueries(nn.Module):
    """One query [D] or several [Q, D], each with a softmax over all streams."""

    def __init__(self, part: spec.SetAside, d_model: int, n_queries: int) -> None:
        super().__init__()
        self.eps = part.eps
        self.query = nn.Parameter(torch.empty(d_model) if n_queries == 1 else torch.empty(n_queries, d_model))

    def sums(self, x_BTJD: Tensor) -> tuple[Tensor, ...]:
        """Return for each query the weighted sum [B, T, D] of the normalized streams; in float32 at least."""
        x_float = upcast(x_BTJD)
        normed_BTJD = x_float * self._factors(x_float)
        sums_BTQD: Tensor = self._pattern(normed_BTJD).transpose(2, 3) @ normed_BTJD
        return torch.unbind(sums_BTQD.to(x_BTJD.dtype), 2)

    def read_weights(self, x_BTJD: Tensor) -> Tensor:
        """Return the weight of each stream in each sum, [B, T, J, Q], with the factor that normalizes it."""
        x_float = upcast(x_BTJD)
        factors_BTJ1 = self._factors(x_float)
        return self._pattern(x_float * factors_BTJ1) * factors_BTJ1

    def _factors(self, x_BTJD: Tensor) -> Tensor:
        return torch.rsqrt(x_BTJD.pow(2).mean(-1, keepdim=True) + self.eps)

    def _pattern(self, normed_BTJD: Tensor) -> Tensor:
        """Return the softmax [B, T, J, Q] of each query over the streams."""
        query_QD = upcast(self.query).view(-1, self.query.shape[-1])
        logits_BTJQ = F.linear(normed_BTJD, query_QD) * query_QD.shape[-1] ** -0.5
        return torch.softmax(logits_BTJQ, 2)


class SetAsideEnds(StreamQueries):
    """The one stream before the first layer, and the weighted sum of all after the last."""

    def __init__(self, part: spec.SetAside, model: Spec) -> None:
        super().__init__(part, model.d_model, 1)

    def streams(self, x_BTD: Tensor) -> Tensor:
        """Return the states as one stream [B, T, 1, D]."""
        return x_BTD.unsqueeze(2)

    def states(self, x_BTJD: Tensor) -> Tensor:
        """Return states [B, T, D]: the weighted sum of all streams."""
        return self.sums(x_BTJD)[0]


class SetAside(nn.Module):
    """What each branch of a layer reads of the streams."""

    def __init__(self, part: spec.SetAside, layer: Layer, model: Spec, index: int) -> None:
        super().__init__()
        self.begins, self.names = part.begins(index), streams_names(layer)
        for i, branch in enumerate(stream_branches(layer)):
            if index or i:
                queries = StreamQueries(part, model.d_model, 3 if branch.splits_input else 1)
                self.add_module(branch.arms[0].name, queries)

    def forward(self, x_BTJD: Tensor, block: Block, context: LayerContext) -> Tensor:
        """Return the streams [B, T, J, D] after the branches of a block, the newest last."""
        inputs: dict[str, Tensor] = {}
        begins = self.begins
        for branch, branch_names, name in zip(block.branches, block.branch_names, self.names, strict=True):
            read_BTD, *others = self._read(branch_names.first, x_BTJD)
            keys_values = (others[0], others[1]) if others else None
            y_BTD = block.branch_output(branch, branch_names, read_BTD, context, inputs, keys_values)
            old_BTJD, new_BTD = (x_BTJD, y_BTD) if begins else (x_BTJD[:, :, :-1], x_BTJD[:, :, -1] + y_BTD)
            x_BTJD, begins = tap(name, torch.cat((old_BTJD, new_BTD.unsqueeze(2)), 2)), False
        return x_BTJD

    def _read(self, first: str, x_BTJD: Tensor) -> list[Tensor]:
        """Return what a branch reads, and what its keys and values read if that differs, [B, T, D] each."""
        if first not in dict(self.named_children()):
            return [tap(f"{first}_read", x_BTJD.squeeze(2))]
        sums = cast(StreamQueries, self.get_submodule(first)).sums(x_BTJD)
        return [tap(f"{first}_read{of}", x_BTD) for of, x_BTD in zip(("", "_keys", "_values"), sums, strict=False)]
