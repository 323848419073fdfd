"""Find the parts of each quantized weight among the tensors of files, and check that they fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod

from archcalc.checkpoint.memory_map import FileMaps, file_maps
from archcalc.checkpoint.quantized.decoders import DECODERS
from archcalc.checkpoint.quantized.matrix import Sizes
from archcalc.checkpoint.quantized.tensor import QuantizedTensor, quantized_tensor
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.layouts import Shape
from archcalc.formats.packings import ELEMENTS, PACKINGS, PackedPart
from archcalc.hf.storage.choice import FormatChoice
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.words import Message, msg

_WEIGHT = ".weight"


def with_quantized(stored: Mapping[str, FileTensor], storage: Storage) -> dict[str, FileTensor]:
    """Return the tensors of files, with the parts of each quantized weight as one QuantizedTensor.

    Raise InputError for missing parts, or parts that do not fit each other.
    """
    packings = {one.packing for one in storage.formats if one.packing}
    choice, found, used = FormatChoice(storage), dict[str, FileTensor](), set[str]()
    with file_maps() as maps:
        for name, tensor in stored.items():
            weight = next(filter(None, (_weight_of(tensor, PACKINGS[packing]) for packing in packings)), None)
            one = _format(weight, tensor, stored, choice) if weight else None
            if weight and one:
                found[weight] = _quantized(weight, one, stored, maps)
                used.update(part.name for part in found[weight].pieces)
            elif name not in found:
                found[name] = tensor
    return {name: one for name, one in found.items() if isinstance(one, QuantizedTensor) or name not in used}


def _weight_of(tensor: FileTensor, parts: Mapping[str, PackedPart]) -> str | None:
    """Return the name of the weight whose elements a tensor may be in this packing; None if of none."""
    others = (part for role, part in parts.items() if role != ELEMENTS)
    if tensor.dtype not in parts[ELEMENTS].types or any(_match(tensor.name, part) for part in others):
        return None
    return _match(tensor.name, parts[ELEMENTS])


def _match(name: str, part: PackedPart) -> str | None:
    """Return the name of the weight of which a tensor of this name is the part; None if it is not."""
    for template in part.names:
        pattern = re.escape(template).replace(r"\{w\}", "(?P<w>.+)").replace(r"\{m\}", "(?P<m>.+)")
        if match := re.fullmatch(pattern, name):
            groups = match.groupdict()
            return groups.get("w") or groups["m"] + _WEIGHT
    return None


def _format(
    weight: str, tensor: FileTensor, stored: Mapping[str, FileTensor], choice: FormatChoice
) -> StoredFormat | None:
    """Return the first format of a weight whose elements files have. Raise InputError if the weight has none."""
    for one in choice.of(weight.removesuffix(_WEIGHT)):
        if one.packing is None:
            break
        elements = _part(weight, PACKINGS[one.packing][ELEMENTS], stored)
        if elements is not None and elements.dtype in PACKINGS[one.packing][ELEMENTS].types:
            return one
    else:
        return None
    raise InputError(
        msg("is stored as {dtype}, where the config has {format}", dtype=tensor.dtype, format=one.name),
        where=shown(tensor.name, 200),
        file=str(tensor.file),
    )


def _part(weight: str, part: PackedPart, stored: Mapping[str, FileTensor]) -> FileTensor | None:
    return next((stored[name] for name in _names(weight, part) if name in stored), None)


def _names(weight: str, part: PackedPart) -> Iterator[str]:
    module = weight.removesuffix(_WEIGHT)
    return (name.replace("{w}", weight).replace("{m}", module) for name in part.names)


def _quantized(weight: str, one: StoredFormat, stored: Mapping[str, FileTensor], maps: FileMaps) -> QuantizedTensor:
    """Return the weight of this name in a format."""
    assert one.packing and one.layout, "a format with a packing has a layout"  # noqa: PT018
    parts = dict(_parts(weight, PACKINGS[one.packing], stored))
    decoder, elements = DECODERS[one.packing], parts[ELEMENTS]
    facts = decoder.facts(maps, parts)
    sizes = Sizes(1, 1, one.layout, facts)
    shape = tuple(decoder.shape(elements.shape, sizes.bits, facts)) if len(elements.shape) > 1 else ()
    if len(shape) < 2 or not prod(shape):
        raise _misfit(elements, msg("a matrix"))
    *stack, n_out, n_in = shape
    for role, wanted in decoder.parts(Sizes(n_out, n_in, one.layout, facts)).items():
        found = _long_axes(parts[role].shape) if role in parts else None
        is_shared = found == _long_axes(wanted) == ()
        if found is not None and found != _long_axes((*stack, *wanted)) and not is_shared:
            raise _misfit(parts[role], str([*stack, *wanted]))
    return quantized_tensor(weight, shape, one.name, one.packing, one.layout, parts, facts)


def _parts(
    weight: str, packing: Mapping[str, PackedPart], stored: Mapping[str, FileTensor]
) -> Iterator[tuple[str, FileTensor]]:
    """Yield the parts of a weight. Raise InputError if one is missing or has another type."""
    for role, part in packing.items():
        tensor = _part(weight, part, stored)
        if tensor is None and not part.is_optional:
            elements = _part(weight, packing[ELEMENTS], stored)
            raise InputError(
                msg("is missing"),
                where=shown(next(_names(weight, part)), 200),
                allowed=msg("a part of the quantized {name}", name=shown(weight, 200)),
                file=str(elements.file) if elements else "",
            )
        if tensor is not None and tensor.dtype not in part.types:
            raise InputError(
                msg("is stored as {dtype}", dtype=tensor.dtype),
                where=shown(tensor.name, 200),
                allowed=", ".join(part.types),
                file=str(tensor.file),
            )
        if tensor is not None:
            yield role, tensor


def _misfit(part: FileTensor, allowed: str | Message) -> InputError:
    return InputError(
        msg("has shape {shape}", shape=list(part.shape)),
        where=shown(part.name, 200),
        allowed=allowed,
        file=str(part.file),
    )


def _long_axes(shape: Shape) -> tuple[int, ...]:
    """Return a shape without axes of length 1, which libraries write or leave out."""
    return tuple(size for size in shape if size != 1)
