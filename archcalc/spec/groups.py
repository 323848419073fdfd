"""Which layers of a stack are alike: the unit in which ledgers count and tables speak."""

from __future__ import annotations

import operator

import msgspec

from archcalc.errors import InputError
from archcalc.spec.attention import stored_rope
from archcalc.spec.branches import arms
from archcalc.spec.layer import Layer, Stack
from archcalc.words import msg


class Group(msgspec.Struct, frozen=True):
    """Layers that are alike.

    `turns` are their indices in the stack; `indices` those of them that own weights (fewer where weights are shared,
    none where they are an earlier layer's).
    """

    name: str
    layer: Layer
    weight_indices: tuple[int, ...]
    layer_indices: tuple[int, ...]

    @property
    def own_weights(self) -> bool:
        """Whether each layer has weights of its own."""
        return len(self.weight_indices) == len(self.layer_indices)

    @property
    def last(self) -> int:
        """The index of the last of these layers."""
        return self.layer_indices[-1]


def run_counts(stack: Stack) -> list[int]:
    """How many layers each run of a resolved stack takes."""
    assert stack.n_layers is not None, "the stack is resolved"
    fixed = sum(run.count or 0 for run in stack.runs)
    return [run.count or stack.n_layers - fixed for run in stack.runs]


def layers_of(stack: Stack) -> list[Layer]:
    """The layer at each index of a resolved stack."""
    return [stack.runs[r].pattern[p] for r, p, _ in _turns(stack)]


def has_table(stack: Stack) -> bool:
    """Whether positions end where the rows of a table do: beside the embedding, or of stored angles."""
    found = (arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer))
    return (stack.position is not None and stack.position.is_table) or any(map(stored_rope, found))


def weight_indices(stack: Stack) -> list[int]:
    """For the layer at each index, the index of the layer whose weights it uses (its own, unless they are shared)."""
    return [owner for _, _, owner in _turns(stack)]


def key_indices(stack: Stack) -> list[int | None]:
    """For the layer at each index, the index of the layer whose keys and values it reads; None for its own."""
    return [_shared(layer, "keys_values") for layer in layers_of(stack)]


def lending_arms(stack: Stack) -> dict[int, tuple[str, ...]]:
    """The layers whose keys and values later ones read, each with the arms that make them."""
    lent: dict[int, dict[str, None]] = {}
    if not any(layer.shares for run in stack.runs for layer in run.pattern):
        return {}
    for layer, lender in zip(layers_of(stack), key_indices(stack), strict=True):
        if lender is not None:
            lent.setdefault(lender, {}).update(dict.fromkeys(shared_arms(layer)))
    return {lender: tuple(names) for lender, names in lent.items()}


def shared_arms(layer: Layer) -> list[str]:
    """The arms of a layer that read an earlier layer's keys and values."""
    return [arm.name for arm in arms(layer) if arm.reads == "shared"]


def _shared(layer: Layer, field: str) -> int | None:
    found = None if layer.shares is None else getattr(layer.shares, field)
    return None if found is None else operator.index(found)


def _turns(stack: Stack) -> list[tuple[int, int, int]]:
    """(run, position in its pattern, index of the layer that owns the weights) of the layer at each index."""
    turns: list[tuple[int, int, int]] = []
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        start, shared = len(turns), [_shared(layer, "weights") for layer in run.pattern]
        for k in range(count):
            p = k % len(run.pattern)
            owner = shared[p]
            turns.append((r, p, start + (p if run.share_weights else k) if owner is None else owner))
    return turns


def groups(stack: Stack) -> tuple[Group, ...]:
    """The stack's layers gathered by likeness, in the order of their first appearance.

    Raises InputError where two layers that differ carry the same name.
    """
    members: dict[tuple[Layer, bool], list[int]] = {}
    places: dict[tuple[int, int], list[int]] = {}  # a layer is hashed once for its place, not at every turn
    turns = _turns(stack)
    for index, (r, p, _) in enumerate(turns):
        if (r, p) not in places:
            run = stack.runs[r]
            places[r, p] = members.setdefault((run.pattern[p], run.share_weights), [])
        places[r, p].append(index)
    found = []
    for (layer, _), indices in members.items():
        own = tuple(i for i in indices if turns[i][2] == i)
        unnamed = "layers" if len(members) == 1 else f"like_{indices[0]}"
        found.append(Group(layer.name or unnamed, layer, own, tuple(indices)))
    names = [group.name for group in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                msg("two layers that differ are both named {name}", name=repr(name)),
                allowed=msg("a name of its own for each"),
            )
    return tuple(found)
