"""Modules of layers that run in cycles: which layers a run has, and what a stack with cycles must be."""

from __future__ import annotations

from archcalc.errors import InputError
from archcalc.spec.branches import arms
from archcalc.spec.groups import layers_of, run_counts
from archcalc.spec.layer import Cycles, Run, Stack
from archcalc.words import msg

_OTHERS = ("prompts", "per_layer", "streams", "global_tokens")


def layers_of_run(stack: Stack, cycles: Cycles) -> int:
    """Return the number of layers of each run of a resolved stack."""
    assert stack.n_layers is not None, "the stack is resolved"
    return stack.n_layers // cycles.n_runs


def is_high(cycles: Cycles, run: int) -> bool:
    """Return whether this run is one of the high module."""
    return (run + 1) % (cycles.n_low + 1) == 0


def detached_runs(stack: Stack, cycles: Cycles) -> list[bool]:
    """Return for each run whether training computes no gradients of it."""
    layers, n = layers_of(stack), layers_of_run(stack, cycles)
    return [layers[run * n].detached for run in range(cycles.n_runs)]


def check_cycles(stack: Stack, role: str) -> None:
    """Raise InputError for runs that share weights they cannot, and for cycles that do not fit the layers."""
    _check_weights(stack, role)
    if stack.cycles is None:
        if any(layer.detached for run in stack.runs for layer in run.pattern):
            raise InputError(msg("the stack has no cycles"), where=f"{role}.runs: detached", allowed="false")
        return
    where, cycles = f"{role}.cycles", stack.cycles
    if role != "decoder":
        raise InputError(msg("an encoder runs once"), where=where, allowed=msg("null, or a decoder"))
    for field in _OTHERS:
        if getattr(stack, field) is not None:
            raise InputError(msg("is stated together with {field}", field=field), where=where, allowed="null")
    if stack.n_mtp or any(arm.reads == "shared" for layer in layers_of(stack) for arm in arms(layer)):
        raise InputError(msg("later layers would read another run's"), where=where, allowed="null")
    n_layers = stack.n_layers or 0
    if n_layers % cycles.n_runs:
        raise InputError(
            msg("{n_layers} layers are not as many in each of {n_runs} runs", n_layers=n_layers, n_runs=cycles.n_runs),
            where=where,
            allowed=msg("a multiple of {n_runs} layers", n_runs=cycles.n_runs),
        )
    _check_detached(stack, cycles, where)


def _check_detached(stack: Stack, cycles: Cycles, where: str) -> None:
    """Raise InputError unless whole runs are detached, the first low ones of a cycle."""
    found, n = [layer.detached for layer in layers_of(stack)], layers_of_run(stack, cycles)
    runs = detached_runs(stack, cycles)
    is_whole = found == [one for one in runs for _ in range(n)]
    breaks = (
        runs[k] and (is_high(cycles, k) or (k and not is_high(cycles, k - 1) and not runs[k - 1]))
        for k in range(len(runs))
    )
    if not is_whole or any(breaks):
        raise InputError(
            msg("gradients would end in the middle of a cycle"),
            where=f"{where}: detached",
            allowed=msg("all layers of the first low runs of a cycle"),
        )


def _check_weights(stack: Stack, role: str) -> None:
    """Raise InputError for a run whose layers cannot use the weights of the run that it names."""
    counts = run_counts(stack)
    for r, run in enumerate(stack.runs):
        if run.weights_of is None:
            continue
        owner = stack.runs[run.weights_of] if run.weights_of < r else None
        if owner is None or not _may_share(run, owner) or counts[r] != counts[run.weights_of]:
            raise InputError(
                msg("found {found}", found=run.weights_of),
                where=f"{role}.runs[{r}].weights_of",
                allowed=msg("an earlier run of as many equal layers with their own weights"),
            )


def _may_share(run: Run, owner: Run) -> bool:
    from msgspec.structs import replace

    own = [run.share_weights, owner.share_weights, owner.weights_of is not None]
    own += [layer.shares is not None for layer in (*run.pattern, *owner.pattern)]
    bare = [[replace(layer, name=None, detached=False) for layer in each.pattern] for each in (run, owner)]
    return not any(own) and bare[0] == bare[1]
