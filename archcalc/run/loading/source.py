"""Open a source to run it: first its architecture and tokenizer; then, if it fits, its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from archcalc import sources
from archcalc.checkpoint import Checkpoint, open_checkpoint
from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.run.devices import Ranks, device_of
from archcalc.run.loading import memory_check
from archcalc.run.loading.bandwidth import bandwidth
from archcalc.run.pack import pack
from archcalc.spec import Spec
from archcalc.spec.document import Document
from archcalc.spec.workload import Workload
from archcalc.text.open import of_folder, of_gguf
from archcalc.text.tokenizer import ByteTokenizer, Stream, Tokenizer
from archcalc.text.tokenizer_folder import eos_ids_of
from archcalc.words import Message, msg

Quantize = Literal["int8", "int4"]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ModelSource:
    """A source before its weights are loaded.

    `checkpoint` is None for random weights. `eos_ids` end a text; `start_id` is the first token of an encoder-decoder's
    texts.
    """

    spec: Spec
    label: str | Message
    tokenizer: Tokenizer | None
    checkpoint: Checkpoint | None
    start_id: int | None = None
    eos_ids: tuple[int, ...] = ()

    def load(
        self,
        work: Workload | None,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        quantize: Quantize | None = None,
        seed: int = 0,
        packed: bool = True,
        progress: Progress | None = None,
        ranks: Ranks | None = None,
    ) -> LoadedModel:
        """Return the model on a device: `packed` for fast decoding, or the canonical module, which taps can read.

        `seed`: of random weights. `dtype` defaults to float32 on the CPU, elsewhere to the file's. `quantize` stores
        matrices in 8 or 4 bits, on the CPU only. With `ranks`, this process holds its part of the model.

        Raise TooLargeError, before anything is allocated, if the weights and the caches of `work` do not fit;
        InputError for a missing device, or weights that do not match the architecture.
        """
        torch_device = device_of(device) if ranks is None else ranks.device
        if quantize and torch_device.type != "cpu":
            raise InputError(
                msg("found {found}", found=torch_device.type), where="quantize", allowed=msg("on the cpu alone")
            )
        if quantize and not packed:
            raise InputError(msg("found a model that is not packed"), where="quantize", allowed=msg("no value"))
        dtype = dtype or self._dtype(torch_device)
        if dtype not in memory_check.DTYPE_NAMES:
            raise InputError(
                msg("found {found}", found=dtype), where="dtype", allowed=", ".join(map(str, memory_check.DTYPE_NAMES))
            )
        if ranks is not None:
            return self._load_shard(work, dtype, quantize, seed, progress, ranks)
        memory_check.check(self.spec, work, dtype, torch_device)
        if self.checkpoint is None:
            torch.manual_seed(seed)
            model = build(self.spec, torch_device, dtype).eval().requires_grad_(False)
        else:
            model = self.checkpoint.load(device=str(torch_device), dtype=dtype, progress=progress)
        if packed and torch_device.type == "cpu":
            model = pack(model, quantize=quantize)
        return LoadedModel(model, self, torch_device)

    def piece(self, token: int) -> str:
        """Return a token's text, or its vocabulary entry if it is part of a character; "" without a tokenizer."""
        if self.tokenizer is None:
            return ""
        text = self.tokenizer.decode([token], special=True)
        return self.tokenizer.piece(token) if not text or "\ufffd" in text else text

    def _load_shard(
        self,
        work: Workload | None,
        dtype: torch.dtype,
        quantize: Quantize | None,
        seed: int,
        progress: Progress | None,
        ranks: Ranks,
    ) -> LoadedModel:
        """Return this rank's part of the model, after checking that the parts of all local ranks fit."""
        from archcalc.run.distributed.load import initialize, shard_model
        from archcalc.run.distributed.local_shards import local_shards

        if quantize:
            raise InputError(msg("found with several ranks"), where="quantize", allowed=msg("one process"))
        memory_check.check_rank(self.spec, work, dtype, ranks)
        model = build(self.spec, dtype=dtype).eval().requires_grad_(False)
        shard_model(model, ranks)
        if self.checkpoint is None:
            initialize(model, seed)
        else:
            self.checkpoint.fill(local_shards(model), progress)
        return LoadedModel(model, self, ranks.device, ranks.n)

    def _dtype(self, device: torch.device) -> torch.dtype:
        if device.type == "cpu" or self.checkpoint is None:
            return torch.float32
        return self.checkpoint.dtype


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, or one of `n_ranks` parts of it, and its source."""

    model: Any
    source: ModelSource
    device: torch.device
    n_ranks: int = 1

    def stream(self) -> Stream:
        """Return a decoder of ids as they arrive; without a tokenizer, it writes the ids themselves."""
        return IdStream() if self.source.tokenizer is None else self.source.tokenizer.stream()

    @cached_property
    def bandwidth(self) -> float | None:
        """Return the measured memory bandwidth in bytes per second; None if memory is short or ranks share it."""
        return bandwidth(self.device) if self.n_ranks == 1 else None


class IdStream(Stream):
    """Writes ids as numbers, for models without a tokenizer."""

    def __call__(self, token_id: int) -> str:
        """Return the id and a space."""
        return f"{token_id} "

    def rest(self) -> str:
        """Return an empty text."""
        return ""


def open_source(
    source: str | Document, *, random_weights: bool = False, changes: Document | None = None
) -> ModelSource:
    """Return the model source of a Hugging Face folder, a .gguf file, or a repo id.

    With `random_weights`, `source` may be any architecture or a document, with `changes` applied; texts are then read
    as bytes if the vocabulary is large enough. Raise InputError for a source without weights or with broken ones.
    """
    if random_weights:
        spec = sources.load(source, changes)
        tokenizer = ByteTokenizer(n_vocab=spec.vocab_size) if spec.vocab_size >= 256 else None
        label = msg("{name}, random weights", name=spec.name)
        return ModelSource(spec, label, tokenizer, None, 0 if spec.encoder and spec.decoder else None)
    if changes:
        raise InputError(
            msg("found changes of an architecture whose weights are given"),
            where="changes",
            allowed="random_weights=True",
        )
    return _with_weights(open_checkpoint(str(source)))


def _with_weights(checkpoint: Checkpoint) -> ModelSource:
    tokenizer, folder = _tokenizer(checkpoint), checkpoint.folder
    eos_ids = tokenizer.eos_ids if tokenizer else ()
    if tokenizer is None and folder is not None:
        eos_ids = tuple(eos_ids_of(folder, None))
    return ModelSource(checkpoint.spec, checkpoint.label, tokenizer, checkpoint, _start_id(folder), eos_ids)


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer | None:
    """Return the tokenizer beside the weights, None if there is none."""
    if checkpoint.gguf is not None:
        return of_gguf(checkpoint.gguf)
    folder = checkpoint.folder
    has_tokenizer = folder is not None and any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    return of_folder(folder) if folder and has_tokenizer else None


def _start_id(folder: Path | None) -> int | None:
    """Return the first token of an encoder-decoder's texts, as its files state."""
    for name in ("generation_config.json", "config.json"):
        if folder and (path := folder / name).is_file():
            start_id: Any = json.loads(path.read_text()).get("decoder_start_token_id")
            if isinstance(start_id, int):
                return start_id
    return None
