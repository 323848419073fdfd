"""Bytes of a model on each of several ranks, tensor by tensor: exact, from the ledger's named axes.

`tp`, tensor parallelism (Shoeybi et al. 2019, section 3): every axis of heads, of a feed-forward's width or of the
vocabulary is split, everything else is on every rank. `fsdp` (Zhao et al. 2023): every parameter is split along its
first axis, buffers are not. Each rank in turn gets ⌈size / n⌉, the last the rest, which may be nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, get_args

from archcalc.analysis.memory import DTYPES, Dtype, check_dtype
from archcalc.analysis.row_names import path_pattern
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import ONE, Poly, product
from archcalc.ledger.leaves import Kind
from archcalc.ledger.rows import CacheRow, Ledger, StateRow, WeightRow
from archcalc.ledger.tokens import BATCH
from archcalc.results import Result, Row, Sureness, count, data, text
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, disentangled
from archcalc.spec.base import Part
from archcalc.spec.branches import arms
from archcalc.spec.ffn import Plain
from archcalc.spec.groups import layers_of
from archcalc.spec.position import ContentBias
from archcalc.spec.variants import variant
from archcalc.spec.workload import Workload
from archcalc.units import exact
from archcalc.words import msg

Engine = Literal["tp", "fsdp"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_HEADS, _KV_HEADS = "n_heads", "n_kv_heads"
SPLIT = {_HEADS, _KV_HEADS, "d_ff", "d_expert", "d_shared", "vocab_size"}


class RankBytes(Row, frozen=True, kw_only=True):
    """The bytes on one rank."""

    rank: Annotated[int, text(msg("rank"))]
    weights_bytes: Annotated[int, count(msg("weights"))]
    buffers_bytes: Annotated[int, count(msg("buffers"))]
    kv_cache_bytes: Annotated[int, count(msg("cache"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ShardedTensor(Row, frozen=True, kw_only=True):
    """A tensor over ranks: the axis that is split (None if each rank has all of it), and its bytes over all layers.

    `formula` is of the first rank's bytes, `rank_bytes` has the bytes of every rank.
    """

    path: Annotated[str, text(msg("tensor"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    tensor_kind: Annotated[Kind | Literal["cache"], data(msg("trainable, frozen, buffer or cache"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    split_along: Annotated[str | None, text(msg("split along"))]
    first_rank_bytes: Annotated[int, count(msg("first rank"))]
    last_rank_bytes: Annotated[int, count(msg("last rank"))]
    rank_bytes: Annotated[tuple[int, ...], data(msg("bytes on each rank"))]
    formula: Annotated[str, text(msg("first rank's bytes by formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ShardedMemory(Result, frozen=True, kw_only=True):
    """Bytes on each of several ranks: weights in `dtype`, and what is cached in `cache_dtype`."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    workload: Annotated[Workload, data(msg("workload"))]
    engine: Annotated[Engine, data(msg("how ranks share the model"))]
    dtype: Annotated[str, data(msg("format of the weights"))]
    cache_dtype: Annotated[str, data(msg("format of the cache"))]
    ranks: Annotated[tuple[RankBytes, ...], data(msg("bytes on each rank"))]
    weights: Annotated[tuple[ShardedTensor, ...], data(msg("weights and buffers"))]
    caches: Annotated[tuple[ShardedTensor, ...], data(msg("caches"))]


def sharded_memory(
    spec: Spec, ledger: Ledger, work: Workload, engine: Engine, n: int, *, dtype: Dtype, cache_dtype: Dtype
) -> ShardedMemory:
    """Return the bytes on each of `n` ranks. Raise InputError for an unknown format, and where ranks cannot share."""
    check_parts(spec, engine, n)
    stored, cached = weights(ledger, engine, n, dtype), caches(ledger, work, engine, n, cache_dtype)
    return ShardedMemory(
        name=spec.name,
        label=spec.label,
        workload=work,
        engine=engine,
        dtype=dtype,
        cache_dtype=cache_dtype,
        ranks=tuple(_ranks(stored, cached, n)),
        weights=tuple(stored),
        caches=tuple(cached),
    )


def _ranks(stored: Sequence[ShardedTensor], cached: Sequence[ShardedTensor], n: int) -> Iterator[RankBytes]:
    parameters = split_bytes(tensor for tensor in stored if tensor.tensor_kind != "buffer")
    buffers = split_bytes(tensor for tensor in stored if tensor.tensor_kind == "buffer")
    sums = [size if len(size) == n else (0,) * n for size in (parameters, buffers, split_bytes(cached))]
    for rank, (own, buffer, cache) in enumerate(zip(*sums, strict=True)):
        yield RankBytes(
            rank=rank,
            weights_bytes=own,
            buffers_bytes=buffer,
            kv_cache_bytes=cache,
            bytes=own + buffer + cache,
        )


def check_parts(spec: Spec, engine: Engine, n: int) -> None:
    """Raise InputError if a layer has a part that `n` ranks cannot share."""
    if engine == "tp" and n > 1:
        check_head(spec)
        for own in spec.stacks:
            for layer in layers_of(own.stack):
                for arm in arms(layer):
                    check_part(arm.part)


def check_head(spec: Spec) -> None:
    """Raise InputError for logits that are cut, which several ranks cannot share under tp."""
    if spec.head is not None and spec.head.n_scored is not None:
        raise InputError(msg("the head has rows that pad it"), where="tp", allowed=msg("`fsdp`"))


def check_part(part: Part) -> None:
    """Raise InputError for a part that several ranks cannot share under tp."""
    record = variant(part)
    is_grouped = isinstance(part, Attention | Plain) and part.is_grouped
    is_whole = any(getattr(part, field, None) is not None for field in ("differential", "key_bias", "d_conv"))
    is_whole |= any(getattr(part, field, False) for field in ("scores_shared", "out_scale"))
    is_whole |= isinstance(getattr(part, "position", None), ContentBias)
    if is_grouped or is_whole or disentangled(part) or (record.mixes_tokens and record.rank is None):
        raise InputError(msg("its layers hold a part that ranks cannot share"), where="tp", allowed=msg("`fsdp`"))


def weights(ledger: Ledger, engine: Engine, n: int, dtype: Dtype) -> list[ShardedTensor]:
    """Return every stored tensor, buffers too; a tied one is stored once.

    gpt2's embed.tokens.weight in fp32 on 4 ranks under tp: ⌈50257 / 4⌉ rows of 768 on the first three, 12,562 on the
    last. Raise InputError where `n` ranks cannot share the heads.
    """
    check_dtype(dtype, DTYPES)
    _check_ranks(n, engine)
    return [_weight(ledger, row, engine, n, dtype) for row in ledger.rows]


def _weight(ledger: Ledger, row: WeightRow, engine: Engine, n: int, dtype: Dtype) -> ShardedTensor:
    axes = row.weight.axes
    index = _SPLITS[engine](row, ledger.sizes, n)
    element = element_bytes(dtype)
    rank_bytes = tuple(element * row.layers * size for size in _rank_sizes(axes, index, ledger.sizes, n))
    return ShardedTensor(
        path=path_pattern(row.path),
        group=row.group,
        tensor_kind=row.kind,
        layers=row.layers,
        split_along=None if index is None else axes[index].factored(),
        first_rank_bytes=rank_bytes[0],
        last_rank_bytes=rank_bytes[-1],
        rank_bytes=rank_bytes,
        formula=_equation(axes, index, ledger.sizes, n, element * row.repeats, rank_bytes[0]),
    )


def caches(ledger: Ledger, work: Workload, engine: Engine, n: int, dtype: Dtype) -> list[ShardedTensor]:
    """Return every cached tensor: under tp that of a rank's own heads of keys and values, one where ranks are more.

    Under fsdp, which splits parameters only, each rank caches everything. Recurrent states follow, whole, those of a
    fixed dtype in it.
    """
    check_dtype(dtype, DTYPES)
    _check_ranks(n, engine)
    sizes = ledger.at(work)
    element = element_bytes(dtype)
    cached = [_cache(row, row.cache.axes, sizes, engine, n, element) for row in ledger.caches]
    for row in ledger.states:
        own = element_bytes(row.state.dtype) if row.state.dtype else element
        cached.append(_cache(row, row.state.axes, sizes, "fsdp", n, own))
    return cached


def _cache(
    row: CacheRow | StateRow, own_axes: tuple[Poly, ...], sizes: Mapping[str, int], engine: Engine, n: int, element: int
) -> ShardedTensor:
    axes, layers = (BATCH, *own_axes), len(row.layer_indices)
    heads = (k for k, axis in enumerate(axes) if _names(axis) & {_KV_HEADS})
    index = next(heads, None) if engine == "tp" else None
    n_parts = n if index is None else min(n, int(axes[index].at(sizes)))
    of_parts = _rank_sizes(axes, index, sizes, n_parts)
    rank_bytes = tuple(element * layers * of_parts[rank * n_parts // n] for rank in range(n))
    return ShardedTensor(
        path=path_pattern(row.path),
        group=row.group,
        tensor_kind="cache",
        layers=layers,
        split_along=None if index is None else axes[index].factored(),
        first_rank_bytes=rank_bytes[0],
        last_rank_bytes=rank_bytes[-1],
        rank_bytes=rank_bytes,
        formula=_equation(axes, index, sizes, n_parts, element * row.repeats, rank_bytes[0]),
    )


def split_bytes(tensors: Iterable[ShardedTensor]) -> tuple[int, ...]:
    """Return the bytes on each rank; of no tensors (0,)."""
    return tuple(map(sum, zip(*(tensor.rank_bytes for tensor in tensors), strict=True))) or (0,)


def _tp_axis(row: WeightRow, sizes: Mapping[str, int], n: int) -> int | None:
    """Return the axis that tensor parallelism splits. Heads stay whole; heads of keys and values may be on every rank.

    Every rank has all buffers, and all tensors that no forward pass reads.
    """
    if row.kind == "buffer" or row.path.startswith("extras."):
        return None
    for index, axis in enumerate(row.weight.axes):
        for name in sorted(axis.symbols()):
            field = name.partition("[")[0]
            if field in (_HEADS, _KV_HEADS):
                if "_norm." in row.path and len(row.weight.axes) == 1:
                    raise InputError(msg("all heads are normed at once"), where="tp", allowed=msg("`fsdp`"))
                return index if _are_heads_split(field, sizes[name], n) else None
            if field in SPLIT:
                if row.component == "norm":
                    raise InputError(
                        msg("hidden units are normed over their whole width"), where="tp", allowed=msg("`fsdp`")
                    )
                return index
    return None


def _fsdp_axis(row: WeightRow, sizes: Mapping[str, int], n: int) -> int | None:
    """Return the axis that FSDP splits."""
    return None if row.kind == "buffer" else 0


_SPLITS: dict[Engine, Callable[[WeightRow, Mapping[str, int], int], int | None]] = {"tp": _tp_axis, "fsdp": _fsdp_axis}


def _are_heads_split(field: str, n_heads: int, n: int) -> bool:
    """Return whether `n` ranks split the heads, instead of copying them. Raise InputError if they can do neither."""
    if n_heads % n and (field == _HEADS or n % n_heads):
        divisors = ", ".join(str(d) for d in range(1, n_heads + 1) if n_heads % d == 0)
        raise InputError(
            msg("found {n}, which does not divide {field} = {n_heads}", n=n, field=field, n_heads=n_heads),
            where="tp",
            allowed=divisors,
        )
    return n_heads % n == 0


def _rank_sizes(axes: tuple[Poly, ...], index: int | None, sizes: Mapping[str, int], n: int) -> tuple[int, ...]:
    """Return the elements of one tensor on each rank."""
    shape = [int(axis.at(sizes)) for axis in axes]
    if index is None:
        return (math.prod(shape),) * n
    size = shape.pop(index)
    per_rank = -(-size // n)
    return tuple(math.prod(shape) * max(0, min(per_rank, size - rank * per_rank)) for rank in range(n))


def _equation(
    axes: tuple[Poly, ...], index: int | None, sizes: Mapping[str, int], n: int, times: Poly, size: int
) -> str:
    """Return the first rank's bytes in all layers: '⌈vocab_size / 4⌉·4·d_model = ⌈50257 / 4⌉·4·768 = 38,599,680'."""
    steps = (_formula(axes, index, sizes, n, times, values) for values in (None, sizes))
    return " = ".join([*steps, exact(size)])


def _formula(
    axes: tuple[Poly, ...],
    index: int | None,
    sizes: Mapping[str, int],
    n: int,
    times: Poly,
    values: Mapping[str, int] | None,
) -> str:
    """Return the bytes in symbols, or with `values` in numbers."""
    if index is None or n == 1:
        return product((*axes, times)).factored(values)
    if int(axes[index].at(sizes)) % n == 0:
        return f"{product((*axes, times)).factored(values)} / {n}"
    rest = product((*axes[:index], *axes[index + 1 :], times))
    part = f"⌈{axes[index].text(values)} / {n}⌉"
    return part if rest == ONE else f"{part}·{rest.factored(values)}"


def _names(axis: Poly) -> set[str]:
    return {name.partition("[")[0] for name in axis.symbols()}


def _check_ranks(n: int, engine: Engine) -> None:
    if n < 1:
        raise InputError(msg("found {found}", found=n), where=engine, allowed=msg("1 or more"))
