"""The residual branches of a layer, in its short or explicit form, and the names of its norms and sums.

Ledger, modules, sites, trace and diagram all read a layer through these functions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import structs

from archcalc.spec.layer import Arm, Branch, Layer, Placement, Reads
from archcalc.spec.norm import Norm


class NormPlaces(msgspec.Struct, frozen=True):
    """Where a placement puts the norm of a layer. `is_parallel`: all parts are arms of one branch."""

    before: bool = False
    out: bool = False
    after: bool = False
    each_arm: bool = False
    is_parallel: bool = False


PLACEMENTS: dict[Placement, NormPlaces] = {
    "pre": NormPlaces(before=True),
    "post": NormPlaces(after=True),
    "sandwich": NormPlaces(before=True, out=True),
    "output": NormPlaces(out=True),
    "parallel": NormPlaces(before=True, is_parallel=True),
    "parallel_two": NormPlaces(each_arm=True, is_parallel=True),
}


def branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the residual branches of a layer, in order."""
    if layer.branches:
        return layer.branches
    places, arms = PLACEMENTS[layer.placement], _short_arms(layer)
    return tuple(_branch(layer, places, group) for group in ([arms] if places.is_parallel else [[arm] for arm in arms]))


def is_idle(branch: Branch) -> bool:
    """Return whether the branch is stored but never computed: its arms read nothing."""
    return all(arm.reads == "nothing" for arm in branch.arms)


def active_branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the branches that a forward pass computes, in order."""
    return tuple(branch for branch in branches(layer) if not is_idle(branch))


def stream_branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the computed branches that are added to the residual stream, or to the active one of several."""
    return tuple(branch for branch in active_branches(layer) if branch.joins == "stream")


def first_branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the computed branches in order, but those that are added to later streams only."""
    return tuple(branch for branch in active_branches(layer) if branch.joins != "later_streams")


def later_branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the branches that are added to all streams but the first."""
    return tuple(branch for branch in active_branches(layer) if branch.joins == "later_streams")


def arms(layer: Layer) -> tuple[Arm, ...]:
    """Return every arm of a layer, in order."""
    return tuple(arm for branch in branches(layer) for arm in branch.arms)


def parts(layer: Layer) -> dict[str, Any]:
    """Return the parts of a layer by arm name, which is part of their tensors' names."""
    return {arm.name: arm.part for arm in arms(layer)}


def with_parts(layer: Layer, change: Callable[[Any], Any]) -> Layer:
    """Return the layer with `change` applied to every part, in the same form (short or explicit)."""
    if layer.branches:
        return structs.replace(layer, branches=tuple(_with_changed_parts(branch, change) for branch in layer.branches))
    fields = {field: getattr(layer, field) for field in ("attention", "mixer", "cross", "ffn")}
    return structs.replace(layer, **{field: change(part) for field, part in fields.items() if part is not None})


class BranchNames(msgspec.Struct, frozen=True):
    """The names of a branch's first arm, norms, gate, weights of the skip, and sums; None if there is none.

    `norm_keys` and `norm_values` are those of keys and values, where these read norms of their own. `joined` is the
    input with that of the first layer, `arms_sum` the sum of several arms before `norm_out`, `sum` the
    residual stream before `norm_after`, `next` what the next branch reads in place of the stream.
    """

    first: str
    norm_in: str | None
    norm_keys: str | None
    norm_values: str | None
    in_gate: str | None
    skip: str | None
    arms_sum: str | None
    norm_out: str | None
    norm_after: str | None
    sum: str | None
    next: str | None
    joined: str | None


def names(branch: Branch) -> BranchNames:
    """Return the names of a branch's norms and sums: the name of the first arm with a suffix."""
    first = branch.arms[0].name
    has_before = branch.norm_in is not None or any(arm.norm is not None for arm in branch.arms)
    return BranchNames(
        first=first,
        norm_in=f"{first}_norm" if branch.norm_in else None,
        norm_keys=f"{first}_norm_keys" if branch.splits_input else None,
        norm_values=f"{first}_norm_values" if branch.splits_input else None,
        in_gate=f"{first}_in_gate" if branch.in_gate_rank else None,
        skip=f"{first}_skip" if branch.skip_weight else None,
        arms_sum=f"{first}_arms_sum" if branch.norm_out and len(branch.arms) > 1 else None,
        norm_out=f"{first}_out_norm" if branch.norm_out else None,
        norm_after=None if branch.norm_after is None else f"{first}_after_norm" if has_before else f"{first}_norm",
        sum=f"{first}_sum" if branch.norm_after else None,
        next=f"{first}_next" if branch.joins in ("next", "next_sum") else None,
        joined=f"{first}_joined" if reads_embedding(branch) else None,
    )


def arm_norm(arm: Arm) -> str | None:
    """Return the name of an arm's norm; None if it has none."""
    return f"{arm.name}_norm" if arm.norm else None


def arm_conv(arm: Arm) -> str | None:
    """Return the name of the convolution of an arm's output; None if it has none."""
    return f"{arm.name}_conv" if arm.d_out_conv else None


def arm_norm_out(arm: Arm) -> str | None:
    """Return the name of the norm of an arm's output; None if it has none."""
    return f"{arm.name}_post_norm" if arm.norm_out else None


def arm_sum(arm: Arm) -> str | None:
    """Return the name of the sum of an arm's input and output; None if the arm adds no input."""
    return f"{arm.name}_skip_sum" if arm.skip else None


def norms(branch: Branch) -> Iterator[tuple[str, Norm]]:
    """Yield every norm of a branch with its name, in the order of a forward pass."""
    own = names(branch)
    if own.norm_in and branch.norm_in:
        yield own.norm_in, branch.norm_in
        if own.norm_keys and own.norm_values:
            yield own.norm_keys, branch.norm_in
            yield own.norm_values, branch.norm_in
    for arm in branch.arms:
        if arm.norm:
            yield f"{arm.name}_norm", arm.norm
        if arm.norm_out:
            yield f"{arm.name}_post_norm", arm.norm_out
    if own.norm_out and branch.norm_out:
        yield own.norm_out, branch.norm_out
    if own.norm_after and branch.norm_after:
        yield own.norm_after, branch.norm_after


def tied_norms(layer: Layer) -> dict[str, str]:
    """Return the norm whose weights each norm without its own uses, by name."""
    firsts = {branch.arms[0].name: next((name for name, _ in norms(branch)), "") for branch in branches(layer)}
    tied = {
        name: firsts[branch.norm_of]
        for branch in branches(layer)
        if branch.norm_of is not None
        for name, _ in norms(branch)
    }
    return {name: owner for name, owner in tied.items() if name != owner}


def stream_names(layer: Layer) -> list[str]:
    """Return the name of the branches' stream after each branch that joins it: `resid_mid`…, then `resid_post`.

    Within a bottleneck it is not the residual stream: `narrow_mid`…, then `narrow_post`.
    """
    firsts, stream = [branch.arms[0].name for branch in stream_branches(layer)], _stream(layer)
    return [f"{stream}_mid" if name == "attn" else f"{stream}_mid_{name}" for name in firsts[:-1]] + [f"{stream}_post"]


def stream_start(layer: Layer) -> str:
    """Return the name of the branches' stream before the first branch."""
    return f"{_stream(layer)}_pre"


def _stream(layer: Layer) -> str:
    return "resid" if layer.bottleneck is None else "narrow"


def names_after(layer: Layer) -> list[str | None]:
    """Return the name of the residual stream after each of the first branches; None if it does not join the stream."""
    joined = iter(stream_names(layer))
    return [next(joined) if branch.joins == "stream" else None for branch in first_branches(layer)]


def reads_embedding(branch: Branch) -> bool:
    """Return whether the arms of a branch read the input of the first layer beside their own."""
    return any(getattr(arm.part, "reads_embedding", False) for arm in branch.arms)


def borrowed_names(layer: Layer) -> dict[str, int]:
    """Return the arms, norms and gates of a layer whose weights belong to an earlier one, with its index."""
    return {
        name: operator.index(branch.weights_of)
        for branch in branches(layer)
        if branch.weights_of is not None
        for name in branch_modules(branch)
    }


def branch_modules(branch: Branch) -> list[str]:
    """Return the names of the arms, norms, gate and skip weights of a branch."""
    own = names(branch)
    others = [name for name in (own.in_gate, own.skip, *map(arm_conv, branch.arms)) if name is not None]
    return [*(arm.name for arm in branch.arms), *(name for name, _ in norms(branch)), *others]


def streams_names(layer: Layer) -> list[str]:
    """Return the name of all streams after each branch that writes them: `streams_mid`…, then `streams`."""
    return [name.replace("resid_mid", "streams_mid").replace("resid_post", "streams") for name in stream_names(layer)]


def _short_arms(layer: Layer) -> list[Arm]:
    norm = layer.norm if PLACEMENTS[layer.placement].each_arm else None
    named = {"attn": layer.attention, "mixer": layer.mixer, "cross": layer.cross, "ffn": layer.ffn}
    reads: dict[str, Reads] = {"cross": layer.cross_reads}
    if layer.shares is not None and layer.shares.keys_values is not None:
        reads["attn"] = "shared"
    return [
        Arm(name=name, part=part, norm=norm, reads=reads.get(name, "stream"))
        for name, part in named.items()
        if part is not None
    ]


def _branch(layer: Layer, places: NormPlaces, group: list[Arm]) -> Branch:
    return Branch(
        arms=tuple(group),
        norm_in=layer.norm if places.before else None,
        norm_out=layer.norm if places.out else None,
        norm_after=layer.norm if places.after else None,
        scale=layer.scale,
        skip=layer.skip,
        skip_reads=layer.skip_reads,
        skip_weight=layer.skip_weight,
        skip_bias=layer.skip_bias,
    )


def _with_changed_parts(branch: Branch, change: Callable[[Any], Any]) -> Branch:
    return structs.replace(branch, arms=tuple(structs.replace(arm, part=change(arm.part)) for arm in branch.arms))
