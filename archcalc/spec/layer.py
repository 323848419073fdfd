"""A layer, a run of layers, and a stack of runs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.spec.attention import AnyAttention, Attention
from archcalc.spec.base import Count, LayerCount, Part
from archcalc.spec.ffn import AnyFfn
from archcalc.spec.norm import Norm
from archcalc.spec.position import RelativeBias, Rope, TablePosition

Placement = Literal["pre", "post", "sandwich", "output", "parallel", "parallel_two"]


class Layer(Part, frozen=True, kw_only=True):
    """Attention, cross-attention and feed-forward (any may be absent), and where their norms stand.

    With f an attention or feed-forward, `placement` reads:
    pre: x + f(norm(x)) · post: norm(x + f(x)) · sandwich: x + norm(f(norm(x))) · output: x + norm(f(x)) ·
    parallel: x + attention(norm(x)) + ffn(norm(x)), one norm · parallel_two: the same with a norm each.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")] | None = None
    norm: Norm
    placement: Placement = "pre"
    attention: AnyAttention | None = None
    cross: Attention | None = None
    ffn: AnyFfn | None = None


class Run(Part, frozen=True, kw_only=True):
    """`count` layers that cycle through `pattern`; one run of a stack may leave `count` out and takes what remains.

    `share_weights`: one set of weights serves every turn of the pattern (ALBERT).
    """

    count: LayerCount | None = None
    pattern: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1, max_length=1000)]
    share_weights: bool = False


class Stack(Part, frozen=True, kw_only=True):
    """Layers one after another, with what stands before the first and after the last.

    `n_layers` left out is the sum of the runs. `embed_norm_reads`: the sum of tokens and positions, or the tokens,
    which positions then join (BlenderbotSmall's decoder). `n_mtp`: multi-token-prediction modules (DeepSeek-V3,
    section 2.2), each a projection of two states into one, a layer like the stack's last, and norms.
    """

    n_layers: LayerCount | None = None
    runs: Annotated[tuple[Run, ...], msgspec.Meta(min_length=1, max_length=1000)]
    position: TablePosition | None = None
    embed_norm: Norm | None = None
    embed_norm_reads: Literal["sum", "tokens"] = "sum"
    final_norm: Norm | None = None
    n_mtp: Count = 0

    @property
    def has_table(self) -> bool:
        """Whether positions end where the rows of a table do: beside the embedding, or of stored angles."""
        has_angles = any(stored_rope(layer) for run in self.runs for layer in run.pattern)
        return has_angles or (self.position is not None and self.position.is_table)


def stored_rope(layer: Layer) -> Rope | None:
    """The layer's rotary position, if it reads its angles from the stack's table."""
    position = layer.attention.position if isinstance(layer.attention, Attention) else None
    return position if isinstance(position, Rope) and position.stored else None


def stack_bias(layer: Layer) -> RelativeBias | None:
    """The layer's relative bias, if it reads the stack's table."""
    position = layer.attention.position if isinstance(layer.attention, Attention) else None
    return position if isinstance(position, RelativeBias) and position.shared == "stack" else None
