"""A model's cache: what its decoder keeps of the tokens it has read, layer by layer.

Axes: B batch, T new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.formats.cache_types import cache_type
from archcalc.nn.held import Held, Room, Source
from archcalc.nn.padding import checked_text, extended
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches
from archcalc.spec.groups import has_table, layers_of
from archcalc.spec.layer import Layer
from archcalc.spec.model import ModelStack
from archcalc.spec.variants import implementation
from archcalc.words import msg


@dataclass
class Cache:
    """A decoder's cache, made by `allocate` or a model's `new_cache`; a forward pass that is given it extends it.

    `layers` holds, for each turn of a layer (shared weights or not), what its `attn` and its `cross` keep. `past`
    tokens have been read, and `n_source` of the source; `padding` [B, past] and `source_padding` [B, n_source] tell
    which of them pad, None if none does. Where the next stand follows from these, so `past = 0` begins anew. No
    gradient flows through it: a forward pass with a cache keeps no graph.
    """

    room: Room
    layers: list[dict[str, Held]]
    past: int = 0
    n_source: int = 0
    padding: Tensor | None = None
    source_padding: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """The bytes that its tensors take, filled or not."""
        return sum(tensor.nbytes for layer in self.layers for held in layer.values() for tensor in held.tensors)

    def admit(self, ids_BT: Tensor, padding_BT: Tensor | None = None) -> None:
        """Take note of which of the next ids [B, T] are padding; InputError if they cannot be the next."""
        self._check_batch(ids_BT)
        if self.past + ids_BT.shape[1] > self.room.capacity:
            raise InputError(
                msg("{past:,} tokens are more than the cache has room for", past=self.past + ids_BT.shape[1]),
                where="capacity",
                allowed=msg("up to {capacity:,}, past included", capacity=self.room.capacity),
            )
        if self.room.source and not self.n_source:
            raise InputError(
                msg("the cache has seen no source"), where="source", allowed=msg("a source that is read first")
            )
        padding_BS = extended(self.padding, self.past, padding_BT, ids_BT)
        if padding_BT is not None and padding_BS is not None:
            checked_text(padding_BS)
        self.padding = padding_BS

    def admit_source(self, ids_BS: Tensor) -> None:
        """Raise InputError if these ids [B, S] cannot be the source."""
        self._check_batch(ids_BS)
        if ids_BS.shape[1] > self.room.source:
            raise InputError(
                msg("{shape:,} tokens are more than the cache has room for", shape=ids_BS.shape[1]),
                where="source",
                allowed=msg("up to {source:,}", source=self.room.source),
            )

    def reorder(self, rows_B: Tensor) -> None:
        """Put row rows_B[b] of all that is kept in row b's place, as a beam search goes on from its best.

        Raises InputError if they are not as many as the cache's sequences.
        """
        self._check_batch(rows_B)
        for layer in self.layers:
            for held in layer.values():
                held.reorder(rows_B, self.n_source if isinstance(held, Source) else self.past)
        self.padding = None if self.padding is None else self.padding[rows_B]
        self.source_padding = None if self.source_padding is None else self.source_padding[rows_B]

    def _check_batch(self, ids: Tensor) -> None:
        if len(ids) != self.room.batch:
            raise InputError(
                msg("{n_ids} sequences", n_ids=len(ids)),
                where="batch",
                allowed=msg("the cache's {batch}", batch=self.room.batch),
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
    """An empty cache for `batch` sequences of up to `capacity` tokens, and `source` tokens of a source.

    `format`, one of `formats.cache_types`, says how it is stored: tokens are quantised when they are written. Without
    it, it is in `dtype`, torch's default if that is left out. `source` is `capacity` where there is an encoder beside
    the decoder. Raises InputError for an encoder alone, for more tokens than a table of positions has rows, and for a
    format that the widths do not suit.

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
    n_source = _source(spec, capacity, source)
    kind = None if format is None else cache_type(format, "cache")
    room = Room(batch, capacity, n_source, dtype or torch.get_default_dtype(), torch.device(device), kind)
    return Cache(room, [_layer(layer, room) for layer in layers_of(spec.decoder)])


def _layer(layer: Layer, room: Room) -> dict[str, Held]:
    """What one turn of a layer keeps, by the name of the arm; a feed-forward keeps nothing."""
    own = [arm for branch in active_branches(layer) for arm in branch.arms if arm.reads != "shared"]
    allocators = {arm.name: (arm.part, implementation(arm.part, _CACHES[arm.reads])) for arm in own}
    return {name: allocator(part, room) for name, (part, allocator) in allocators.items() if allocator is not None}


# Which record of a variant says what an arm keeps, by what it reads.
_CACHES = {"stream": "cache", "source": "source_cache"}


def _source(spec: Spec, capacity: int, source: int | None) -> int:
    """How many tokens of a source there must be room for."""
    if spec.encoder is None:
        if source is not None:
            raise InputError(msg("there is no encoder beside the decoder"), where="source", allowed=msg("left out"))
        return 0
    found = capacity if source is None else source
    _check_sizes(source=found)
    _check_table(spec.stacks[0], found, "source")
    return found


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(msg("found {size}", size=size), where=name, allowed=msg("1 or more"))


def _check_table(each: ModelStack, tokens: int, where: str) -> None:
    """A table of positions has no row for a token beyond it."""
    if has_table(each.stack) and tokens > each.model.n_ctx:
        raise InputError(
            msg("{tokens:,} tokens are more than the table of positions has", tokens=tokens),
            where=where,
            allowed=msg("up to {n_ctx:,}", n_ctx=each.model.n_ctx),
        )
