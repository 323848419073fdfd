"""archcalc's own checkpoint layout: a folder with spec.yaml, model.safetensors (canonical names) and tokenizer.json.

It can hold any spec; tied weights are stored once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from archcalc.checkpoint.tensor_shard import full_tensor
from archcalc.errors import InputError
from archcalc.formats.safetensors_folder import SINGLE
from archcalc.hf.tensors import TensorEntry, TensorMap
from archcalc.locations import SPEC_FILE
from archcalc.spec import Spec
from archcalc.spec.yaml_writer import as_yaml
from archcalc.words import msg


class CanonicalNames(TensorMap, frozen=True):
    """The tensor map of the native layout: every tensor under its own name."""

    def placed(self, names: Iterable[str]) -> Iterator[TensorEntry]:
        """Return one row per tensor."""
        return (TensorEntry(name, (name,)) for name in names)


CANONICAL_NAMES = CanonicalNames((), {})


def is_native(folder: Path) -> bool:
    """Return whether a folder has the native layout."""
    return (folder / SPEC_FILE).is_file()


def file_contents(model: nn.Module, spec: Spec) -> dict[str, bytes]:
    """Return the files of a canonical module and its spec, name → content."""
    from safetensors.torch import save

    weights: dict[str, Tensor] = {
        name: full_tensor(tensor.detach()).contiguous() for name, tensor in model.state_dict().items()
    }
    return {SPEC_FILE: as_yaml(spec).encode(), SINGLE: save(weights, metadata={"format": "pt"})}


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files (name → content) as a new folder, atomically.

    Raise InputError if the folder exists or cannot be written; no partial folder is left.
    """
    if os.path.lexists(folder):
        raise InputError(msg("is there already"), file=str(folder), allowed=msg("the name of a new folder"))
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in contents.items():
            with open(partial / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, folder)
        _sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(msg("cannot be written ({strerror})", strerror=error.strerror), file=str(folder)) from None


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
