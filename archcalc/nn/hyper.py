"""Hyper-connections: several residual streams that every branch reads and writes with weights of its own.

Axes: B batch, T tokens, J and K streams, D model, Z numbers that the weights of streams follow from.
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


class StreamWeights(nn.Module):
    """The weights of streams, which follow from all of them (Xie et al. 2026): to read, to write and to mix them."""

    def __init__(self, part: spec.HyperConnections, d_model: int, *sizes: int) -> None:
        super().__init__()
        self.part, self.sizes = part, sizes
        self.projection = nn.Parameter(torch.empty(sum(sizes), part.n_streams * d_model))
        self.bias = nn.Parameter(torch.empty(sum(sizes)))
        self.scale = nn.Parameter(torch.empty(len(sizes)))

    def forward(self, x_BTJD: Tensor) -> Tensor:
        """Return the numbers [B, T, Z] that all weights follow from, in float32 at least."""
        flat_BTZ = x_BTJD.flatten(2)
        root_BT1 = torch.rsqrt(upcast(flat_BTZ).pow(2).mean(-1, keepdim=True) + self.part.norm_eps)
        normed_BTZ = upcast(F.linear(flat_BTZ, self.projection)) * root_BT1
        scales_Z = torch.cat([scale.expand(size) for scale, size in zip(self.scale, self.sizes, strict=True)])
        return normed_BTZ * scales_Z + self.bias

    def read(self, x_BTJD: Tensor, logits_BTZ: Tensor) -> Tensor:
        """Return the sum [B, T, D] of all streams with their weights."""
        return (self.read_weights(logits_BTZ).unsqueeze(-1) * x_BTJD).sum(2).to(x_BTJD.dtype)

    def written(self, x_BTJD: Tensor, y_BTD: Tensor, logits_BTZ: Tensor) -> Tensor:
        """Return the streams [B, T, J, D], mixed if the part says so, with a share of `y_BTD` added to each."""
        mixed_BTJD, weights_BTJ = x_BTJD, self.write_weights(logits_BTZ)
        if self.part.mix is not None:
            mixed_BTJD = self.mix(logits_BTZ).to(x_BTJD.dtype).transpose(-1, -2) @ x_BTJD
        return (mixed_BTJD + weights_BTJ.unsqueeze(-1) * y_BTD.unsqueeze(2)).to(x_BTJD.dtype)

    def read_weights(self, logits_Z: Tensor) -> Tensor:
        """Return the weights [..., J] of all streams in what a branch reads, of numbers [..., Z]."""
        return torch.sigmoid(logits_Z[..., : self.part.n_streams]) + self.part.eps

    def write_weights(self, logits_Z: Tensor) -> Tensor:
        """Return the share [..., J] of a branch's output that each stream gets."""
        n, part = self.part.n_streams, self.part
        return part.magnitude * torch.sigmoid(logits_Z[..., n : 2 * n]) + part.write_eps

    def mix(self, logits_Z: Tensor) -> Tensor:
        """Return the weights [..., J, K] of stream J in the mixed stream K; the part has a `mix`."""
        n, part = self.part.n_streams, self.part
        assert part.mix is not None, "streams are mixed"
        return balanced(torch.unflatten(logits_Z[..., 2 * n :], -1, (n, n)), part.mix.n_turns, part.eps)


def balanced(logits_BTJK: Tensor, n_turns: int, eps: float) -> Tensor:
    """Return a matrix of positive numbers whose rows and columns sum to 1 (Sinkhorn & Knopp 1967)."""
    mix_BTJK = logits_BTJK.softmax(-1) + eps
    for turn in range(n_turns):
        if turn:
            mix_BTJK = mix_BTJK / (mix_BTJK.sum(-1, keepdim=True) + eps)
        mix_BTJK = mix_BTJK / (mix_BTJK.sum(-2, keepdim=True) + eps)
    return mix_BTJK


class HyperEnds(StreamWeights):
    """The streams before the first layer, all alike, and their weighted sum after the last."""

    def __init__(self, part: spec.HyperConnections, model: Spec) -> None:
        super().__init__(part, model.d_model, part.n_streams)

    def streams(self, x_BTD: Tensor) -> Tensor:
        """Return streams [B, T, J, D] that are all the states."""
        return x_BTD.unsqueeze(2).repeat(1, 1, self.part.n_streams, 1)

    def states(self, x_BTJD: Tensor) -> Tensor:
        """Return states [B, T, D]: the weighted sum of all streams."""
        return self.read(x_BTJD, self(x_BTJD))


class HyperConnections(nn.Module):
    """What each branch of a layer reads of the streams, and adds to them."""

    def __init__(self, part: spec.HyperConnections, layer: Layer, model: Spec, index: int) -> None:
        super().__init__()
        n = part.n_streams
        self.names = streams_names(layer)
        for branch in stream_branches(layer):
            sizes = (n, n, n * n) if part.mix else (n, n)
            self.add_module(branch.arms[0].name, StreamWeights(part, model.d_model, *sizes))

    def forward(self, x_BTJD: Tensor, block: Block, context: LayerContext) -> Tensor:
        """Return the streams [B, T, J, D] after the branches of a block."""
        inputs: dict[str, Tensor] = {}
        for branch, branch_names, name in zip(block.branches, block.branch_names, self.names, strict=True):
            first = branch.arms[0].name
            weights = cast(StreamWeights, self.get_submodule(first))
            logits_BTZ = tap(f"{first}_streams", weights(x_BTJD))
            read_BTD = tap(f"{first}_read", weights.read(x_BTJD, logits_BTZ))
            y_BTD = block.branch_output(branch, branch_names, read_BTD, context, inputs)
            x_BTJD = tap(name, weights.written(x_BTJD, y_BTD, logits_BTZ))
        return x_BTJD
