"""The documented figures of `archcalc lens` with real weights."""

from __future__ import annotations

import pytest

from archcalc.inside import jacobian_lens, lens
from archcalc.run.loading.source import LoadedModel
from tests.interp.smollm2 import NEEDS_WEIGHTS, ids

pytestmark = NEEDS_WEIGHTS


def test_the_logit_lens_has_paris_first_at_the_output_alone(ours: LoadedModel) -> None:
    (paris,), prompt = ids(ours, " Paris"), ids(ours, "The capital of France is")
    read = lens(ours.model, prompt, tokens=[paris])
    ranks = dict(zip(read.sites, read.ranks[:, 0, 0].tolist(), strict=True))
    assert read.first_site(4, paris) == "layers.29.resid_post"
    wanted = {"layers.22.resid_post": 2079, "layers.24.resid_mid": 213, "layers.28.resid_post": 3}
    for site, rank in wanted.items():
        assert ranks[site] == pytest.approx(rank, rel=0.01)
    assert float(read.probabilities[-1, 0, 0]) == pytest.approx(0.7725, abs=1e-3)
    # Layers 1 to 22 predict nothing else.
    pieces = [ours.source.piece(int(token)) for token in read.top_ids[3:46, 0, 0]]
    assert set(pieces) <= {".", ",", " ", " a"}


def test_the_jacobian_lens_has_paris_first_from_layer_23_on(ours: LoadedModel) -> None:
    (paris,), prompt = ids(ours, " Paris"), ids(ours, "The capital of France is")
    jacobian = jacobian_lens(ours.model, [prompt], sites="layers")
    read = lens(ours.model, prompt, tokens=[paris], using=jacobian, sites="layers")
    assert read.first_site(4, paris) == "layers.23.resid_post"
    assert read.ranks[24:, 0, 0].tolist() == [1] * 7
