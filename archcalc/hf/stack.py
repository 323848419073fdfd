"""A stack's layers: how a config says which layer is of which kind, and the shortest runs that say the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import FLAG, INDICES, SIZE, WORDS, Config
from archcalc.hf.lens import ConfigDraft, Key, Lens, MismatchError, Template, names, read, write

if TYPE_CHECKING:
    from archcalc.spec.document import Document

INDEX = "(index of the layer)"


class Schedule:
    """Which kind the layer at each index is of."""

    def names(self) -> Iterator[str]:
        """The keys it may read."""
        raise NotImplementedError

    def read(self, config: Config, n_layers: int) -> list[str]:
        """The kind of each layer."""
        raise NotImplementedError

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """The keys that give these kinds. Raises MismatchError where none do."""
        raise NotImplementedError


@final
class UniformSchedule(Schedule, msgspec.Struct, frozen=True):
    """All layers are of one kind."""

    kind: str = "layer"

    def names(self) -> Iterator[str]:
        """None."""
        yield from ()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """That kind, throughout."""
        return [self.kind] * n_layers

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Nothing: reading back shows whether they are."""


@final
class ListSchedule(Schedule, msgspec.Struct, frozen=True):
    """`layer_types`: a word for each layer; `otherwise` says the kind of a layer where the list is left out."""

    words: Mapping[str, str]
    default: Callable[[Config, int], str]
    default_keys: tuple[Key, ...] = ()
    key: str = "layer_types"

    def names(self) -> Iterator[str]:
        """The list, and what `otherwise` reads."""
        yield self.key
        yield from (name for key in self.default_keys for name in key.names())

    def read(self, config: Config, n_layers: int) -> list[str]:
        """The words' kinds. Raises InputError for another word, or another length than the layers'."""
        if config.data.get(self.key) is None:
            return [self.default(config, index) for index in range(n_layers)]
        words = config.get(self.key, WORDS)
        if len(words) != n_layers:
            raise config.error(self.key, f"{len(words)} words", f"{n_layers}, one for each layer")
        for index, word in enumerate(words):
            if word not in self.words:
                raise config.error(f"{self.key}[{index}]", word, ", ".join(self.words))
        return [self.words[word] for word in words]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """The list."""
        words = {kind: word for word, kind in self.words.items()}
        draft.put(self.key, [words[kind] for kind in kinds])


@final
class CombinedSchedule(Schedule, msgspec.Struct, frozen=True):
    """One schedule for the attentions and one for the feed-forwards: "global_moe"."""

    attention: Schedule
    ffn: Schedule

    def names(self) -> Iterator[str]:
        """Those of both."""
        yield from self.attention.names()
        yield from self.ffn.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Both kinds in one word."""
        pairs = zip(self.attention.read(config, n_layers), self.ffn.read(config, n_layers), strict=True)
        return ["_".join(pair) for pair in pairs]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Each by its own schedule."""
        pairs = [kind.rpartition("_") for kind in kinds]
        self.attention.write([attention for attention, _, _ in pairs], draft)
        self.ffn.write([ffn for _, _, ffn in pairs], draft)


@final
class IntervalSchedule(Schedule, msgspec.Struct, frozen=True):
    """A mixture of experts in every `step`-th layer from `start` to `end` (ERNIE); an end of -1 is the last layer."""

    start: Key
    end: Key
    step: Key

    def names(self) -> Iterator[str]:
        """Those of the three."""
        for key in (self.start, self.end, self.step):
            yield from key.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """'moe' where the step falls within start and end."""
        start, end, step = (key.read(config) for key in (self.start, self.end, self.step))
        last = n_layers - 1 if end == -1 else end
        return ["dense" if (index + 1) % step or not start <= index <= last else "moe" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """The first mixture, the last, and what lies between two; reading back shows whether that is all."""
        sparse = [index for index, kind in enumerate(kinds) if kind == "moe"]
        draft.put(self.start.name, sparse[0] if sparse else len(kinds))
        draft.put(self.end.name, sparse[-1] if sparse else -1)
        draft.put(self.step.name, sparse[1] - sparse[0] if len(sparse) > 1 else 1)


@final
class DenseFirstSchedule(Schedule, msgspec.Struct, frozen=True):
    """So many dense layers, then mixtures of experts (DeepSeek)."""

    count: Key

    def names(self) -> Iterator[str]:
        """The count's."""
        yield from self.count.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """'dense', then 'moe'."""
        count = min(self.count.read(config), n_layers)
        return ["dense"] * count + ["moe"] * (n_layers - count)

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """How many are dense."""
        draft.put(self.count.name, kinds.index("moe") if "moe" in kinds else len(kinds))


@final
class SparseSchedule(Schedule, msgspec.Struct, frozen=True):
    """Every `step`-th layer is a mixture of experts, except those listed as dense (Qwen MoE)."""

    step: Key
    dense: Key

    def names(self) -> Iterator[str]:
        """Step and list."""
        yield from self.step.names()
        yield from self.dense.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """'moe' where the step falls and the list does not."""
        step, dense = self.step.read(config), set(self.dense.read(config))
        return ["dense" if index in dense or (index + 1) % step else "moe" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """The list alone says it all."""
        draft.put(self.step.name, 1)
        draft.put(self.dense.name, [index for index, kind in enumerate(kinds) if kind == "dense"])


@final
class FirstLayerSchedule(Schedule, msgspec.Struct, frozen=True):
    """A schedule whose first layer is of a kind of its own: "first_global" (ModernBERT)."""

    rest: Schedule

    def names(self) -> Iterator[str]:
        """Those of the schedule."""
        yield from self.rest.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """The first kind apart."""
        first, *kinds = self.rest.read(config, n_layers)
        return [f"first_{first}", *kinds]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """The kinds of all."""
        if [kind.startswith("first_") for kind in kinds] != [True] + [False] * (len(kinds) - 1):
            raise MismatchError
        self.rest.write([kind.removeprefix("first_") for kind in kinds], draft)


@final
class NoRopeSchedule(Schedule, msgspec.Struct, frozen=True):
    """`no_rope_layers` says which layers rotate (1) and which are bare (0), `layer_types` which slide (SmolLM3)."""

    key: str = "no_rope_layers"
    interval: Key = Key("no_rope_layer_interval", SIZE, 4)
    flag: Key = Key("use_sliding_window", FLAG, False)
    window: Key = Key("sliding_window", SIZE, None, null=None)
    types: str = "layer_types"

    def names(self) -> Iterator[str]:
        """Both lists, and what they follow from."""
        yield from (self.key, self.interval.name, self.flag.name, self.window.name, self.types)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """'rotary', 'bare', 'rotary_sliding' or 'bare_sliding'."""
        every = self.interval.read(config)
        rotates = [int((index + 1) % every != 0) for index in range(n_layers)]
        if config.data.get(self.key) is not None:
            rotates = config.get(self.key, INDICES)
        if len(rotates) != n_layers or not set(rotates) <= {0, 1}:
            raise config.error(self.key, rotates, f"{n_layers} numbers, 1 for a layer that rotates, 0 for one that not")
        windowed = self.flag.read(config) and self.window.read(config)
        words = {"full_attention": "", "sliding_attention": "_sliding"}
        slides = ListSchedule(
            words, lambda _, index: "_sliding" if windowed and not rotates[index] else "", key=self.types
        )
        types = slides.read(config, n_layers)
        return [("rotary" if turns else "bare") + slide for turns, slide in zip(rotates, types, strict=True)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Both lists."""
        draft.put(self.key, [int(kind.startswith("rotary")) for kind in kinds])
        slides = [kind.endswith("sliding") for kind in kinds]
        draft.put(self.types, ["sliding_attention" if slide else "full_attention" for slide in slides])
        draft.put(self.flag.name, any(slides))


@final
class StackLens(Lens, msgspec.Struct, frozen=True):
    """A stack: `count` layers, each of one of `kinds` as `schedule` says, and what stands `around` them.

    The name of a kind becomes its layers' name where a stack has several. A layer is matched with the kinds in their
    order, so one with a window of null stands before one whose window is a key.

    `lists`: keys that may hold a list, an item for each layer, and the name under which a layer's template reads its
    own. A template may read the layer's index under `INDEX`, if `by_index`.
    """

    count: Key
    kinds: Mapping[str, Template]
    schedule: Schedule = UniformSchedule()
    stack_fields: Template = None
    lists: Mapping[str, str] = {}
    by_index: bool = False

    def names(self) -> Iterator[str]:
        """All that count, schedule, kinds and what is around them read."""
        yield from self.count.names()
        yield from self.schedule.names()
        yield from names(self.kinds)
        yield from names(self.stack_fields)
        yield from self.lists

    def read(self, config: Config) -> Document:
        """n_layers, runs, and what is around them."""
        n_layers = self.count.read(config)
        kinds = self.schedule.read(config, n_layers)
        own = self._own(config, n_layers)
        documents: dict[str, Document] = {}
        order = []
        for label, (kind, data) in zip(_labels(kinds, own), zip(kinds, own, strict=True), strict=True):
            if label not in documents:
                documents[label] = read(self.kinds[kind], config.nested({**config.data, **data}, config.path))
            order.append(label)
        # Kinds that the config makes alike (a window of null) are one.
        alike = {label: next(other for other in documents if documents[other] == documents[label]) for label in order}
        order = [alike[label] for label in order]
        if len(set(order)) > 1:
            documents = {label: {"name": label} | layer for label, layer in documents.items()}
        runs = [run | {"pattern": [documents[label] for label in run["pattern"]]} for run in runs_of(order)]
        return {"n_layers": n_layers, "runs": runs, **read(self.stack_fields or {}, config)}

    def _own(self, config: Config, n_layers: int) -> list[dict[str, Any]]:
        """What each layer reads beside the config: its items of the lists, and its index."""
        own: list[dict[str, Any]] = [{INDEX: index} if self.by_index else {} for index in range(n_layers)]
        for key, name in self.lists.items():
            items = config.data.get(key)
            if isinstance(items, list):
                if len(items) != n_layers:
                    raise config.error(key, f"{len(items)} items", f"{n_layers}, one for each layer")
                own = [data | {key: item, name: item} for data, item in zip(own, items, strict=True)]
            elif items is not None and (name == key or key not in names(self.kinds)):
                raise config.error(key, items, "a list, or null")
        return own

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The keys of each layer's kind, of their order, and of what is around them."""
        if value is None:
            raise MismatchError
        layers = _layers(value)
        draft.put(self.count.name, len(layers))
        kinds, own = self._kinds(layers, draft)
        for key, name in self.lists.items():
            items = [data.get(name) for data in own]
            if name != key and len({json.dumps(item) for item in items}) == 1:
                draft.update({name: items[0]} if name in own[0] else {})
            elif None not in items:
                draft.put(key, items)
        self.schedule.write(kinds, draft)
        write(self.stack_fields or {}, value, draft)

    def _kinds(self, layers: Sequence[str], draft: ConfigDraft) -> tuple[list[str], list[ConfigDraft]]:
        """Each layer's kind, and the keys of its own; the keys of all are put into the draft."""
        found: dict[tuple[str, int], tuple[str, ConfigDraft]] = {}
        places = [(text, index if self.by_index else 0) for index, text in enumerate(layers)]
        for text, index in dict.fromkeys(places):
            found[text, index] = self._kind(json.loads(text), index, draft)
        return [found[place][0] for place in places], [found[place][1] for place in places]

    def _kind(self, layer: Document, index: int, draft: ConfigDraft) -> tuple[str, ConfigDraft]:
        """The first kind that a layer can be, and the keys of its own; the others are put into the draft."""
        for kind, template in self.kinds.items():
            attempt = ConfigDraft(draft, **({INDEX: index} if self.by_index else {}))
            try:
                write(template, layer, attempt)
            except MismatchError:
                continue
            attempt.pop(INDEX, None)
            own = ConfigDraft({name: attempt.pop(name) for name in self.lists.values() if name in attempt})
            draft.update(attempt)
            return kind, own
        raise MismatchError


def _labels(kinds: Sequence[str], own: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each layer's kind, numbered where layers of a kind have something of their own."""
    found: dict[str, list[str]] = {}
    labels = []
    for kind, data in zip(kinds, own, strict=True):
        variants, text = found.setdefault(kind, []), json.dumps(data)
        if text not in variants:
            variants.append(text)
        number = variants.index(text)
        labels.append(f"{kind}_{number + 1}" if number else kind)
    return labels


def runs_of(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The shortest runs that say these kinds: one that cycles through a pattern, or stretches of like layers.

    >>> runs_of(["dense", "moe", "moe"])
    [{'count': 1, 'pattern': ['dense']}, {'pattern': ['moe']}]
    >>> runs_of(["local", "global"] * 3)
    [{'pattern': ['local', 'global']}]
    """
    stretches: list[list[str]] = []
    for kind in kinds:
        if stretches and stretches[-1][0] == kind:
            stretches[-1].append(kind)
        else:
            stretches.append([kind])
    period = _period(kinds)
    if period <= len(stretches):
        return [{"pattern": list(kinds[:period])}]
    counted = [{"count": len(stretch), "pattern": stretch[:1]} for stretch in stretches[:-1]]
    return [*counted, {"pattern": stretches[-1][:1]}]


def _period(kinds: Sequence[str]) -> int:
    """The shortest pattern that these kinds cycle through, its last turn perhaps cut short (Knuth, Morris, Pratt)."""
    prefix_lengths = [0] * len(kinds)
    for index in range(1, len(kinds)):
        length = prefix_lengths[index - 1]
        while length and kinds[index] != kinds[length]:
            length = prefix_lengths[length - 1]
        prefix_lengths[index] = length + (kinds[index] == kinds[length])
    return len(kinds) - prefix_lengths[-1]


def layers_of(stack: Document) -> list[Document]:
    """Return each layer's document, in order."""
    fixed = sum(run.get("count") or 0 for run in stack["runs"])
    layers: list[Document] = []
    for run in stack["runs"]:
        count = run.get("count") or stack["n_layers"] - fixed
        layers += [run["pattern"][index % len(run["pattern"])] for index in range(count)]
    return layers


def _layers(stack: Document) -> list[str]:
    """Return each layer's document, without its name, as text: two layers differ where their texts do."""
    texts = {id(layer): json.dumps(layer | {"name": None}) for run in stack["runs"] for layer in run["pattern"]}
    return [texts[id(layer)] for layer in layers_of(stack)]


@final
class SharedStackLens(Lens, msgspec.Struct, frozen=True):
    """ALBERT's stack: `n_groups` groups of `n_inner` layers, and `count` turns divided among the groups in their order.

    A group's layers keep their weights in all its turns.
    """

    count: Key
    n_groups: Key
    n_inner: Key
    layer: Template
    stack_fields: Template

    def names(self) -> Iterator[str]:
        """The three counts, and all that a layer and what is around them read."""
        for part in (self.count, self.n_groups, self.n_inner):
            yield from part.names()
        yield from names(self.layer)
        yield from names(self.stack_fields)

    def read(self, config: Config) -> Document:
        """A run for each group. Raises InputError where a group has no turn."""
        pattern = [read(self.layer, config)] * self.n_inner.read(config)
        runs = [
            {"count": n_turns * len(pattern), "pattern": pattern, "share_weights": True}
            for n_turns in self.turns(config)
        ]
        return {"n_layers": sum(run["count"] for run in runs), "runs": runs, **read(self.stack_fields, config)}

    def turns(self, config: Config) -> list[int]:
        """How many turns each group has."""
        count, n_groups = self.count.read(config), self.n_groups.read(config)
        if n_groups > count:
            raise config.error(self.n_groups.name, n_groups, f"at most {count}, so that each group has a turn")
        groups = [int(turn / (count / n_groups)) for turn in range(count)]
        return [groups.count(group) for group in range(n_groups)]

    def places(self, config: Config) -> Iterator[tuple[int, int, int]]:
        """The index of each layer that has weights, its group, and its place in that."""
        start, n_inner = 0, self.n_inner.read(config)
        for group, n_turns in enumerate(self.turns(config)):
            yield from ((start + place, group, place) for place in range(n_inner))
            start += n_turns * n_inner

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The counts, and the keys of the first group's first layer: reading back shows whether all are like it."""
        runs = value["runs"] if value else ()
        if not runs or not all(run["share_weights"] for run in runs):
            raise MismatchError
        n_inner = len(runs[0]["pattern"])
        write(self.layer, runs[0]["pattern"][0], draft)
        draft.put(self.count.name, value["n_layers"] // n_inner)
        draft.put(self.n_groups.name, len(runs))
        draft.put(self.n_inner.name, n_inner)
        write(self.stack_fields, value, draft)
