"""A checkpoint: its architecture, and where each of its weights lies, checked before anything is allocated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from archcalc.checkpoint.fill import Progress, fill, filled
from archcalc.checkpoint.folder import config_of, weights_of
from archcalc.checkpoint.own import AS_NAMED, is_own
from archcalc.checkpoint.plan import Plan, plan
from archcalc.checkpoint.read import DTYPES, Files, check_same, files
from archcalc.checkpoint.target import Target
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.hf import family_of, from_config
from archcalc.hf.classes import resolved
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import Shape, TensorMap
from archcalc.locations import Folder, Gguf, Location, Pickle, Preset, Repo, locate
from archcalc.nn import build
from archcalc.sources import document_of
from archcalc.spec.document import decode
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.spec import Spec


@dataclass(frozen=True)
class Checkpoint:
    """Weights in files. `dtype`: what they are stored as (fp32 for quantised GGUF); `gguf`: a GGUF file's metadata."""

    spec: Spec
    label: str
    folder: Path | None
    gguf: Mapping[str, Any] | None
    dtype: torch.dtype
    n_bytes: int
    _plan: Plan

    def load(
        self, device: str = "cpu", dtype: torch.dtype | None = None, progress: Progress | None = None
    ) -> nn.Module:
        """The canonical module with these weights, in eval mode and without gradients.

        `dtype` is the stored one if left out; `progress` is told of bytes as they are read, `n_bytes` in all. Raises
        InputError for copies that are not equal, before anything is allocated.
        """
        with self._opened() as opened:
            return filled(self.spec, self._plan, opened, device, dtype or self.dtype, progress)

    def fill(self, targets: Mapping[str, Target], progress: Progress | None = None) -> None:
        """Bring the weights into what one of several processes holds of them, by their canonical names.

        No more than that, and a chunk beside it, is in memory at once. Raises InputError as `load` does.
        """
        with self._opened() as opened:
            fill(self.spec, self._plan, opened, targets, progress)

    @contextmanager
    def _opened(self) -> Iterator[Files]:
        """The files, whose copies are equal."""
        with files() as opened:
            for pair in self._plan.same:
                check_same(opened, *pair)
            yield opened


class NoWeightsError(InputError):
    """A source that describes an architecture and has no weights of it."""


def open_checkpoint(source: str | Location) -> Checkpoint:
    """Return the checkpoint in a folder in Hugging Face layout, in a GGUF file, in a repository, or of a preset.

    Only headers are read. Raises InputError, in one line, for whatever is not a whole checkpoint of an architecture
    that is known: the file, the tensor, what was found and what is expected; NoWeightsError where it has no weights.
    """
    match locate(source, bare_paths=True) if isinstance(source, str) else source:
        case Folder(text=text, path=path) | Preset(text=text, weights=Folder(path=path)):
            return _of_folder(Path(path), text)
        case Gguf(text=text, path=path):
            return _of_gguf(Path(path), text)
        case Repo(text=repo_id):
            from archcalc.hf.hub import snapshot_path

            return _of_folder(snapshot_path(repo_id), repo_id)
        case Pickle() as pickle:
            raise pickle.refusal
        case other:
            expected = "a folder with safetensors, a .gguf file, a Hugging Face repo id"
            raise NoWeightsError(msg("has no weights"), file=other.text, allowed=expected)


def _of_gguf(path: Path, label: str) -> Checkpoint:
    from archcalc.checkpoint.gguf import read_gguf

    document, header, spelling, tensors = read_gguf(path)
    return _checked(document, header.tensors, tensors, spelling, label, None, header.metadata)


def _of_folder(folder: Path, label: str) -> Checkpoint:
    if is_own(folder):
        document = document_of(Folder(str(folder), str(folder)))
        return _checked(document, weights_of(folder), AS_NAMED, Spelling(), label, folder, None)
    config = config_of(folder)
    try:
        document, (config, _) = from_config(config), resolved(config)
        family = family_of(config["model_type"])
        family.check_to_run(config)
    except InputError as error:
        raise error.within(str(folder / "config.json")) from None
    form = family.form(config)
    return _checked(document, weights_of(folder), form.tensors, form.spelling.of(config), label, folder, None)


def _checked(
    document: dict[str, Any],
    stored: Mapping[str, FileTensor],
    tensors: TensorMap,
    spelling: Spelling,
    label: str,
    folder: Path | None,
    metadata: Mapping[str, Any] | None,
) -> Checkpoint:
    """The checkpoint, every tensor of it in its place."""
    try:
        spec = decode(document)
        if metadata is None:
            _refuse_quantised(stored, spelling)
        found = plan(stored, _shapes(spec), tensors, spelling)
    except InputError as error:
        raise error.within(label) from None
    sizes: Counter[torch.dtype] = Counter()
    for move in found.moves:
        sizes[DTYPES.get(move.stored.dtype, torch.float32)] += move.stored.n_bytes
    dtype = max(sizes, key=lambda kind: sizes[kind])
    if metadata is not None and any(move.stored.dtype not in DTYPES for move in found.moves):
        dtype = torch.float32
    return Checkpoint(spec, label, folder, metadata, dtype, sizes.total(), found)


def _shapes(spec: Spec) -> dict[str, Shape]:
    """Ours, from a module on the meta device."""
    return {name: tuple(tensor.shape) for name, tensor in build(spec).state_dict().items()}


def _refuse_quantised(stored: Mapping[str, FileTensor], spelling: Spelling) -> None:
    for one in stored.values():
        if one.dtype not in DTYPES and not spelling.why_left(spelling.name(one.name)):
            raise InputError(
                msg("is stored as {dtype}: quantised weights are not read", dtype=one.dtype),
                where=shown(one.name, 200),
                allowed=", ".join(DTYPES),
                file=str(one.file),
            )
