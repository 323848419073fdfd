"""What is loaded from where: every tensor of ours placed, every stored one accounted for, before anything is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import Holds, Shape, TensorMap, TensorMapError
from archcalc.words import msg


@dataclass(frozen=True)
class Move:
    """A stored tensor, and what of ours it holds; `row` where that is one expert's or one head's row of ours."""

    stored: FileTensor
    held: Holds
    row: int | None = None


@dataclass(frozen=True)
class Plan:
    """All that is copied; `same`: pairs that must hold equal numbers."""

    moves: tuple[Move, ...]
    computed: tuple[str, ...]
    same: tuple[tuple[FileTensor, FileTensor], ...]


def plan(stored: Mapping[str, FileTensor], shapes: Mapping[str, Shape], tensors: TensorMap, spelling: Spelling) -> Plan:
    """How `stored` tensors fill ours of these shapes.

    Raises InputError naming the tensor that is missing, too many, twice there, or of another shape.
    """
    named = _named(stored, spelling)
    try:
        helds = list(spelling.rows(tensors, named).placed(shapes))
    except TensorMapError as error:
        raise InputError(msg("this architecture has no place in the family's files: {error}", error=error)) from None
    computed = [held for held in helds if held.name not in named and set(held.ours) <= set(spelling.computed)]
    moves = [move for held in helds if held not in computed for move in _moves(held, named, shapes, spelling)]
    used = {move.stored.name for move in moves}
    same = _rest({name: one for name, one in named.items() if one.name not in used}, named, spelling)
    return Plan(tuple(moves), tuple(name for held in computed for name in held.ours), same)


def _named(stored: Mapping[str, FileTensor], spelling: Spelling) -> dict[str, FileTensor]:
    """What is stored by the class's names."""
    named: dict[str, FileTensor] = {}
    for one in stored.values():
        name = spelling.name(one.name)
        if name in named:
            raise InputError(
                msg("is {name} in another spelling", name=shown(named[name].name, 200)), where=shown(one.name, 200)
            )
        named[name] = one
    return named


def _moves(
    held: Holds, named: Mapping[str, FileTensor], shapes: Mapping[str, Shape], spelling: Spelling
) -> Iterator[Move]:
    """What fills the tensors of one row: a tensor, one for each expert or head, or another's copy."""
    ours = [shapes[name] for name in held.ours]
    each = _each(held.name, spelling)
    instead = spelling.absent.get(held.name, "")
    if held.name not in named and each and each[0].replace("{e}", "0") in named:
        for name, part, shape in zip(each, held.ours, ours, strict=True):
            for row in range(shape[0]):
                expert = name.replace("{e}", str(row))
                yield Move(_of_shape(expert, shape[1:], named), Holds(expert, (part,)), row)
        return
    if each_row := held.rows(ours[0]):
        for row, name in enumerate(each_row):
            yield Move(_of_shape(name, ours[0][1:], named), Holds(name, held.ours), row)
        return
    yield Move(_of_shape(held.name, held.shape(ours), named, instead), held)


def _each(name: str, spelling: Spelling) -> tuple[str, ...]:
    """The names of one expert's tensors, `{e}` for the expert, where files have them beside the stacked one."""
    if index := re.search(r"\.(\d+)\.", name):
        for stacked, each in spelling.one_by_one.items():
            if stacked.replace("{i}", index[1]) == name:
                return tuple(one.replace("{i}", index[1]) for one in each)
    return ()


def _of_shape(name: str, shape: Shape, named: Mapping[str, FileTensor], instead: str = "") -> FileTensor:
    found = named.get(name) or named.get(instead)
    if found is None:
        raise InputError(
            msg("is missing"), where=shown(name, 200), allowed=msg("a tensor of shape {shape}", shape=list(shape))
        )
    if found.shape != shape:
        raise InputError(
            msg("has shape {shape}", shape=list(found.shape)), where=shown(found.name, 200), allowed=str(list(shape))
        )
    return found


def _rest(
    left: Mapping[str, FileTensor], named: Mapping[str, FileTensor], spelling: Spelling
) -> tuple[tuple[FileTensor, FileTensor], ...]:
    """Of what no row holds: the copies, with what they are copies of."""
    same = []
    for name, one in left.items():
        original = named.get(spelling.copies.get(name, ""))
        if original is not None:
            if (original.shape, original.dtype) != (one.shape, one.dtype):
                raise InputError(
                    msg(
                        "has shape {shape} in {dtype}, but is tied to {name}",
                        shape=list(one.shape),
                        dtype=one.dtype,
                        name=shown(original.name, 200),
                    ),
                    where=shown(one.name, 200),
                    allowed=msg("{shape} in {dtype}", shape=list(original.shape), dtype=original.dtype),
                )
            same.append((one, original))
        elif spelling.why_left(name) is None:
            raise InputError(msg("is a tensor that this architecture does not have"), where=shown(one.name, 200))
    return tuple(same)
