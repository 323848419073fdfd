"""The inputs of a model that is looked into.

Axes: B batch of one, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_ids
from archcalc.spec import Spec
from archcalc.words import msg

Ids = Sequence[int] | Tensor


def model_inputs(model: Any, ids: Ids, target: Ids | None = None) -> list[Tensor]:
    """Return what a model reads, each as ids [1, T]: a text, or the source and the target of an encoder-decoder.

    Raises InputError for a missing or superfluous target, no ids, too many, and ids outside the vocabulary.
    """
    spec: Spec = model.spec
    texts = [ids] if target is None else [ids, target]
    if len(texts) != len(spec.stacks):
        problem = msg("reads a source and a target") if target is None else msg("reads one text")
        raise InputError(problem, where="target", allowed=msg("both") if target is None else msg("no value"))
    lists = [_as_list(text, where) for text, where in zip(texts, ("ids", "target"), strict=False)]
    for where, stack, row in zip(("ids", "target"), spec.stacks, lists, strict=False):
        check_ids(stack, row, where)
    return [torch.tensor([row], device=model.embed.tokens.weight.device) for row in lists]


def all_inputs(model: Any, texts: Sequence[Ids], targets: Sequence[Ids] | None = None) -> list[list[Tensor]]:
    """Return the inputs of a pass over each text, or over each source and target; raises as `model_inputs` does.

    Raises InputError for another number of targets than of texts.
    """
    if targets is not None and len(targets) != len(texts):
        raise InputError(
            msg("found {found}", found=len(targets)), where="targets", allowed=msg("{n}, as texts", n=len(texts))
        )
    pairs = zip(texts, targets if targets is not None else [None] * len(texts), strict=True)
    return [model_inputs(model, text, target) for text, target in pairs]


def _as_list(ids: Ids, where: str) -> list[int]:
    if not isinstance(ids, Tensor):
        return [int(token) for token in ids]
    row = ids[0] if ids.dim() == 2 and len(ids) == 1 else ids
    if row.dim() != 1:
        found = " × ".join(map(str, ids.shape))
        raise InputError(msg("found {found}", found=found), where=where, allowed=msg("the ids of one text"))
    return [int(token) for token in row]
