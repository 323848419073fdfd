"""How a spec came to be read: what of its file was left aside."""

from __future__ import annotations

from archcalc.spec.base import Part


class Provenance(Part, frozen=True, kw_only=True):
    """What reading a file left aside or assumed.

    `ignored`: keys that the model's class does not know. `assumed`: what the file does not state.
    """

    ignored: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Return a line for each kind of remark that there is."""
        named = {"ignored": ", ".join(self.ignored), "assumed": "; ".join(self.assumed)}
        return [f"{kind}: {items}" for kind, items in named.items() if items]
