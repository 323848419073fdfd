"""Rows of token ids from a text, to make a lens of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch

from archcalc.errors import InputError, shown
from archcalc.interp.lens.divergence import split_texts
from archcalc.interp.lens.maps import Lens
from archcalc.run.decoding.prompts import decoder_ids
from archcalc.run.loading.source import ModelSource
from archcalc.spec.workload import Workload
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg

# Of the tokens that an encoder reads (Devlin et al. 2018, section 3.1).
MASKED_SHARE = 0.15


@dataclass(frozen=True)
class TextRows:
    """Rows of ids, and of an encoder-decoder, whose sources they are, a target for each."""

    texts: list[list[int]]
    targets: list[list[int]] | None = None

    def workload(self, seq: int) -> Workload:
        """Return the work of a pass over one row of `seq` ids."""
        return Workload(batch=1, seq=seq, source_seq=1 if self.targets is None else seq)

    def split(self) -> tuple[TextRows, TextRows]:
        """Return the rows that a lens is made of, and those that are held out."""
        texts = split_texts(self.texts)
        targets = (None, None) if self.targets is None else split_texts(self.targets)
        return TextRows(texts[0], targets[0]), TextRows(texts[1], targets[1])


def text_rows(source: ModelSource, text: str, seq: int, seed: int, file: str = "") -> TextRows:
    """Return a text as rows of `seq` ids; an encoder's have 15 % masked, if its tokenizer has a mask.

    That of an encoder-decoder has a source, a tab and a target on each line; of both, the first `seq` ids are read.
    `file` is its name in errors. Raises InputError for a source without a tokenizer, a text of less than two rows, and
    a line without a tab.
    """
    tokenizer = source.tokenizer
    if tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="train", allowed=msg("a model with one"))
    if source.spec.family == "encoder-decoder":
        return _pairs(source, tokenizer, text, seq, file)
    return TextRows(_rows(source, tokenizer, text, seq, seed, file))


def _pairs(source: ModelSource, tokenizer: Tokenizer, text: str, seq: int, file: str) -> TextRows:
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [line.split("\t") for line in lines]
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        wrong = next((line for line, pair in zip(lines, pairs, strict=True) if len(pair) != 2), "")
        problem = msg("found {found}", found=shown(wrong)) if wrong else msg("has {n:,} lines", n=len(pairs))
        raise InputError(problem, file=file, allowed=msg("two lines or more, each a source, a tab and a target"))
    targets = [decoder_ids(source, target) or [] for _, target in pairs]
    return TextRows([tokenizer.encode(source_text)[:seq] for source_text, _ in pairs], [ids[:seq] for ids in targets])


def _rows(source: ModelSource, tokenizer: Tokenizer, text: str, seq: int, seed: int, file: str) -> list[list[int]]:
    ids = tokenizer.encode(text, special=False)
    rows = [ids[first : first + seq] for first in range(0, len(ids) - seq + 1, seq)]
    if len(rows) < 2:
        raise InputError(
            msg("has {n:,} tokens", n=len(ids)), file=file, allowed=msg("{n:,} or more, two rows", n=2 * seq)
        )
    mask = tokenizer.mask_id
    if mask is None or source.spec.family != "encoder":
        return rows
    generator = torch.Generator().manual_seed(seed)
    is_masked = torch.rand(len(rows), seq, generator=generator) < MASKED_SHARE
    return torch.where(is_masked, mask, torch.tensor(rows)).tolist()


def with_origin(lens: Lens, source: ModelSource, name: str, text: str) -> Lens:
    """Return a lens that says of which model and text it was made: the file's name and the SHA-256 of its content."""
    made_of = {"model": str(source.label), "text": name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return replace(lens, origin={**lens.origin, **made_of})
