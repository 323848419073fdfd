"""The cache of a model's decoder, layer by layer.

Axes: B batch, T new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.formats.cache_types import cache_type
from archcalc.nn.arm_cache import ArmCache, CacheConfig, RecurrentState, SourceCache
from archcalc.nn.padding import check_left_padding, extend_padding
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches, arm_conv
from archcalc.spec.groups import has_table, layers_of
from archcalc.spec.layer import Layer
from archcalc.spec.model import ModelStack
from archcalc.spec.variants import implementation
from archcalc.words import msg


@dataclass
class Cache:
    """A decoder's cache, from `allocate` or a model's `new_cache`; a forward pass with it extends it.

    `layers` has, for each turn of a layer (weights shared or not), the caches of its arms by name. `past` tokens have
    been read, and `n_source` of the source; `padding` [B, past] and `source_padding` [B, n_source] mark padding, None
    without any. The positions of the next tokens follow from these, so `past = 0` resets the cache. It holds no graph:
    a forward pass with a cache has no gradients.
    """

    config: CacheConfig
    layers: list[dict[str, ArmCache]]
    past: int = 0
    n_source: int = 0
    padding: Tensor | None = None
    source_padding: Tensor | None = None
    n_lead: int = 0

    @property
    def n_text(self) -> int:
        """Tokens of the text that have been read; the rest of the past is a soft prompt."""
        return max(0, self.past - self.n_lead)

    @property
    def nbytes(self) -> int:
        """Bytes of the allocated tensors, whether filled or not."""
        return sum(
            tensor.nbytes for layer in self.layers for arm_cache in layer.values() for tensor in arm_cache.tensors
        )

    def admit(self, ids_BT: Tensor, padding_BT: Tensor | None = None) -> None:
        """Record which of the next ids [B, T] are padding. Raises InputError if they do not fit."""
        self._check_batch(ids_BT)
        if max(self.past, self.n_lead) + ids_BT.shape[1] > self.config.capacity:
            raise InputError(
                msg("{past:,} tokens are more than the cache has room for", past=self.past + ids_BT.shape[1]),
                where="capacity",
                allowed=msg("up to {capacity:,}, past included", capacity=self.config.capacity),
            )
        if self.config.source_capacity and not self.n_source:
            raise InputError(
                msg("the cache has seen no source"), where="source", allowed=msg("a source that is read first")
            )
        padding_BS = extend_padding(self.padding, self.past, padding_BT, ids_BT)
        if padding_BT is not None and padding_BS is not None:
            check_left_padding(padding_BS)
        self.padding = padding_BS

    def admit_source(self, ids_BS: Tensor) -> None:
        """Raise InputError if these ids [B, S] do not fit as the source."""
        self._check_batch(ids_BS)
        if ids_BS.shape[1] > self.config.source_capacity:
            raise InputError(
                msg("{shape:,} tokens are more than the cache has room for", shape=ids_BS.shape[1]),
                where="source",
                allowed=msg("up to {most:,}", most=self.config.source_capacity),
            )

    def reorder(self, rows_B: Tensor) -> None:
        """Replace row b of everything with row rows_B[b], as beam search does.

        Raises InputError if their number is not the batch size.
        """
        self._check_batch(rows_B)
        for layer in self.layers:
            for arm_cache in layer.values():
                arm_cache.reorder(rows_B, self.n_source if isinstance(arm_cache, SourceCache) else self.past)
        self.padding = None if self.padding is None else self.padding[rows_B]
        self.source_padding = None if self.source_padding is None else self.source_padding[rows_B]

    def _check_batch(self, ids: Tensor) -> None:
        if len(ids) != self.config.batch:
            raise InputError(
                msg("{n_ids} sequences", n_ids=len(ids)),
                where="batch",
                allowed=msg("the cache's {batch}", batch=self.config.batch),
            )


def allocate(
    spec: Spec,
    batch: int,
    capacity: int,
    *,
    source: int | None = None,
    dtype: torch.dtype | None = None,
    format: str | None = None,  # noqa: A002
    device: str | torch.device = "meta",
) -> Cache:
    """Return an empty cache for `batch` sequences of up to `capacity` tokens, and `source` tokens of a source.

    `format`, one of `formats.cache_types`, is its storage: tokens are quantized as they are written. Without it tokens
    are stored in `dtype`, by default torch's. `source` defaults to `capacity` if there is an encoder. Raises InputError
    for an encoder alone, for more tokens than a position table has rows, and for a format that does not suit the
    widths.

    >>> from archcalc.sources import load
    >>> allocate(load("gpt3-175b"), 1, 1, dtype=torch.bfloat16).nbytes  # 2·96 layers·12,288 wide·2 bytes
    4718592
    >>> allocate(load("gpt3-175b"), 1, 1, format="int8").nbytes  # a byte each, and 2·96 layers·96 heads·4 bytes
    2433024
    """
    if spec.decoder is None:
        raise InputError(msg("an encoder caches nothing"), where="cache", allowed=msg("a model with a decoder"))
    if dtype is not None and format is not None:
        raise InputError(
            msg("found {dtype} and {format}", dtype=dtype, format=repr(format)),
            where="cache",
            allowed=msg("a dtype or a format"),
        )
    _check_sizes(batch=batch, capacity=capacity)
    _check_table(spec.stacks[-1], capacity, "capacity")
    n_source = _source_capacity(spec, capacity, source)
    format_type = None if format is None else cache_type(format, "cache")
    config = CacheConfig(
        batch, capacity, n_source, spec.d_model, dtype or torch.get_default_dtype(), torch.device(device), format_type
    )
    caches = [_layer_caches(layer, config) for layer in layers_of(spec.decoder)]
    return Cache(config, caches, n_lead=spec.decoder.n_lead)


def _layer_caches(layer: Layer, config: CacheConfig) -> dict[str, ArmCache]:
    """Return the caches of one turn of a layer, by arm; a feed-forward has none."""
    arms = [arm for branch in active_branches(layer) for arm in branch.arms if arm.reads != "shared"]
    allocations = {arm.name: (arm.part, implementation(arm.part, _CACHE_KEYS[arm.reads])) for arm in arms}
    caches: dict[str, ArmCache] = {
        name: allocate_arm(part, config)
        for name, (part, allocate_arm) in allocations.items()
        if allocate_arm is not None
    }
    convolved = {arm_conv(arm): arm.d_out_conv for branch in active_branches(layer) for arm in branch.arms}
    states = {name: config.zero_state(config.d_model, width - 1) for name, width in convolved.items() if name and width}
    return caches | {name: RecurrentState(state) for name, state in states.items()}


# The key of a variant's record that allocates an arm's cache, by what the arm reads.
_CACHE_KEYS = {"stream": "cache", "source": "source_cache"}


def _source_capacity(spec: Spec, capacity: int, source: int | None) -> int:
    """Return the number of source tokens to allocate."""
    if spec.encoder is None:
        if source is not None:
            raise InputError(msg("there is no encoder beside the decoder"), where="source", allowed=msg("no value"))
        return 0
    n_tokens = capacity if source is None else source
    _check_sizes(source=n_tokens)
    _check_table(spec.stacks[0], n_tokens, "source")
    return n_tokens


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(msg("found {found}", found=size), where=name, allowed=msg("1 or more"))


def _check_table(model_stack: ModelStack, tokens: int, where: str) -> None:
    """Raise InputError for more tokens than a position table has rows."""
    if has_table(model_stack.stack) and tokens > model_stack.model.n_ctx:
        raise InputError(
            msg("{tokens:,} tokens are more than the table of positions has", tokens=tokens),
            where=where,
            allowed=msg("up to {most:,}", most=model_stack.model.n_ctx),
        )
