"""How a GGUF file stores its weights: the type of each tensor, from the header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.formats.gguf_types import FILE_BLOCKS
from archcalc.hf.storage.patterns import any_of
from archcalc.spec.storage import FloatName, Storage, StoredFormat

# What llama.cpp allocates for caches by default.
_CACHE_DTYPE: Final[FloatName] = "fp16"
_INDEX = re.compile(r"\.(\d+)\.")


def storage_of(header: Header, model_type: str) -> dict[str, Any]:
    """Return the storage of a file's tensors, as plain data."""
    names: dict[str, list[str]] = {}
    for tensor in header.tensors.values():
        names.setdefault(tensor.dtype, []).append(tensor.name.removesuffix(".weight"))
    formats = tuple(
        StoredFormat(name=f"gguf-{kind.lower()}", layout=FILE_BLOCKS[kind], pattern=any_of(_by_layer(modules)))
        for kind, modules in names.items()
    )
    storage = Storage(
        dtype=_CACHE_DTYPE,
        stated_by=("the header of the file",),
        formats=formats,
        naming="gguf",
        model_type=model_type,
    )
    plain: dict[str, Any] = msgspec.to_builtins(storage)
    return {name: value for name, value in plain.items() if value}


def _by_layer(names: Iterable[str]) -> Iterable[str]:
    r"""Return patterns of names, those that differ only in the layer as one: blk\.(?:0|1)\.attn_q."""
    layers: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found = _INDEX.search(name)
        before, after = (name[: found.start()], name[found.end() :]) if found else (name, "")
        layers.setdefault((before, after), []).append(found[1] if found else "")
    for (before, after), indices in layers.items():
        middle = rf"\.(?:{'|'.join(indices)})\.{re.escape(after)}" if indices[0] else ""
        yield re.escape(before) + middle
