"""Maps between Hugging Face parameters and canonical tensors: a table for each family, used in both directions.

In a table, `{i}` is the index of a layer. A name without its last part (`weight`, `bias`) means both.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from archcalc.errors import ArchcalcError
from archcalc.words import msg

Shape = tuple[int, ...]
TOKEN_TABLE = "embed.tokens.weight"  # noqa: S105
Order = Literal["whole", "alternate", "by_head", "by_query_head", "in_four", "turned", "swapped", "halves", "tiled"]


class TensorMapError(ArchcalcError):
    """A tensor is missing in a family's map."""

    exit_code = 1


class HeadPiece(msgspec.Struct, frozen=True):
    """A stored tensor with `width` rows of each head of ours, from the row `first` on: [heads, rows, columns].

    `transposed` swaps its last two axes.
    """

    name: str
    n_heads: int
    first: int
    width: int
    transposed: bool = False

    def shape(self, whole: Shape) -> Shape:
        """Return the stored shape, from that of all heads' rows."""
        columns = (whole[1], self.width) if self.transposed else (self.width, whole[1])
        return (self.n_heads, *columns)


class TensorEntry(msgspec.Struct, frozen=True, dict=True):
    """The Hugging Face tensor `name`, made of the canonical tensors `ours`: one, or several joined along `axis`.

    `order` of joined tensors:

    - `whole`: one after the other
    - `alternate`: alternating rows (gpt-oss)
    - `by_head`: for each kv head its queries, its key, its value (GPT-NeoX)
    - `by_query_head`: for each head its query and its gate (Qwen3-Next)
    - `in_four`: four blocks with a quarter of each (CodeGen)
    - `turned`: rows in the order of interleaved rotary pairs (LLaMA in GGUF)
    - `swapped`: the halves of each head exchanged (NanoChat, which rotates in the opposite direction)
    - `halves`: a row of each half of ours by turns (Zamba)
    - `tiled`: the heads of the last one, `tile` of each group, are stored in the order of their place in the group
      (Qwen3.5 in GGUF)

    `transposed` swaps the last two axes of the result (GPT-2's Conv1D is [in, out]). `requires`: another canonical
    tensor without which this entry does not apply. `plus`: the constant by which stored values exceed ours.
    `is_negative_exp`: ours are the logarithms of the negated stored values (Mamba in GGUF). `squeezed_axes`: axes of
    length 1 that ours have and the stored tensor lacks. `pieces`: tensors that may be stored instead, with some rows of
    each head (DeepSeek in GGUF). `tile`: the number of groups, and of heads in each.
    `unit_axes`: axes of length 1 that the stored tensor has besides ours (ERNIE's corrections). `is_flat`: stored
    without ours (TAPAS's scores). `joins_rows`: its rows are those of ours one after the other: the first two axes are
    one (DBRX's experts). `{e}` in the name: each row of ours is a tensor of its own (StableLM's norms of
    heads), numbered or named by `row_names` (X-MOD's languages).
    `n_blocks`: a grouped projection, stored as so many matrices, each [in, out] (ConvBERT). `n_row_groups`: rows are
    stored in so many groups, by a further first axis; a grouped projection is so many matrices [out, in] (Zamba).
    """

    name: str
    ours: tuple[str, ...]
    axis: int = 0
    order: Order = "whole"
    transposed: bool = False
    requires: str = ""
    plus: float = 0.0
    unit_axes: tuple[int, ...] = ()
    is_flat: bool = False
    row_names: tuple[str, ...] = ()
    joins_rows: bool = False
    n_blocks: int = 0
    n_row_groups: int = 0
    is_negative_exp: bool = False
    squeezed_axes: tuple[int, ...] = ()
    pieces: tuple[HeadPiece, ...] = ()
    tile: tuple[int, int] = (1, 1)

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(re.escape(name).replace(r"\{i\}", r"(\d+)")) for name in self.ours)

    def match(self, name: str, names: Container[str]) -> TensorEntry | None:
        """Return this entry for the layer of a canonical `name` if it contains that tensor, else None."""
        for pattern in self._patterns:
            if match := pattern.fullmatch(name):
                entry = self._at("".join(match.groups()))
                return entry if not entry.requires or entry.requires in names else None
        return None

    def _at(self, index: str) -> TensorEntry:
        return msgspec.structs.replace(
            self,
            name=self.name.replace("{i}", index),
            ours=tuple(name.replace("{i}", index) for name in self.ours),
            requires=self.requires.replace("{i}", index),
            pieces=tuple(
                msgspec.structs.replace(piece, name=piece.name.replace("{i}", index)) for piece in self.pieces
            ),
        )

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the joined shape of these parts. Raises TensorMapError if they cannot be joined."""
        joined = list(shapes[0])
        for other in shapes[1:]:
            if len(other) != len(joined) or any(
                a != b for k, (a, b) in enumerate(zip(joined, other, strict=True)) if k != self.axis
            ):
                raise TensorMapError(
                    msg(
                        "{ours} cannot be joined: {shapes}",
                        ours=" and ".join(self.ours),
                        shapes=list(map(list, shapes)),
                    )
                )
            joined[self.axis] += other[self.axis]
        if self.transposed:
            joined[-1], joined[-2] = joined[-2], joined[-1]
        if self.n_blocks:
            return self.n_blocks, joined[1], joined[0] // self.n_blocks
        if self.n_row_groups:
            inner = joined[1:-1] if len(joined) == 3 else joined[1:]
            return self.n_row_groups, joined[0] // self.n_row_groups, *inner
        if self.is_flat:
            return tuple(joined[1:])
        if self.joins_rows:
            joined[:2] = [joined[0] * joined[1]]
        for axis in self.squeezed_axes:
            del joined[axis]
        for axis in self.unit_axes:
            joined.insert(axis, 1)
        return tuple(joined)

    def rows(self, shape: Shape) -> list[str]:
        """Return the name of each row's tensor for this shape; none if the tensor is stored whole."""
        if "{e}" not in self.name:
            return []
        return [self.name.replace("{e}", row) for row in self.row_names or map(str, range(shape[0]))]

    def stored(self, shapes: Sequence[Shape]) -> dict[str, Shape]:
        """Return the shapes of the stored tensors, by name, from those of the parts."""
        whole = self.shape(shapes)
        if self.pieces:
            return {piece.name: piece.shape(whole) for piece in self.pieces}
        return dict.fromkeys(self.rows(whole), whole[1:]) or {self.name: whole}


class TensorMap(msgspec.Struct, frozen=True):
    """All tensors of a class.

    `unmapped`: Hugging Face tensors that no spec has, each with the reason. `candidates`: entries of heads whose names
    differ between classes; those apply that a file has (`of_file`).
    """

    entries: tuple[TensorEntry, ...]
    unmapped: Mapping[str, str]
    candidates: tuple[TensorEntry, ...] = ()

    def of_file(self, names: Iterable[str]) -> TensorMap:
        """Return the map with the candidates that are among the names of a file; if there is none, with all."""
        if not self.candidates:
            return self
        stored = frozenset(names)
        found = [entry for entry in self.candidates if entry.name in stored]
        held = {part for entry in (*found, *self.entries) if entry.name in stored for part in entry.ours}
        others = [entry for entry in self.candidates if held.isdisjoint(entry.ours)]
        return msgspec.structs.replace(self, entries=(*found, *others, *self.entries), candidates=())

    def class_names(self, names: Iterable[str]) -> dict[str, str]:
        """Return the name in this map of each name in a file, which may have another prefix before the base model.

        LLaMA's bare model has `layers.0…` for `model.layers.0…`, its model for answers `transformer.layers.0…`.
        """
        root, same = self.root, {name: name for name in names}
        tables = [name for name in self._token_tables() if name.startswith(root)]
        if not same.keys().isdisjoint(tables):
            return same
        ends = [table.removeprefix(root) for table in tables]
        prefixes = {name.removesuffix(end) for end in ends for name in same if f".{name}".endswith(f".{end}")}
        if len(prefixes) != 1:
            return same
        prefix = prefixes.pop()
        known = {entry.name for entry in (*self.entries, *self.candidates)}
        return {
            name: root + name.removeprefix(prefix) if name.startswith(prefix) and name not in known else name
            for name in same
        }

    def named_shapes(self, ours: Mapping[str, Shape], names: Iterable[str]) -> dict[str, Shape]:
        """Return the shapes of canonical tensors under the `names` of a file or class; others have their own names.

        Raises TensorMapError if one has no place.
        """
        class_names = self.class_names(names)
        stored = {name: stored for stored, name in class_names.items()}
        shapes = self.of_file(class_names.values()).shapes(ours)
        return {stored.get(name, name): shape for name, shape in shapes.items()}

    @property
    def root(self) -> str:
        """Return the prefix of the base model's tensors, `model.`; empty if they have none in common."""
        of_layers = (entry.name for entry in self.entries if "layers." in entry.ours[0])
        roots = {f"{name.partition('.')[0]}." for name in of_layers}
        root = roots.pop() if len(roots) == 1 else ""
        return root if any(name.startswith(root) for name in self._token_tables()) else ""

    def _token_tables(self) -> list[str]:
        return [entry.name for entry in (*self.entries, *self.candidates) if TOKEN_TABLE in entry.ours]

    def placed(self, names: Iterable[str]) -> Iterator[TensorEntry]:
        """Yield the entries that contain these canonical tensors, each tensor exactly once.

        Raises TensorMapError for a tensor that no entry contains, or an entry with missing parts.
        """
        remaining = dict.fromkeys(names)
        present = frozenset(remaining)
        while remaining:
            first = next(iter(remaining))
            entry = self._entry_of(first, present)
            for part in entry.ours:
                if part not in remaining:
                    raise TensorMapError(
                        msg("{name} holds {part}, which is not there or is held twice", name=entry.name, part=part)
                    )
                del remaining[part]
            yield entry

    def _entry_of(self, name: str, names: Container[str]) -> TensorEntry:
        matches = (entry.match(name, names) for entry in self.entries)
        if entry := next(filter(None, matches), None):
            return entry
        raise TensorMapError(msg("nothing holds {name}", name=name))

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return the Hugging Face names and shapes of canonical tensors. Raises TensorMapError if one has no place."""
        entries = self.placed(ours)
        return {
            name: shape
            for entry in entries
            for name, shape in entry.stored([ours[part] for part in entry.ours]).items()
        }


def module(
    ours: str, name: str, *, transposed: bool = False, requires: str = "", order: Order = "whole", plus: float = 0.0
) -> tuple[TensorEntry, TensorEntry]:
    """Return the entries of a module's weight and bias. Only the weight is `transposed`."""
    return (
        TensorEntry(
            f"{name}.weight", (f"{ours}.weight",), transposed=transposed, requires=requires, order=order, plus=plus
        ),
        TensorEntry(f"{name}.bias", (f"{ours}.bias",), requires=requires, order=order),
    )


def fused_modules(
    ours: Sequence[str], name: str, *, order: Order = "whole", transposed: bool = False
) -> tuple[TensorEntry, TensorEntry]:
    """Return the entries of several modules' weights and biases, joined along their outputs."""
    return (
        TensorEntry(f"{name}.weight", tuple(f"{part}.weight" for part in ours), order=order, transposed=transposed),
        TensorEntry(f"{name}.bias", tuple(f"{part}.bias" for part in ours), order=order),
    )


def table(*rows: tuple[TensorEntry, ...] | TensorEntry, unmapped: Mapping[str, str] | None = None) -> TensorMap:
    """Return the map with these entries."""
    entries = [entry for row in rows for entry in (row if isinstance(row, tuple) else (row,))]
    return TensorMap(tuple(entries), unmapped or {})


def modules(pairs: Mapping[str, str], ours: str = "", name: str = "", **how: Any) -> tuple[TensorEntry, ...]:
    """Return the entries of pairs of modules (ours: theirs), each name with its prefix, by `module(…, **how)`."""
    return tuple(entry for part, stored in pairs.items() for entry in module(ours + part, name + stored, **how))
