"""The tensors in a model's files, from the headers alone: names, shapes, types and bytes, all exact.

No weight is read, and no config is needed. The component of a tensor follows from its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from typing import Annotated, Final

from archcalc.analysis.transformers_report import component
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.formats.file_tensor import FileTensor
from archcalc.ledger.leaves import COMPONENTS, Component
from archcalc.results import Result, Row, Sureness, count, data, number, product, share, text
from archcalc.words import msg

# Parts of the names of llama.cpp's tensors.
_GGUF_COMPONENTS: Final[tuple[tuple[Component, str], ...]] = (
    ("norm", r"\w*norm\w*"),
    ("position", r"rope_\w+|position_embd|attn_rel_b"),
    ("embedding", r"token_\w+"),
    ("mixer", r"ssm_\w+|shortconv\w*|time_mix\w*|channel_mix\w*"),
    ("attention", r"attn\w*|cross_attn\w*|indexer"),
    ("ffn", r"ffn\w*|exp_probs\w*|xielu"),
    ("head", r"output"),
)


class FileTensorRow(Row, frozen=True, kw_only=True):
    """A tensor in a file: its type is that of the file's format."""

    name: Annotated[str, text(msg("tensor"))]
    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    type: Annotated[str, text(msg("type"))]
    shape: Annotated[tuple[int, ...], product(msg("shape"))]
    elements: Annotated[int, count(msg("elements"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    bits_per_element: Annotated[float, number(msg("bits each"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class FileComponentRow(Row, frozen=True, kw_only=True):
    """The tensors of one component and type."""

    component: Annotated[Component, text(msg("component"), names=COMPONENT_NAMES)]
    type: Annotated[str, text(msg("type"))]
    tensors: Annotated[int, count(msg("tensors"))]
    elements: Annotated[int, count(msg("elements"))]
    bytes: Annotated[int, count(msg("total bytes"), rounded="bytes")]
    bits_per_element: Annotated[float, number(msg("bits each"), "decimal")]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class FileTensors(Result, frozen=True, kw_only=True):
    """The tensors in the files of a source; `elements` are as the files store them, which may pack several weights."""

    source: Annotated[str, data(msg("source"))]
    files: Annotated[tuple[str, ...], data(msg("files"))]
    elements: Annotated[int, data(msg("elements"))]
    bytes: Annotated[int, data(msg("total bytes"))]
    bits_per_element: Annotated[float, data(msg("bits each"))]
    components: Annotated[tuple[FileComponentRow, ...], data(msg("by component and type"))]
    tensors: Annotated[tuple[FileTensorRow, ...], data(msg("tensors"))]


def file_tensors(source: str, stored: Mapping[str, FileTensor], *, is_gguf: bool = False) -> FileTensors:
    """Return the tensors of checked headers, by name."""
    rows = tuple(_row(tensor, is_gguf=is_gguf) for tensor in stored.values())
    elements, size = sum(row.elements for row in rows), sum(row.bytes for row in rows)
    return FileTensors(
        source=source,
        files=tuple(dict.fromkeys(tensor.file.name for tensor in stored.values())),
        elements=elements,
        bytes=size,
        bits_per_element=8 * size / (elements or 1),
        components=tuple(_components(rows, size)),
        tensors=rows,
    )


def _row(tensor: FileTensor, *, is_gguf: bool) -> FileTensorRow:
    elements = prod(tensor.shape)
    return FileTensorRow(
        name=tensor.name,
        component=_gguf_component(tensor.name) if is_gguf else component(f"{tensor.name}."),
        type=tensor.dtype,
        shape=tensor.shape,
        elements=elements,
        bytes=tensor.n_bytes,
        bits_per_element=8 * tensor.n_bytes / (elements or 1),
    )


def _gguf_component(name: str) -> Component:
    part = re.sub(r"^(?:\w+\.)?blk\.\d+\.|^(?:enc|dec)\.", "", name).partition(".")[0]
    return next((each for each, pattern in _GGUF_COMPONENTS if re.fullmatch(pattern, part)), "other")


def _components(rows: tuple[FileTensorRow, ...], size: int) -> Iterator[FileComponentRow]:
    groups = Counter((COMPONENTS.index(row.component), row.type) for row in rows)
    for (place, kind), tensors in sorted(groups.items()):
        own = [row for row in rows if (row.component, row.type) == (COMPONENTS[place], kind)]
        held, elements = sum(row.bytes for row in own), sum(row.elements for row in own)
        yield FileComponentRow(
            component=COMPONENTS[place],
            type=kind,
            tensors=tensors,
            elements=elements,
            bytes=held,
            bits_per_element=8 * held / (elements or 1),
            share=held / (size or 1),
        )
