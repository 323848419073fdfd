"""The Jacobian lens: how the last layer's states depend on those of a layer, on average.

Gurnee et al., "Verbalizable Representations Form a Global Workspace in Language Models", 2026:
J = E[Σ_q ∂h_last(q) / ∂h(p)], over the positions p of the texts and the positions q from p on.

Axes: B copies of one text, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_one_stream
from archcalc.interp.lens.maps import Lens, LensSites, lens_sites
from archcalc.interp.lens.memory import check_maps_memory
from archcalc.interp.model_inputs import Ids, all_inputs
from archcalc.nn import taps
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.words import msg

# Dimensions of the last layer whose gradients are computed in one pass: rows of a batch.
N_ROWS = 16


def jacobian_lens(
    model: Any,
    texts: Sequence[Ids],
    targets: Sequence[Ids] | None = None,
    *,
    sites: LensSites = "branches",
    skip: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Lens:
    """Return the Jacobian lens of some texts: for each site of the residual stream the average Jacobian [D, D].

    J = mean over texts and positions p of Σ_q ∂h_last(q) / ∂h(p), q over the text; a causal model has q ≥ p. h_last are
    the last layer's states before the final norm, so at the last site J is the identity. `skip` leaves out the first
    positions of each text, which are unusual; the reference implementation leaves out 16. `targets` are those of an
    encoder-decoder. `progress` is called with the number of dimensions just done, D for each text.

    The time is that of D backward passes for each text. Raises InputError for invalid ids, a text that is not longer
    than `skip`, a model without a head over the vocabulary, and a packed one; TooLargeError where the maps do not fit.
    """
    spec = canonical_spec(model)
    check_one_stream(spec)
    names = tuple(site.name for site in lens_sites(spec, sites))
    inputs = all_inputs(model, texts, targets)
    _check_lengths([row[-1].shape[1] for row in inputs], skip)
    longest = max(ids.shape[1] for row in inputs for ids in row)
    check_maps_memory(model, len(names) - 1, copies=3, batch=N_ROWS, n_tokens=longest)
    totals = _jacobians(model, inputs[0], names, skip, progress)
    for row in inputs[1:]:
        for total, jacobian_DD in zip(totals, _jacobians(model, row, names, skip, progress), strict=True):
            total += jacobian_DD
    maps = {name: (total / len(inputs), None) for name, total in zip(names, totals, strict=False)}
    n_tokens = sum(row[-1].shape[1] for row in inputs)
    return Lens("jacobian", maps, {"model": spec.name, "n_texts": len(inputs), "n_tokens": n_tokens, "skip": skip})


def _check_lengths(lengths: Sequence[int], skip: int) -> None:
    if not lengths:
        raise InputError(msg("found none"), where="texts", allowed=msg("1 or more"))
    if skip < 0 or min(lengths) <= skip:
        raise InputError(
            msg("found {found}", found=skip), where="skip", allowed=msg("0 to {last}", last=min(lengths) - 1)
        )


def _jacobians(
    model: Any, inputs: Sequence[Tensor], names: Sequence[str], skip: int, progress: Callable[[int], None] | None
) -> list[Tensor]:
    """Return the Jacobian [D, D] of each site but the last, averaged over the positions of one text.

    Each row of a batch has the gradient of one dimension, summed over the positions q.
    """
    width = model.spec.d_model
    totals: list[list[Tensor]] = [[] for _ in names[:-1]]
    start = taps.Edit(names[0], None, lambda x_BTD: x_BTD.detach().requires_grad_())
    n_rows = min(N_ROWS, width)
    recording = taps.record(
        model, *(ids.expand(n_rows, -1) for ids in inputs), sites=list(names), edits=[start], grad=True
    )
    states, last_BTD = [recording[name] for name in names[:-1]], recording[names[-1]]
    for first in range(0, width, n_rows):
        dims = torch.arange(first, min(first + n_rows, width), device=last_BTD.device)
        one_hot_BTD = torch.zeros_like(last_BTD)
        one_hot_BTD[: len(dims), skip:] = torch.eye(width, device=dims.device, dtype=last_BTD.dtype)[dims].unsqueeze(1)
        gradients = torch.autograd.grad(last_BTD, states, one_hot_BTD, retain_graph=True, allow_unused=True)
        for total, gradient in zip(totals, gradients, strict=True):
            total.append(_mean(gradient, len(dims), skip, width))
        if progress is not None:
            progress(len(dims))
    return [torch.cat(rows) for rows in totals]


def _mean(gradient_BTD: Tensor | None, n_dims: int, skip: int, width: int) -> Tensor:
    """Return the rows [n, D] of a Jacobian, zero where the last layer does not depend on the site."""
    if gradient_BTD is None:
        return torch.zeros(n_dims, width)
    return gradient_BTD[:n_dims, skip:].float().mean(1)
