"""Train a tuned lens: an affine map for each site, whose prediction is near the output.

Belrose et al., "Eliciting Latent Predictions from Transformers with the Tuned Lens", 2023, section 3: the map of a site
minimizes KL(output‖site), and starts as the identity.

Axes: B texts, T tokens, L sites, R rows (tokens of a step), D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.interp.lens.divergence import divergence, states_and_output
from archcalc.interp.lens.maps import Lens, LensSites, SiteMap, lens_sites
from archcalc.interp.lens.memory import check_maps_memory
from archcalc.interp.model_inputs import Ids, all_inputs
from archcalc.interp.readout import Readout
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.words import msg

# Texts of a pass and tokens of a step; the paper has 2^18 tokens a step.
N_TEXTS, N_ROWS = 2, 64


def train_lens(
    model: Any,
    texts: Sequence[Ids],
    targets: Sequence[Ids] | None = None,
    *,
    sites: LensSites = "branches",
    steps: int = 250,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Lens:
    """Return a tuned lens of a decoder, of an encoder with a head over the vocabulary, or of an encoder-decoder.

    The map of every site of the residual stream but the last starts as the identity, and is trained with Adam, whose
    rate decays linearly to 0. A step reads 64 random tokens of the `texts`, which are rows of ids. Of an
    encoder-decoder, `texts` are the sources, and the tokens are those of the `targets`, whose decoder is read.
    `progress` is called with 1 after each step.

    Raises InputError for no texts, invalid ids, a model without a head over the vocabulary, missing or superfluous
    targets, and a packed model; TooLargeError where the maps and their training do not fit.
    """
    spec = canonical_spec(model)
    readout, names = Readout(model), tuple(site.name for site in lens_sites(spec, sites))
    for where, found in {"texts": len(texts), "steps": steps}.items():
        if found < 1:
            raise InputError(msg("found {found}", found=found), where=where, allowed=msg("1 or more"))
    rows = all_inputs(model, texts, targets)
    longest = max(ids.shape[1] for row in rows for ids in row)
    check_maps_memory(model, len(names) - 1, copies=5, batch=N_TEXTS, n_tokens=longest)
    generator = torch.Generator().manual_seed(seed)
    maps = _Maps(readout, names, rows, generator)
    optimizer = torch.optim.Adam(maps.parameters(), lr=learning_rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        states_LRD, log_output_RV = _sample(readout, names, rows, N_ROWS, generator)
        for name, x_RD in zip(names[:-1], states_LRD, strict=False):
            divergence(readout, maps(name, x_RD), log_output_RV).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if progress is not None:
            progress(1)
    origin = {
        "model": spec.name,
        "n_texts": len(texts),
        "n_tokens": sum(row[-1].shape[1] for row in rows),
        "steps": steps,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    return Lens("tuned", maps.folded(), origin)


class _Maps(nn.Module):
    """The maps x + s·(W·(x − μ)/s + b), where μ and s are the mean and the deviation of each dimension.

    In these units one learning rate fits every dimension of every layer. W and b start at 0: the identity.
    """

    def __init__(
        self, readout: Readout, names: Sequence[str], texts: Sequence[Sequence[Tensor]], generator: torch.Generator
    ) -> None:
        super().__init__()
        states_LRD, _ = _sample(readout, names, texts, 4 * N_ROWS, generator)
        self.scales: dict[str, tuple[Tensor, Tensor]] = {}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for name, x_RD in zip(names[:-1], states_LRD, strict=False):
            deviation_D = x_RD.std(0, correction=0)
            self.scales[name] = x_RD.mean(0), deviation_D + deviation_D.mean() * 1e-2 + 1e-6
            width = x_RD.shape[-1]
            self.weights[_key(name)] = nn.Parameter(torch.zeros(width, width, device=x_RD.device))
            self.biases[_key(name)] = nn.Parameter(torch.zeros(width, device=x_RD.device))

    def forward(self, name: str, x_RD: Tensor) -> Tensor:
        mean_D, scale_D = self.scales[name]
        change_RD = F.linear((x_RD - mean_D) / scale_D, self.weights[_key(name)], self.biases[_key(name)])
        return x_RD + scale_D * change_RD

    @torch.no_grad()
    def folded(self) -> dict[str, SiteMap]:
        """Return the same maps as a weight and a bias each."""
        maps: dict[str, SiteMap] = {}
        for name, (mean_D, scale_D) in self.scales.items():
            change_DD = scale_D.unsqueeze(1) * self.weights[_key(name)] / scale_D
            identity_DD = torch.eye(len(mean_D), device=mean_D.device)
            maps[name] = identity_DD + change_DD, scale_D * self.biases[_key(name)] - change_DD @ mean_D
        return maps


def _key(name: str) -> str:
    """Return a name that a module may have."""
    return name.replace(".", "/")


@torch.no_grad()
def _sample(
    readout: Readout, names: Sequence[str], texts: Sequence[Sequence[Tensor]], n_rows: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the states [L, R, D] of random tokens, and the output's log-probabilities [R, V] at them."""
    n_texts = min(N_TEXTS, len(texts))
    chosen = [texts[int(i)] for i in torch.randperm(len(texts), generator=generator)[:n_texts]]
    per_text = -(-n_rows // n_texts)
    states, outputs = [], []
    for inputs in chosen:
        n_tokens = inputs[-1].shape[1]
        positions = torch.randperm(n_tokens, generator=generator)[:per_text].to(inputs[-1].device)
        states_LRD, log_output_RV = states_and_output(readout, names, inputs, positions)
        states.append(states_LRD)
        outputs.append(log_output_RV)
    return torch.cat(states, 1), torch.cat(outputs)
