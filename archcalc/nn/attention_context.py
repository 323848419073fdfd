"""Which keys an attention sees, and at which positions.

Axes: B batch, N heads, T query tokens, S key tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.nn import padding, rope
from archcalc.nn.arm_cache import ArmCache, IndexedCache, Pair, PairCache
from archcalc.nn.bias import RelativeBias, SummaryBias, alibi_bias, buckets, distance_rows, segment_buckets
from archcalc.nn.rope import RotaryTable
from archcalc.nn.router_states import RouterStates
from archcalc.nn.text_places import TextPlaces
from archcalc.spec.attention import LateTemperature, LogTemperature, Temperature, lends_selection, reads_selection
from archcalc.spec.layer import Arm
from archcalc.spec.low_rank import low_rank
from archcalc.spec.position import ContentBias, Disentangled, Rope
from archcalc.spec.sparse import MaskKey

T = TypeVar("T")
Lent = tuple[Tensor, ...]
# What queries, keys (None: as queries) and values of an arm are projected from.
Split = tuple[Tensor, Tensor | None, Tensor]
Bias = Callable[["AttentionContext", int], Tensor | None]


@dataclass(frozen=True)
class AttentionContext:
    """Positions, masks and biases of attention, shared by all layers of one forward pass through a stack.

    `positions` [T] and `key_positions` [S] are indices in the batch; their differences are distances in the text.
    `states` [B, S, D] are projected to keys and values: None for self-attention, the encoder's states for
    cross-attention. `padding` [B, S] is True where a key is padding. In self-attention (`is_self`) the queries are the
    last of the keys. `full_context` is that of all keys, where this one has the last keys alone.

    `distance_table` are the rows [R, D] of the stack's relative positions, normalized; `summary_bias` is the stack's
    table of biases of summaries.

    Of one layer: `cache` holds the `past` tokens read before, `shared_pair` the keys and values of an earlier layer
    that it reads; `share_pair` receives this layer's for later ones. `unselected` [B, 1, T, S] is True where a query
    does not attend to a key by a sparse pattern, or by the selection of an indexer or of an earlier layer, which
    `share_selection` receives.
    `n_summaries` are keys after those of the tokens, which stand for blocks of them or are the `n_global` global tokens
    of the stack, which have no positions. `prompt` holds learned keys and values [K, P, H] that every query sees
    besides, before the others. `prefix` [B, T] is True at the tokens of a prefix, which see each other.
    `pair` is the low-rank pair that the arm computes. `value_states` [B, T, D] are projected to values where these have
    another input than keys. The first `n_lead` keys are those of a soft prompt; `segments` are those of the prompt and
    of the text.

    Masks, rotary tables and biases depend on positions alone: they are computed once for all layers.
    """

    positions: Tensor
    key_positions: Tensor
    is_causal: bool
    states: Tensor | None = None
    relative_bias: RelativeBias | None = None
    rotary_table: RotaryTable | None = None
    distance_table: Tensor | None = None
    summary_bias: SummaryBias | None = None
    cache: ArmCache | None = None
    past: int = 0
    is_in_order: bool = True
    padding: Tensor | None = None
    is_self: bool = True
    full_context: AttentionContext | None = None
    shared_pair: Pair | None = None
    share_pair: Callable[[Pair], None] | None = None
    prompt: Pair | None = None
    unselected: Tensor | None = None
    share_selection: Callable[[Lent], None] | None = None
    n_summaries: int = 0
    n_global: int = 0
    prefix: Tensor | None = None
    pair: int = 0
    key_states: Tensor | None = None
    value_states: Tensor | None = None
    n_lead: int = 0
    segments: tuple[int, int] | None = None
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def keys_values(self, compute: Callable[[], Pair]) -> Pair:
        """Return the keys and values to attend to (or MLA's latent): computed, cached, or both.

        An earlier layer's are returned as they are. Those that later layers share are made contiguous while gradients
        are kept, so that autograd saves them once.
        """
        if self.shared_pair is not None:
            return self.shared_pair
        first, second = self.cache.update(compute, self.past) if isinstance(self.cache, PairCache) else compute()
        if self.share_pair is not None:
            if first.requires_grad or second.requires_grad:
                first, second = first.contiguous(), second.contiguous()
            self.share_pair((first, second))
        return first, second

    def with_prompt(self, pair: Pair) -> Pair:
        """Return keys and values with those of the prompt before them."""
        if self.prompt is None:
            return pair
        keys, values = (
            torch.cat((learned.expand(len(x), -1, -1, -1), x), 2) for learned, x in zip(self.prompt, pair, strict=True)
        )
        return keys, values

    def index_keys(self, new: Tensor) -> Tensor:
        """Return an indexer's keys of all tokens: the cached ones, then these."""
        return self.cache.update_index(new, self.past) if isinstance(self.cache, IndexedCache) else new

    def with_selection(self, unselected_B1TS: Tensor) -> AttentionContext:
        """Return the context of a layer that hides these keys as well; later layers may read them."""
        if self.share_selection is not None:
            self.share_selection((unselected_B1TS,))
        return replace(self, unselected=unselected_B1TS)

    def last_keys(self, n_keys: int) -> AttentionContext:
        """Return the context of the last `n_keys` keys: a layer with a window caches no others."""
        if n_keys == len(self.key_positions):
            return self
        return self._memoize(("last keys", n_keys), lambda: self._last_keys(n_keys))

    @property
    def query_padding(self) -> Tensor | None:
        """True [B, T] where a token of this pass is padding, which a state must skip; None if none is."""
        return None if self.padding is None else self.padding[:, -len(self.positions) :]

    @property
    def token_positions(self) -> Tensor:
        """Positions of this pass's tokens in their texts: [T], or [B, T] where padding shifts rows."""
        if self.padding is None:
            return self.positions
        return padding.token_positions(self.padding)[:, -len(self.positions) :]

    @property
    def key_token_positions(self) -> Tensor:
        """Positions of the keys in their texts: [S], or [B, S] with −1 for padding; −1 for summaries."""
        if self.n_summaries:
            return F.pad(replace(self, n_summaries=0).key_token_positions, (0, self.n_summaries), value=-1)
        if self.full_context is not None:
            return self.full_context.key_token_positions[..., -len(self.key_positions) :]
        if self.padding is None:
            return self.key_positions
        hidden_BS = self.padding
        return self._memoize(
            "key token positions", lambda: padding.token_positions(hidden_BS).masked_fill(hidden_BS, -1)
        )

    def hidden_mask(self, window: int | None, is_chunked: bool = False) -> Tensor | None:
        """Return True where a query must not see a key: [T, S], with padding [B, 1, T, S]; None if it sees all.

        S counts the keys of a prompt too. With a `prefix` it is [B, 1, T, S] too.

        A causal query sees itself and the window − 1 tokens before it; a bidirectional one also the window − 1 tokens
        after it. If the window `is_chunked`, it sees the tokens of its own chunk only. Padding is hidden, except from
        itself, so that every query sees something.
        """
        if self.unselected is not None:
            return self.unselected
        if not self.is_causal and window is None and self.padding is None:
            return None
        return self._memoize(("hidden mask", window, is_chunked), lambda: self._hidden_mask(window, is_chunked))

    @property
    def is_causal_square(self) -> bool:
        """Whether the queries are all tokens, and each sees exactly itself and those before it."""
        return (
            self.is_causal
            and self.is_in_order
            and self.padding is None
            and self.prompt is None
            and self.prefix is None
            and self.unselected is None
            and len(self.positions) == len(self.key_positions)
        )

    def additive_mask(
        self, window: int | None, bias: Bias | None, n_heads: int, dtype: torch.dtype, *, is_chunked: bool = False
    ) -> Tensor | None:
        """Return the bias plus −∞ where a key is hidden; None if there is neither.

        [T, S], with a bias [1, N, T, S], with padding [B, 1, T, S], with both [B, N, T, S].
        """
        if self.unselected is not None:
            return self._additive_mask(self.unselected, bias, n_heads, dtype)
        key = ("additive mask", window, is_chunked, bias, n_heads if bias else None, dtype)
        return self._memoize(
            key, lambda: self._additive_mask(self.hidden_mask(window, is_chunked), bias, n_heads, dtype)
        )

    def with_pattern(self, unread: Callable[[TextPlaces], Tensor], key: MaskKey) -> AttentionContext:
        """Return the context of a sparse layer: the keys that a query does not read are hidden, and padding."""
        mask = self.memo(("pattern", key), lambda: unread(self.places))
        return replace(self, unselected=mask, n_summaries=mask.shape[-1] - len(self.key_positions))

    @property
    def places(self) -> TextPlaces:
        """Return where the tokens of this pass, all of each text, are in their texts."""
        return self.memo("places", lambda: TextPlaces.of(self.padding, len(self.key_positions), self.positions.device))

    def stack_summary_bias(self) -> Tensor:
        """Return the learned bias of summaries [N, T, G] of the stack's table, with padding [B, N, T, G]."""
        table = self.summary_bias
        assert table is not None, "a stack whose layers use the table has one"
        bias_NTG: Tensor = self.memo(
            "summary bias", lambda: table(self.places.block_distances(table.n_block), self.is_causal)
        )
        return bias_NTG

    def memo(self, key: Any, compute: Callable[[], T]) -> T:
        """Return what depends on positions alone; all layers share it."""
        return self._memoize(key, compute)

    def without_memo(self) -> AttentionContext:
        """Return a copy that computes everything again."""
        return replace(self, _memo={})

    def rotary_tables(self, part: Rope, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return (cosines, sines) at this pass's tokens: for queries, and for keys before they are cached."""
        return self._memoize((part, dtype), lambda: self._rotary_tables(part, dtype))

    def temperatures(self, part: Temperature, dtype: torch.dtype) -> Tensor:
        """Return the factor of each query: [T, 1], with padding [B, 1, T, 1]."""
        return self._memoize(
            (part, dtype), lambda: _temperatures(part, self._positions_by_head()).unsqueeze(-1).to(dtype)
        )

    def alibi(self, n_heads: int, factor: float, max_bias: float) -> Tensor:
        """Return `factor` times the linear penalty [N, T, S] of `n_heads` heads."""
        key = ("alibi", n_heads, factor, max_bias)
        return self._memoize(key, lambda: alibi_bias(self._distance(), n_heads, max_bias) * factor)

    def layer_bias(self, table: RelativeBias) -> Tensor:
        """Return the learned bias [N, T, S] of a layer's own table; layers share the buckets."""
        part, is_causal = table.part, self.is_causal
        return table.from_buckets(self._memoize(("buckets", part), lambda: buckets(self._distance(), part, is_causal)))

    def nearest_rows(self, part: Disentangled) -> int:
        """Return how many rows of the table of distances are read on either side."""
        is_near = part.rows == "near" and self.is_in_order and not self.is_causal
        return min(part.n_distances, len(self.key_positions)) if is_near else part.n_distances

    def distance_rows(self, part: Disentangled) -> Tensor:
        """Return the row [T, S] of each distance, among the rows that are read."""
        key = ("distance rows", part)
        return self._memoize(key, lambda: distance_rows(self._distance(), part, self.nearest_rows(part)))

    def content_rows(self, part: ContentBias) -> tuple[Tensor, Tensor]:
        """Return the distance [T, S] of each key, within those that have a bias, and True [T, S] beyond those."""

        def compute() -> tuple[Tensor, Tensor]:
            distance_TS = self._distance()
            return distance_TS.clamp(0, part.n_distances - 1), (distance_TS < 0) | (distance_TS >= part.n_distances)

        return self._memoize(("content rows", part), compute)

    def stack_bias(self) -> Tensor:
        """Return the learned bias [N, T, S] of the stack's table."""
        table = self.relative_bias
        assert table is not None, "a stack whose layers use the table has one"
        bias_NTS: Tensor = self._memoize("stack bias", lambda: self._stack_bias(table))
        return bias_NTS

    def _stack_bias(self, table: RelativeBias) -> Tensor:
        if not table.part.n_segments or self.segments is None:
            biased: Tensor = table(self._distance(), self.is_causal)
            return biased
        prompt, text = self.segments
        of_queries, of_keys = (
            torch.where(positions < self.n_lead, prompt, text) for positions in (self.positions, self.key_positions)
        )
        buckets_TS = buckets(self._distance(), table.part, self.is_causal)
        return table.from_buckets(segment_buckets(buckets_TS, of_queries, of_keys, table.part))

    def _rotary_tables(self, part: Rope, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        cosines, sines = self._rotary_angles(part)
        return cosines.to(dtype), sines.to(dtype)

    def _rotary_angles(self, part: Rope) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, computed or read from the stack's table."""
        if not part.stored:
            return rope.rotary_tables(part, self._positions_by_head())
        assert self.rotary_table is not None, "a stack whose layers use the table has one"
        cosines, sines = self.rotary_table(self._positions_by_head())
        return cosines, sines

    def _positions_by_head(self) -> Tensor:
        """Return token positions that broadcast over heads: [T], or [B, 1, T] with padding."""
        return self.token_positions if self.padding is None else self.token_positions.unsqueeze(1)

    def _additive_mask(
        self, hidden_TS: Tensor | None, bias: Bias | None, n_heads: int, dtype: torch.dtype
    ) -> Tensor | None:
        bias_NTS = bias(self, n_heads) if bias else None
        if bias_NTS is not None:
            bias_1NTS = bias_NTS.to(dtype).unsqueeze(0)
            return bias_1NTS if hidden_TS is None else bias_1NTS.masked_fill(hidden_TS, -torch.inf)
        if hidden_TS is None:
            return None
        return torch.zeros_like(hidden_TS, dtype=dtype).masked_fill(hidden_TS, -torch.inf)

    def _hidden_mask(self, window: int | None, is_chunked: bool) -> Tensor:
        distance_TS = self._distance()
        hidden_TS = distance_TS < 0 if self.is_causal else torch.zeros_like(distance_TS, dtype=torch.bool)
        if self.prefix is not None:
            hidden_TS = hidden_TS & ~(self.prefix.unsqueeze(-1) & self.prefix.unsqueeze(-2)).unsqueeze(1)
        if window is not None:
            outside = self._other_chunks(window) if is_chunked else distance_TS.abs() >= window
            hidden_TS = hidden_TS | outside
        hidden_TS = hidden_TS if self.padding is None else hidden_TS | self._padding_mask(distance_TS)
        return hidden_TS if self.prompt is None else F.pad(hidden_TS, (self.prompt[0].shape[1], 0))

    def _other_chunks(self, chunk: int) -> Tensor:
        """Return True [T, S], with padding [B, 1, T, S], where a key is in another chunk of the text than the query."""
        keys = self.key_token_positions // chunk
        other = keys[..., -len(self.positions) :].unsqueeze(-1) != keys.unsqueeze(-2)
        return other if self.padding is None else (other & (self._distance() != 0)).unsqueeze(1)

    def _padding_mask(self, distance_TS: Tensor) -> Tensor:
        """Return True [B, 1, T, S] where a key is padding and not the query itself."""
        assert self.padding is not None, "called only where there is padding"
        padding_B11S = self.padding[:, None, None]
        return padding_B11S & (distance_TS != 0) if self.is_self else padding_B11S

    def _last_keys(self, n_keys: int) -> AttentionContext:
        padding_BS = None if self.padding is None else self.padding[:, -n_keys:]
        keys_S = self.key_positions[-n_keys:]
        # A copy without the layer's tensors, so that the memo neither refers to itself nor keeps them alive.
        full_context = replace(self, cache=None, shared_pair=None, share_pair=None, share_selection=None, _memo={})
        return replace(full_context, key_positions=keys_S, padding=padding_BS, full_context=full_context, _memo={})

    def _distance(self) -> Tensor:
        """Return query minus key position [T, S]."""
        return self.positions.unsqueeze(-1) - self.key_positions

    def _memoize(self, key: Any, compute: Callable[[], T]) -> T:
        if key not in self._memo:
            self._memo[key] = compute()
        value: T = self._memo[key]
        return value


def _temperatures(part: Temperature, positions: Tensor) -> Tensor:
    """Return the factors in float32: ln grows by steps of n_tokens or, if late, from there on; a power always."""
    if isinstance(part, LateTemperature):
        return 1.0 + part.factor * ((positions.float() + 1) / part.n_tokens).clamp(min=1.0).log()
    x = (positions.float() + part.from_one) / part.n_tokens
    if isinstance(part, LogTemperature):
        return 1.0 + part.factor * torch.log1p(x.floor())
    return (part.exponent * torch.log1p(x)).exp()


@dataclass(frozen=True)
class AlibiBias:
    """`factor` times ALiBi's penalty. Equal objects share one computed bias across layers."""

    factor: float
    max_bias: float = 8.0

    def __call__(self, context: AttentionContext, n_heads: int) -> Tensor:
        """Return the penalty [N, T, S] of `n_heads` heads."""
        return context.alibi(n_heads, self.factor, self.max_bias)


@dataclass(frozen=True)
class LayerContext:
    """What a layer attends to: its own tokens, and the source where there is one.

    The mappings are by arm of the layer: `caches` of earlier tokens, `borrowed` tensors of an earlier layer that it
    reads (keys and values, a selection, or a router's state), `lent`, filled with those that later layers read, and
    `prompts`, learned keys and values. `per_layer` is the layer's own embedding [B, T, W], or, before the layers, that
    of all [B, T, L·W]. `ids` [B, T] are those of the tokens, `embedded` [B, T, D] the input of the first layer, where
    layers read them. `split`: what queries, keys (None: as queries) and values of an arm are projected from, if these
    differ.
    """

    own: AttentionContext
    source: AttentionContext | None = None
    caches: Mapping[str, ArmCache] = field(default_factory=dict)
    borrowed: Mapping[str, Lent] = field(default_factory=dict)
    lent: dict[str, Lent | None] = field(default_factory=dict)
    prompts: Mapping[str, Pair] = field(default_factory=dict)
    per_layer: Tensor | None = None
    ids: Tensor | None = None
    embedded: Tensor | None = None
    split: Mapping[str, Split] = field(default_factory=dict)

    def for_arm(self, arm: Arm) -> AttentionContext:
        """Return the context of one arm of the layer."""
        context = self.source if arm.reads == "source" else self.own
        assert context is not None, "a layer that attends to a source has one"
        if (pairs := low_rank(arm.part)) is not None:
            context = replace(context, pair=pairs.active)
        if arm.name in self.caches:
            context = replace(context, cache=self.caches[arm.name])
        if arm.name in self.borrowed:
            context = _with_borrowed(context, arm, self.borrowed[arm.name])
        if arm.name in self.split:
            _, keys, values = self.split[arm.name]
            context = replace(context, key_states=keys, value_states=values)
        if arm.name in self.prompts:
            context = replace(context, prompt=self.prompts[arm.name])
        if arm.name in self.lent:
            lend = partial(self.lent.__setitem__, arm.name)
            selects = lends_selection(arm.part)
            context = replace(context, share_selection=lend) if selects else replace(context, share_pair=lend)
        return context

    def router_states(self, name: str) -> RouterStates:
        """Return the state of a router that the router of this arm adds, and what receives its own."""
        previous = self.borrowed[name][0] if name in self.borrowed else None
        return RouterStates(previous, partial(self.lent.__setitem__, name) if name in self.lent else None)

    def without_memo(
        self,
        states: Tensor | None,
        distance_table: Tensor | None,
        borrowed: Mapping[str, Lent],
        prompts: Mapping[str, Pair],
        per_layer: Tensor | None,
        embedded: Tensor | None,
    ) -> LayerContext:
        """Return a copy that computes everything again, with these inputs of a layer."""
        source = self.source and replace(self.source.without_memo(), states=states)
        own, lent = replace(self.own.without_memo(), distance_table=distance_table), dict.fromkeys(self.lent)
        return LayerContext(
            own,
            source,
            borrowed=borrowed,
            lent=lent,
            prompts=prompts,
            per_layer=per_layer,
            ids=self.ids,
            embedded=embedded,
        )


def _with_borrowed(context: AttentionContext, arm: Arm, tensors: Lent) -> AttentionContext:
    if reads_selection(arm.part):
        return context.with_selection(tensors[0])
    keys, values = tensors
    return replace(context, shared_pair=(keys, values))
