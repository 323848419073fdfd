"""A text made into what a model learns from: split, tokenized by a tokenizer trained on it or given."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError
from archcalc.run.train.batches import START_ID, Batches, MaskedTokens, NextTokens, Sequences
from archcalc.run.train.settings import Settings
from archcalc.spec import Spec
from archcalc.spec.document import decode, encode
from archcalc.text.open import of_folder
from archcalc.text.tokenizer import Subwords, subwords
from archcalc.text.tokenizer_training import TRAINERS, as_json
from archcalc.words import msg

HELD_OUT = 0.05  # of a text: its end
MASK = "[MASK]"
Task = Literal["copy", "reverse"]


@dataclass(frozen=True)
class Lesson:
    """What is learned, and by which spec: its vocabulary is the tokenizer's. `files` lie beside the weights.

    `data` stands for the text and the tokens that it became.
    """

    spec: Spec
    batches: Batches
    data: str
    files: dict[str, bytes] = field(default_factory=dict)


def of_text(spec: Spec, text: str, tokenizer: str, settings: Settings) -> Lesson:
    """A text to go on with (a decoder), or to fill gaps of (an encoder).

    `tokenizer` is 'bpe' (of the spec's vocabulary, or as much of it as the text gives), 'char', or the path of a
    tokenizer.json. It is trained on the part that is learned from alone. Raises InputError for a text that is too
    short, a tokenizer that is none, a model that texts are not for.
    """
    if spec.family == "encoder-decoder" or not spec.predicts_tokens:
        raise InputError(
            msg("it is not trained on a text"), where=spec.name, allowed=msg("`task`, or a model with a head")
        )
    if settings.seq > spec.n_ctx:
        raise InputError(
            msg("found {seq:,}", seq=settings.seq),
            where="seq",
            allowed=msg("up to the context's {n_ctx:,}", n_ctx=spec.n_ctx),
        )
    shown, held = _split(text)
    masks = spec.family == "encoder"
    found = _tokenizer(tokenizer, shown, spec.vocab_size, masks)
    ids, held_ids = (found.encode(part, special=False) for part in (shown, held))
    spec = _with_vocabulary(spec, found.n_vocab)
    files = {"tokenizer.json": as_json(found).encode()}
    data = hashlib.sha256(json.dumps([ids, held_ids]).encode()).hexdigest()
    if masks:
        mask_id = found.backend.token_to_id(MASK)
        assert mask_id is not None, "the tokenizer was given one"
        files["tokenizer_config.json"] = json.dumps({"mask_token": MASK}).encode()
        return Lesson(spec, MaskedTokens(settings, ids, held_ids, mask_id, found.n_vocab), data, files)
    n_characters = len(held) - len(found.decode(held_ids[:1]))
    return Lesson(spec, NextTokens(settings, ids, held_ids, n_characters), data, files)


def of_task(spec: Spec, task: Task, settings: Settings) -> Lesson:
    """Sequences to copy or to turn round, for an encoder-decoder."""
    if spec.family != "encoder-decoder" or not spec.predicts_tokens:
        raise InputError(msg("is for an encoder-decoder with a head"), where="task", allowed=msg("`text`"))
    n_ctx = min(each.model.n_ctx for each in spec.stacks)
    if settings.seq > n_ctx:
        raise InputError(
            msg("found {seq:,}", seq=settings.seq),
            where="seq",
            allowed=msg("up to the context's {n_ctx:,}", n_ctx=n_ctx),
        )
    files = {"generation_config.json": json.dumps({"decoder_start_token_id": START_ID}).encode()}
    return Lesson(
        spec,
        Sequences(settings, min(each.model.vocab_size for each in spec.stacks), reverse=task == "reverse"),
        task,
        files,
    )


def _split(text: str) -> tuple[str, str]:
    """What is learned from, and the end of it that is held out, from the beginning of a line where there is one."""
    at = int(len(text) * (1 - HELD_OUT))
    line = text.find("\n", at) + 1
    at = line if 0 < line < len(text) else at
    return text[:at], text[at:]


def _tokenizer(kind: str, text: str, vocab_size: int, masks: bool) -> Subwords:
    if kind in ("bpe", "char"):
        room = vocab_size - masks if kind == "bpe" else len(set(text)) + 1
        backend: Backend = TRAINERS["bpe" if kind == "bpe" else "char"](text, room, False)
    elif Path(kind).is_file():
        given = of_folder(kind)
        assert isinstance(given, Subwords), "a file holds subwords"
        backend = given.backend
    else:
        raise InputError(
            msg("found {kind}", kind=repr(kind)),
            where="tokenizer",
            allowed=msg("bpe, char, or the path of a tokenizer.json"),
        )
    if masks and backend.token_to_id(MASK) is None:
        backend.add_special_tokens([AddedToken(MASK, special=True)])
    return subwords(backend, label=kind)


def _with_vocabulary(spec: Spec, n_vocab: int) -> Spec:
    return spec if spec.vocab_size == n_vocab else decode(encode(spec) | {"vocab_size": n_vocab})
