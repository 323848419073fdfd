"""The documented figures of `archcalc embed` with real weights."""

from __future__ import annotations

import pytest

from archcalc.inside import analogy, contextual_similarity, difference_neighbors, neighbors
from archcalc.interp.embed.words import positions_in, word_ids
from archcalc.interp.next_token import DisplayNames
from archcalc.run.loading.source import LoadedModel
from tests.interp.smollm2 import NEEDS_WEIGHTS, ids

pytestmark = NEEDS_WEIGHTS


def test_neighbors_of_a_word(ours: LoadedModel) -> None:
    labels = DisplayNames(piece=ours.source.piece)
    found = neighbors(ours.model, word_ids(ours.source, ["Paris"]), top=6, labels=labels).neighbors
    assert [row.token for row in found] == ["Paris", " London", " France", " Berlin", " Montreal", " Barcelona"]
    assert [round(row.cosine, 4) for row in found] == [0.8129, 0.6105, 0.5947, 0.5945, 0.5812, 0.5783]


def test_ranks_of_analogies(ours: LoadedModel) -> None:
    found = analogy(ours.model, word_ids(ours.source, ["king", "man", "woman", "queen"]))
    assert (found.rank, found.rank_without_inputs, round(found.cosine, 4)) == (1, 1, 0.7280)
    assert [round(row.cosine, 4) for row in found.tokens[:2]] == [0.7280, 0.7186]
    found = analogy(ours.model, word_ids(ours.source, ["Paris", "France", "Italy", "Rome"]))
    assert (found.rank, found.rank_without_inputs) == (69, 67)


def test_two_banks(ours: LoadedModel) -> None:
    contexts = [ids(ours, "a river bank"), ids(ours, "an investment bank")]
    found = contextual_similarity(ours.model, contexts, [positions_in(ours.source, one, "bank") for one in contexts])
    rows = [found.layers[layer] for layer in (0, 8, 30)]
    assert [row.cosine for row in rows] == pytest.approx([1.0, 0.8001, 0.7969], abs=1e-3)
    assert [row.baseline for row in rows] == pytest.approx([0.1745, 0.7559, 0.6181], abs=1e-3)
    assert all(row.baseline is not None and row.cosine > row.baseline for row in found.layers)


def test_king_minus_man_is_near_kings_and_queen(ours: LoadedModel) -> None:
    found = difference_neighbors(ours.model, word_ids(ours.source, ["king", "man"]), top=4)
    assert [ours.source.piece(row.id) for row in found.neighbors] == ["King", " King", " kings", " queen"]
