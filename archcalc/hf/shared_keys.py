"""A schedule whose last layers read the keys and values of earlier layers of their kind (Gemma 3n, Gemma 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.lens import ConfigDraft, ImpliedValue, Key
from archcalc.hf.stack import ListSchedule, Schedule


@final
class SharedKeys(Schedule, msgspec.Struct, frozen=True):
    """`types` of which the last `n_shared` layers read keys: "sliding_shared". `depth` is the number of layers.

    `last` is the kind of the last layer, whatever the list says.
    """

    types: ListSchedule
    n_shared: Key
    depth: Key
    last: str | None = None

    def names(self) -> Iterator[str]:
        """Yield the keys of the types and of the number of layers that share."""
        yield from self.types.names()
        yield from self.n_shared.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError if no layer computes the keys that another reads."""
        kinds, n_shared = self.kinds(config, n_layers), self.n_shared.read(config)
        n_own = n_layers - n_shared
        if n_shared and (n_own < 1 or set(kinds[:n_own]) != set(kinds)):
            raise config.error(self.n_shared.name, n_shared, "fewer, so that layers of each type compute keys")
        return kinds[:n_own] + [f"{kind}_shared" for kind in kinds[n_own:]]

    def kinds(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind of each layer, without what it shares."""
        kinds = self.types.read(config, n_layers)
        return kinds if self.last is None else [*kinds[:-1], self.last]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the types, and the number of layers that share."""
        self.types.write([kind.removesuffix("_shared") for kind in kinds], draft)
        draft.put(self.n_shared.name, sum(kind.endswith("_shared") for kind in kinds))

    def lender(self, kind: str) -> ImpliedValue:
        """Return the index of the layer whose keys and values layers of this kind read: the last that has its own."""

        def index(config: Config) -> int:
            n_layers = self.depth.read(config)
            own = self.kinds(config, n_layers)[: n_layers - self.n_shared.read(config)]
            return len(own) - 1 - own[::-1].index(kind)

        return ImpliedValue(index)
