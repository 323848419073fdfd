"""What each of several ranks holds of a model, tensor by tensor: exact, from the ledger's named axes.

`tp`, tensor parallelism (Shoeybi et al. 2019, section 3): every axis that counts heads, a feed-forward's width or the
vocabulary is split, all else is on every rank. `fsdp` (Zhao et al. 2023): every parameter is split along its first
axis, buffers are not. A rank gets ⌈size / n⌉ in its turn, the last what is left, which may be nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

import msgspec

from archcalc.analysis.memory import Dtype, check_dtype
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.algebra import ONE, Poly, product
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.ledger.tokens import BATCH
from archcalc.spec.workload import Workload
from archcalc.words import msg

Engine = Literal["tp", "fsdp"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_HEADS, _KV_HEADS = "n_heads", "n_kv_heads"
SPLIT = {_HEADS, _KV_HEADS, "d_ff", "d_expert", "d_shared", "vocab_size"}


class Shards(msgspec.Struct, frozen=True):
    """A tensor over ranks: the axis that is split, None if it is whole on each, and each rank's bytes of all layers."""

    path: str
    kind: str
    layers: int
    axis: Poly | None
    formula: str
    bytes: tuple[int, ...]


def weights(ledger: Ledger, engine: Engine, n: int, dtype: Dtype) -> list[Shards]:
    """Every stored tensor, buffers too; one that is tied is stored once.

    gpt2's embed.tokens.weight in fp32 on 4 ranks under tp: ⌈50257 / 4⌉ rows of 768 on the first three, 12,562 on the
    last. InputError where heads cannot be shared by `n` ranks.
    """
    check_dtype(dtype)
    _check_ranks(n, engine)
    found = []
    for row in ledger.rows:
        axes = row.weight.axes
        place = _PLACES[engine](row, ledger.sizes, n)
        each = _each(axes, place, ledger.sizes, n)
        size = element_bytes(dtype) * row.layers
        text = _text(axes, place, ledger.sizes, n, element_bytes(dtype) * row.repeats)
        split = None if place is None else axes[place]
        found.append(Shards(row.path, row.kind, row.layers, split, text, tuple(size * count for count in each)))
    return found


def caches(ledger: Ledger, work: Workload, engine: Engine, n: int, dtype: Dtype) -> list[Shards]:
    """Every cached tensor: under tp of a rank's own heads of keys and values, of one where there are more ranks.

    Where parameters alone are split, each rank caches all.
    """
    check_dtype(dtype)
    _check_ranks(n, engine)
    sizes, found = ledger.at(work), []
    for row in ledger.caches:
        axes = (BATCH, *row.cache.axes)
        place = next((k for k, axis in enumerate(axes) if _names(axis) & {_KV_HEADS}), None) if engine == "tp" else None
        n_heads = int(axes[place].at(sizes)) if place is not None else 0
        each = _each(axes, place, sizes, min(n, n_heads) if n_heads else n)
        each = tuple(each[rank * len(each) // n] for rank in range(n))
        size, n_split = element_bytes(dtype) * len(row.layer_indices), min(n, n_heads)
        text = _text(axes, place, sizes, n_split or n, element_bytes(dtype) * row.repeats)
        split = None if place is None else axes[place]
        found.append(
            Shards(row.path, "cache", len(row.layer_indices), split, text, tuple(size * count for count in each))
        )
    return found


def split_bytes(found: Iterable[Shards], kinds: Iterable[str] | None = None) -> tuple[int, ...]:
    """Each rank's bytes, of these kinds or of all; () of nothing at all is (0,)."""
    rows = [one.bytes for one in found if kinds is None or one.kind in kinds]
    return tuple(map(sum, zip(*rows, strict=True))) or (0,)


def _of_heads(row: WeightRow, sizes: Mapping[str, int], n: int) -> int | None:
    """Which axis tensor parallelism splits; heads are never cut, and those of keys and values may be on every rank.

    Every rank has all buffers, and all tensors that no forward pass reads.
    """
    if row.kind == "buffer" or row.path.startswith("extras."):
        return None
    for place, axis in enumerate(row.weight.axes):
        for name in sorted(axis.symbols()):
            field = name.partition("[")[0]
            if field in (_HEADS, _KV_HEADS):
                if "_norm." in row.path and len(row.weight.axes) == 1:
                    raise InputError(msg("all heads are normed at once"), where="tp", allowed=msg("`fsdp`"))
                return place if _shared(field, sizes[name], n) else None
            if field in SPLIT:
                if row.component == "norm":
                    raise InputError(
                        msg("hidden units are normed over their whole width"), where="tp", allowed=msg("`fsdp`")
                    )
                return place
    return None


def _first(row: WeightRow, sizes: Mapping[str, int], n: int) -> int | None:
    """Which axis FSDP splits."""
    return None if row.kind == "buffer" else 0


_PLACES: dict[Engine, Callable[[WeightRow, Mapping[str, int], int], int | None]] = {"tp": _of_heads, "fsdp": _first}


def _shared(field: str, n_heads: int, n: int) -> bool:
    """Whether `n` ranks have heads of their own; False if each has a copy. InputError if they can have neither."""
    if n_heads % n and (field == _HEADS or n % n_heads):
        divisors = ", ".join(str(d) for d in range(1, n_heads + 1) if n_heads % d == 0)
        raise InputError(
            msg("found {n}, which does not divide {field} = {n_heads}", n=n, field=field, n_heads=n_heads),
            where="tp",
            allowed=divisors,
        )
    return n_heads % n == 0


def _each(axes: tuple[Poly, ...], place: int | None, sizes: Mapping[str, int], n: int) -> tuple[int, ...]:
    """Elements of one tensor on each rank."""
    shape = [int(axis.at(sizes)) for axis in axes]
    if place is None:
        return (math.prod(shape),) * n
    size = shape.pop(place)
    each = -(-size // n)
    return tuple(math.prod(shape) * max(0, min(each, size - rank * each)) for rank in range(n))


def _text(axes: tuple[Poly, ...], place: int | None, sizes: Mapping[str, int], n: int, times: Poly) -> str:
    """The first rank's bytes in symbols, of all layers."""
    if place is None or n == 1:
        return product((*axes, times)).factored()
    if int(axes[place].at(sizes)) % n == 0:
        return f"{product((*axes, times)).factored()} / {n}"
    rest = product((*axes[:place], *axes[place + 1 :], times))
    share = f"⌈{axes[place].text()} / {n}⌉"
    return share if rest == ONE else f"{share}·{rest.factored()}"


def _names(axis: Poly) -> set[str]:
    return {name.partition("[")[0] for name in axis.symbols()}


def _check_ranks(n: int, engine: Engine) -> None:
    if n < 1:
        raise InputError(msg("found {found}", found=n), where=engine, allowed=msg("1 or more"))
