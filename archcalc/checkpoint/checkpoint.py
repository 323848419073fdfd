"""A checkpoint: its architecture and the location of each weight, checked before anything is allocated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import nn

from archcalc.checkpoint import gguf_blocks
from archcalc.checkpoint.config import check_quantization, read_config
from archcalc.checkpoint.fill import Progress, fill, load_module
from archcalc.checkpoint.load_plan import Plan, make_plan
from archcalc.checkpoint.memory_map import DTYPES, INTEGERS, FileMaps, check_equal, check_zero, file_maps
from archcalc.checkpoint.native import CANONICAL_NAMES, is_native
from archcalc.checkpoint.quantized.group import with_quantized
from archcalc.checkpoint.quantized.tensor import QuantizedTensor
from archcalc.checkpoint.tensor_shard import TensorShard
from archcalc.errors import InputError, shown
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.packings import BESIDE
from archcalc.formats.safetensors_folder import read_headers
from archcalc.hf import family_of, from_config
from archcalc.hf.classes import resolve
from archcalc.hf.composites import text_model
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import Shape, TensorMap
from archcalc.locations import Folder, Gguf, Location, Repo, weights_location
from archcalc.nn import build
from archcalc.nn.dtypes import MODEL_DTYPES
from archcalc.sources import document_of
from archcalc.spec.document import decode
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.spec import Spec


@dataclass(frozen=True)
class Checkpoint:
    """Weights in files. `gguf`: a GGUF file's metadata.

    `dtype`: the stored one; of quantized weights fp32 for GGUF, else what the config states.
    """

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
        """Return the canonical module with these weights, in eval mode and without gradients.

        `dtype` defaults to the stored one. `progress` is called with newly read bytes, `n_bytes` in all.
        Raise InputError if tied copies differ, before anything is allocated.
        """
        with self._verified_maps() as maps:
            return load_module(self.spec, self._plan, maps, device, dtype or self.dtype, progress)

    def fill(self, targets: Mapping[str, TensorShard], progress: Progress | None = None) -> None:
        """Fill the given tensors or shards, by canonical name, holding one chunk more than them in memory.

        Raise InputError as `load` does.
        """
        with self._verified_maps() as maps:
            fill(self.spec, self._plan, maps, targets, progress)

    @contextmanager
    def _verified_maps(self) -> Iterator[FileMaps]:
        """Yield maps of the files after checking that tied copies are equal and biases that have no place are zero."""
        with file_maps() as maps:
            for pair in self._plan.same:
                check_equal(maps, *pair)
            for stored in self._plan.zero:
                check_zero(maps, stored)
            yield maps


def open_checkpoint(source: str | Location) -> Checkpoint:
    """Return the checkpoint of a Hugging Face folder, a GGUF file, a repository, or a preset.

    Read headers only. Raise InputError if it is not a complete checkpoint of a known architecture, NoWeightsError if it
    has no weights.
    """
    match weights_location(source):
        case Folder(text=text, path=path):
            return _of_folder(Path(path), text)
        case Gguf(text=text, path=path):
            return _of_gguf(Path(path), text)
        case Repo(text=repo_id):
            from archcalc.hf.hub import snapshot_path

            return _of_folder(snapshot_path(repo_id), repo_id)


def _of_gguf(path: Path, label: str) -> Checkpoint:
    from archcalc.checkpoint.gguf_architecture import read_gguf

    document, header, spelling, tensors = read_gguf(path)
    return _checkpoint(document, header.tensors, tensors, spelling, label, None, header.metadata)


def _of_folder(folder: Path, label: str) -> Checkpoint:
    if is_native(folder):
        document = document_of(Folder(str(folder), str(folder)))
        return _checkpoint(document, read_headers(folder), CANONICAL_NAMES, Spelling(), label, folder, None)
    config = read_config(folder)
    try:
        if text_model(config):
            raise InputError(
                msg("a text model with other parts is counted, not loaded"),
                where="model_type",
                allowed=msg("a model of text alone"),
            )
        document, (config, _) = from_config(config), resolve(config)
        check_quantization(config, document)
        form = family_of(config["model_type"]).form(config)
        form.check_runnable(config)
    except InputError as error:
        raise error.within(str(folder / "config.json")) from None
    return _checkpoint(document, read_headers(folder), form.tensors, form.spelling.of(config), label, folder, None)


def _checkpoint(
    document: dict[str, Any],
    stored: Mapping[str, FileTensor],
    tensors: TensorMap,
    spelling: Spelling,
    label: str,
    folder: Path | None,
    metadata: Mapping[str, Any] | None,
) -> Checkpoint:
    """Return the checkpoint whose tensors all have a place in the spec."""
    try:
        spec = decode(document)
        if metadata is None:
            stored = with_quantized(stored, spec.about.storage)
            spelling = msgspec.structs.replace(spelling, unused=dict(spelling.unused) | BESIDE)
            _refuse_quantized(stored, spelling)
        load_plan = make_plan(stored, _shapes(spec), tensors, spelling)
        if metadata is not None:
            for move in {move.stored.dtype: move for move in load_plan.moves}.values():
                gguf_blocks.check_dequantizable(move.stored)
    except InputError as error:
        raise error.within(label) from None
    n_bytes = sum(move.stored.n_bytes for move in load_plan.moves)
    return Checkpoint(spec, label, folder, metadata, _dtype(spec, load_plan, metadata), n_bytes, load_plan)


def _dtype(spec: Spec, load_plan: Plan, metadata: Mapping[str, Any] | None) -> torch.dtype:
    """Return the dtype of most bytes; of quantized weights, fp32 for GGUF, else what the config states."""
    sizes: Counter[torch.dtype] = Counter()
    for move in load_plan.moves:
        sizes[(DTYPES | INTEGERS).get(move.stored.dtype, torch.float32)] += move.stored.n_bytes
    if metadata is not None and any(move.stored.dtype not in DTYPES for move in load_plan.moves):
        return torch.float32
    if any(isinstance(move.stored, QuantizedTensor) for move in load_plan.moves):
        return next((kind for name, kind in MODEL_DTYPES.items() if name == spec.about.storage.dtype), torch.bfloat16)
    return max(sizes, key=lambda kind: kind.is_floating_point * sizes[kind])


def _shapes(spec: Spec) -> dict[str, Shape]:
    """Return the shapes of the canonical tensors, from a module on the meta device."""
    return {name: tuple(tensor.shape) for name, tensor in build(spec).state_dict().items()}


def _refuse_quantized(stored: Mapping[str, FileTensor], spelling: Spelling) -> None:
    for tensor in stored.values():
        name = spelling.name(tensor.name)
        if isinstance(tensor, QuantizedTensor) or (tensor.dtype in INTEGERS and spelling.has_integers(name)):
            continue
        if tensor.dtype not in DTYPES and not spelling.unused_reason(name):
            raise InputError(
                msg("is stored as {dtype}: quantized weights are not read", dtype=tensor.dtype),
                where=shown(tensor.name, 200),
                allowed=", ".join(DTYPES),
                file=str(tensor.file),
            )
