"""Check routers that add the state of an earlier layer's router."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.branches import branches
from archcalc.spec.ffn import RouterMlp, router_mlp
from archcalc.spec.groups import adds_previous, layers_of, router_arm, run_counts
from archcalc.spec.layer import Layer, Stack
from archcalc.words import msg


def check_routers(stack: Stack, role: str) -> None:
    """Raise InputError for a router that has no state to add, or one of another kind."""
    found = [
        (place, part)
        for r, run in enumerate(stack.runs)
        for p, layer in enumerate(run.pattern)
        for place, part in _routers(layer, f"{role}.runs[{r}].pattern[{p}]")
    ]
    for place, part in found:
        if structs.replace(part, adds_previous=False) != structs.replace(found[0][1], adds_previous=False):
            problem = msg("the routers of a stack differ in more than adds_previous")
            raise InputError(problem, where=place, allowed=msg("equal routers"))
    if any(part.adds_previous for _, part in found):
        _check_order(stack, role)
        _check_turns(stack, role)


def _routers(layer: Layer, where: str) -> Iterator[tuple[str, RouterMlp]]:
    """Yield the place and the state of every router of a layer. Raises InputError for a second one."""
    n_found = 0
    for b, branch in enumerate(branches(layer)):
        for a, arm in enumerate(branch.arms):
            part = router_mlp(arm.part)
            if part is None or arm.reads == "nothing":
                continue
            place = f"{where}.branches[{b}].arms[{a}].part" if layer.branches else f"{where}.ffn"
            if n_found:
                problem = msg("another router of the layer has a state")
                raise InputError(problem, where=f"{place}.router_mlp", allowed="null")
            n_found += 1
            yield f"{place}.router_mlp", part


def _check_order(stack: Stack, role: str) -> None:
    """Raise InputError for a router before which none has a state."""
    start, has_state = 0, False
    layers = layers_of(stack)
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        for p, layer in enumerate(layers[start : start + min(count, len(run.pattern))]):
            if adds_previous(layer) and not has_state:
                problem = msg("no earlier layer has a router with a state")
                where = next(place for place, _ in _routers(layer, f"{role}.runs[{r}].pattern[{p}]"))
                raise InputError(problem, where=f"{where}.adds_previous", allowed="false")
            has_state = has_state or router_arm(layer) is not None
        start += count


def _check_turns(stack: Stack, role: str) -> None:
    """Raise InputError where layers do not follow one another, or no gradient passes from one to the next."""
    layers = layers_of(stack)
    if stack.cycles or any(layer.detached for layer in layers):
        problem = msg("routers add states of layers before, which belong to another run")
        raise InputError(problem, where=f"{role}.cycles" if stack.cycles else f"{role}.detached", allowed="null")
    if stack.n_mtp and adds_previous(layers[-1]):
        problem = msg("its layers are copies of the last layer, whose router adds the state of another")
        raise InputError(problem, where=f"{role}.n_mtp", allowed="0")
