"""Checks of token ids and positions."""

from __future__ import annotations

from collections.abc import Iterable

from archcalc.errors import InputError
from archcalc.spec.groups import layers_of
from archcalc.spec.model import ModelStack, Spec
from archcalc.words import Message, msg


def check_ids(stack: ModelStack, ids: list[int], where: str) -> None:
    """Raise InputError for no ids, too many, and unknown ones."""
    model = stack.model
    wrong = [token for token in ids if not 0 <= token < model.vocab_size]
    if wrong or not 0 < len(ids) <= model.n_ctx:
        raise InputError(
            msg("found id {wrong}", wrong=wrong[0]) if wrong else msg("has {n:,} tokens", n=len(ids)),
            where=where,
            allowed=msg("1 to {n_ctx:,} ids from 0 to {last_id:,}", n_ctx=model.n_ctx, last_id=model.vocab_size - 1),
        )


def check_one_stream(spec: Spec) -> None:
    """Raise InputError for a model with several residual streams, which this reads or edits one of.

    Or if the stream that the head reads has rows that are no tokens of a text, or two states in turn.
    """
    check_no_global(spec.stacks[-1])
    check_no_cycles(spec)
    check_no_soft_prompt(spec)
    for stack in spec.stacks:
        if (streams := stack.stack.streams) is not None:
            n = streams.n_before(len(layers_of(stack.stack)))
            raise InputError(
                msg("the layers have {n} residual streams", n=n),
                where=f"{stack.prefix}streams",
                allowed=msg(
                    "one; `trace`, `lens` (logit and tuned), `attention`, `attribute`, `embed` and `taps` read several"
                ),
            )


def check_no_cycles(spec: Spec) -> None:
    """Raise InputError for a model whose layers run in cycles."""
    for stack in spec.stacks:
        if stack.stack.cycles is not None:
            raise _only_read(stack, "cycles", msg("the layers run in cycles, on two states"))


def check_no_soft_prompt(spec: Spec) -> None:
    """Raise InputError for a model with a soft prompt, whose rows are before the tokens of a text."""
    for stack in spec.stacks:
        if n := stack.stack.n_lead:
            raise _only_read(stack, "soft_prompt", msg("the layers read {n} rows of a soft prompt", n=n))


def check_no_global(stack: ModelStack) -> None:
    """Raise InputError for a stack with global tokens, which are no tokens of a text."""
    if (tokens := stack.stack.global_tokens) is not None:
        raise _only_read(stack, "global_tokens", msg("the layers have {n} global tokens", n=tokens.n_tokens))


def _only_read(stack: ModelStack, name: str, problem: Message) -> InputError:
    """Return the error for a part of a stack that some tools read and none edits."""
    readers = msg("null; `trace`, `lens` (logit and tuned), `attention`, `attribute`, `embed` and `taps` read them")
    return InputError(problem, where=f"{stack.prefix}{name}", allowed=readers)


def check_tokens(tokens: Iterable[int | None], vocab_size: int, where: str) -> None:
    """Raise InputError for a token outside the vocabulary; None is no token."""
    for token in tokens:
        if token is not None and not 0 <= token < vocab_size:
            raise InputError(
                msg("found id {wrong}", wrong=token),
                where=where,
                allowed=msg("0 to {vocab_size:,}", vocab_size=vocab_size - 1),
            )


def check_position(position: int | None, n_tokens: int) -> int:
    """Return a position, the last by default. Raises InputError for one outside the text."""
    position = n_tokens - 1 if position is None else position
    if not 0 <= position < n_tokens:
        raise InputError(
            msg("found {found}", found=position), where="position", allowed=msg("0 to {last:,}", last=n_tokens - 1)
        )
    return position
