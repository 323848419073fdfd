"""A family of models: one template that reads its configs and writes them, and the map of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.errors import InputError
from archcalc.hf import upstream
from archcalc.hf.config import Config, raise_all
from archcalc.hf.gguf_map import GgufMap
from archcalc.hf.heads import ONE_STACK, TWO_STACKS
from archcalc.hf.irrelevant_keys import COMMON_CONSTRAINTS, IRRELEVANT
from archcalc.hf.lens import ConfigDraft, Constraint, MismatchError, Template, names, read, write
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap

if TYPE_CHECKING:
    from archcalc.spec.document import Document
    from archcalc.spec.model import Spec

_KEYS_OF_ALL = frozenset({"model_type", "architectures", "is_encoder_decoder"})


class Family(msgspec.Struct, frozen=True, dict=True):
    """How configs of one `model_type` and documents of specs become each other.

    `classes`: the transformers classes whose tensors these are, the first being the one that is written.
    `must`: keys that are ours for some values only. `harmless`: keys of this family that change no number.
    `must_to_run`: keys that change logits and nothing that is counted: files with other values are refused.
    `also`: what is written where no field says it, because the class's default may not fit.
    `spelling`: how published files differ from the class's names. `gguf`: how GGUF files say it.
    `forms`: other rows of this type, for its other classes or for what `when` says of a config.
    `tensors_of`: the map of a config's tensors, where its layers decide their names.
    `class_heads`: what takes the place of the template's fields in the type's other classes, by kind (`upstream`).
    """

    model_type: str
    classes: tuple[str, ...]
    template: Template
    tensors: TensorMap
    constraints: tuple[Constraint, ...] = ()
    irrelevant: frozenset[str] = frozenset()
    is_encoder_decoder: bool = False
    fixed_keys: Mapping[str, Any] = {}
    spelling: Spelling = Spelling()
    gguf: GgufMap | None = None
    run_constraints: tuple[Constraint, ...] = ()
    forms: tuple[Family, ...] = ()
    when: Callable[[Mapping[str, Any]], bool] | None = None
    tensors_of: Callable[[Config], TensorMap] | None = None
    class_heads: Mapping[str, Template] = {}

    def form(self, data: Mapping[str, Any]) -> Family:
        """Return the row that reads a config, one of its forms or itself, with the config's own tensors."""
        found = next((form for form in self.forms if form._reads(data, self)), self)
        return msgspec.structs.replace(found, tensors=found.tensors_of(Config(data))) if found.tensors_of else found

    def _reads(self, data: Mapping[str, Any], main: Family) -> bool:
        """Return whether this form of `main` reads a config: by `when`, else by its class, else by its stacks."""
        if self.when:
            return self.when(data)
        stated = data.get("architectures")
        if stated:
            return isinstance(stated, list) and stated[0] in self.classes
        both = data.get("is_encoder_decoder", main.is_encoder_decoder)
        return both is self.is_encoder_decoder and both is not main.is_encoder_decoder

    @property
    def stacks(self) -> str:
        """Which stacks its specs have: 'decoder', 'encoder' or 'encoder-decoder'."""
        return "-".join(name for name in ("encoder", "decoder") if name in self.template)

    @cached_property
    def keys(self) -> set[str]:
        """Every key that is read or checked."""
        rules = (*self.constraints, *self.run_constraints, *COMMON_CONSTRAINTS)
        return {
            *names(self.template),
            *names(self._heads),
            *(rule.name for rule in rules),
            *_KEYS_OF_ALL,
        }

    @property
    def _heads(self) -> dict[str, Template]:
        """What each kind of class has in the place of the template's fields; None: it is not read."""
        return {**(TWO_STACKS if self.is_encoder_decoder else ONE_STACK), **self.class_heads}

    @cached_property
    def other_classes(self) -> dict[str, Template]:
        """The classes of this type that are no language models, each with its template."""
        heads = self._heads
        kinds = {name: kind for name, kind in upstream.classes(self.model_type).items() if name not in self.classes}
        return {name: {**self.template, **heads[kind]} for name, kind in kinds.items() if heads.get(kind)}

    @cached_property
    def _rules(self) -> tuple[Constraint, ...]:
        """The rules of every config and its own; a key that its template reads is under no rule of every config."""
        own = set(names(self.template))
        return (*(rule for rule in COMMON_CONSTRAINTS if rule.name not in own), *self.constraints)

    def document(self, data: Mapping[str, Any]) -> Document:
        """The document of a config. Raises InputError naming the config's own field."""
        config = Config(data)
        if not data.get("architectures"):  # a class that is named decides by itself
            Constraint("is_encoder_decoder", (self.is_encoder_decoder,)).check(config)
        template = self._template(config)
        raise_all([*self._refused(config), *self._unsupported(config)])
        document: Document = {"name": self._name(data)} | read(template, config)
        return document | self._about(config)

    def config(self, spec: Spec) -> dict[str, Any]:
        """Return the first config of `configs`. Raises MismatchError where there is none."""
        found = next(self.configs(spec), None)
        if found is None:
            raise MismatchError
        return found

    def configs(self, spec: Spec) -> Iterator[dict[str, Any]]:
        """Yield configs, each of one class, that may give a resolved spec: reading one back shows whether it does."""
        document = msgspec.to_builtins(spec)
        own = {self.classes[0]: self.template} if spec.predicts_tokens else {}
        for name, template in (own | self.other_classes).items():
            draft = ConfigDraft()
            try:
                write(template, document, draft)
            except MismatchError:
                continue
            head = {"model_type": self.model_type, "architectures": [name]}
            yield (
                head | ({"is_encoder_decoder": True} if self.is_encoder_decoder else {}) | dict(self.fixed_keys) | draft
            )

    def check_runnable(self, data: Mapping[str, Any]) -> None:
        """Raise InputError for a config that is counted and cannot be run."""
        for rule in self.run_constraints:
            rule.check(Config(data))

    def _about(self, config: Config) -> Document:
        """Return what the document says of ignored keys, and what was assumed of the class and of absent keys."""
        assumed = []
        if not config.data.get("architectures"):
            assumed.append(f"the class {self.classes[0]}")
        if config.ignored:
            assumed += self._misspelled(config)
        if not config.ignored and not assumed:
            return {}
        return {"about": {"provenance": {"ignored": list(config.ignored), "assumed": assumed}}}

    def _misspelled(self, config: Config) -> Iterator[str]:
        """Yield what to say of each ignored key that is nearly one which is absent."""
        from difflib import get_close_matches

        for name in config.ignored:
            for key in get_close_matches(name, self.keys - config.data.keys(), n=1, cutoff=0.9):
                yield f"the default of {key}, which the file may mean by {name}"

    def _refused(self, config: Config) -> Iterator[InputError]:
        """Yield the error of each rule that a config breaks."""
        for rule in self._rules:
            try:
                rule.check(config)
            except InputError as error:
                yield error

    def _unsupported(self, config: Config) -> Iterator[InputError]:
        """Yield the error of each key that the class alone knows, unless at its default; note what it ignores."""
        other_classes = [name for name in config.data if name not in self.keys | IRRELEVANT | self.irrelevant]
        defaults = upstream.keys(self.model_type) if other_classes else {}
        for name in other_classes:
            if name not in defaults:
                config.ignored[str(name)] = None
            else:
                try:
                    Constraint(name, tuple(defaults[name])).check(config)
                except InputError as error:
                    yield error

    def _template(self, config: Config) -> Template:
        """Return the template of the class that a config names. Raises InputError for one that is not read."""
        stated = config.data.get("architectures")
        if not stated:
            return self.template
        name = stated[0] if isinstance(stated, list) and len(stated) == 1 else stated
        if isinstance(name, str) and name in self.classes:
            return self.template
        if not isinstance(name, str) or name not in self.other_classes:
            raise config.error("architectures", name, ", ".join((*self.classes, *self.other_classes)))
        return self.other_classes[name]

    def _name(self, data: Mapping[str, Any]) -> str:
        """What the spec is called: the config's own name for where it came from, if it has one."""
        name = data.get("_name_or_path")
        return name if isinstance(name, str) and 0 < len(name) <= 200 else self.model_type


class FamilyRow(msgspec.Struct, frozen=True, dict=True):
    """A family that is built when its configs are read: a template's builder, and the switches it is called with."""

    model_type: str
    classes: tuple[str, ...]
    build: Callable[..., Family]
    switches: Mapping[str, Any]

    @cached_property
    def family(self) -> Family:
        """The family."""
        return self.build(self.model_type, *self.classes, **self.switches)


def row_builder(build: Callable[..., Family]) -> Callable[..., FamilyRow]:
    """Let calls of a template's builder return rows, which are built later, and from which other rows can derive."""

    @wraps(build)
    def row(model_type: str, *classes: str, **switches: Any) -> FamilyRow:
        return FamilyRow(model_type, classes, build, switches)

    return row


def derive(parent: FamilyRow, model_type: str, *classes: str, **changes: Any) -> FamilyRow:
    """Return a row that differs from `parent` in its class and in switches of its template or its own fields."""
    return FamilyRow(model_type, classes or parent.classes, parent.build, {**parent.switches, **changes})
