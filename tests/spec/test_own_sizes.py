"""An encoder beside a decoder with its own token table, vocabulary, context and width."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcalc.analysis.context import most_tokens
from archcalc.analysis.params import summary
from archcalc.errors import InputError
from archcalc.ledger.build import build as ledger_of
from archcalc.nn import build
from archcalc.run.decoding.decoding_state import check_prompts
from archcalc.sources import load
from archcalc.spec.workload import workload

GQA = {"kind": "gqa", "n_heads": 2, "d_head": 3}
LAYER = {"norm": {"kind": "layernorm"}, "attention": GQA}
OWN = {"embedding": {"scale": 2.0}, "vocab_size": 13, "n_ctx": 5, "d_model": 4}


def pair(**own: Any) -> dict[str, Any]:
    """An encoder-decoder of 11 tokens and width 6, its encoder with fields of its own."""
    encoder = {"runs": [{"count": 1, "pattern": [LAYER]}], "position": {"kind": "learned"}}
    decoder = {"runs": [{"count": 1, "pattern": [LAYER | {"cross": GQA}]}], "position": {"kind": "learned"}}
    sizes = {"name": "pair", "vocab_size": 11, "n_ctx": 8, "d_model": 6}
    return sizes | {"encoder": encoder | own, "decoder": decoder, "head": {"tied": True}}


def test_tensors_have_the_sizes_of_their_stack() -> None:
    model = build(load(pair(**OWN)), "cpu")
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert shapes["embed.tokens.weight"] == (11, 6)
    assert shapes["encoder.embed.tokens.weight"] == (13, 4)
    assert (shapes["encoder.positions.weight"], shapes["decoder.positions.weight"]) == ((5, 4), (8, 6))
    assert (shapes["encoder.layers.0.attn.k.weight"], shapes["decoder.layers.0.cross.k.weight"]) == ((6, 4), (6, 4))
    assert shapes["decoder.layers.0.cross.q.weight"] == (6, 6)
    assert model(torch.full((2, 5), 12), torch.full((2, 8), 10)).shape == (2, 8, 11)


def test_a_table_of_its_own_is_counted_beside_the_other() -> None:
    shared, own = (summary(ledger_of(load(pair(**more)))) for more in ({}, {"embedding": {}}))
    assert own["total"] - shared["total"] == 11 * 6


def test_ids_and_tokens_are_those_of_each_side() -> None:
    spec = load(pair(**OWN))
    check_prompts(spec, [[12]])
    with pytest.raises(InputError, match="found id 13; expected 0 to 12"):
        check_prompts(spec, [[13]])
    assert most_tokens(spec) == 5
    assert (workload(spec).seq, workload(spec).source_seq) == (8, 5)
    with pytest.raises(InputError, match="source_seq: 6 tokens are more than the table of positions has"):
        workload(spec, source_seq=6)


def test_what_is_as_the_models_is_no_size_of_its_own() -> None:
    same = {"vocab_size": 11, "n_ctx": 8, "d_model": 6}
    assert load(pair(**same)) == load(pair())
    assert load(pair(**OWN)).encoder.d_model == 4


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({"vocab_size": 13}, "encoder.vocab_size: differs from the embedding that the stack reads"),
        ({"d_model": 4}, "encoder.d_model: differs from the embedding that the stack reads"),
        ({"embedding": {"tables": [{"name": "task", "n_rows": 2, "default_row": 2}]}}, "encoder.embedding.tables"),
    ],
)
def test_a_stack_with_sizes_of_its_own_knows_its_bounds(own: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        load(pair(**own))
    document = pair()
    with pytest.raises(InputError, match=r"decoder\.n_ctx: cannot differ from the model's"):
        load(document | {"decoder": document["decoder"] | {"n_ctx": 5}})


def test_a_source_is_as_wide_as_it_is() -> None:
    document = pair(**OWN)
    wrong = LAYER | {"cross": GQA | {"d_source": 5}}
    with pytest.raises(InputError, match=r"cross\.d_source: found 5; expected the encoder's 4"):
        load(document | {"decoder": {"runs": [{"count": 1, "pattern": [wrong]}]}})
    with pytest.raises(InputError, match=r"attention\.d_source: attends to no source"):
        load(pair(runs=[{"count": 1, "pattern": [LAYER | {"attention": GQA | {"d_source": 4}}]}]))
