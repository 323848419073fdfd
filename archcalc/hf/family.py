"""A family of models: a template that reads and writes its configs, and the map of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.errors import InputError, shown
from archcalc.hf import upstream
from archcalc.hf.config import Config, raise_all
from archcalc.hf.gguf_map import GgufMap
from archcalc.hf.heads import ONE_STACK, TWO_STACKS, class_tensors
from archcalc.hf.irrelevant_keys import COMMON_CONSTRAINTS, IRRELEVANT
from archcalc.hf.lens import ConfigDraft, Constraint, MismatchError, Template, names, read, write
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorEntry, TensorMap
from archcalc.spec.assumption import Assumption
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.spec.document import Document
    from archcalc.spec.model import Spec

_COMMON_KEYS = frozenset({"model_type", "architectures", "is_encoder_decoder"})


class Family(msgspec.Struct, frozen=True, dict=True):
    """The conversion between the configs of one `model_type` and documents of specs.

    - `classes`: the transformers classes with these tensors; the first one is written.
    - `constraints`: keys of which only some values are supported.
    - `run_constraints`: keys that change logits but no count; files with other values can be counted and not run.
    - `irrelevant`: keys of this family that change no number.
    - `fixed_keys`: keys that are always written, because the class's default may not fit.
    - `needs`: keys without which the class cannot be built, for its default config.
    - `small`: further keys without which it cannot be built with few layers.
    - `spelling`: how published files differ from the class's names.
    - `gguf`: the family's GGUF files.
    - `forms`: other rows of this type, for its other classes, or for configs that `when` selects.
    - `tensors_of`: the map of a config's tensors, if their names depend on the config.
    - `spelling_of`: how files spell a config's tensors, if that depends on the config.
    - `class_heads`: fields that replace the template's in the type's other classes, by kind (`upstream.classes`).
    - `runs_all_experts`: the class runs every expert for every token, with a weight of 0 for those not chosen.
    - `runs_pooler`: the class runs a pooler that its logits do not depend on.
    - `other_products`: why the class computes other matrix products than ours, though the same logits.
    - `needs_kernel`: without a CUDA kernel the class gives other logits, so there is nothing to compare.
    - `class_tensors`: the tensors that only classes of a kind have, or that have another name in them.
    - `class_notes`: what is assumed for classes of a kind.
    """

    model_type: str
    classes: tuple[str, ...]
    template: Template
    tensors: TensorMap
    constraints: tuple[Constraint, ...] = ()
    irrelevant: frozenset[str] = frozenset()
    is_encoder_decoder: bool = False
    fixed_keys: Mapping[str, Any] = {}
    needs: Mapping[str, Any] = {}
    small: Mapping[str, Any] = {}
    spelling: Spelling = Spelling()
    gguf: GgufMap | None = None
    run_constraints: tuple[Constraint, ...] = ()
    forms: tuple[Family, ...] = ()
    when: Callable[[Mapping[str, Any]], bool] | None = None
    tensors_of: Callable[[Config], TensorMap] | None = None
    spelling_of: Callable[[Config], Spelling] | None = None
    needs_kernel: bool = False
    class_heads: Mapping[str, Template] = {}
    class_tensors: Mapping[str, tuple[TensorEntry, ...]] = {}
    class_notes: Mapping[str, Assumption] = {}
    runs_all_experts: bool = False
    runs_pooler: bool = False
    other_products: Message | None = None

    def form(self, data: Mapping[str, Any]) -> Family:
        """Return the row that reads a config, one of the forms or this one, with the config's own tensors."""
        row = next((form for form in self.forms if form._reads(data, self)), self)
        tensors = row.tensors_of(Config(data)) if row.tensors_of else row.tensors
        if row.class_tensors and (entries := row.class_tensors.get(row._kind(data))):
            tensors = msgspec.structs.replace(tensors, entries=(*entries, *tensors.entries))
        fields = row._heads.get(row._kind(data)) or {}
        if "head" in fields:
            tensors = class_tensors(tensors, is_encoder="decoder" in fields)
        if row.spelling_of:
            return msgspec.structs.replace(row, tensors=tensors, spelling=row.spelling_of(Config(data)))
        return row if tensors is row.tensors else msgspec.structs.replace(row, tensors=tensors)

    def _kind(self, data: Mapping[str, Any]) -> str:
        """Return the kind of the class that a config names; empty if it names none of this type."""
        stated = data.get("architectures")
        name = stated[0] if isinstance(stated, list) and stated else None
        return upstream.classes(self.model_type).get(name, "") if isinstance(name, str) else ""

    def _reads(self, data: Mapping[str, Any], main: Family) -> bool:
        """Return whether this form of `main` reads a config: by `when`, else by its class, else by its stacks."""
        if self.when:
            return self.when(data)
        stated = data.get("architectures")
        if stated:
            return isinstance(stated, list) and stated[0] in self.classes
        has_both = data.get("is_encoder_decoder", main.is_encoder_decoder)
        return has_both is self.is_encoder_decoder and has_both is not main.is_encoder_decoder

    @property
    def stacks(self) -> str:
        """Return the stacks of its specs: 'decoder', 'encoder' or 'encoder-decoder'."""
        return "-".join(name for name in ("encoder", "decoder") if name in self.template)

    @cached_property
    def keys(self) -> set[str]:
        """Return every key that is read or checked."""
        constraints = (*self.constraints, *self.run_constraints, *COMMON_CONSTRAINTS)
        names_of_constraints = {constraint.name for constraint in constraints}
        return {*names(self.template), *names(self._heads), *names_of_constraints, *_COMMON_KEYS}

    @property
    def _heads(self) -> dict[str, Template]:
        """Return the fields that each kind of class replaces; None: the class is not read."""
        return {**(TWO_STACKS if self.is_encoder_decoder else ONE_STACK), **self.class_heads}

    @cached_property
    def other_classes(self) -> dict[str, Template]:
        """Return the other classes of this type that can be read, each with its template."""
        heads = self._heads
        kinds = {name: kind for name, kind in upstream.classes(self.model_type).items() if name not in self.classes}
        return {name: {**self.template, **heads[kind]} for name, kind in kinds.items() if heads.get(kind)}

    def _may_express(self, document: Document) -> bool:
        """Return whether the fields that all classes have in common can express a spec: tried before each class."""
        try:
            write(self._common_template, document, ConfigDraft())
        except MismatchError:
            return False
        return True

    @cached_property
    def _common_template(self) -> dict[str, Template]:
        others = self.other_classes.values()
        return {key: item for key, item in self.template.items() if all(other.get(key) is item for other in others)}

    @cached_property
    def _all_constraints(self) -> tuple[Constraint, ...]:
        """Return this family's constraints, and the common ones on keys that it neither reads nor ignores."""
        own = self.irrelevant.union(names(self.template))
        return (*(constraint for constraint in COMMON_CONSTRAINTS if constraint.name not in own), *self.constraints)

    def document(self, data: Mapping[str, Any]) -> Document:
        """Return the document of a config. Raises InputError naming the config's field."""
        config = Config(data)
        if not data.get("architectures"):  # The named class decides otherwise.
            Constraint("is_encoder_decoder", (self.is_encoder_decoder,)).check(config)
        template = self._template(config)
        raise_all([*self._constraint_errors(config), *self._unsupported_keys(config)])
        document: Document = {"name": self._name(data)} | read(template, config)
        about = self._provenance(config) | (self.spelling.mtp.about(data) if self.spelling.mtp else {})
        return document | ({"about": about} if about else {})

    def config(self, spec: Spec) -> dict[str, Any]:
        """Return the first config of `configs`. Raises MismatchError if there is none."""
        config = next(self.configs(spec), None)
        if config is None:
            raise MismatchError
        return config

    def configs(self, spec: Spec, misfits: list[Misfit] | None = None) -> Iterator[dict[str, Any]]:
        """Yield a config of each class that may express a resolved spec. Reading it back shows whether it does.

        `misfits` collects, for each class that cannot express it, the fields that it cannot.
        """
        document = msgspec.to_builtins(spec)
        own = {self.classes[0]: self.template} if spec.predicts_tokens else {}
        if misfits is None and not self._may_express(document):
            return
        for name, template in (own | self.other_classes).items():
            draft = ConfigDraft()
            draft.finds_all = misfits is not None
            try:
                write(template, document, draft)
            except MismatchError as error:
                if misfits is not None:
                    misfits.append(Misfit(self.model_type, tuple(map(".".join, error.paths))))
                continue
            head = {"model_type": self.model_type, "architectures": [name]}
            yield (
                head | ({"is_encoder_decoder": True} if self.is_encoder_decoder else {}) | dict(self.fixed_keys) | draft
            )

    def check_runnable(self, data: Mapping[str, Any]) -> None:
        """Raise InputError for a config that can be counted but not run."""
        for constraint in self.run_constraints:
            constraint.check(Config(data))

    def _provenance(self, config: Config) -> Document:
        """Return the provenance of a document: ignored keys, and assumptions about the class and absent keys."""
        assumed = list[Assumption]()
        if not config.data.get("architectures"):
            assumed.append(Assumption(kind="class", value=self.classes[0]))
        if note := self.class_notes.get(self._kind(config.data)):
            assumed.append(note)
        if config.ignored:
            assumed += self._misspellings(config)
        if not config.ignored and not assumed:
            return {}
        return {"provenance": {"ignored": list(config.ignored), "assumed": [one.data for one in assumed]}}

    def _misspellings(self, config: Config) -> Iterator[Assumption]:
        """Yield an assumption for each ignored key that is nearly equal to an absent one."""
        from difflib import get_close_matches

        for name in config.ignored:
            for key in get_close_matches(name, self.keys - config.data.keys(), n=1, cutoff=0.9):
                yield Assumption(kind="default", value=key, of=name)

    def _constraint_errors(self, config: Config) -> Iterator[InputError]:
        """Yield the error of each constraint that a config violates."""
        for constraint in self._all_constraints:
            try:
                constraint.check(config)
            except InputError as error:
                yield error

    def _unsupported_keys(self, config: Config) -> Iterator[InputError]:
        """Yield an error for each key that only the class knows, unless it has its default; note the unknown ones."""
        unread = [name for name in config.data if name not in self.keys | IRRELEVANT | self.irrelevant]
        defaults = upstream.keys(self.model_type) if unread else {}
        for name in unread:
            if name not in defaults:
                config.ignored[str(name)] = None
            else:
                try:
                    Constraint(name, tuple(defaults[name])).check(config)
                except InputError as error:
                    yield error

    def _template(self, config: Config) -> Template:
        """Return the template of the class that a config names. Raises InputError for an unknown class."""
        stated = config.data.get("architectures")
        if not stated:
            return self.template
        name = stated[0] if isinstance(stated, list) and len(stated) == 1 else stated
        if isinstance(name, str) and name in self.classes:
            return self.template
        if isinstance(name, str) and name in upstream.classes(self.model_type).keys() - self.other_classes.keys():
            problem = msg(
                "{found} is a class of transformers that is not read; `report` counts its parameters with `engine` "
                "transformers",
                found=shown(name),
            )
            raise InputError(problem, where="architectures", allowed=", ".join((*self.classes, *self.other_classes)))
        if not isinstance(name, str) or name not in self.other_classes:
            raise config.error("architectures", name, ", ".join((*self.classes, *self.other_classes)))
        return self.other_classes[name]

    def _name(self, data: Mapping[str, Any]) -> str:
        """Return the spec's name: the config's `_name_or_path` if it has one, else the model type."""
        name = data.get("_name_or_path")
        return name if isinstance(name, str) and 0 < len(name) <= 200 else self.model_type


class Misfit(msgspec.Struct, frozen=True):
    """A model type that cannot express a spec, and the fields that it cannot."""

    model_type: str
    fields: tuple[str, ...]


class FamilyRow(msgspec.Struct, frozen=True, dict=True):
    """A family that is built when it is first needed: the builder of a template, and its arguments."""

    model_type: str
    classes: tuple[str, ...]
    build: Callable[..., Family]
    switches: Mapping[str, Any]

    @cached_property
    def family(self) -> Family:
        """Return the built family."""
        return self.build(self.model_type, *self.classes, **self.switches)


def row_builder(build: Callable[..., Family]) -> Callable[..., FamilyRow]:
    """Turn a builder of families into one of rows, which are built later and from which others can derive."""

    @wraps(build)
    def row(model_type: str, *classes: str, **switches: Any) -> FamilyRow:
        return FamilyRow(model_type, classes, build, switches)

    return row


def derive(parent: FamilyRow, model_type: str, *classes: str, **changes: Any) -> FamilyRow:
    """Return a row that differs from `parent` in its type, its classes, and arguments of its template.

    How GGUF files name keys and tensors belongs to a type alone.
    """
    switches = dict(parent.switches)
    if model_type != parent.model_type:
        switches.pop("gguf", None)
    return FamilyRow(model_type, classes or parent.classes, parent.build, {**switches, **changes})
