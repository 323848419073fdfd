"""Which Hugging Face parameter holds which canonical tensors: a table for each family, read both ways.

In a table `{i}` stands for a layer's index, and a name without its last part (`weight`, `bias`) for both.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from archcalc.errors import ArchcalcError
from archcalc.words import msg

Shape = tuple[int, ...]
Order = Literal["whole", "alternate", "by_head", "in_four", "turned", "swapped"]


class TensorMapError(ArchcalcError):
    """A tensor that has no place in a family's map."""

    exit_code = 1


class TensorEntry(msgspec.Struct, frozen=True, dict=True):
    """`name` holds the canonical tensors `ours`: one as it is, or several joined along `axis` of theirs.

    `order`: one after the other; or row by row in turn (gpt-oss); or head by head in turn (GPT-NeoX: a kv head's
    queries, its key, its value); or in four blocks, a quarter of each (CodeGen); or turned, the rows that rotate
    together side by side (LLaMA in GGUF); or swapped, the halves of each head exchanged (NanoChat, which rotates the
    other way). `transposed` swaps the last two axes of the result (GPT-2's Conv1D is [in, out]). `requires`: another
    canonical tensor without which it is not this row that holds them. `plus`: what is stored is more than ours by so
    much. `as_row`: stored as a matrix of one row (ERNIE's corrections). `{e}` in the name: each row of ours is a tensor
    of its own (StableLM's norms of each head).
    """

    name: str
    ours: tuple[str, ...]
    axis: int = 0
    order: Order = "whole"
    transposed: bool = False
    requires: str = ""
    plus: float = 0.0
    as_row: bool = False

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(re.escape(name).replace(r"\{i\}", r"(\d+)")) for name in self.ours)

    def match(self, name: str, names: Container[str]) -> TensorEntry | None:
        """This row for the layer that a canonical name speaks of, if it holds that tensor of these."""
        for pattern in self._patterns:
            if match := pattern.fullmatch(name):
                found = self._at("".join(match.groups()))
                return found if not found.requires or found.requires in names else None
        return None

    def _at(self, index: str) -> TensorEntry:
        return msgspec.structs.replace(
            self,
            name=self.name.replace("{i}", index),
            ours=tuple(name.replace("{i}", index) for name in self.ours),
            requires=self.requires.replace("{i}", index),
        )

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of the whole, from those of its parts."""
        joined = list(shapes[0])
        for other in shapes[1:]:
            if len(other) != len(joined) or any(
                a != b for k, (a, b) in enumerate(zip(joined, other, strict=True)) if k != self.axis
            ):
                raise TensorMapError(
                    msg("{ours} cannot be joined: {map}", ours=" and ".join(self.ours), map=list(map(list, shapes)))
                )
            joined[self.axis] += other[self.axis]
        if self.transposed:
            joined[-1], joined[-2] = joined[-2], joined[-1]
        return (1, *joined) if self.as_row else tuple(joined)

    def rows(self, shape: Shape) -> list[str]:
        """The names of the tensors that hold a row each of one of this shape, if there is one for each."""
        return [self.name.replace("{e}", str(row)) for row in range(shape[0])] if "{e}" in self.name else []

    def stored(self, shapes: Sequence[Shape]) -> dict[str, Shape]:
        """The shapes of what is stored, from those of its parts, by name."""
        whole = self.shape(shapes)
        return dict.fromkeys(self.rows(whole), whole[1:]) or {self.name: whole}


class TensorMap(msgspec.Struct, frozen=True):
    """All of a family's tensors. `unmapped`: those of Hugging Face's that no spec holds, each with the reason."""

    entries: tuple[TensorEntry, ...]
    unmapped: Mapping[str, str]

    def placed(self, names: Iterable[str]) -> Iterator[TensorEntry]:
        """What holds each of these canonical tensors, every tensor exactly once.

        Raises TensorMapError naming a tensor that nothing holds, or a part whose others are missing.
        """
        remaining = dict.fromkeys(names)
        present = frozenset(remaining)
        while remaining:
            first = next(iter(remaining))
            found = self._holder(first, present)
            for part in found.ours:
                if part not in remaining:
                    raise TensorMapError(
                        msg("{name} holds {part}, which is not there or is held twice", name=found.name, part=part)
                    )
                del remaining[part]
            yield found

    def _holder(self, name: str, names: Container[str]) -> TensorEntry:
        found = (entry.match(name, names) for entry in self.entries)
        if held := next(filter(None, found), None):
            return held
        raise TensorMapError(msg("nothing holds {name}", name=name))

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Hugging Face's names and shapes of canonical tensors. Raises TensorMapError for one that has no place."""
        helds = self.placed(ours)
        return {
            name: shape for held in helds for name, shape in held.stored([ours[part] for part in held.ours]).items()
        }


def module(
    ours: str, name: str, *, transposed: bool = False, requires: str = "", order: Order = "whole", plus: float = 0.0
) -> tuple[TensorEntry, TensorEntry]:
    """A module's weight and bias; only the weight of a `transposed` one is."""
    return (
        TensorEntry(
            f"{name}.weight", (f"{ours}.weight",), transposed=transposed, requires=requires, order=order, plus=plus
        ),
        TensorEntry(f"{name}.bias", (f"{ours}.bias",), requires=requires, order=order),
    )


def fused_modules(
    ours: Sequence[str], name: str, *, order: Order = "whole", transposed: bool = False
) -> tuple[TensorEntry, TensorEntry]:
    """Several modules' weights and biases in one, joined along what they give."""
    return (
        TensorEntry(f"{name}.weight", tuple(f"{part}.weight" for part in ours), order=order, transposed=transposed),
        TensorEntry(f"{name}.bias", tuple(f"{part}.bias" for part in ours), order=order),
    )


def table(*rows: tuple[TensorEntry, ...] | TensorEntry, unmapped: Mapping[str, str] | None = None) -> TensorMap:
    """A map of these rows."""
    entries = [entry for row in rows for entry in (row if isinstance(row, tuple) else (row,))]
    return TensorMap(tuple(entries), unmapped or {})


def modules(pairs: Mapping[str, str], ours: str = "", name: str = "", **how: Any) -> tuple[TensorEntry, ...]:
    """A row for each pair of modules, each name under its prefix, `how` it is held said to `same`."""
    return tuple(entry for here, there in pairs.items() for entry in module(ours + here, name + there, **how))
