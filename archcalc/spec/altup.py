"""Several residual streams (AltUp): what a stack and its layers must agree on."""

from __future__ import annotations

from archcalc.errors import InputError
from archcalc.spec.branches import stream_branches
from archcalc.spec.layer import Branch, Layer, Stack
from archcalc.words import msg

_PLAIN = {"norm_after": None, "scale": 1.0, "skip": 1.0, "skip_reads": "stream"}


def check_altup(stack: Stack, role: str) -> None:
    """Raise InputError for streams that do not exist, or that layers or branches cannot have."""
    layers = [(r, p, layer) for r, run in enumerate(stack.runs) for p, layer in enumerate(run.pattern)]
    for r, p, layer in layers:
        _check_branches(layer, f"{role}.runs[{r}].pattern[{p}]", has_streams=stack.altup is not None)
    if stack.altup is None:
        return
    where, n = f"{role}.altup", stack.altup.n_streams
    if n < 2:
        raise InputError(msg("found {n}", n=n), where=f"{where}.n_streams", allowed=msg("2 or more"))
    if stack.altup.active >= n:
        last = msg("0 to {last}", last=n - 1)
        raise InputError(msg("found {n}", n=stack.altup.active), where=f"{where}.active", allowed=last)
    if stack.n_mtp or any(layer.out_scalar for _, _, layer in layers):
        raise InputError(
            msg("modules of multi-token prediction and out_scalar belong to one stream"), where=where, allowed="null"
        )


def _check_branches(layer: Layer, where: str, *, has_streams: bool) -> None:
    for b, branch in enumerate(layer.branches):
        if branch.joins == "later_streams":
            _check_later(branch, f"{where}.branches[{b}]", has_streams=has_streams)
    if not stream_branches(layer):
        raise InputError(msg("no branch joins the stream"), where=where, allowed=msg("a branch with joins: stream"))


def _check_later(branch: Branch, where: str, *, has_streams: bool) -> None:
    if not has_streams:
        raise InputError(msg("the stack has one stream"), where=f"{where}.joins", allowed="stream")
    for field, plain in _PLAIN.items():
        if getattr(branch, field) != plain:
            raise InputError(
                msg("a branch that joins later streams has none"), where=f"{where}.{field}", allowed=msg("left out")
            )
