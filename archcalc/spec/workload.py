"""Workloads: the number of sequences, new tokens and past tokens."""

from __future__ import annotations

from archcalc.errors import InputError, shown
from archcalc.spec.base import Count, Part, Size
from archcalc.spec.groups import has_table
from archcalc.spec.model import ModelStack, Spec
from archcalc.words import msg

DEFAULT_SEQ_TOKENS = 2048

# The minimum of each size, and the sizes that are optional.
MINIMUM_SIZES = {"batch": 1, "seq": 1, "past": 0, "source_seq": 1}
OPTIONAL_SIZES = ("seq", "source_seq")


class Workload(Part, frozen=True, kw_only=True):
    """`batch` sequences of `seq` new tokens each, after `past` cached tokens.

    An encoder-decoder reads `source_seq` source tokens; with a past, the source has already been read.
    """

    batch: Size = 1
    seq: Size = 1
    past: Count = 0
    source_seq: Size = 1


def workload(
    spec: Spec, *, batch: int = 1, seq: int | None = None, past: int = 0, source_seq: int | None = None
) -> Workload:
    """Return the workload of a spec. `seq` defaults to min(2048, n_ctx), `source_seq` to `seq`.

    Raises InputError for sizes that are not positive, a past without a cache, a source without an encoder, or more
    tokens than positions.
    """
    for name, value in {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}.items():
        check_size(name, value)
    return fill_workload(spec, batch, seq, past, source_seq)


def check_size(name: str, value: object) -> None:
    """Raise InputError if a workload cannot have this size; None is valid for optional sizes."""
    if value is None and name in OPTIONAL_SIZES:
        return
    least = MINIMUM_SIZES[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 2**40:
        raise InputError(
            msg("found {found}", found=shown(value)),
            where=name,
            allowed=msg("an integer from {least} to 2^40", least=least),
        )


def fill_workload(spec: Spec, batch: int, seq: int | None, past: int, source_seq: int | None) -> Workload:
    """Return the workload of a spec from sizes that are valid on their own; see `workload`."""
    seq = min(DEFAULT_SEQ_TOKENS, spec.n_ctx) if seq is None else seq
    if past and spec.family == "encoder":
        raise InputError(msg("an encoder caches nothing"), where="past", allowed="0")
    if source_seq is not None and spec.family != "encoder-decoder":
        raise InputError(msg("there is no encoder beside a decoder"), where="source_seq", allowed=msg("no value"))
    source = _source(spec.stacks[0], seq, source_seq)
    _check_positions(spec, past + seq, source)
    return Workload(batch=batch, seq=seq, past=past, source_seq=source)


def _source(first: ModelStack, seq: int, source_seq: int | None) -> int:
    """Return the number of source tokens: by default `seq`, or as many as its own table has rows."""
    if not first.is_source:
        return 1
    own = min(seq, first.model.n_ctx) if has_table(first.stack) and first.stack.n_ctx else seq
    return own if source_seq is None else source_seq


def _check_positions(spec: Spec, target_tokens: int, source_tokens: int) -> None:
    """Raise InputError if there are more tokens than rows in a table of positions."""
    for model_stack in spec.stacks:
        tokens, n_ctx = source_tokens if model_stack.is_source else target_tokens, model_stack.model.n_ctx
        if has_table(model_stack.stack) and tokens > n_ctx:
            raise InputError(
                msg("{tokens:,} tokens are more than the table of positions has", tokens=tokens),
                where="source_seq" if model_stack.is_source else "seq",
                allowed=msg("up to {n_ctx:,}, past included", n_ctx=n_ctx),
            )
