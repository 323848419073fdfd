"""Metadata of a model: no figure depends on it."""

from archcalc.spec.assumption import Assumption
from archcalc.spec.base import ModuleSize, Part
from archcalc.spec.claim import Claim
from archcalc.spec.storage import Storage
from archcalc.words import Message, joined, msg


class Provenance(Part, frozen=True, kw_only=True):
    """What a reader ignored or assumed.

    `ignored`: keys that the model's class does not know. `assumed`: values that the file does not state.
    """

    ignored: tuple[str, ...] = ()
    assumed: tuple[str | Assumption, ...] = ()

    @property
    def notes(self) -> list[Message]:
        """Return a line for each kind of note."""
        ignored = [msg("ignored: {keys}", keys=", ".join(self.ignored))] if self.ignored else []
        parts = [one if isinstance(one, str) else one.message for one in self.assumed]
        return ignored + ([msg("assumed: {values}", values=joined("; ", parts))] if parts else [])


class StoredMtp(Part, frozen=True, kw_only=True):
    """Modules for multi-token prediction that the files hold and the model's class does not build.

    Each of the `n_modules` has a projection, three norms, and a layer like the last one that has an attention and reads
    nothing of other layers. `has_tables`: each is stored with copies of the token table and of the head's matrix.
    """

    n_modules: ModuleSize
    has_tables: bool = False


class About(Part, frozen=True, kw_only=True):
    """Title, sources of the figures, a note, published figures, provenance, and how the model's files store it."""

    title: str = ""
    source: str | tuple[str, ...] = ()
    note: str = ""
    claims: tuple[Claim, ...] = ()
    provenance: Provenance = Provenance()
    stored_mtp: StoredMtp | None = None
    storage: Storage = Storage()

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the sources, one or many, as a tuple."""
        return (self.source,) if isinstance(self.source, str) else self.source
