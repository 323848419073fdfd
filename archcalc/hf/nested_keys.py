"""Keys inside a mapping of the config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import MAPPING, Config
from archcalc.hf.irrelevant_keys import COMMON_CONSTRAINTS, IRRELEVANT
from archcalc.hf.lens import ConfigDraft, Constraint, Lens, Template, read, write

# What every config of transformers has, and a nested one too.
_OF_CONFIGS = frozenset({"model_type", "architectures", "is_encoder_decoder"})


@final
class NestedTemplate(Lens, msgspec.Struct, frozen=True):
    """A template whose keys stand in the mapping under `name`; a mapping that is absent or null is empty."""

    name: str
    template: Template

    def names(self) -> Iterator[str]:
        """Yield the mapping's own."""
        yield self.name

    def inner(self, config: Config) -> Config:
        """Return the mapping."""
        found = config.get(self.name, MAPPING) if config.data.get(self.name) is not None else {}
        return config.nested(found, config.where(self.name))

    def read(self, config: Config) -> Any:
        """Return the template, filled from the mapping."""
        return read(self.template, self.inner(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the mapping's keys beside those that it has."""
        inner = ConfigDraft(draft.get(self.name, {}))
        write(self.template, value, inner)
        draft[self.name] = dict(inner)


@final
class NestedConstraint(Constraint, frozen=True):
    """What a mapping inside the config may hold: keys that are read, keys that change no number, and rules."""

    rules: tuple[Constraint, ...] = ()
    known: frozenset[str] = frozenset()
    irrelevant: frozenset[str] = frozenset()

    def check(self, config: Config) -> None:
        """Raise InputError for a value that a rule does not allow; note the keys that are not known."""
        inner = NestedTemplate(self.name, None).inner(config)
        rules = (*COMMON_CONSTRAINTS, *self.rules)
        inner.ignore_but({*self.known, *(rule.name for rule in rules), *IRRELEVANT, *_OF_CONFIGS, *self.irrelevant})
        for rule in rules:
            rule.check(inner)
