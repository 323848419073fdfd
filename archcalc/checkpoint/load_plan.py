"""Plan a load: match every canonical tensor with stored ones, and account for every stored one, before reading any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import msgspec

from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.hf.spellings import Spelling
from archcalc.hf.stored_names import class_names
from archcalc.hf.tensors import HeadPiece, Shape, TensorEntry, TensorMap, TensorMapError
from archcalc.words import msg


@dataclass(frozen=True)
class Move:
    """A stored tensor and the canonical ones that it holds.

    `row`: it is one expert's or head's row of them. `piece`: it has some rows of each head.
    """

    stored: FileTensor
    mapping: TensorEntry
    row: int | None = None
    piece: HeadPiece | None = None


@dataclass(frozen=True)
class Plan:
    """All copies of a load.

    `computed`: tensors that follow from the spec. `same`: pairs that must be equal. `zero`: what must be zero, for the
    architecture does not have it.
    """

    moves: tuple[Move, ...]
    computed: tuple[str, ...]
    same: tuple[tuple[FileTensor, FileTensor], ...]
    zero: tuple[FileTensor, ...] = ()


def make_plan(
    stored: Mapping[str, FileTensor], shapes: Mapping[str, Shape], tensors: TensorMap, spelling: Spelling
) -> Plan:
    """Return how `stored` tensors fill canonical ones of these shapes.

    Raise InputError naming the tensor that is missing, unexpected, duplicated or of another shape.
    """
    named = _by_class_name(stored, tensors, spelling)
    try:
        mappings = list(spelling.rows(tensors.of_file(named), named).placed(shapes))
    except TensorMapError as error:
        raise InputError(msg("this architecture has no place in the family's files: {error}", error=error)) from None
    computed = [
        mapping for mapping in mappings if mapping.name not in named and set(mapping.ours) <= set(spelling.computed)
    ]
    filled = [mapping for mapping in mappings if mapping not in computed]
    fallbacks = _fallbacks({mapping.name for mapping in mappings}, spelling)
    moves = [move for mapping in filled for move in _moves(mapping, named, shapes, spelling, fallbacks)]
    used_names = {move.stored.name for move in moves}
    moves = [each for move in moves for each in _matrices(move)]
    unused = {name: tensor for name, tensor in named.items() if tensor.name not in used_names}
    zero = {name: tensor for name, tensor in unused.items() if _is_quantizer_bias(name, named)}
    same = _tied_copies({name: one for name, one in unused.items() if name not in zero}, named, spelling)
    return Plan(tuple(moves), tuple(name for mapping in computed for name in mapping.ours), same, tuple(zero.values()))


def _is_quantizer_bias(name: str, named: Mapping[str, FileTensor]) -> bool:
    """Return whether a tensor is a bias beside a quantized weight: early AutoGPTQ wrote one of zeros for each."""
    module, _, part = name.rpartition(".")
    return part == "bias" and isinstance(named.get(f"{module}.weight"), QuantizedTensor)


def _by_class_name(stored: Mapping[str, FileTensor], tensors: TensorMap, spelling: Spelling) -> dict[str, FileTensor]:
    """Return the stored tensors by the names that the map has."""
    return {name: stored[own] for name, own in class_names(stored, tensors, spelling).items()}


def _fallbacks(names: Set[str], spelling: Spelling) -> dict[str, str]:
    """Return the stored tensor to use instead of each one that may be absent: a tied one has either name."""
    tied = {original: copy for copy, original in spelling.copies.items() if copy not in names}
    return tied | dict(spelling.absent)


def _moves(
    mapping: TensorEntry,
    named: Mapping[str, FileTensor],
    shapes: Mapping[str, Shape],
    spelling: Spelling,
    fallbacks: Mapping[str, str],
) -> Iterator[Move]:
    """Yield the moves that fill one row of the map: from one tensor, one per expert or head, or a tied copy."""
    ours = [shapes[name] for name in mapping.ours]
    expert_names = spelling.expert_names(mapping.name)
    fallback = fallbacks.get(mapping.name, "")
    if isinstance(named.get(mapping.name) or named.get(fallback), QuantizedTensor):
        mapping = msgspec.structs.replace(mapping, transposed=False)  # such files have [out, in] of every class
    if mapping.name not in named and expert_names and expert_names[0].replace("{e}", "0") in named:
        for name, part, shape in zip(expert_names, mapping.ours, ours, strict=True):
            for row in range(shape[0]):
                expert = name.replace("{e}", str(row))
                yield Move(_with_shape(expert, shape[1:], named), TensorEntry(expert, (part,)), row)
        return
    if mapping.pieces and mapping.name not in named:
        for piece in mapping.pieces:
            yield Move(_with_shape(piece.name, piece.shape(ours[0]), named), mapping, piece=piece)
        return
    if row_names := mapping.rows(ours[0]):
        for row, name in enumerate(row_names):
            yield Move(_with_shape(name, ours[0][1:], named), TensorEntry(name, mapping.ours), row)
        return
    yield Move(_with_shape(mapping.name, mapping.shape(ours), named, fallback), mapping)


def _matrices(move: Move) -> Iterator[Move]:
    """Yield a move, or one for each matrix of a quantized stack, so that one is dequantized at a time."""
    stored, mapping = move.stored, move.mapping
    is_stack = isinstance(stored, QuantizedTensor) and len(stored.shape) == 3 and not mapping.joins_rows
    if not isinstance(stored, QuantizedTensor) or not is_stack or (len(mapping.ours) > 1 and not mapping.axis):
        yield move
        return
    of_matrix = msgspec.structs.replace(mapping, axis=max(0, mapping.axis - 1))
    for row in range(stored.shape[0]):
        yield Move(stored.matrix(row), of_matrix, row)


def _with_shape(name: str, shape: Shape, named: Mapping[str, FileTensor], fallback: str = "") -> FileTensor:
    tensor = named.get(name) or named.get(fallback)
    if tensor is None:
        raise InputError(
            msg("is missing"), where=shown(name, 200), allowed=msg("a tensor of shape {shape}", shape=list(shape))
        )
    if tensor.shape != shape:
        raise InputError(
            msg("has shape {shape}", shape=list(tensor.shape)), where=shown(tensor.name, 200), allowed=str(list(shape))
        )
    return tensor


def _tied_copies(
    unused: Mapping[str, FileTensor], named: Mapping[str, FileTensor], spelling: Spelling
) -> tuple[tuple[FileTensor, FileTensor], ...]:
    """Return the unused tensors that are tied copies, with their originals. Raise InputError for any other."""
    same: list[tuple[FileTensor, FileTensor]] = []
    for name, tensor in unused.items():
        original = named.get(spelling.copies.get(name, ""))
        if original is not None:
            if _forms(original) != _forms(tensor):
                raise InputError(
                    msg(
                        "has shape {shape} in {dtype}, but is tied to {name}",
                        shape=list(tensor.shape),
                        dtype=tensor.dtype,
                        name=shown(original.name, 200),
                    ),
                    where=shown(tensor.name, 200),
                    allowed=msg("{shape} in {dtype}", shape=list(original.shape), dtype=original.dtype),
                )
            same += zip(tensor.pieces, original.pieces, strict=True)
        elif spelling.unused_reason(name) is None:
            raise InputError(msg("is a tensor that this architecture does not have"), where=shown(tensor.name, 200))
    return tuple(same)


def _forms(tensor: FileTensor) -> list[tuple[Shape, str]]:
    """Return the shapes and types of the tensors of the file of which one is made."""
    return [(piece.shape, piece.dtype) for piece in tensor.pieces]
