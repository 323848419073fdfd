"""One word in two contexts: how alike its states are after each layer.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_ids
from archcalc.interp.embed.result import ContextualSimilarity, LayerSimilarity, WordContext
from archcalc.interp.next_token import NO_NAMES, DisplayNames
from archcalc.nn import taps
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.spec import Spec
from archcalc.spec.sites import sites
from archcalc.words import msg

N_CONTEXTS = 2


def state_sites(spec: Spec) -> tuple[str, ...]:
    """Return the sites of the states of a text: the input of the first layer, and the output of each.

    Of an encoder-decoder they are the encoder's.

    >>> from archcalc.sources import load
    >>> state_sites(load("happy"))
    ('layers.0.resid_pre', 'layers.0.resid_post')
    """
    prefix = f"{spec.stacks[0].prefix}layers."
    in_stack = [site.name for site in sites(spec) if site.name.startswith(spec.stacks[0].prefix)]
    states = tuple(name for name in in_stack if name.endswith(".resid_post") or name == f"{prefix}0.resid_pre")
    # Where no stream is the layer's own, the states are all streams.
    return states or tuple(name for name in in_stack if name.rpartition(".")[2] in ("split", "streams"))


@torch.inference_mode()
def contextual_similarity(
    model: Any,
    contexts: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    *,
    word: str = "",
    labels: DisplayNames = NO_NAMES,
) -> ContextualSimilarity:
    """Return the cosine of a word's states in two contexts before the first layer and after each.

    `contexts` are token ids, `positions` those of the word in each; the word's state is the mean of its tokens'. Beside
    it stands the mean cosine of all other tokens of one context with those of the other, as states of a layer may all
    point in one direction (Ethayarajh 2019, section 3.3). Raises InputError for other than two contexts, ids outside
    the vocabulary, and positions outside a context.
    """
    if not len(contexts) == len(positions) == N_CONTEXTS:
        raise InputError(msg("found {found}", found=len(contexts)), where="contexts", allowed="2")
    spec = canonical_spec(model)
    for ids, places in zip(contexts, positions, strict=True):
        check_ids(spec.stacks[0], list(ids), "contexts")
        if not places or not all(0 <= place < len(ids) for place in places):
            allowed = msg("0 to {last:,}", last=len(ids) - 1)
            raise InputError(msg("found {found}", found=list(places)), where="positions", allowed=allowed)
    names = state_sites(spec)
    first, second = (_states(model, spec, ids, names) for ids in contexts)
    rows = zip(labels.texts, contexts, positions, strict=False)
    return ContextualSimilarity(
        name=labels.name,
        label=labels.label,
        word=word,
        contexts=tuple(WordContext(text=text, ids=tuple(ids), positions=tuple(at)) for text, ids, at in rows),
        layers=tuple(
            LayerSimilarity(layer=layer, path=path, cosine=cosine, baseline=baseline)
            for layer, path in enumerate(names)
            for cosine, baseline in [_similarity((first[path], second[path]), positions)]
        ),
    )


def _states(model: Any, spec: Spec, ids: Sequence[int], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the states [T, D] at each site, or all streams [T, M·D].

    The target of an encoder-decoder does not change the encoder's.
    """
    text_BT = torch.tensor([list(ids)], device=model.embed.tokens.weight.device)
    texts = [text_BT] if len(spec.stacks) == 1 else [text_BT, text_BT[:, :1]]
    recording = taps.record(model, *texts, sites=names)
    n_lead = spec.stacks[0].stack.n_lead
    return {name: recording[name][0, n_lead : n_lead + len(ids)].flatten(1).double().cpu() for name in names}


def _similarity(states: Sequence[Tensor], positions: Sequence[Sequence[int]]) -> tuple[float, float | None]:
    """Return the cosine of the word's mean states, and the mean cosine of the other tokens."""
    a_D, b_D = (x_TD[list(at)].mean(0) for x_TD, at in zip(states, positions, strict=True))
    others = [_others(x_TD, at) for x_TD, at in zip(states, positions, strict=True)]
    has_others = all(map(len, others))
    # The mean of all pairs' cosines is the product of the mean unit vectors.
    baseline = float(others[0].mean(0) @ others[1].mean(0)) if has_others else None
    return float(F.cosine_similarity(a_D, b_D, dim=0)), baseline


def _others(x_TD: Tensor, at: Sequence[int]) -> Tensor:
    """Return the unit states of the tokens that are not of the word."""
    return F.normalize(x_TD[[place for place in range(len(x_TD)) if place not in at]], dim=-1)
