"""Metadata of a model: no figure depends on it."""

from __future__ import annotations

from archcalc.spec.base import Part
from archcalc.spec.claim import Claim


class Provenance(Part, frozen=True, kw_only=True):
    """What a reader ignored or assumed.

    `ignored`: keys that the model's class does not know. `assumed`: values that the file does not state.
    """

    ignored: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Return a line for each kind of note."""
        notes = {"ignored": ", ".join(self.ignored), "assumed": "; ".join(self.assumed)}
        return [f"{kind}: {items}" for kind, items in notes.items() if items]


class About(Part, frozen=True, kw_only=True):
    """Title, sources of the figures, a note, published figures, and the provenance of the spec."""

    title: str = ""
    source: str | tuple[str, ...] = ()
    note: str = ""
    claims: tuple[Claim, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the sources, one or many, as a tuple."""
        return (self.source,) if isinstance(self.source, str) else self.source
