"""How near a lens is to the output, on texts that it was not made of.

Axes: T tokens, L sites, R rows (tokens), D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.interp.lens.maps import Lens
from archcalc.interp.model_inputs import Ids, all_inputs
from archcalc.interp.readout import Readout
from archcalc.nn import taps

T = TypeVar("T")

# Of the texts, every so many is held out; of these, so many tokens are read.
HELD_OUT = 10
MAX_ROWS = 256


def split_texts(texts: Sequence[T]) -> tuple[list[T], list[T]]:
    """Return the texts that a lens is made of, and every tenth from the first on, which are held out."""
    return [text for i, text in enumerate(texts) if i % HELD_OUT], list(texts[::HELD_OUT])


def states_and_output(
    readout: Readout, names: Sequence[str], texts: Sequence[Tensor], positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the states [L, R, D] of sites at some positions, and the output's log-probabilities [R, V] there.

    `texts` are what a pass reads, ids [1, T] each: a text, or a source and a target, whose positions are read.
    """
    recording = taps.record(readout.model, *texts, sites=list(names))
    states_LRD = torch.stack([readout.states(readout.at(recording[name], positions))[0] for name in names]).float()
    return states_LRD, recording.logits[0, positions].float().log_softmax(-1)


def divergence(readout: Readout, x_RD: Tensor, log_output_RV: Tensor) -> Tensor:
    """Return KL(output‖site) in nats, averaged over rows."""
    dtype = readout.model.embed.tokens.weight.dtype
    log_p_RV = readout(x_RD.unsqueeze(0).to(dtype))[0].float().log_softmax(-1)
    return F.kl_div(log_p_RV, log_output_RV, reduction="batchmean", log_target=True)


@torch.no_grad()
def divergences(
    model: Any,
    texts: Sequence[Ids],
    names: Sequence[str],
    lens: Lens | None = None,
    *,
    targets: Sequence[Ids] | None = None,
) -> Tensor:
    """Return KL(output‖site) in nats [L] of a lens, averaged over tokens of the texts: the last of each, 256 in all.

    Of an encoder-decoder, `texts` are the sources, and the tokens are those of the `targets`.
    """
    readout, lens = Readout(model), lens or Lens()
    per_text = max(1, MAX_ROWS // len(texts))
    total_L, n_rows = torch.zeros(len(names), dtype=torch.float64), 0
    for inputs in all_inputs(model, texts, targets):
        positions = torch.arange(inputs[-1].shape[1], device=inputs[-1].device)[-per_text:]
        states_LRD, log_output_RV = states_and_output(readout, names, inputs, positions)
        n_rows += len(positions)
        for i, (name, x_RD) in enumerate(zip(names, states_LRD, strict=True)):
            total_L[i] += float(divergence(readout, lens(name, x_RD), log_output_RV)) * len(positions)
    return (total_L / n_rows).clamp(min=0)
