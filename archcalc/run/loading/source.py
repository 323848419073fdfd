"""A source opened to be run: first its architecture and tokenizer, then, once it is known to fit, its weights."""

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
from archcalc.text.tokenizer import Bytes, Stream, Tokenizer
from archcalc.text.tokenizer_folder import eos_ids_of
from archcalc.words import msg

Quantize = Literal["int8", "int4"]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Opened:
    """What is known of a source before its weights are loaded.

    `checkpoint` is None where the weights are random. `eos_ids` end a text; `start_id` is the first token of an
    encoder-decoder's.
    """

    spec: Spec
    label: str
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
    ) -> Ready:
        """Return the model on a device: `packed`, to run fast, or the canonical module, which taps can look into.

        `seed` is that of random weights. `dtype` left out is float32 on the CPU, elsewhere the file's. `quantize`
        stores matrices in 8 or 4 bits, on the CPU alone. With `ranks`, this process holds its part of the model.

        Raises TooLargeError, before anything is allocated, where the weights and the caches of `work` do not fit;
        InputError for a device that is not there, and for weights that are not those of the architecture.
        """
        place = device_of(device) if ranks is None else ranks.device
        if quantize and place.type != "cpu":
            raise InputError(msg("found {type}", type=place.type), where="quantize", allowed=msg("on the cpu alone"))
        if quantize and not packed:
            raise InputError(msg("found a model that is not packed"), where="quantize", allowed=msg("left out"))
        dtype = dtype or self._dtype(place)
        if dtype not in memory_check.NAMES:
            raise InputError(
                msg("found {dtype}", dtype=dtype), where="dtype", allowed=", ".join(map(str, memory_check.NAMES))
            )
        if ranks is not None:
            return self._spread(work, dtype, quantize, seed, progress, ranks)
        memory_check.check(self.spec, work, dtype, place)
        if self.checkpoint is None:
            torch.manual_seed(seed)
            model = build(self.spec, place, dtype).eval().requires_grad_(False)
        else:
            model = self.checkpoint.load(device=str(place), dtype=dtype, progress=progress)
        return Ready(pack(model, quantize=quantize) if packed and place.type == "cpu" else model, self, place)

    def piece(self, token: int) -> str:
        """A token's text; what the vocabulary calls it where it is but part of a character; "" without a tokenizer."""
        if self.tokenizer is None:
            return ""
        text = self.tokenizer.decode([token], special=True)
        return self.tokenizer.piece(token) if not text or "\ufffd" in text else text

    def _spread(
        self,
        work: Workload | None,
        dtype: torch.dtype,
        quantize: Quantize | None,
        seed: int,
        progress: Progress | None,
        ranks: Ranks,
    ) -> Ready:
        """This rank's part, once it is known that the parts of all ranks here fit."""
        from archcalc.run.distributed.load import draw, spread
        from archcalc.run.distributed.parts import targets

        if quantize:
            raise InputError(msg("found with several ranks"), where="quantize", allowed=msg("one process"))
        memory_check.check_parts(self.spec, work, dtype, ranks)
        model = build(self.spec, dtype=dtype).eval().requires_grad_(False)
        spread(model, ranks)
        if self.checkpoint is None:
            draw(model, seed)
        else:
            self.checkpoint.fill(targets(model), progress)
        return Ready(model, self, ranks.device, ranks.n)

    def _dtype(self, device: torch.device) -> torch.dtype:
        if device.type == "cpu" or self.checkpoint is None:
            return torch.float32
        return self.checkpoint.dtype


@dataclass(frozen=True)
class Ready:
    """A model that runs, or one of `n_ranks` parts of it, and what it was opened from."""

    model: Any
    opened: Opened
    device: torch.device
    n_ranks: int = 1

    def stream(self) -> Stream:
        """What turns one text's ids, as they come, into text; without a tokenizer, the numbers themselves."""
        return Numbers() if self.opened.tokenizer is None else self.opened.tokenizer.stream()

    @cached_property
    def bandwidth(self) -> float | None:
        """Bytes a second that the device's memory gives, measured; None for want of room, or where ranks share it."""
        return bandwidth(self.device) if self.n_ranks == 1 else None


class Numbers(Stream):
    """Ids as they are, for want of a tokenizer."""

    def __call__(self, token_id: int) -> str:
        """The id, and a space."""
        return f"{token_id} "

    def rest(self) -> str:
        """Nothing."""
        return ""


def open_source(source: str | Document, *, random_weights: bool = False, changes: Document | None = None) -> Opened:
    """What `source` stands for, to be run: a folder in Hugging Face layout, a .gguf file, or a repo id.

    With `random_weights`, whatever stands for an architecture, a document too, with `changes` of it; its texts are read
    as bytes, if its vocabulary has room for them. Raises InputError for a source without weights or with broken ones.
    """
    if random_weights:
        spec = sources.load(source, changes)
        tokenizer = Bytes(n_vocab=spec.vocab_size) if spec.vocab_size >= 256 else None
        return Opened(
            spec, f"{spec.name}, random weights", tokenizer, None, 0 if spec.encoder and spec.decoder else None
        )
    if changes:
        raise InputError(
            msg("found changes of an architecture whose weights are given"),
            where="changes",
            allowed="random_weights=True",
        )
    return _with_weights(open_checkpoint(str(source)))


def _with_weights(checkpoint: Checkpoint) -> Opened:
    tokenizer, folder = _tokenizer(checkpoint), checkpoint.folder
    eos_ids = tokenizer.eos_ids if tokenizer else ()
    if tokenizer is None and folder is not None:
        eos_ids = tuple(eos_ids_of(folder, None))
    return Opened(checkpoint.spec, checkpoint.label, tokenizer, checkpoint, _start_id(folder), eos_ids)


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer | None:
    """The tokenizer that stands with the weights; None where there is none, and texts are ids."""
    if checkpoint.gguf is not None:
        return of_gguf(checkpoint.gguf)
    folder = checkpoint.folder
    there = folder is not None and any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    return of_folder(folder) if folder and there else None


def _start_id(folder: Path | None) -> int | None:
    """What an encoder-decoder's texts begin with, as its files say."""
    for name in ("generation_config.json", "config.json"):
        if folder and (path := folder / name).is_file():
            found: Any = json.loads(path.read_text()).get("decoder_start_token_id")
            if isinstance(found, int):
                return found
    return None
