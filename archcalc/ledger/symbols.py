"""The named dimensions of a ledger, from the sizes in a spec.

A size has the name of its field (`n_heads`). If parts of one model have different values for a field, the name includes
the owner (`d_ff[dense]`, `n_heads[encoder]`).
"""

from __future__ import annotations

from collections.abc import Mapping

from archcalc.ledger.algebra import Poly
from archcalc.spec.base import Part
from archcalc.spec.base import sizes as part_sizes


class Symbols:
    """The dimensions of one part as attributes: `d.n_heads` is a Poly."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def __getitem__(self, field: str) -> Poly:
        return Poly.symbol(self._names[field])

    def __getattr__(self, field: str) -> Poly:
        return self[field]

    def narrowed(self) -> Symbols:
        """Return the dimensions of a part within a bottleneck, whose width is that of its states."""
        return Symbols({**self._names, "d_model": self._names["d_bottleneck"]})


class SizeTable:
    """The sizes of all parts of a model, and their names."""

    def __init__(self) -> None:
        self._by_field: dict[str, dict[str, int]] = {}

    def add(self, owner: str, sizes: Mapping[str, int]) -> None:
        """Record sizes of an owner ('' for the model itself)."""
        for field, size in sizes.items():
            self._by_field.setdefault(field, {})[owner] = size

    def add_part(self, owner: str, part: Part | None) -> None:
        """Record the sizes of a part and of its inner parts."""
        if part is None:
            return
        self.add(owner, part_sizes(part))
        for field in part.__struct_fields__:
            if isinstance(inner := getattr(part, field), Part):
                self.add_part(owner, inner)

    def name(self, field: str, owner: str) -> str:
        """Return the name of the owner's size."""
        by_owner = self._by_field[field]
        return field if len(set(by_owner.values())) == 1 else f"{field}[{owner}]" if owner else field

    def symbols(self, *owners: str) -> Symbols:
        """Return the dimensions of these owners; the first owner of a field wins."""
        return Symbols(
            {
                field: self.name(field, owner)
                for field, by_owner in self._by_field.items()
                for owner in reversed(owners)
                if owner in by_owner
            }
        )

    def sizes(self) -> dict[str, int]:
        """Return the size of every named dimension."""
        return {
            self.name(field, owner): size
            for field, by_owner in self._by_field.items()
            for owner, size in by_owner.items()
        }
