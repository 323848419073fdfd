"""A model's files against the spec of its config: missing, extra, and differently shaped or stored tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod

from archcalc.analysis.file_forms import FileTensorForm, file_forms, names_of
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.formats.file_tensor import FileTensor
from archcalc.hf.spellings import Spelling
from archcalc.hf.stored_names import class_names
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec

# Names of types in files: of safetensors by our names; a GGUF type is called as it is.
_TYPES: dict[str, str] = {name: one.safetensors for name, one in ELEMENT_TYPES.items()}
# What quantization methods store beside, or in the place of, a module's weight.
_PART = re.compile(
    r"[._](?:weight|weight_\w+|qweight|qzeros|scales|biases|g_idx|SCB|weight\.\w+|input_\w+|activation_scale|blocks|"
    r"W_q|scale|zero|scale_inv|qbiases|weight_scales)(?:\..*)?$"
)
_STATE = re.compile(r"\.quant_state\.|\.weight_format$")

# A tensor's name, what is expected, and what is found; None for nothing.
FileDifference = tuple[str, str | None, str | None]


def file_differences(spec: Spec, ledger: Ledger, stored: Mapping[str, FileTensor]) -> Iterator[FileDifference]:
    """Yield each tensor in which files differ from the spec, by its name in them."""
    tensors, spelling = names_of(spec)
    own_names = class_names(stored, tensors, spelling)
    named = {name: stored[own] for name, own in own_names.items()}
    used: set[str] = set()
    has_parts = spec.about.storage.naming != "gguf"
    for form in file_forms(spec, ledger, named.keys() | (_weights(named) if has_parts else set())):
        yield from _form_differences(form, named, used, spelling, has_parts=has_parts)
    for name, tensor in named.items():
        is_copy = spelling.copies.get(name) in used
        if name not in used and not is_copy and spelling.unused_reason(name) is None:
            yield own_names[name], None, _found(tensor)


def _form_differences(
    form: FileTensorForm, named: Mapping[str, FileTensor], used: set[str], spelling: Spelling, *, has_parts: bool
) -> Iterator[FileDifference]:
    """Yield what differs in a tensor, in its copies for each expert, or in the parts of a quantized one."""
    names = [form.name.replace("{e}", str(row)) for row in range(form.shape[0])] if "{e}" in form.name else [form.name]
    shape, size = (form.shape[1:], form.bytes.total // len(names)) if len(names) > 1 else (form.shape, form.bytes.total)
    for name in names:
        fallback = spelling.absent.get(name) or next((one for one, own in spelling.copies.items() if own == name), "")
        found = name if name in named or fallback not in named else fallback
        if form.is_plain:
            used.add(found)
            wanted = f"{_TYPES.get(form.format, form.format)} {list(shape)}"
            held = _found(named[found]) if found in named else None
        else:
            parts = _parts(found, named) if has_parts else [one for one in (found,) if one in named]
            used.update(parts)
            wanted = f"{form.format}, {size} bytes"
            held = f"{form.format}, {sum(_n_bytes(named[part]) for part in parts)} bytes" if parts else None
        if wanted != held and not set(form.ours) <= set(spelling.computed):
            yield name, wanted, held


def _weights(names: Iterable[str]) -> set[str]:
    """Return the names that the weights of which these are parts would have if they were not quantized."""
    modules = {name[: found.start()] for name in names if (found := _PART.search(name))}
    return {f"{module}.weight" for module in modules}


def _n_bytes(tensor: FileTensor) -> int:
    """Return the bytes of a part that count: not the JSON of bitsandbytes, but the offset of 4 bytes that it states."""
    if _STATE.search(tensor.name):
        return 0
    return tensor.n_bytes + (4 if tensor.name.endswith(".nested_absmax") else 0)


def _parts(name: str, named: Mapping[str, FileTensor]) -> list[str]:
    """Return the tensors that a quantized weight is stored as."""
    module = name.removesuffix(".weight")
    return [one for one in named if one.startswith(module) and _PART.match(one[len(module) :])]


def _found(tensor: FileTensor) -> str:
    elements = prod(tensor.shape)
    plain = tensor.dtype in _TYPES.values() or not elements
    return f"{tensor.dtype} {list(tensor.shape)}" if plain else f"gguf-{tensor.dtype.lower()}, {tensor.n_bytes} bytes"
