"""Layers of a stack: the kind of each layer, and the shortest runs with these layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import FLAG, INDICES, LAYERS_OR_NONE, SIZE, WORDS, Config
from archcalc.hf.lens import ConfigDraft, ConfigLens, Key, MismatchError, Template, names, read, write

if TYPE_CHECKING:
    from archcalc.spec.document import Document

# The key under which a layer's template reads its index.
INDEX = "(index of the layer)"


class Schedule:
    """The kind of each layer."""

    def names(self) -> Iterator[str]:
        """Yield the keys that it may read."""
        raise NotImplementedError

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind of each layer."""
        raise NotImplementedError

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the keys that give these kinds. Raises MismatchError if there are none."""
        raise NotImplementedError


@final
class UniformSchedule(Schedule, msgspec.Struct, frozen=True):
    """All layers are of one kind."""

    kind: str = "layer"

    def names(self) -> Iterator[str]:
        """Yield none."""
        yield from ()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind once for each layer."""
        return [self.kind] * n_layers

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put nothing: reading back shows whether all layers are of this kind."""


@final
class ListSchedule(Schedule, msgspec.Struct, frozen=True):
    """`layer_types`: a word for each layer. Without the list, `default` gives the kind of a layer by its index.

    `default_keys` are the keys that `default` reads. `aliases` are other spellings of the key. If several words mean
    one kind, the first is written.
    """

    words: Mapping[str, str]
    default: Callable[[Config, int], str]
    default_keys: tuple[Key, ...] = ()
    key: str = "layer_types"
    aliases: tuple[str, ...] = ()

    def names(self) -> Iterator[str]:
        """Yield the list's key and those that `default` reads."""
        yield from (self.key, *self.aliases)
        yield from (name for key in self.default_keys for name in key.names())

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError for an unknown word, or unless there is one for each layer."""
        key = config.find((self.key, *self.aliases)) or self.key
        if config.data.get(key) is None:
            return [self.default(config, index) for index in range(n_layers)]
        words = config.get(key, WORDS)
        if len(words) != n_layers:
            raise config.error(key, f"{len(words)} words", f"{n_layers}, one for each layer")
        for index, word in enumerate(words):
            if word not in self.words:
                raise config.error(f"{key}[{index}]", word, ", ".join(self.words))
        return [self.words[word] for word in words]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the list."""
        words = {kind: word for word, kind in reversed(list(self.words.items()))}
        draft.put(self.key, [words[kind] for kind in kinds])


@final
class CombinedSchedule(Schedule, msgspec.Struct, frozen=True):
    """A schedule for attention and one for feed-forwards. Kinds are joined: "global_moe"."""

    attention: Schedule
    ffn: Schedule

    def names(self) -> Iterator[str]:
        """Yield the keys of both."""
        yield from self.attention.names()
        yield from self.ffn.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return both kinds of each layer, joined."""
        pairs = zip(self.attention.read(config, n_layers), self.ffn.read(config, n_layers), strict=True)
        return ["_".join(pair) for pair in pairs]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the keys of both."""
        pairs = [kind.rpartition("_") for kind in kinds]
        self.attention.write([attention for attention, _, _ in pairs], draft)
        self.ffn.write([ffn for _, _, ffn in pairs], draft)


@final
class IntervalSchedule(Schedule, msgspec.Struct, frozen=True):
    """Every `step`-th layer from `start` to `end` is a mixture of experts (ERNIE). An end of -1 is the last layer."""

    start: Key
    end: Key
    step: Key

    def names(self) -> Iterator[str]:
        """Yield the three keys."""
        for key in (self.start, self.end, self.step):
            yield from key.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'moe' for every `step`-th layer from start to end, otherwise 'dense'."""
        start, end, step = (key.read(config) for key in (self.start, self.end, self.step))
        last = n_layers - 1 if end == -1 else end
        return ["dense" if (index + 1) % step or not start <= index <= last else "moe" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the first and last mixture, and the distance of the first two. Reading back shows if that is all."""
        sparse = [index for index, kind in enumerate(kinds) if kind == "moe"]
        draft.put(self.start.name, sparse[0] if sparse else len(kinds))
        draft.put(self.end.name, sparse[-1] if sparse else -1)
        draft.put(self.step.name, sparse[1] - sparse[0] if len(sparse) > 1 else 1)


@final
class PeriodSchedule(Schedule, msgspec.Struct, frozen=True):
    """The layer at `offset` of each `period` is of kind `at`, the others of kind `other` (Jamba)."""

    period: Key
    offset: str
    default_offset: int
    at: str
    other: str

    def names(self) -> Iterator[str]:
        """Yield the keys of the period and of the offset."""
        yield from (*self.period.names(), self.offset)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError unless the offset is within the period."""
        period = self.period.read(config)
        offset = Key(self.offset, LAYERS_OR_NONE, self.default_offset).read(config)
        if offset >= period:
            raise config.error(self.offset, offset, f"less than {self.period.name}, {period}")
        return [self.at if index % period == offset else self.other for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the first place and the distance of the first two; without any, a place after the last layer."""
        places = [index for index, kind in enumerate(kinds) if kind == self.at] or [len(kinds)]
        draft.put(self.offset, places[0])
        draft.put(self.period.name, places[1] - places[0] if len(places) > 1 else places[0] + len(kinds) + 1)


@final
class IndexSchedule(Schedule, msgspec.Struct, frozen=True):
    """The layers whose indices a key lists are of kind `at`, the others of kind `other` (Bamba)."""

    key: str
    at: str
    other: str

    def names(self) -> Iterator[str]:
        """Yield the key of the list."""
        yield self.key

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError for an index that no layer has."""
        indices = Key(self.key, INDICES, (), null=()).read(config)
        if any(index >= n_layers for index in indices):
            raise config.error(self.key, indices, f"indices below {n_layers}, the number of layers")
        return [self.at if index in indices else self.other for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the indices."""
        draft.put(self.key, [index for index, kind in enumerate(kinds) if kind == self.at])


@final
class DenseFirstSchedule(Schedule, msgspec.Struct, frozen=True):
    """`count` dense layers, then mixtures of experts (DeepSeek)."""

    count: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the count."""
        yield from self.count.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'dense' for the first layers, then 'moe'."""
        count = min(self.count.read(config), n_layers)
        return ["dense"] * count + ["moe"] * (n_layers - count)

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the number of dense layers."""
        draft.put(self.count.name, kinds.index("moe") if "moe" in kinds else len(kinds))


@final
class SparseSchedule(Schedule, msgspec.Struct, frozen=True):
    """Every `step`-th layer is a mixture of experts, except those listed as dense (Qwen MoE)."""

    step: Key
    dense: Key

    def names(self) -> Iterator[str]:
        """Yield the keys of the step and of the list."""
        yield from self.step.names()
        yield from self.dense.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'moe' for every `step`-th layer that is not listed, otherwise 'dense'."""
        step, dense = self.step.read(config), set(self.dense.read(config))
        return ["dense" if index in dense or (index + 1) % step else "moe" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put a step of 1, and list every dense layer."""
        draft.put(self.step.name, 1)
        draft.put(self.dense.name, [index for index, kind in enumerate(kinds) if kind == "dense"])


@final
class FirstLayerSchedule(Schedule, msgspec.Struct, frozen=True):
    """A schedule whose first layer is of a kind of its own: "first_global" (ModernBERT)."""

    rest: Schedule

    def names(self) -> Iterator[str]:
        """Yield the keys of the inner schedule."""
        yield from self.rest.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the inner schedule's kinds, the first with its prefix."""
        first, *kinds = self.rest.read(config, n_layers)
        return [f"first_{first}", *kinds]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the keys of the inner schedule."""
        if [kind.startswith("first_") for kind in kinds] != [True] + [False] * (len(kinds) - 1):
            raise MismatchError
        self.rest.write([kind.removeprefix("first_") for kind in kinds], draft)


@final
class NoRopeSchedule(Schedule, msgspec.Struct, frozen=True):
    """`no_rope_layers` has 1 for a layer with rotary positions, else 0; `layer_types` has the windows (SmolLM3)."""

    key: str = "no_rope_layers"
    interval: Key = Key("no_rope_layer_interval", SIZE, 4)
    flag: Key = Key("use_sliding_window", FLAG, False)
    window: Key = Key("sliding_window", SIZE, None, null=None)
    types: str = "layer_types"

    def names(self) -> Iterator[str]:
        """Yield the keys of both lists, and of their defaults."""
        yield from (self.key, self.interval.name, self.flag.name, self.window.name, self.types)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'rotary', 'bare', 'rotary_sliding' or 'bare_sliding' for each layer."""
        interval = self.interval.read(config)
        has_rope = [int((index + 1) % interval != 0) for index in range(n_layers)]
        if config.data.get(self.key) is not None:
            has_rope = config.get(self.key, INDICES)
        if len(has_rope) != n_layers or not set(has_rope) <= {0, 1}:
            raise config.error(
                self.key, has_rope, f"{n_layers} numbers, 1 for a layer with rotary positions, 0 for one without"
            )
        has_window = self.flag.read(config) and self.window.read(config)
        words = {"full_attention": "", "sliding_attention": "_sliding"}
        windows = ListSchedule(
            words, lambda _, index: "_sliding" if has_window and not has_rope[index] else "", key=self.types
        )
        types = windows.read(config, n_layers)
        return [("rotary" if rotates else "bare") + window for rotates, window in zip(has_rope, types, strict=True)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put both lists."""
        draft.put(self.key, [int(kind.startswith("rotary")) for kind in kinds])
        is_sliding = [kind.endswith("sliding") for kind in kinds]
        draft.put(self.types, ["sliding_attention" if sliding else "full_attention" for sliding in is_sliding])
        draft.put(self.flag.name, any(is_sliding))


@final
class StackLens(ConfigLens, msgspec.Struct, frozen=True):
    """A stack: `count` layers, each of one of `kinds` by `schedule`, and `stack_fields`, the other fields of the stack.

    The layers of a stack with several kinds are named after their kinds. A layer is written as the first kind that can
    express it, so a kind with a window of null comes before one whose window is a key.

    `lists`: keys that may have a list with an item for each layer, and the key under which a layer's template reads its
    own item. Under the same key it reads one value for all layers, too. With `by_index`, a template may read the index
    of the layer as `INDEX`.
    """

    count: Key
    kinds: Mapping[str, Template]
    schedule: Schedule = UniformSchedule()
    stack_fields: Template = None
    lists: Mapping[str, str] = {}
    by_index: bool = False

    def names(self) -> Iterator[str]:
        """Yield the keys of the count, the schedule, the kinds and the other fields."""
        yield from self.count.names()
        yield from self.schedule.names()
        yield from names(self.kinds)
        yield from names(self.stack_fields)
        yield from self.lists

    def read(self, config: Config) -> Document:
        """Return the number of layers, the runs, and the other fields."""
        n_layers = self.count.read(config)
        kinds = self.schedule.read(config, n_layers)
        layer_keys = self._layer_keys(config, n_layers)
        documents: dict[str, Document] = {}
        order = []
        for label, (kind, data) in zip(_labels(kinds, layer_keys), zip(kinds, layer_keys, strict=True), strict=True):
            if label not in documents:
                documents[label] = read(self.kinds[kind], config.nested({**config.data, **data}, config.path))
            order.append(label)
        # Kinds with equal documents (a window of null) are one kind.
        first_equal = {
            label: next(other for other in documents if documents[other] == documents[label]) for label in order
        }
        order = [first_equal[label] for label in order]
        if len(set(order)) > 1:
            documents = {label: {"name": label} | layer for label, layer in documents.items()}
        runs = [run | {"pattern": [documents[label] for label in run["pattern"]]} for run in runs_of(order)]
        return {"n_layers": n_layers, "runs": runs, **read(self.stack_fields or {}, config)}

    def _layer_keys(self, config: Config, n_layers: int) -> list[dict[str, Any]]:
        """Return the keys that each layer reads besides the config's: its items of the lists, and its index."""
        layer_keys: list[dict[str, Any]] = [{INDEX: index} if self.by_index else {} for index in range(n_layers)]
        for key, name in self.lists.items():
            items = config.data.get(key)
            if isinstance(items, list):
                if len(items) != n_layers:
                    raise config.error(key, f"{len(items)} items", f"{n_layers}, one for each layer")
                layer_keys = [data | {key: item, name: item} for data, item in zip(layer_keys, items, strict=True)]
            elif items is not None and name != key and key not in names(self.kinds):
                raise config.error(key, items, "a list, or null")
        return layer_keys

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of the layers, their order, and the other fields."""
        if value is None:
            raise MismatchError
        layers = _layers(value)
        draft.put(self.count.name, len(layers))
        kinds, layer_keys = self._kinds(layers, draft)
        for key, name in self.lists.items():
            items = [data.get(name) for data in layer_keys]
            if name != key and len({json.dumps(item) for item in items}) == 1:
                draft.update({name: items[0]} if name in layer_keys[0] else {})
            elif None not in items:
                draft.put(key, items)
        self.schedule.write(kinds, draft)
        write(self.stack_fields or {}, value, draft)

    def _kinds(self, layers: Sequence[Document], draft: ConfigDraft) -> tuple[list[str], list[ConfigDraft]]:
        """Return the kind of each layer and its own keys; put the common keys into the draft."""
        results: dict[tuple[int, int], tuple[str, ConfigDraft]] = {}
        places = [(id(layer), index if self.by_index else 0) for index, layer in enumerate(layers)]
        for place, layer in zip(places, layers, strict=True):
            if place not in results:
                results[place] = self._kind(layer, place[1], draft)
        return [results[place][0] for place in places], [results[place][1] for place in places]

    def _kind(self, layer: Document, index: int, draft: ConfigDraft) -> tuple[str, ConfigDraft]:
        """Return the first kind that can express a layer, and the layer's own keys; put the others into the draft."""
        errors = []
        for kind, template in self.kinds.items():
            attempt = ConfigDraft(draft, **({INDEX: index} if self.by_index else {}))
            attempt.finds_all = draft.finds_all
            try:
                write(template, layer, attempt)
            except MismatchError as error:
                errors.append(error)
                continue
            attempt.pop(INDEX, None)
            layer_keys = ConfigDraft({name: attempt.pop(name) for name in self.lists.values() if name in attempt})
            draft.update(attempt)
            return kind, layer_keys
        raise min(errors, key=lambda error: len(error.paths))


def _labels(kinds: Sequence[str], layer_keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the kind of each layer, numbered if layers of one kind differ in their own keys."""
    variants_by_kind: dict[str, list[str]] = {}
    labels = []
    for kind, data in zip(kinds, layer_keys, strict=True):
        variants, text = variants_by_kind.setdefault(kind, []), json.dumps(data)
        if text not in variants:
            variants.append(text)
        number = variants.index(text)
        labels.append(f"{kind}_{number + 1}" if number else kind)
    return labels


def runs_of(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the shortest runs with these kinds: one that repeats a pattern, or one for each group of equal layers.

    >>> runs_of(["dense", "moe", "moe"])
    [{'count': 1, 'pattern': ['dense']}, {'pattern': ['moe']}]
    >>> runs_of(["local", "global"] * 3)
    [{'pattern': ['local', 'global']}]
    """
    groups: list[list[str]] = []
    for kind in kinds:
        if groups and groups[-1][0] == kind:
            groups[-1].append(kind)
        else:
            groups.append([kind])
    period = _period(kinds)
    if period <= len(groups):
        return [{"pattern": list(kinds[:period])}]
    counted = [{"count": len(group), "pattern": group[:1]} for group in groups[:-1]]
    return [*counted, {"pattern": groups[-1][:1]}]


def _period(kinds: Sequence[str]) -> int:
    """Return the length of the shortest repeated pattern; the last repetition may be cut (Knuth, Morris, Pratt)."""
    prefix_lengths = [0] * len(kinds)
    for index in range(1, len(kinds)):
        length = prefix_lengths[index - 1]
        while length and kinds[index] != kinds[length]:
            length = prefix_lengths[length - 1]
        prefix_lengths[index] = length + (kinds[index] == kinds[length])
    return len(kinds) - prefix_lengths[-1]


def layers_of(stack: Document) -> list[Document]:
    """Return the document of each layer, in order."""
    n_counted = sum(run.get("count") or 0 for run in stack["runs"])
    layers: list[Document] = []
    for run in stack["runs"]:
        count = run.get("count") or stack["n_layers"] - n_counted
        layers += [run["pattern"][index % len(run["pattern"])] for index in range(count)]
    return layers


def _layers(stack: Document) -> list[Document]:
    """Return the document of each layer, without its name. Equal layers are one object."""
    layers = layers_of(stack)
    distinct: list[Document] = []
    nameless: dict[int, Document] = {}
    for layer in {id(layer): layer for layer in layers}.values():
        document = layer | {"name": None}
        nameless[id(layer)] = next((other for other in distinct if other == document), document)
        distinct.append(document)
    return [nameless[id(layer)] for layer in layers]


@final
class SharedStackLens(ConfigLens, msgspec.Struct, frozen=True):
    """ALBERT's stack: `n_groups` groups of `n_inner` layers, repeated `count` times in all, the groups in their order.

    All repetitions of a group share its weights.
    """

    count: Key
    n_groups: Key
    n_inner: Key
    layer: Template
    stack_fields: Template

    def names(self) -> Iterator[str]:
        """Yield the keys of the three counts, of a layer, and of the other fields."""
        for part in (self.count, self.n_groups, self.n_inner):
            yield from part.names()
        yield from names(self.layer)
        yield from names(self.stack_fields)

    def read(self, config: Config) -> Document:
        """Return a run for each group. Raises InputError if a group would not be used."""
        pattern = [read(self.layer, config)] * self.n_inner.read(config)
        runs = [
            {"count": n_repetitions * len(pattern), "pattern": pattern, "share_weights": True}
            for n_repetitions in self.repetitions(config)
        ]
        return {"n_layers": sum(run["count"] for run in runs), "runs": runs, **read(self.stack_fields, config)}

    def repetitions(self, config: Config) -> list[int]:
        """Return how often each group is repeated."""
        count, n_groups = self.count.read(config), self.n_groups.read(config)
        if n_groups > count:
            raise config.error(self.n_groups.name, n_groups, f"at most {count}, so that each group has a turn")
        groups = [int(index / (count / n_groups)) for index in range(count)]
        return [groups.count(group) for group in range(n_groups)]

    def places(self, config: Config) -> Iterator[tuple[int, int, int]]:
        """Yield the index of each layer that has weights, its group, and its place in the group."""
        start, n_inner = 0, self.n_inner.read(config)
        for group, n_repetitions in enumerate(self.repetitions(config)):
            yield from ((start + place, group, place) for place in range(n_inner))
            start += n_repetitions * n_inner

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the counts, and the keys of the first layer. Reading back shows whether all layers are equal."""
        runs = value["runs"] if value else ()
        if not runs or not all(run["share_weights"] for run in runs):
            raise MismatchError
        n_inner = len(runs[0]["pattern"])
        write(self.layer, runs[0]["pattern"][0], draft)
        draft.put(self.count.name, value["n_layers"] // n_inner)
        draft.put(self.n_groups.name, len(runs))
        draft.put(self.n_inner.name, n_inner)
        write(self.stack_fields, value, draft)


@final
class LastLayer(ConfigLens, msgspec.Struct, frozen=True):
    """A stack with one more layer after those that the config counts (the feed-forward of BigBird's answers)."""

    stack: ConfigLens
    layer: Template

    def names(self) -> Iterator[str]:
        """Yield the keys of both."""
        yield from self.stack.names()
        yield from names(self.layer)

    def read(self, config: Config) -> Document:
        """Return the stack, with a run of the layer."""
        stack: Document = self.stack.read(config)
        *runs, last = stack["runs"]
        last = last | {"count": stack["n_layers"] - sum(run["count"] for run in runs)}
        runs = [*runs, last, {"pattern": [read(self.layer, config)]}]
        return stack | {"n_layers": stack["n_layers"] + 1, "runs": runs}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of the layers before the last, and of the last."""
        if value is None or value["n_layers"] < 2:
            raise MismatchError
        *layers, last = layers_of(value)
        before = {"n_layers": len(layers), "runs": [{"count": len(layers), "pattern": layers}]}
        self.stack.write({**value, **before}, draft)
        write(self.layer, last, draft)
