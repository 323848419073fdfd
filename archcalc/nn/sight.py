"""What an attention looks at, and from where.

Axes: B batch, N heads, T query tokens, S key tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from archcalc.nn import padding, rope
from archcalc.nn.bias import RelativeBias, alibi_bias, buckets
from archcalc.nn.held import Held, Pair, Pairs
from archcalc.nn.rope import RotaryTable
from archcalc.spec.attention import LogTemperature, Temperature
from archcalc.spec.layer import Arm
from archcalc.spec.position import Rope

T = TypeVar("T")
Bias = Callable[["Sight", int], Tensor | None]


@dataclass(frozen=True)
class Sight:
    """The same for every layer of one pass through a stack.

    `positions` [T] and `key_positions` [S] are places in the batch, whose differences are distances in the text.
    `states` [B, S, D] are what keys and values are made of: None for self-attention, the encoder's states for
    cross-attention. `padding` [B, S] is True where a key is padding; the queries are the last of the keys if these are
    their `own` text.
    `whole` is the sight of all keys, if this is one of the last alone.
    With a cache, `held` is what the layer at hand keeps of the `past` tokens read before. `shared` are keys and values
    that an earlier layer has made; `lend` takes those of this layer for later ones.
    What depends on positions alone (masks, angles, biases) is made once and serves all layers alike.
    """

    positions: Tensor
    key_positions: Tensor
    causal: bool
    states: Tensor | None = None
    relative_bias: RelativeBias | None = None
    rotary: RotaryTable | None = None
    held: Held | None = None
    past: int = 0
    in_order: bool = True
    padding: Tensor | None = None
    own: bool = True
    whole: Sight | None = None
    shared: Pair | None = None
    lend: Callable[[Pair], None] | None = None
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    def joined(self, make: Callable[[], Pair]) -> Pair:
        """Keys and values, or what stands for them, of all that is looked at: made now, held from before, or both.

        Shared ones are there already. Those that are lent lie by head while gradients are kept, so that layers keep
        them once and no copies.
        """
        if self.shared is not None:
            return self.shared
        first, second = self.held.joined(make, self.past) if isinstance(self.held, Pairs) else make()
        if self.lend is not None:
            if first.requires_grad or second.requires_grad:
                first, second = first.contiguous(), second.contiguous()
            self.lend((first, second))
        return first, second

    def of_last(self, n_keys: int) -> Sight:
        """The same sight of the last keys alone: a layer with a window holds no others."""
        if n_keys == len(self.key_positions):
            return self
        return self._once(("last", n_keys), lambda: self._of_last(n_keys))

    @property
    def new_padding(self) -> Tensor | None:
        """True [B, T] where a token of this pass is padding, None if none is: what a state must not take in."""
        return None if self.padding is None else self.padding[:, -len(self.positions) :]

    @property
    def standing(self) -> Tensor:
        """Where the tokens of this pass stand in their texts: [T], or [B, T] where padding shifts the rows."""
        if self.padding is None:
            return self.positions
        return padding.standing(self.padding)[:, -len(self.positions) :]

    @property
    def key_standing(self) -> Tensor:
        """Where the keys stand in their texts: [S], or where some are padding [B, S] with −1 for those."""
        if self.whole is not None:
            return self.whole.key_standing[..., -len(self.key_positions) :]
        if self.padding is None:
            return self.key_positions
        hidden_BS = self.padding
        return self._once("key standing", lambda: padding.standing(hidden_BS).masked_fill(hidden_BS, -1))

    def hidden(self, window: int | None) -> Tensor | None:
        """True where a query must not see a key, [T, S] or with padding [B, 1, T, S]; None if it sees all.

        Causal, a query sees itself and what stands up to window − 1 before it; bidirectional, also what stands up to
        window − 1 after it. None sees padding, but that sees itself, so that every query sees something.
        """
        if not self.causal and window is None and self.padding is None:
            return None
        return self._once(("hidden", window), lambda: self._hidden(window))

    @property
    def is_triangle(self) -> bool:
        """Whether the queries are all the tokens there are, and each sees itself and what stands before it."""
        return self.causal and self.in_order and self.padding is None and len(self.positions) == len(self.key_positions)

    def added(self, window: int | None, bias: Bias | None, n_heads: int, dtype: torch.dtype) -> Tensor | None:
        """What is added to the scores: −∞ where hidden. None if nothing is.

        [T, S], with a bias [1, N, T, S], with padding [B, 1, T, S], with both [B, N, T, S].
        """
        key = ("added", window, bias, n_heads if bias else None, dtype)
        return self._once(key, lambda: self._added(window, bias, n_heads, dtype))

    def anew(self) -> Sight:
        """The same sight, of which nothing is made yet."""
        return replace(self, _made={})

    def turns(self, part: Rope, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(cosines, sines) of the tokens of this pass: for their queries, and for their keys before they are held."""
        return self._once((part, dtype), lambda: self._turns(part, dtype))

    def temperatures(self, part: Temperature, dtype: torch.dtype) -> Tensor:
        """What each query is multiplied with: [T, 1], or with padding [B, 1, T, 1]."""
        return self._once((part, dtype), lambda: _temperatures(part, self._by_head()).unsqueeze(-1).to(dtype))

    def alibi(self, n_heads: int, times: float, max_bias: float) -> Tensor:
        """So many times the linear penalty [N, T, S] of this many heads."""
        key = ("alibi", n_heads, times, max_bias)
        return self._once(key, lambda: alibi_bias(self._distance(), n_heads, max_bias) * times)

    def bias_of(self, table: RelativeBias) -> Tensor:
        """The learned bias [N, T, S] of one layer's own table; the buckets are the same for all layers alike."""
        part, causal = table.part, self.causal
        return table.rows(self._once(("buckets", part), lambda: buckets(self._distance(), part, causal)))

    def relative(self) -> Tensor:
        """The learned bias [N, T, S] of the stack's table."""
        table = self.relative_bias
        assert table is not None, "a stack whose layers use the table has one"
        bias_NTS: Tensor = self._once("relative", lambda: table(self._distance(), self.causal))
        return bias_NTS

    def _turns(self, part: Rope, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        cosines, sines = self._angles(part)
        return cosines.to(dtype), sines.to(dtype)

    def _angles(self, part: Rope) -> tuple[Tensor, Tensor]:
        """Cosines and sines, computed or read from the stack's table."""
        if not part.stored:
            return rope.tables(part, self._by_head())
        assert self.rotary is not None, "a stack whose layers use the table has one"
        cosines, sines = self.rotary(self._by_head())
        return cosines, sines

    def _by_head(self) -> Tensor:
        """Where the tokens of this pass stand, as it meets heads: [T], or [B, 1, T] where padding shifts the rows."""
        return self.standing if self.padding is None else self.standing.unsqueeze(1)

    def _added(self, window: int | None, bias: Bias | None, n_heads: int, dtype: torch.dtype) -> Tensor | None:
        hidden_TS = self.hidden(window)
        bias_NTS = bias(self, n_heads) if bias else None
        if bias_NTS is not None:
            bias_1NTS = bias_NTS.to(dtype).unsqueeze(0)
            return bias_1NTS if hidden_TS is None else bias_1NTS.masked_fill(hidden_TS, -torch.inf)
        if hidden_TS is None:
            return None
        return torch.zeros_like(hidden_TS, dtype=dtype).masked_fill(hidden_TS, -torch.inf)

    def _hidden(self, window: int | None) -> Tensor:
        distance_TS = self._distance()
        hidden_TS = distance_TS < 0 if self.causal else torch.zeros_like(distance_TS, dtype=torch.bool)
        if window is not None:
            hidden_TS = hidden_TS | (distance_TS.abs() >= window)
        return hidden_TS if self.padding is None else hidden_TS | self._padded(distance_TS)

    def _padded(self, distance_TS: Tensor) -> Tensor:
        """True [B, 1, T, S] where a key is padding and not the query itself."""
        assert self.padding is not None, "asked for only where some is"
        padding_B11S = self.padding[:, None, None]
        return padding_B11S & (distance_TS != 0) if self.own else padding_B11S

    def _of_last(self, n_keys: int) -> Sight:
        padding_BS = None if self.padding is None else self.padding[:, -n_keys:]
        keys_S = self.key_positions[-n_keys:]
        whole = replace(self, held=None, shared=None, lend=None, _made={})  # not itself, nor what it would hold on to
        return replace(whole, key_positions=keys_S, padding=padding_BS, whole=whole, _made={})

    def _distance(self) -> Tensor:
        """Query minus key position [T, S]."""
        return self.positions.unsqueeze(-1) - self.key_positions

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found


def _temperatures(part: Temperature, positions: Tensor) -> Tensor:
    """In float32: ln grows by steps of n_tokens, a power with every token."""
    x = (positions.float() + part.from_one) / part.n_tokens
    if isinstance(part, LogTemperature):
        return 1.0 + part.factor * torch.log1p(x.floor())
    return (part.exponent * torch.log1p(x)).exp()


@dataclass(frozen=True)
class Penalty:
    """So many times ALiBi's penalty: the same for layers that are alike, so that it is made for them once."""

    times: float
    max_bias: float = 8.0

    def __call__(self, sight: Sight, n_heads: int) -> Tensor:
        """The penalty [N, T, S] of this many heads."""
        return sight.alibi(n_heads, self.times, self.max_bias)


@dataclass(frozen=True)
class View:
    """What a layer's parts look at: its own tokens, and the source where there is one.

    Of the layer at hand, by the names of its arms: `held` is what each keeps of tokens read before, `shared` are the
    keys and values of an earlier layer that it reads, `lent` takes in those of the arms that stand in it.
    """

    own: Sight
    source: Sight | None = None
    held: Mapping[str, Held] = field(default_factory=dict)
    shared: Mapping[str, Pair] = field(default_factory=dict)
    lent: dict[str, Pair | None] = field(default_factory=dict)

    def of(self, arm: Arm) -> Sight:
        """What one arm of the layer looks at."""
        sight = self.source if arm.reads == "source" else self.own
        assert sight is not None, "a layer that attends to a source is given one"
        if arm.name in self.held:
            sight = replace(sight, held=self.held[arm.name])
        if arm.name in self.shared:
            sight = replace(sight, shared=self.shared[arm.name])
        if arm.name in self.lent:
            sight = replace(sight, lend=partial(self.lent.__setitem__, arm.name))
        return sight

    def anew(self, states: Tensor | None, shared: Mapping[str, Pair]) -> View:
        """The same view, of which nothing is made yet, with the source's states and what it shares handed in."""
        source = self.source and replace(self.source.anew(), states=states)
        return View(self.own.anew(), source, shared=shared, lent=dict.fromkeys(self.lent))
