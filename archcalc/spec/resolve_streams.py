"""Several residual streams: what a stack and its layers must agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from archcalc.errors import InputError
from archcalc.spec.branches import PLACEMENTS, stream_branches
from archcalc.spec.layer import Branch, Layer, Stack
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.streams import AltUp, HyperConnections, SetAside
from archcalc.words import Message, msg

# Fields of a branch that is added to streams which it has not read, and those of one that is scaled besides.
_PLAIN_SKIP = {"skip": 1.0, "skip_reads": "stream", "skip_weight": False, "skip_bias": False}
_PLAIN = {"norm_after": None, **_PLAIN_SKIP}
_LATER = _PLAIN | {"scale": 1.0}


def check_streams(stack: Stack, role: str) -> None:
    """Raise InputError for streams that do not exist, or that layers or branches cannot have."""
    for layer, where in _layers(stack, role):
        _check_branches(layer, where, has_streams=stack.streams is not None)
    if stack.streams is None:
        return
    stream_implementation(stack.streams, "check")(stack.streams, stack, role)
    if stack.n_mtp or any(layer.out_scalar for layer, _ in _layers(stack, role)):
        raise InputError(
            msg("modules of multi-token prediction and out_scalar belong to one stream"),
            where=f"{role}.streams",
            allowed="null",
        )


def check_altup(part: AltUp, stack: Stack, role: str) -> None:
    """Raise InputError for a single stream, and for an active one that is not there."""
    where, n = f"{role}.streams", part.n_streams
    if n < 2:
        raise InputError(msg("found {n}", n=n), where=f"{where}.n_streams", allowed=msg("2 or more"))
    if part.active >= n:
        last = msg("0 to {last}", last=n - 1)
        raise InputError(msg("found {n}", n=part.active), where=f"{where}.active", allowed=last)


class _Refusals(msgspec.Struct, frozen=True):
    """Why branches of several streams cannot have a field, a norm after the sum, or another stream to join."""

    field: Message
    norm: Message
    joins: Message


_HYPER = _Refusals(
    msg("hyper-connections have none"),
    msg("hyper-connections have no norm after the sum"),
    msg("hyper-connections write all streams"),
)
_SET_ASIDE = _Refusals(
    msg("a stream that is set aside has none"),
    msg("a stream that is set aside has no norm after the sum"),
    msg("a branch is added to the newest stream"),
)


def check_hyper(part: HyperConnections, stack: Stack, role: str) -> None:
    """Raise InputError for a branch that does more than add its output to the streams."""
    _check_added(stack, role, _HYPER)


def check_set_aside(part: SetAside, stack: Stack, role: str) -> None:
    """Raise InputError for a branch that does more than add its output to a stream, and for shared weights."""
    _check_added(stack, role, _SET_ASIDE)
    found, allowed = msg("a layer's place decides which streams it reads"), msg("weights of its own")
    for r, run in enumerate(stack.runs):
        if run.share_weights or run.weights_of is not None:
            field = "share_weights" if run.share_weights else "weights_of"
            raise InputError(found, where=f"{role}.runs[{r}].{field}", allowed=allowed)
    for layer, where in _layers(stack, role):
        if layer.shares is not None and layer.shares.weights is not None:
            raise InputError(found, where=f"{where}.shares.weights", allowed=allowed)


def _check_added(stack: Stack, role: str, refusals: _Refusals) -> None:
    """Raise InputError for a branch that does more than add its output to the streams."""
    for layer, where in _layers(stack, role):
        if not layer.branches:
            _check_plain(layer, where, _PLAIN_SKIP, refusals.field)
            if PLACEMENTS[layer.placement].after:
                allowed = ", ".join(name for name, places in PLACEMENTS.items() if not places.after)
                raise InputError(refusals.norm, where=f"{where}.placement", allowed=allowed)
        for b, branch in enumerate(layer.branches):
            if branch.joins == "later_streams":
                raise InputError(refusals.joins, where=f"{where}.branches[{b}].joins", allowed="stream")
            _check_plain(branch, f"{where}.branches[{b}]", _PLAIN, refusals.field)


def _layers(stack: Stack, role: str) -> Iterator[tuple[Layer, str]]:
    """Yield the layers, each with its place."""
    for r, run in enumerate(stack.runs):
        for p, layer in enumerate(run.pattern):
            yield layer, f"{role}.runs[{r}].pattern[{p}]"


def _check_branches(layer: Layer, where: str, *, has_streams: bool) -> None:
    for b, branch in enumerate(layer.branches):
        if branch.joins == "later_streams":
            field = f"{where}.branches[{b}]"
            if not has_streams:
                raise InputError(msg("the stack has one stream"), where=f"{field}.joins", allowed="stream")
            _check_plain(branch, field, _LATER, msg("a branch that joins later streams has none"))
    if not stream_branches(layer):
        raise InputError(msg("no branch joins the stream"), where=where, allowed=msg("a branch with joins: stream"))


def _check_plain(part: Branch | Layer, where: str, plain: Mapping[str, Any], text: Message) -> None:
    for field, value in plain.items():
        if getattr(part, field) != value:
            raise InputError(text, where=f"{where}.{field}", allowed=msg("no value"))
