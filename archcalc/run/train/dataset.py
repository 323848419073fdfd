"""Turn a text, or a toy task, into training and validation batches, with a tokenizer trained on the text or given."""

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
from archcalc.text.tokenizer import SubwordTokenizer, make_subword_tokenizer
from archcalc.text.tokenizer_training import TRAINERS, as_json
from archcalc.words import msg

VALIDATION_SHARE = 0.05  # the end of a text
MASK = "[MASK]"
Task = Literal["copy", "reverse"]


@dataclass(frozen=True)
class Dataset:
    """Batches, and the spec that learns from them, with the tokenizer's vocabulary.

    `files` are saved beside the weights. `fingerprint` identifies the tokens of the text.
    """

    spec: Spec
    batches: Batches
    fingerprint: str
    files: dict[str, bytes] = field(default_factory=dict)


def of_text(spec: Spec, text: str, tokenizer: str, settings: Settings) -> Dataset:
    """Return a text as a dataset: next tokens for a decoder, masked tokens for an encoder.

    `tokenizer` is 'bpe' (of the spec's vocabulary size, or as large as the text allows), 'char', or the path of a
    tokenizer.json. It is trained on the training part alone. Raise InputError for a text that is too short, a broken
    tokenizer, or a model that does not learn from texts.
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
    train_text, validation_text = _split(text)
    is_masked = spec.family == "encoder"
    text_tokenizer = _tokenizer(tokenizer, train_text, spec.vocab_size, is_masked)
    ids, validation_ids = (text_tokenizer.encode(part, special=False) for part in (train_text, validation_text))
    spec = _with_vocabulary(spec, text_tokenizer.n_vocab)
    if spec.n_scored < spec.vocab_size:
        found = msg("the head scores {n:,} of {vocab:,} tokens", n=spec.n_scored, vocab=spec.vocab_size)
        raise InputError(found, where="head.n_scored", allowed=msg("null, to train on a text"))
    files = {"tokenizer.json": as_json(text_tokenizer).encode()}
    fingerprint = hashlib.sha256(json.dumps([ids, validation_ids]).encode()).hexdigest()
    if is_masked:
        mask_id = text_tokenizer.backend.token_to_id(MASK)
        assert mask_id is not None, "the tokenizer was given one"
        files["tokenizer_config.json"] = json.dumps({"mask_token": MASK}).encode()
        return Dataset(
            spec, MaskedTokens(settings, ids, validation_ids, mask_id, text_tokenizer.n_vocab), fingerprint, files
        )
    n_characters = len(validation_text) - len(text_tokenizer.decode(validation_ids[:1]))
    return Dataset(spec, NextTokens(settings, ids, validation_ids, n_characters), fingerprint, files)


def of_task(spec: Spec, task: Task, settings: Settings) -> Dataset:
    """Return sequences to copy or reverse, for an encoder-decoder."""
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
    return Dataset(
        spec,
        Sequences(settings, min(each.model.vocab_size for each in spec.stacks), reverse=task == "reverse"),
        task,
        files,
    )


def _split(text: str) -> tuple[str, str]:
    """Return the training text and the validation text, its end; split at a line break if possible."""
    cut = int(len(text) * (1 - VALIDATION_SHARE))
    line = text.find("\n", cut) + 1
    cut = line if 0 < line < len(text) else cut
    return text[:cut], text[cut:]


def _tokenizer(kind: str, text: str, vocab_size: int, is_masked: bool) -> SubwordTokenizer:
    if kind in ("bpe", "char"):
        size = vocab_size - is_masked if kind == "bpe" else len(set(text)) + 1
        backend: Backend = TRAINERS["bpe" if kind == "bpe" else "char"](text, size, False)
    elif Path(kind).is_file():
        file_tokenizer = of_folder(kind)
        assert isinstance(file_tokenizer, SubwordTokenizer), "a file holds subwords"
        backend = file_tokenizer.backend
    else:
        raise InputError(
            msg("found {found}", found=repr(kind)),
            where="tokenizer",
            allowed=msg("bpe, char, or the path of a tokenizer.json"),
        )
    if is_masked and backend.token_to_id(MASK) is None:
        backend.add_special_tokens([AddedToken(MASK, special=True)])
    return make_subword_tokenizer(backend, label=kind)


def _with_vocabulary(spec: Spec, n_vocab: int) -> Spec:
    return spec if spec.vocab_size == n_vocab else decode(encode(spec) | {"vocab_size": n_vocab})
