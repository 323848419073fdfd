"""The modules of transformers' class of a model that have weights, from the ledger and the map of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal

import msgspec

from archcalc.analysis.weight_roles import role_of
from archcalc.formats.policy import Role
from archcalc.hf import tensor_map
from archcalc.hf.adapter_modules import NO_MODULES, UNDECLARED_ORDER, copies_of, has_linear, has_table, stated_output
from archcalc.hf.tensors import TOKEN_TABLE, TensorEntry, TensorMap, TensorMapError
from archcalc.ledger.algebra import ONE, Poly, product
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.spec.branches import borrowed_names
from archcalc.spec.groups import layers_of

# transposed: a Linear stored [in, out]. other: a module of its own kind, or a norm.
ModuleKind = Literal["linear", "transposed", "embedding", "convolution", "other"]
HEAD = "head.weight"


class ClassTensor(msgspec.Struct, frozen=True, dict=True):
    """A parameter of the class.

    - `name`: its full name, `model.layers.3.mlp.up_proj.weight`
    - `pattern`: the name with `{i}` for the layer and `*` for an expert
    - `ours`: the canonical tensors that it holds
    - `axes`: its axes as stored
    - `index`: its layer, None if it belongs to none
    - `source`: the first of the ledger's rows that it holds
    - `kind`: that of its module
    - `has_inputs_first`: stacked matrices are [in, out], and their module says so
    - `is_output`: the class states its module as the output layer
    """

    name: str
    pattern: str
    ours: tuple[str, ...]
    axes: tuple[Poly, ...]
    index: int | None
    source: WeightRow
    kind: ModuleKind
    has_inputs_first: bool
    is_output: bool = False

    @property
    def module(self) -> str:
        """Return the name of its module."""
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """Return the last part of its name."""
        return self.name.rpartition(".")[2]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes of its axes."""
        return tuple(int(axis.at(self.source.sizes)) for axis in self.axes)


class ClassModules(msgspec.Struct, frozen=True, dict=True):
    """All parameters of a class, tied ones under each of their names."""

    model_type: str
    class_name: str
    tensors: tuple[ClassTensor, ...]

    @cached_property
    def weights(self) -> dict[str, ClassTensor]:
        """Return the weight of each module that has one, by the module's name."""
        return {tensor.module: tensor for tensor in self.tensors if tensor.leaf == "weight"}

    @cached_property
    def biases(self) -> dict[str, ClassTensor]:
        """Return the bias of each module that has one."""
        return {tensor.module: tensor for tensor in self.tensors if tensor.leaf == "bias"}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of all modules with parameters in them, those that contain others included."""
        found: dict[str, None] = {}
        for tensor in self.tensors:
            parts = tensor.name.split(".")
            found |= {".".join(parts[:n]): None for n in range(1, len(parts))}
        return tuple(found)

    @cached_property
    def linears(self) -> tuple[str, ...]:
        """Return the names of the modules of 'all-linear': every Linear but the one that scores the vocabulary."""
        kinds = ("linear", "transposed")
        return tuple(name for name, one in self.weights.items() if one.kind in kinds and not one.is_output)


def class_modules(spec: Spec, ledger: Ledger, config: Mapping[str, Any]) -> ClassModules:
    """Return the modules of the class of a config whose spec and ledger these are."""
    predicts_tokens = spec.predicts_tokens
    rows = {name: (row, index) for row in ledger.rows if row.is_counted for name, index in _named(row)}
    rows |= {name: (rows[own][0], index) for own in list(rows) for name, index in _borrowed(spec, own)}
    model_type = str(config["model_type"])
    tensors = _first_names(tensor_map(dict(config)))
    found = list(_tensors(model_type, tensors, rows))
    found += [copy for tensor in found for copy in _copies(model_type, tensor, predicts_tokens=predicts_tokens)]
    for row in ledger.tied:
        with suppress(TensorMapError):
            found += _tensors(model_type, tensors, {row.path: (row, None)})
    outputs = [stated_output(one.module) for one in found if HEAD in one.ours or _is_shared_head(one)]
    by_name: dict[str, ClassTensor] = {}
    for one in found:
        if one.module not in NO_MODULES:
            is_output = predicts_tokens and one.leaf == "weight" and one.module in outputs
            by_name.setdefault(one.name, msgspec.structs.replace(one, is_output=is_output))
    return ClassModules(model_type, str((config.get("architectures") or [""])[0]), tuple(by_name.values()))


def _is_shared_head(tensor: ClassTensor) -> bool:
    """Return whether the head has the name of the token table's matrix."""
    return TOKEN_TABLE in tensor.ours and tensor.kind == "linear"


def _first_names(tensors: TensorMap) -> TensorMap:
    """Return the map with one name for each part of a head whose names differ between classes."""
    taken: set[str] = set()
    chosen = []
    for entry in tensors.candidates:
        if taken.isdisjoint(entry.ours):
            taken.update(entry.ours)
            chosen.append(entry)
    return msgspec.structs.replace(tensors, entries=(*chosen, *tensors.entries), candidates=())


def _named(row: WeightRow) -> Iterator[tuple[str, int | None]]:
    indices: Iterable[int | None] = row.indices if "{i}" in row.path else (None,)
    return zip(row.names(), indices, strict=True)


def _borrowed(spec: Spec, own: str) -> Iterator[tuple[str, int]]:
    """Yield the names of a tensor in other layers whose branches use it, where the class has further modules."""
    for each in spec.stacks:
        for index, layer in enumerate(layers_of(each.stack)):
            for name, owner in borrowed_names(layer).items():
                before = f"{each.prefix}layers.{owner}.{name}."
                if own.startswith(before):
                    yield f"{each.prefix}layers.{index}.{name}.{own.removeprefix(before)}", index


def _copies(model_type: str, tensor: ClassTensor, *, predicts_tokens: bool) -> Iterator[ClassTensor]:
    """Yield a table under the other names that it has in its class."""
    if tensor.leaf != "weight" or HEAD in tensor.ours:
        return
    for module in copies_of(model_type, tensor.module):
        is_head = module.endswith(".decoder")
        if predicts_tokens or not is_head:
            kind: ModuleKind = "linear" if is_head else "embedding"
            name = f"{module}.weight"
            yield msgspec.structs.replace(tensor, name=name, pattern=name, kind=kind)


def _tensors(
    model_type: str, tensors: TensorMap, rows: Mapping[str, tuple[WeightRow, int | None]]
) -> Iterator[ClassTensor]:
    """Yield the parameters of the class that hold these canonical tensors, one for each expert stored alone."""
    for entry in tensors.placed(rows):
        parts = [rows[name][0] for name in entry.ours]
        index = rows[entry.ours[0]][1]
        axes = _stored_axes(entry, [part.weight.axes for part in parts])
        if entry.n_blocks or entry.n_row_groups:  # a quotient of sizes is no formula
            axes = tuple(map(Poly.constant, entry.shape([part.shape for part in parts])))
        names = entry.rows(entry.shape([part.shape for part in parts]))
        axes = axes[1:] if names else axes
        for name in names or [entry.name]:
            yield ClassTensor(
                name=name,
                pattern=_pattern(entry.name.replace("{e}", "*"), index),
                ours=entry.ours,
                axes=axes,
                index=index,
                source=parts[0],
                kind=_kind(model_type, entry, parts[0], len(axes)),
                has_inputs_first=entry.transposed and model_type not in UNDECLARED_ORDER,
            )


def _kind(model_type: str, entry: TensorEntry, row: WeightRow, n_axes: int) -> ModuleKind:
    module, _, leaf = entry.name.rpartition(".")
    role: Role = role_of(row)
    if leaf != "weight" or n_axes < 2:
        return "other"
    if row.weight.convolves:
        return "convolution" if n_axes == 3 and not entry.n_blocks else "other"
    if n_axes != 2:
        return "other"
    if has_linear(model_type, role, module):
        return "transposed" if entry.transposed and model_type not in UNDECLARED_ORDER else "linear"
    return "embedding" if has_table(model_type, role, module) else "other"


def _stored_axes(entry: TensorEntry, parts: Sequence[tuple[Poly, ...]]) -> tuple[Poly, ...]:
    """Return the axes of the tensor that an entry joins of its parts, as `TensorEntry.shape` does with their sizes."""
    axes = list(parts[0])
    if len(parts) > 1:
        axes[entry.axis] = Poly.sum(part[entry.axis] for part in parts)
    if entry.transposed:
        axes[-1], axes[-2] = axes[-2], axes[-1]
    if entry.is_flat:
        return tuple(axes[1:])
    if entry.joins_rows:
        axes[:2] = [product(axes[:2])]
    for axis in entry.unit_axes:
        axes.insert(axis, ONE)
    return tuple(axes)


def _pattern(name: str, index: int | None) -> str:
    """Return a tensor's name with `{i}` for its layer."""
    return name if index is None else f".{name}".replace(f".{index}.", ".{i}.", 1)[1:]
