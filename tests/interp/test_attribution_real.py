"""The documented figures of `archcalc attribute` with real weights."""

from __future__ import annotations

import pytest

from archcalc.inside import attribute
from archcalc.run.loading.source import LoadedModel
from tests.interp.smollm2 import NEEDS_WEIGHTS, ids

pytestmark = NEEDS_WEIGHTS


def test_one_head_reads_france_and_adds_most_to_paris(ours: LoadedModel) -> None:
    (paris,), (london,), prompt = (ids(ours, text) for text in (" Paris", " London", "The capital of France is"))
    found = attribute(ours.model, prompt, token=paris, against=london)
    assert found.logit == pytest.approx(4.1263, abs=1e-3)
    assert sum(one.value for one in found.contributions) == pytest.approx(found.logit, abs=1e-4)
    heads = sorted((one for one in found.contributions if one.head is not None), key=lambda one: -abs(one.value))
    assert [(one.layer, one.head) for one in heads[:3]] == [(23, 4), (29, 0), (29, 1)]
    assert heads[0].value == pytest.approx(2.6568, abs=1e-3)
    edges = found.edges["layers.23.attn"][4]
    assert int(edges.argmax()) == prompt.index(ids(ours, " France")[0])
    assert float(edges.max()) == pytest.approx(2.6672, abs=1e-3)
    promoted = [ours.source.piece(token) for token in found.promoted_ids["layers.23.attn", 4]]
    assert promoted == [" France", " Breton", " French"]
