"""One token through a decoder, by as few kernels as there can be.

How a layer joins its parts is the canonical module's own; attention has a form for one query, which sees all that is
held: no mask, no head repeated. The embedding, the norms and the head are the stack's.

Axes: B batch, D model, N heads, K kv heads, H head width, Z all heads of queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn import rope
from archcalc.nn.activation import gated
from archcalc.nn.attention import Attention
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.ffn import Gated
from archcalc.nn.held import Held, Pair, Pairs
from archcalc.nn.model import SingleStack
from archcalc.nn.quantised import Plain as PlainStore
from archcalc.run.pack.linear import PackedLinear
from archcalc.spec.branches import norms
from archcalc.spec.layer import Arm
from archcalc.spec.position import Rope
from archcalc.spec.variants import implementation


@dataclass
class Moment:
    """Where the token stands, and what the layer at hand holds of those before it."""

    past: int
    held: Mapping[str, Held] = field(default_factory=dict)
    arm: str = ""
    _turns: dict[Rope, Pair] = field(default_factory=dict)

    def turned(self, x_BZH: Tensor, part: Rope) -> None:
        """Turn heads in place: each pair (a, b) to (a·cos − b·sin, b·cos + a·sin), as `archcalc.nn.rope.rotate`."""
        if part not in self._turns:
            self._turns[part] = self._turn(part)
        cos, sin = self._turns[part]
        pairs = x_BZH.narrow(-1, 0, cos.numel()).view(*x_BZH.shape[:-1], *cos.shape)
        torch.addcmul(pairs * cos, pairs.flip(_axis(part)), sin, out=pairs)

    def joined(self, k_BKH: Tensor, v_BKH: Tensor) -> Pair:
        """Keys and values [B, K, S, H] of all tokens, these taken in: at once where they are kept as they are."""
        held = cast(Pairs, self.held[self.arm])
        plain = all(type(store) is PlainStore and store.tensors[0].dtype == k_BKH.dtype for store in held.stores)
        if not plain or self.past >= held.stores[0].room:
            return held.joined(lambda: (k_BKH.unsqueeze(2), v_BKH.unsqueeze(2)), self.past)
        keys, values = held.stores[0].tensors[0], held.stores[1].tensors[0]
        keys.select(2, self.past).copy_(k_BKH)
        values.select(2, self.past).copy_(v_BKH)
        return keys.narrow(2, 0, self.past + 1), values.narrow(2, 0, self.past + 1)

    def _turn(self, part: Rope) -> Pair:
        """Cosines and sines of every pair, for both of it; the first one's sine is negative."""
        tables = rope.tables(part, torch.tensor([self.past]))
        cos_R, sin_R = (table_1R[0] for table_1R in tables)
        axis = _axis(part)
        return torch.stack((cos_R, cos_R), axis), torch.stack((-sin_R, sin_R), axis)


# States [B, D] to states [B, D], or what is about to join them.
Form = Callable[[Tensor, Moment], Tensor]


class Query:
    """An attention with one query."""

    def __init__(self, attention: Attention) -> None:
        self.attention, self.read = attention, Joined(attention, "q", "k", "v")
        self.out, self.normed = Joined(attention, "out"), attention.part.qk_norm is not None
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.scale, self.position = attention.softmax.scale, attention.part.position

    def __call__(self, x_BD: Tensor, moment: Moment) -> Tensor:
        """States [B, D] to states [B, D]."""
        n_rows, n_turned = len(x_BD), self.n_heads + self.n_kv_heads
        heads_BZH = self.read(x_BD).float().view(n_rows, -1, self.d_head)
        turned_BZH = heads_BZH.narrow(1, 0, n_turned)
        if self.normed:
            turned_BZH = self._normed(turned_BZH)
        if isinstance(self.position, Rope):
            moment.turned(turned_BZH, self.position)
        k_BKH, v_BKH = turned_BZH.narrow(1, self.n_heads, self.n_kv_heads), heads_BZH[:, n_turned:]
        k_BKSH, v_BKSH = moment.joined(k_BKH, v_BKH)
        # Heads of one key stand as if they were tokens.
        q_BKnH = turned_BZH.narrow(1, 0, self.n_heads).view(n_rows, self.n_kv_heads, -1, self.d_head)
        y_BKnH = F.scaled_dot_product_attention(q_BKnH, k_BKSH, v_BKSH, scale=self.scale)
        return self.out(y_BKnH.reshape(n_rows, -1))

    def _normed(self, x_BZH: Tensor) -> Tensor:
        both = (x_BZH[:, : self.n_heads], self.attention.q_norm), (x_BZH[:, self.n_heads :], self.attention.k_norm)
        normed = (self.attention._normed(x.flatten(1).unsqueeze(1), norm).squeeze(2) for x, norm in both)
        return torch.cat(tuple(normed), 1)


class Joined:
    """Linears of the same inputs, read as the one matrix that they are; bfloat16 where the kernel gives that."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        linears = [cast(PackedLinear, module.get_submodule(name)) for name in names]
        self.panels = linears[0].panels if linears[0].whole is None else linears[0].whole
        biases = [torch.zeros(x.panels.n_out) if x.bias is None else x.bias for x in linears]
        self.bias = None if all(x.bias is None for x in linears) else torch.cat(biases)

    def __call__(self, x_BI: Tensor) -> Tensor:
        """[B, all their outputs] of [B, I]."""
        y_BO = self.panels.product(x_BI)
        return y_BO if self.bias is None else y_BO + self.bias


def query(attention: Attention) -> Query | None:
    """The attention for one query, unless more is done to queries, keys, values or scores than it knows."""
    asked, part = attention.softmax, attention.part
    more = (asked.bias, asked.softcap, attention.sinks, *(getattr(part, field) for field in _UNKNOWN))
    plain = all(each is None for each in more) and not _turns_otherwise(part)
    return Query(attention) if plain and type(attention) is Attention else None


# Fields of an attention that the short form does not know: where one is set, it steps aside.
_UNKNOWN = ("d_value", "value_scale", "clip", "temperature", "gate", "out_norm")


def _turns_otherwise(part: Any) -> bool:
    """Whether queries and keys are normed after they are turned, angles are stored, or values are turned too."""
    late = part.qk_norm is not None and part.qk_norm.when == "after"
    return late or (isinstance(part.position, Rope) and (part.position.stored or part.position.values))


def gated_ffn(ffn: Gated) -> Form:
    """Return a feed-forward of three matrices, the first two of them read as one."""
    read, down = Joined(ffn, "gate", "up"), Joined(ffn, "down")

    def run(x_BD: Tensor, moment: Moment) -> Tensor:
        gate_BF, up_BF = read(x_BD).chunk(2, -1)
        hidden_BF = gated(ffn.activation, gate_BF, up_BF)
        return down(hidden_BF if ffn.down_norm is None else ffn.down_norm(hidden_BF))

    return run


def as_it_is(module: nn.Module) -> Form:
    """Return the module's own forward pass as its form for one token."""
    return lambda x_BD, moment: cast(Tensor, module.forward(x_BD.unsqueeze(1))).squeeze(1)


class Short(Block):
    """A block whose parts have forms for one token: what joins them is the block's."""

    def __init__(self, block: Block, forms: dict[str, Form]) -> None:
        nn.Module.__init__(self)
        self.branches, self.names, self.stream_names = block.branches, block.names, block.stream_names
        self.forms = forms
        own = [name for branch in block.branches for name, _ in norms(branch)]
        self.norms = {name: block.get_submodule(name).forward for name in own}

    def part(self, arm: Arm, x_BTD: Tensor, view: Any) -> Tensor:
        """The output of one arm's part, here [B, D]; the view is a `Moment`."""
        view.arm = arm.name
        return self.forms[arm.name](x_BTD, view)

    def normed(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """The states through the norm of this name."""
        return x_BTD if name is None else cast(Tensor, self.norms[name](x_BTD.float()))

    def dropped(self, y_BTD: Tensor) -> Tensor:
        """What joins the residual stream: nothing is dropped."""
        return y_BTD


class Step:
    """One token more of each text in a cache."""

    def __init__(self, model: SingleStack, blocks: list[Short]) -> None:
        self.model, self.blocks = model, blocks

    def takes(self, ids_BT: Tensor, cache: Cache, more: dict[str, Any]) -> bool:
        """Whether this is all that is asked for: one token, no padding before it, all its logits."""
        asked = {name: value for name, value in more.items() if value is not None}
        return ids_BT.shape[1] == 1 and asked in ({}, {"n_logits": 1}) and getattr(cache, "padding", None) is None

    def __call__(self, ids_B1: Tensor, cache: Cache) -> Tensor:
        """Logits [B, 1, V] of the next token [B, 1]; the cache takes it in."""
        with torch.inference_mode():
            found = self._read(ids_B1, cache)
        return found.clone()  # an ordinary tensor, which may be changed in place

    def _read(self, ids_B1: Tensor, cache: Cache) -> Tensor:
        model, moment = self.model, Moment(cache.past)
        cache.admit(ids_B1)
        x_BD = model.embedded(model.embed, ids_B1, None, torch.tensor([cache.past])).squeeze(1)
        for block, held in zip(self.blocks, cache.layers, strict=True):
            moment.held = held
            x_BD = block.forward(x_BD, cast(Any, moment))
        cache.past += 1
        read_B1D = model.final(x_BD.unsqueeze(1))
        return read_B1D if model.head is None else cast(Tensor, model.head(read_B1D, model.embed.tokens.weight))


def step_of(model: nn.Module) -> Step | None:
    """The short way through a packed model, if it is a decoder all of whose parts have a form for one token."""
    if not isinstance(model, SingleStack) or not model.causal or model.spec.reads_text:
        return None
    blocks = {owner: _short(cast(Block, block)) for owner, block in model.layers.items()}
    if any(block is None for block in blocks.values()):
        return None
    return Step(model, [cast(Short, blocks[owner]) for owner in model.owners])


def _short(block: Block) -> Short | None:
    forms = {arm.name: _form(block, arm) for arm in block.arms}
    return None if None in forms.values() else Short(block, cast(dict[str, Form], forms))


def _form(block: Block, arm: Arm) -> Form | None:
    """The form of an arm for one token; None if its variant has none, or none for this one."""
    form_of = implementation(arm.part, "fast") if arm.reads == "stream" else None
    return None if form_of is None else cast(Form | None, form_of(block.get_submodule(arm.name)))


def _axis(part: Rope) -> int:
    """Where the two of a pair stand: side by side, or half a width apart."""
    return -1 if part.interleaved else -2
