"""Texts generated while steering, and how far they are from the plain model.

Axes: T tokens that are predicted, D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf
from typing import Any

import torch
from torch import Tensor

from archcalc.interp.checks import check_tokens
from archcalc.interp.readout import Readout, stream_sites
from archcalc.nn import taps
from archcalc.nn.taps.edits import Edit
from archcalc.run.decoding.decoding_state import free_context, prefill
from archcalc.run.decoding.prompts import decoder_start
from archcalc.run.decoding.sampling import check_finite
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.decoding.steps import decode_steps

# Logits of a text are computed in parts of at most so many numbers.
MAX_LOGITS = 2**22


@dataclass(frozen=True)
class SteeredText:
    """A generated text and its figures; `ids` include the end token, if there is one.

    `kl_nats` is KL(steered‖plain) of the next token, averaged over the tokens of this text; `prompt_kl_nats` the same
    over the prompt's tokens after its first, None if there are none. `perplexity` is that of the text under the plain
    model: exp of the mean negative log-probability of its tokens, infinite beyond float64.
    """

    ids: tuple[int, ...]
    kl_nats: float
    prompt_kl_nats: float | None
    perplexity: float


@torch.inference_mode()
def steered_text(
    model: Any,
    prompt: Sequence[int],
    edits: Sequence[Edit] = (),
    *,
    max_tokens: int = 32,
    sampling: Sampling | None = None,
    seed: int = 0,
    eos_ids: Sequence[int] = (),
    start_id: int | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> SteeredText:
    """Return the text that a model generates after a prompt under edits, and its distance from the plain model.

    Without edits it is the plain text. Of an encoder-decoder, the prompt is the source; `start_id` is the first token
    of its texts. Greedy unless `sampling` says otherwise; equal seeds draw equal random numbers. `progress` is called
    with the number of new tokens. Raises InputError as `archcalc.generate` does, NonFiniteLogitsError if a strength is
    too large for the dtype.
    """
    limit = min(max_tokens, free_context(model.spec, [prompt]))
    ids: list[int] = []
    with taps.edit(model, *edits):
        state = prefill(model, [prompt], limit, start_id)

        def append(row: int, token: int) -> bool:
            ids.append(token)
            progress(1)
            return token not in eos_ids

        for _ in decode_steps(state, max_tokens=limit, sampling=sampling or Sampling(), seed=seed, continue_row=append):
            pass
    return _measured(model, prompt, ids, edits, start_id)


def _measured(
    model: Any, prompt: Sequence[int], ids: Sequence[int], edits: Sequence[Edit], start_id: int | None
) -> SteeredText:
    """Return the text with its figures, from one pass over it without edits and one with them."""
    is_pair = model.spec.family == "encoder-decoder"
    text = [decoder_start(start_id) if is_pair else prompt[0], *([] if is_pair else prompt[1:]), *ids]
    n_prompt = len(text) - 1 - len(ids)
    source = [prompt] if is_pair else []
    kl_T: list[float] = []
    surprise_T: list[float] = []
    for kl, surprise in _distances(model, source, text, edits):
        kl_T += kl.tolist()
        surprise_T += surprise.tolist()
    return SteeredText(
        ids=tuple(ids),
        kl_nats=sum(kl_T[n_prompt:]) / len(ids),
        prompt_kl_nats=sum(kl_T[:n_prompt]) / n_prompt if n_prompt else None,
        perplexity=_exp(sum(surprise_T[n_prompt:]) / len(ids)),
    )


def _exp(nats: float) -> float:
    try:
        return exp(nats)
    except OverflowError:
        return inf


def _distances(
    model: Any, source: Sequence[Sequence[int]], text: Sequence[int], edits: Sequence[Edit]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, in parts, KL(steered‖plain) and −ln plain(token) of every token after the first."""
    plain_TD, readout = _last_states(model, source, text, ()), Readout(model)
    steered_TD = _last_states(model, source, text, edits) if edits else plain_TD
    tokens_T = torch.tensor(text[1:], device=plain_TD.device)
    check_tokens(text[1:], model.spec.n_scored, "text")
    n_rows = max(1, MAX_LOGITS // model.spec.vocab_size)
    for start in range(0, len(tokens_T), n_rows):
        part = slice(start, start + n_rows)
        plain_TV, steered_TV = (
            _log_probabilities(readout, plain_TD[part]),
            _log_probabilities(readout, steered_TD[part]),
        )
        kl_T = (steered_TV.exp() * (steered_TV - plain_TV)).sum(-1).clamp(min=0.0)
        yield kl_T, -plain_TV.gather(-1, tokens_T[part].unsqueeze(-1)).squeeze(-1)


def _last_states(model: Any, source: Sequence[Sequence[int]], text: Sequence[int], edits: Sequence[Edit]) -> Tensor:
    """Return the last layer's states [T, D] that predict every token after the first."""
    inputs = [torch.tensor([ids], device=model.embed.tokens.weight.device) for ids in (*source, text[:-1])]
    site = stream_sites(model.spec)[-1].name
    return taps.record(model, *inputs, sites=site, edits=edits, n_logits=1)[site][0]


def _log_probabilities(readout: Readout, x_TD: Tensor) -> Tensor:
    logits_TV = readout(x_TD.unsqueeze(0))[0].double()
    check_finite(logits_TV.amax(-1))
    return logits_TV.log_softmax(-1)
