"""Our own layout of a checkpoint: a folder with spec.yaml, model.safetensors under canonical names, tokenizer.json.

Any spec has a place in it, whatever classes others have; tied weights are stored once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from archcalc.checkpoint.folder import SINGLE
from archcalc.checkpoint.target import whole
from archcalc.errors import InputError
from archcalc.hf.tensors import Holds, TensorMap
from archcalc.locations import SPEC_FILE
from archcalc.spec import Spec
from archcalc.spec.yaml_writer import as_yaml
from archcalc.words import msg


class AsNamed(TensorMap, frozen=True):
    """Every tensor held under its own name."""

    def placed(self, names: Iterable[str]) -> Iterator[Holds]:
        """A row for each tensor."""
        return (Holds(name, (name,)) for name in names)


AS_NAMED = AsNamed((), {})


def is_own(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / SPEC_FILE).is_file()


def files(model: nn.Module, spec: Spec) -> dict[str, bytes]:
    """A canonical module's weights and its spec, as the files that hold them."""
    from safetensors.torch import save as packed

    weights: dict[str, Tensor] = {
        name: whole(tensor.detach()).contiguous() for name, tensor in model.state_dict().items()
    }
    return {SPEC_FILE: as_yaml(spec).encode(), SINGLE: packed(weights, metadata={"format": "pt"})}


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files (name → content) as a new folder, whole or not at all.

    Raises InputError where the folder is there already or cannot be written; nothing is left then.
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
        _settle(folder.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(msg("cannot be written ({strerror})", strerror=error.strerror), file=str(folder)) from None


def _settle(folder: Path) -> None:
    """Let the new name outlast a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
