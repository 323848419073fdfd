"""Keys inside a mapping of the config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import MAPPING, Config
from archcalc.hf.irrelevant_keys import COMMON_CONSTRAINTS, IRRELEVANT
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, Template, read, write

# Keys of every config of transformers, also of nested ones.
_CONFIG_KEYS = frozenset({"model_type", "architectures", "is_encoder_decoder"})


@final
class NestedTemplate(ConfigLens, msgspec.Struct, frozen=True):
    """A template whose keys are in the mapping `name`. An absent or null mapping is empty."""

    name: str
    template: Template

    def names(self) -> Iterator[str]:
        """Yield the key of the mapping."""
        yield self.name

    def inner(self, config: Config) -> Config:
        """Return the mapping."""
        found = config.get(self.name, MAPPING) if config.data.get(self.name) is not None else {}
        return config.nested(found, config.where(self.name))

    def read(self, config: Config) -> Any:
        """Return the template's document of the mapping."""
        return read(self.template, self.inner(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the template's keys into the mapping."""
        inner = ConfigDraft(draft.get(self.name, {}))
        write(self.template, value, inner)
        draft[self.name] = dict(inner)


@final
class NestedConstraint(Constraint, frozen=True):
    """Constraints on a mapping in the config. Its `known` keys are read; its `irrelevant` ones have no effect."""

    constraints: tuple[Constraint, ...] = ()
    known: frozenset[str] = frozenset()
    irrelevant: frozenset[str] = frozenset()

    def check(self, config: Config) -> None:
        """Raise InputError for a value that is not allowed; note unknown keys as ignored."""
        inner = NestedTemplate(self.name, None).inner(config)
        common = (constraint for constraint in COMMON_CONSTRAINTS if constraint.name not in self.irrelevant)
        constraints = (*common, *self.constraints)
        constrained = {constraint.name for constraint in constraints}
        inner.ignore_but(self.known | constrained | IRRELEVANT | _CONFIG_KEYS | self.irrelevant)
        for constraint in constraints:
            constraint.check(inner)
