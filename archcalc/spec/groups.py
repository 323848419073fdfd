"""Groups of equal layers in a stack: the unit of ledgers and tables."""

from __future__ import annotations

import operator

import msgspec

from archcalc.errors import InputError
from archcalc.spec.attention import reads_selection, stored_rope
from archcalc.spec.branches import arms
from archcalc.spec.ffn import router_mlp
from archcalc.spec.layer import Layer, Stack
from archcalc.words import msg


class Group(msgspec.Struct, frozen=True):
    """Equal layers of a stack.

    `layer_indices` are their indices; `weight_indices` are those of layers with their own weights: fewer if weights are
    shared, none if all belong to an earlier layer.
    """

    name: str
    layer: Layer
    weight_indices: tuple[int, ...]
    layer_indices: tuple[int, ...]

    @property
    def own_weights(self) -> bool:
        """Return whether each layer has its own weights."""
        return len(self.weight_indices) == len(self.layer_indices)

    @property
    def last(self) -> int:
        """Return the index of the last layer of the group."""
        return self.layer_indices[-1]


def run_counts(stack: Stack) -> list[int]:
    """Return the number of layers of each run of a resolved stack."""
    assert stack.n_layers is not None, "the stack is resolved"
    n_stated = sum(run.count or 0 for run in stack.runs)
    return [run.count or stack.n_layers - n_stated for run in stack.runs]


def layers_of(stack: Stack) -> list[Layer]:
    """Return the layer at each index of a resolved stack."""
    return [stack.runs[r].pattern[p] for r, p, _ in _layer_places(stack)]


def has_table(stack: Stack) -> bool:
    """Return whether a table of positions or stored angles bounds the context length."""
    parts = (arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer))
    return (stack.position is not None and stack.position.is_table) or any(map(stored_rope, parts))


def weight_indices(stack: Stack) -> list[int]:
    """Return for each layer the index of the layer whose weights it uses (its own, unless shared)."""
    return [owner for _, _, owner in _layer_places(stack)]


def lender_indices(stack: Stack) -> list[int | None]:
    """Return for each layer the index of the layer whose keys and values or selection it reads; None without one."""
    return [lender_index(layer) for layer in layers_of(stack)]


def lender_index(layer: Layer) -> int | None:
    """Return the index of the layer whose keys and values or selection a layer reads; None without one."""
    keys_values = _share_index(layer, "keys_values")
    return _share_index(layer, "selection") if keys_values is None else keys_values


def lending_arms(stack: Stack) -> dict[int, tuple[str, ...]]:
    """Return the layers whose keys and values, selections or states of routers later layers read.

    Each is with the arms that compute them.
    """
    arms_by_lender: dict[int, dict[str, None]] = {}
    if not any(layer.shares or router_arm(layer) for run in stack.runs for layer in run.pattern):
        return {}
    for layer, lender in zip(layers_of(stack), lender_indices(stack), strict=True):
        if lender is not None:
            arms_by_lender.setdefault(lender, {}).update(dict.fromkeys(borrowing_arms(layer)))
    for link in router_links(stack):
        if link is not None:
            arms_by_lender.setdefault(link.lender, {})[link.lending_arm] = None
    return {lender: tuple(names) for lender, names in arms_by_lender.items()}


class RouterLink(msgspec.Struct, frozen=True):
    """The router of an arm, which adds the state of an earlier layer's router: its layer and arm."""

    arm: str
    lender: int
    lending_arm: str

    @property
    def site(self) -> str:
        """Return the site of that state, without the prefix of the layers."""
        return f"{self.lender}.{self.lending_arm}.router_state"


def router_arm(layer: Layer) -> str | None:
    """Return the arm of a layer whose router has a state; None without one."""
    return next((arm.name for arm in arms(layer) if arm.reads != "nothing" and router_mlp(arm.part)), None)


def router_links(stack: Stack) -> list[RouterLink | None]:
    """Return for each layer the router's state that its router adds; None without one."""
    links: list[RouterLink | None] = []
    last: tuple[int, str] | None = None
    for index, layer in enumerate(layers_of(stack)):
        name = router_arm(layer)
        links.append(RouterLink(name, *last) if name and last and adds_previous(layer) else None)
        last = (index, name) if name else last
    return links


def adds_previous(layer: Layer) -> bool:
    """Return whether a router of the layer adds the state of an earlier layer's router."""
    own = (router_mlp(arm.part) for arm in arms(layer))
    return any(part is not None and part.adds_previous for part in own)


def shared_arms(layer: Layer) -> list[str]:
    """Return the arms of a layer that read an earlier layer's keys and values."""
    return [arm.name for arm in arms(layer) if arm.reads == "shared"]


def borrowing_arms(layer: Layer) -> list[str]:
    """Return the arms of a layer that read an earlier layer's keys and values or selection."""
    return [arm.name for arm in arms(layer) if arm.reads == "shared" or reads_selection(arm.part)]


def _share_index(layer: Layer, field: str) -> int | None:
    reference = None if layer.shares is None else getattr(layer.shares, field)
    return None if reference is None else operator.index(reference)


def _layer_places(stack: Stack) -> list[tuple[int, int, int]]:
    """Return (run, position in its pattern, index of the layer with the weights) for each layer."""
    turns: list[tuple[int, int, int]] = []
    starts: list[int] = []
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        starts.append(len(turns))
        shared = [_share_index(layer, "weights") for layer in run.pattern]
        first = len(turns) if run.weights_of is None else starts[min(operator.index(run.weights_of), r)]
        for k in range(count):
            p = k % len(run.pattern)
            owner = shared[p]
            turns.append((r, p, first + (p if run.share_weights else k) if owner is None else owner))
    return turns


def groups(stack: Stack) -> tuple[Group, ...]:
    """Return the groups of equal layers, in the order of their first layers.

    Raises InputError if two different layers have the same name.
    """
    members: dict[tuple[Layer, bool], list[int]] = {}
    places: dict[tuple[int, int], list[int]] = {}  # a layer is hashed once for its place, not for each index
    turns = _layer_places(stack)
    for index, (r, p, _) in enumerate(turns):
        if (r, p) not in places:
            run = stack.runs[r]
            places[r, p] = members.setdefault((run.pattern[p], run.share_weights), [])
        places[r, p].append(index)
    result = []
    for (layer, _), indices in members.items():
        own = tuple(i for i in indices if turns[i][2] == i)
        unnamed = "layers" if len(members) == 1 else f"like_{indices[0]}"
        result.append(Group(layer.name or unnamed, layer, own, tuple(indices)))
    names = [group.name for group in result]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                msg("two different layers are named {name}", name=repr(name)),
                allowed=msg("unique names"),
            )
    return tuple(result)
