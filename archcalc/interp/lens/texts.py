"""Rows of token ids from a text, to make a lens of."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from archcalc.errors import InputError
from archcalc.run.loading.source import ModelSource
from archcalc.text.tokenizer_training import read_text
from archcalc.words import msg

# Of the tokens that an encoder reads (Devlin et al. 2018, section 3.1).
MASKED_SHARE = 0.15


def text_rows(source: ModelSource, path: str, seq: int, seed: int) -> list[list[int]]:
    """Return a text file as rows of `seq` ids; an encoder's have 15 % masked, if its tokenizer has a mask.

    Raises InputError for a source without a tokenizer and a text of less than two rows.
    """
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="train", allowed=msg("a model with one"))
    ids = source.tokenizer.encode(read_text(path), special=False)
    rows = [ids[first : first + seq] for first in range(0, len(ids) - seq + 1, seq)]
    if len(rows) < 2:
        raise InputError(
            msg("has {n:,} tokens", n=len(ids)), file=path, allowed=msg("{n:,} or more, two rows", n=2 * seq)
        )
    mask = source.tokenizer.mask_id
    if mask is None or source.spec.family != "encoder":
        return rows
    generator = torch.Generator().manual_seed(seed)
    is_masked = torch.rand(len(rows), seq, generator=generator) < MASKED_SHARE
    return torch.where(is_masked, mask, torch.tensor(rows)).tolist()


def text_origin(path: str) -> dict[str, Any]:
    """Return what says which text a lens was made of: the file's name and the SHA-256 of its content."""
    from pathlib import Path

    return {"text": Path(path).name, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
