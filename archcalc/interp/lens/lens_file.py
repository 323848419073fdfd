"""Lenses in safetensors files, each with what it was made of.

A file has `SITE.weight` [D, D] and `SITE.bias` [D] for each site, and in its metadata, under `archcalc.lens`, the kind
and the origin as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from archcalc.errors import InputError, shown
from archcalc.interp.lens.maps import Lens, LensKind, SiteMap
from archcalc.locations import Folder, Gguf, locate
from archcalc.words import msg

_KEY = "archcalc.lens"


def lens_path(source: str, kind: LensKind) -> Path | None:
    """Return the file of a source's lens, beside its weights; None for sources that nothing is written to."""
    match locate(source, bare_paths=True):
        case Folder(path=path):
            return Path(path) / f"{kind}-lens.safetensors"
        case Gguf(path=path):
            return Path(path).with_suffix(f".{kind}-lens.safetensors")
        case _:
            return None


def lens_beside(source: str, kind: LensKind) -> str | None:
    """Return the file of a lens that was made of a source, None if there is none.

    Raises InputError for a tuned lens that is missing: it has to be trained.
    """
    if kind == "logit":
        return None
    path = lens_path(source, kind)
    if path is not None and path.is_file():
        return str(path)
    if kind == "tuned":
        allowed = msg("`lens`, or a lens made with `train`") if path is None else msg("one made with `train`")
        raise InputError(msg("there is no tuned lens"), file="" if path is None else str(path), allowed=allowed)
    return None


def lens_bytes(lens: Lens) -> bytes:
    """Return the content of a lens's file, its numbers in float32."""
    from safetensors.torch import save

    tensors = {}
    for site, (weight, bias) in lens.maps.items():
        tensors[f"{site}.weight"] = weight.float().cpu().contiguous()
        if bias is not None:
            tensors[f"{site}.bias"] = bias.float().cpu().contiguous()
    about = json.dumps({"kind": lens.kind, "origin": dict(lens.origin)}, ensure_ascii=False)
    return save(tensors, metadata={"format": "pt", _KEY: about})


def save_lens(lens: Lens, path: str) -> None:
    """Write a lens to a safetensors file. Raises InputError if it cannot be written."""
    try:
        Path(path).write_bytes(lens_bytes(lens))
    except OSError as error:
        raise InputError(msg("cannot be written ({strerror})", strerror=error.strerror), file=path) from None


def load_lens(path: str) -> Lens:
    """Return the lens of a file that `save_lens` or `archcalc lens --train` wrote. Raises InputError for others."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = _about((file.metadata() or {}).get(_KEY), path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except OSError as error:
        reason = error.strerror or msg("there is no such file")
        raise InputError(msg("cannot be read ({strerror})", strerror=reason), file=path) from None
    except SafetensorError as error:
        raise InputError(msg("{error}", error=error), file=path, allowed=msg("a lens as safetensors")) from None
    maps: dict[str, SiteMap] = {
        name.removesuffix(".weight"): (weight, tensors.get(f"{name.removesuffix('.weight')}.bias"))
        for name, weight in tensors.items()
        if name.endswith(".weight")
    }
    return Lens(about["kind"], maps, about["origin"])


def _about(text: str | None, path: str) -> dict[str, Any]:
    """Return the kind and the origin of a lens from the metadata of its file."""
    try:
        about = json.loads(text or "")
        if about["kind"] in get_args(LensKind) and isinstance(about["origin"], dict):
            return dict(about)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(
        msg("has no lens in its metadata ({key}: {found})", key=_KEY, found=shown(text)),
        file=path,
        allowed=msg("a lens as safetensors"),
    )
