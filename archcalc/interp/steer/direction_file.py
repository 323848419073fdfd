"""Directions in safetensors files, each with what it was made of.

A file has a tensor [D] in float32 for each layer, named as its site (`layers.12.resid_post`). Its metadata has, under
`archcalc.direction`, JSON: `origin` (model, method, tokens, prompts), and `contrasts` by site, with the norms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.steer.direction import Contrast, Direction
from archcalc.interp.steer.layers import StackName, site_name
from archcalc.spec import Spec
from archcalc.typed_data import decode_json
from archcalc.words import msg

KEY = "archcalc.direction"
_SITE = re.compile(r"(?:(encoder|decoder)\.)?layers\.(\d{1,6})\.resid_post")


class _About(msgspec.Struct, frozen=True):
    """The JSON in the metadata of a file."""

    contrasts: dict[str, Contrast]
    origin: dict[str, Any]


def direction_bytes(direction: Direction) -> bytes:
    """Return the content of a direction's file."""
    from safetensors.torch import save

    def site(layer: int) -> str:
        return site_name(direction.stack, f"layers.{layer}.resid_post")

    tensors = {site(layer): vector.float().cpu().contiguous() for layer, vector in direction.vectors.items()}
    contrasts = {site(layer): contrast for layer, contrast in direction.contrasts.items()}
    about = msgspec.json.encode(_About(contrasts, dict(direction.origin)))
    return save(tensors, metadata={"format": "pt", KEY: about.decode()})


def save_direction(direction: Direction, path: str) -> None:
    """Write a direction to a safetensors file. Raises InputError if it cannot be written."""
    try:
        Path(path).write_bytes(direction_bytes(direction))
    except OSError as error:
        raise InputError(msg("cannot be written ({strerror})", strerror=error.strerror), file=path) from None


def load_direction(path: str, spec: Spec | None = None) -> Direction:
    """Return the direction of a file that `save_direction` or `archcalc steer --save` wrote.

    With the `spec` of a model, width and layers are checked. Raises InputError that names the file for others.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = _about((file.metadata() or {}).get(KEY))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        direction = _direction(tensors, about)
        if spec is not None:
            direction.check_fits(spec)
    except OSError as error:
        reason = error.strerror or msg("there is no such file")
        raise InputError(msg("cannot be read ({strerror})", strerror=reason), file=path) from None
    except SafetensorError as error:
        raise InputError(msg("{error}", error=error), file=path, allowed=msg("a direction as safetensors")) from None
    except InputError as error:
        raise error.within(path) from None
    return direction


def _about(text: str | None) -> _About:
    """Return the contrasts and the origin from the metadata of a file."""
    try:
        return decode_json(text or "", _About)
    except msgspec.MsgspecError:
        raise InputError(
            msg("has no direction in its metadata ({key}: {found})", key=KEY, found=shown(text)),
            allowed=msg("a direction as safetensors"),
        ) from None


def _direction(tensors: dict[str, Tensor], about: _About) -> Direction:
    """Return the direction of a file's tensors. Raises InputError for tensors that are none."""
    vectors = {layer: _vector(name, x) for (_, layer), (name, x) in zip(_places(tensors), tensors.items(), strict=True)}
    contrasts = {
        layer: contrast for (_, layer), contrast in zip(_places(about.contrasts), about.contrasts.values(), strict=True)
    }
    stacks = {stack for stack, _ in (*_places(tensors), *_places(about.contrasts))}
    widths = {vector_D.numel() for vector_D in vectors.values()}
    if len(stacks) != 1 or len(widths) != 1 or not vectors.keys() <= contrasts.keys():
        raise InputError(msg("its vectors and norms do not belong together"), allowed=msg("a direction as safetensors"))
    (stack,) = stacks
    return Direction(vectors, contrasts, stack, about.origin)


def _places(names: dict[str, Any]) -> Iterator[tuple[StackName | None, int]]:
    """Yield the stack and the layer of each site."""
    for name in names:
        match = _SITE.fullmatch(name)
        if match is None:
            raise InputError(msg("is not a site"), where=shown(name), allowed="layers.N.resid_post")
        yield match[1], int(match[2])  # type: ignore[misc]


def _vector(name: str, x: Tensor) -> Tensor:
    is_vector = x.dim() == 1 and x.is_floating_point() and bool(x.isfinite().all()) and bool(x.any())
    if not is_vector:
        raise InputError(
            msg("found {found}", found=f"{list(x.shape)} of {x.dtype}"),
            where=name,
            allowed=msg("a vector of finite numbers, not all 0"),
        )
    return torch.nn.functional.normalize(x.double(), dim=0).float()
