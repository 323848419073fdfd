"""Read the residual stream at every layer as the output is read: the lens.

Logit lens: nostalgebraist, "interpreting GPT: the logit lens", 2020. Tuned lens: Belrose et al., "Eliciting Latent
Predictions from Transformers with the Tuned Lens", 2023. Jacobian lens: Gurnee et al., "Verbalizable Representations
Form a Global Workspace in Language Models", 2026.

Axes: B batch of one, T tokens, L sites of the residual stream, P positions that are read, R rows (site and position),
D model, V vocab, k likeliest tokens, N followed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_tokens
from archcalc.interp.lens.maps import Lens, LensSites, lens_sites
from archcalc.interp.lens.positions import read_positions
from archcalc.interp.memory import FLOAT_BYTES
from archcalc.interp.model_inputs import Ids, model_inputs
from archcalc.interp.readout import Readout
from archcalc.nn import taps
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.run.decoding.sampling import check_finite
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import check_fits
from archcalc.words import msg

# Logits in memory at a time. Larger matrices are no faster.
CHUNK_BYTES = 32 * 2**20

Progress = Callable[[int], None]


@dataclass(frozen=True)
class LensReading:
    """What each site of the residual stream predicts; the last site's prediction is the model's output.

    - `sites` [L]: their names in the order of the pass; `positions` [P]: those that were read.
    - `states` [L, P, D]; `output` [P, V]: the model's own logits.
    - `top_ids`, `top_probabilities` [L, P, k]: the likeliest tokens, best first; the softmax is in float32.
    - `entropy_nats` [L, P]; `kl_nats` [L, P]: the divergence KL(output‖site) of Belrose et al. (2023).
    - `followed` [P, N]: the named tokens, then the likeliest of the output; `ranks`, `probabilities` [L, P, N]: theirs.
      A rank is 1 plus the number of likelier tokens.
    """

    ids: tuple[tuple[int, ...], ...]
    lens: Lens
    sites: tuple[str, ...]
    positions: tuple[int, ...]
    states: Tensor
    output: Tensor
    top_ids: Tensor
    top_probabilities: Tensor
    entropy_nats: Tensor
    kl_nats: Tensor
    followed: Tensor
    ranks: Tensor
    probabilities: Tensor
    _readout: Readout

    @torch.no_grad()
    def logits(self, site: str) -> Tensor:
        """Return the logits [P, V] of a site; of the last, the model's own output."""
        if site not in self.sites:
            raise InputError(
                msg("found {found}", found=repr(site)), where="site", allowed=msg("one of the sites that were read")
            )
        if site == self.sites[-1]:
            return self.output
        x_1PD = self.states[self.sites.index(site)].unsqueeze(0)
        return self._readout(self.lens(site, x_1PD))[0]

    def first_site(self, position: int, token: int) -> str | None:
        """Return the first site at which a followed token is the likeliest at a position that was read, or None."""
        p = self.positions.index(position)
        n = self.followed[p].tolist().index(token)
        is_first_L = self.ranks[:, p, n] == 1
        return self.sites[int(is_first_L.int().argmax())] if bool(is_first_L.any()) else None


@torch.no_grad()
def lens(
    model: Any,
    ids: Ids,
    target: Ids | None = None,
    *,
    using: Lens | None = None,
    sites: LensSites = "branches",
    positions: Sequence[int] | str | None = None,
    top: int = 5,
    tokens: Sequence[int] = (),
    n_output: int = 1,
    progress: Progress | None = None,
) -> LensReading:
    """Return what the residual stream predicts before and after every branch of every layer.

    The states of each site pass through the final norm and the head, as the last layer's do: the logit lens. `using`
    maps them first: a lens from `train_lens`, `jacobian_lens` or `load_lens`. The model is a decoder, an encoder with a
    head over the vocabulary, or an encoder-decoder, whose decoder is read (`target`: its ids so far).

    `sites`: before and after every branch, or only at the ends of `layers`. `positions`: the last if left out, 'all',
    or several; the time of all positions is that of many heads, L × T rows of V logits. `tokens` are followed: their
    ranks are given at each site, as are those of the `n_output` likeliest tokens of the output. `progress` is called
    with the number of rows just read, L × P in all.

    Raises InputError for invalid ids, positions and tokens, a model without a head over the vocabulary, and a packed
    one; TooLargeError, before the pass, where states and logits do not fit into memory.
    """
    spec, readout = canonical_spec(model), Readout(model)
    using = Lens() if using is None else using
    using.check(spec)
    inputs = model_inputs(model, ids, target)
    names = tuple(site.name for site in lens_sites(spec, sites))
    read = read_positions(positions, inputs[-1].shape[1])
    _check_tokens(spec.n_scored, top, tokens)
    _check_memory(model, inputs, len(names), len(read))
    recording = taps.record(model, *inputs, sites=names)
    output_PV = recording.logits[0, list(read)]
    check_finite(output_PV.amax(-1))
    states_LPD = torch.stack([readout.states(readout.at(recording[name], list(read)))[0] for name in names])
    followed_PN = _followed(output_PV, tokens, n_output)
    reader = _LogitReader(output_PV, followed_PN, min(top, output_PV.shape[-1]))
    rows_RD = torch.cat([using(name, x_PD) for name, x_PD in zip(names[:-1], states_LPD[:-1], strict=True)])
    parts = [reader(logits_RV, first) for first, logits_RV in _logits(readout, rows_RD, output_PV.shape[-1], progress)]
    parts.append(reader(output_PV, 0))
    shape = len(names), len(read)
    return LensReading(
        ids=tuple(tuple(row[0].tolist()) for row in inputs),
        lens=using,
        sites=names,
        positions=read,
        states=states_LPD,
        output=output_PV,
        followed=followed_PN,
        _readout=readout,
        **{
            name: torch.cat([part[name] for part in parts]).view(*shape, *parts[0][name].shape[1:]) for name in parts[0]
        },
    )


def _logits(readout: Readout, rows_RD: Tensor, n_vocab: int, progress: Progress | None) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the logits of chunks of rows: many sites at once, as a larger matrix is faster."""
    n_rows = max(1, CHUNK_BYTES // (FLOAT_BYTES * n_vocab))
    for first in range(0, len(rows_RD), n_rows):
        logits_RV = readout(rows_RD[first : first + n_rows].unsqueeze(0))[0]
        yield first, logits_RV
        if progress is not None:
            progress(len(logits_RV))


class _LogitReader:
    """Reads figures off logits, beside the output at the same positions.

    New memory of a chunk's size costs more than the arithmetic on it, so one tensor takes all intermediate values.
    """

    def __init__(self, output_PV: Tensor, followed_PN: Tensor, top: int) -> None:
        self.followed_PN, self.top = followed_PN, top
        log_output_PV = output_PV.float().log_softmax(-1)
        self.output_PV = log_output_PV.exp()
        self.output_entropy_P = -_expectation(self.output_PV, log_output_PV, torch.empty_like(log_output_PV))

    def __call__(self, logits_RV: Tensor, first: int) -> Mapping[str, Tensor]:
        """Return the figures of rows of logits; row `first` + i is of position (first + i) modulo P."""
        n_positions = len(self.output_PV)
        position_R = torch.arange(first, first + len(logits_RV), device=logits_RV.device) % n_positions
        log_p_RV = logits_RV.float().log_softmax(-1)
        scratch_RV = torch.empty_like(log_p_RV)
        best = log_p_RV.topk(self.top)
        followed_RN = self.followed_PN[position_R]
        log_p_RN = log_p_RV.gather(-1, followed_RN)
        # The sum of ones is exact in float32 up to 2²⁴ tokens.
        likelier = [
            torch.gt(log_p_RV, log_p_R.unsqueeze(-1), out=scratch_RV).sum(-1).long() for log_p_R in log_p_RN.unbind(-1)
        ]
        cross_entropy_R = torch.empty_like(position_R, dtype=torch.float32)
        for p in range(min(n_positions, len(log_p_RV))):
            rows, output_V = slice(p, None, n_positions), self.output_PV[(first + p) % n_positions]
            cross_entropy_R[rows] = -_expectation(output_V, log_p_RV[rows], scratch_RV[rows])
        return {
            "top_ids": best.indices,
            "top_probabilities": best.values.exp(),
            "kl_nats": (cross_entropy_R - self.output_entropy_P[position_R]).clamp(min=0),
            "probabilities": log_p_RN.exp(),
            "ranks": 1 + torch.stack(likelier, -1) if likelier else followed_RN,
            "entropy_nats": -_expectation(torch.exp(log_p_RV, out=scratch_RV), log_p_RV, scratch_RV),
        }


def _expectation(p: Tensor, x_RV: Tensor, scratch_RV: Tensor) -> Tensor:
    """Return Σ p·x over the vocabulary, where 0·−∞ is 0; `p` [R, V] or [V] may be the scratch memory."""
    total_R: Tensor = torch.mul(p, x_RV, out=scratch_RV).sum(-1)
    is_finite = bool(total_R.isfinite().all())
    return total_R if is_finite else scratch_RV.nan_to_num_(nan=0.0, neginf=0.0).sum(-1)


def _followed(output_PV: Tensor, tokens: Sequence[int], n_output: int) -> Tensor:
    named_PN = torch.tensor(list(tokens), dtype=torch.long, device=output_PV.device).expand(len(output_PV), -1)
    return torch.cat([named_PN, output_PV.topk(min(n_output, output_PV.shape[-1])).indices], -1)


def _check_tokens(n_vocab: int, top: int, tokens: Sequence[int]) -> None:
    if top < 1:
        raise InputError(msg("found {found}", found=top), where="top", allowed=msg("1 or more"))
    check_tokens(tokens, n_vocab, "tokens")


def _check_memory(model: Any, inputs: Sequence[Tensor], n_sites: int, n_positions: int) -> None:
    """Raise TooLargeError if the recorded states and the logits exceed the free memory."""
    weight, n_tokens, spec = model.embed.tokens.weight, inputs[-1].shape[1], model.spec
    logits = FLOAT_BYTES * spec.vocab_size * (n_tokens + 3 * n_positions) + 4 * CHUNK_BYTES
    needed = 2 * n_sites * n_tokens * spec.d_model * weight.element_size() + logits
    problem = msg(
        "the lens needs {needed} for {n_sites} sites and {n_tokens:,} tokens; {free_bytes} are free",
        n_sites=n_sites,
        n_tokens=n_tokens,
    )
    check_fits(needed, free_memory(weight.device), problem)
