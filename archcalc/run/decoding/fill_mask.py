"""Predict masked tokens with an encoder (Devlin et al. 2018, section 3.1).

Axes: B batch of one, T tokens, M masked positions, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.run.decoding.mask_prediction import MaskPrediction, MaskPredictions
from archcalc.run.loading.source import ModelSource
from archcalc.spec import Spec
from archcalc.spec.groups import has_table
from archcalc.words import msg


def mask_predictions(
    source: ModelSource, model: nn.Module, ids: Sequence[int], mask_id: int, top: int = 5
) -> MaskPredictions:
    """Return the `top` likeliest tokens for each masked position, by the model of a source."""
    positions = [position for position, token in enumerate(ids) if token == mask_id]
    return MaskPredictions(
        name=source.spec.name,
        label=source.label,
        predictions=tuple(
            MaskPrediction(position=position, text=source.piece(token) or None, id=token, probability=probability)
            for position, best in zip(positions, fill_mask(model, ids, mask_id, top), strict=True)
            for token, probability in best
        ),
    )


@torch.inference_mode()
def fill_mask(
    model: nn.Module, ids: Sequence[int], mask_id: int, top: int = 5, *, token_types: Sequence[int] | None = None
) -> list[list[tuple[int, float]]]:
    """Return, for each masked position in turn, the `top` likeliest tokens as (id, probability), best first.

    `token_types` default to 0. Raise InputError for a text without a mask, ids outside the vocabulary, token types that
    do not match the tokens, and a model that is not an encoder with a head.
    """
    check(model.spec, ids, mask_id, top, token_types)  # type: ignore[arg-type]
    device = next(model.parameters()).device
    ids_BT = torch.tensor([list(ids)], device=device)
    types_BT = None if token_types is None else torch.tensor([list(token_types)], device=device)
    logits_TV: Tensor = model(ids_BT, token_types_BT=types_BT)[0]
    probabilities_MV = logits_TV[ids_BT[0] == mask_id].float().softmax(-1)
    best = probabilities_MV.topk(min(top, probabilities_MV.shape[-1]))
    return [
        list(zip(tokens, values, strict=True))
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def check(spec: Spec, ids: Sequence[int], mask_id: int, top: int = 5, token_types: Sequence[int] | None = None) -> None:
    """Raise InputError if `fill_mask` would; this needs no weights."""
    if spec.family != "encoder":
        raise InputError(
            msg("found a model of the family {family}", family=spec.family),
            allowed=msg("an encoder, which sees both sides"),
        )
    if not spec.predicts_tokens:
        raise InputError(msg("the model has no head, which would name tokens"), allowed=msg("an encoder with a head"))
    if top < 1:
        raise InputError(msg("found {found}", found=top), where="top", allowed=msg("1 or more"))
    if wrong := [token for token in ids if not 0 <= token < spec.vocab_size]:
        raise InputError(
            msg("found id {wrong}", wrong=wrong[0]),
            where="ids",
            allowed=msg("0 to {vocab_size:,}", vocab_size=spec.vocab_size - 1),
        )
    if mask_id not in ids:
        raise InputError(
            msg("there is no mask in the text"),
            where="ids",
            allowed=msg("at least one token {mask_id}", mask_id=mask_id),
        )
    if len(ids) > spec.n_ctx and _has_position_table(spec):
        raise InputError(
            msg("has {n_ids:,} tokens", n_ids=len(ids)),
            where="ids",
            allowed=msg("up to the context's {n_ctx:,}", n_ctx=spec.n_ctx),
        )
    if token_types is not None:
        _check_types(spec, ids, token_types)


def _check_types(spec: Spec, ids: Sequence[int], token_types: Sequence[int]) -> None:
    n_types = spec.embedding.n_token_types
    if len(token_types) != len(ids):
        raise InputError(
            msg("found {found}", found=len(token_types)),
            where="token_types",
            allowed=msg("{n_ids}, one for each token", n_ids=len(ids)),
        )
    if wrong := [kind for kind in token_types if not 0 <= kind < n_types]:
        raise InputError(
            msg("found type {wrong}", wrong=wrong[0]),
            where="token_types",
            allowed=msg("less than the model's {n_types}", n_types=n_types),
        )


def _has_position_table(spec: Spec) -> bool:
    return bool(spec.encoder and has_table(spec.encoder))
