"""Passes whose tokens see each other, and soft prompts before a text: ledger and modules agree, caches and padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis import flops
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.nn import taps
from archcalc.nn.build import build as build_module
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.nn import flop_truth
from tests.nn.two_readings import check_counts, check_shapes, randomized
from tests.strategies import soft_prompt_specs

RELATIVE = {"kind": "relative", "n_buckets": 8, "max_distance": 16, "n_segments": 3}
PROMPT = {"n_tokens": 3, "n_rows": 9, "first": 2}
ATTENTION = {"kind": "gqa", "n_heads": 2, "position": RELATIVE}
TABLE = {"name": "segments", "n_rows": 3, "default_row": 2}


def document(attention: dict[str, Any] | None = None, table: dict[str, Any] = TABLE, **stack: Any) -> dict[str, Any]:
    layer = {"norm": {"kind": "rmsnorm"}, "attention": attention or ATTENTION, "ffn": {"kind": "gated", "d_ff": 12}}
    fields = {"runs": [{"count": 2, "pattern": [layer]}], "reads_pass": True, "soft_prompt": PROMPT} | stack
    sizes = {"name": "x", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "embedding": {"tables": [table]}}
    return sizes | {"decoder": fields, "head": {}}


@examples(10)
@given(spec=soft_prompt_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))
    ledger, step = build(spec), workload(spec, batch=2, seq=1, past=5)
    assert flops.summary(ledger, step)["forward"] == flop_truth.decode(spec, 2, 1, 5).total
    cached = sum(row.elements(ledger.at(step)) for row in ledger.caches)
    assert build_module(spec, "cpu").new_cache(2, 6).nbytes == 4 * cached


@examples(10)
@given(spec=soft_prompt_specs())
@torch.no_grad()
def test_steps_padding_and_sites(spec: Spec) -> None:
    """A step sees what was read before it; a longer text only changes what is read at once."""
    model, ids = randomized(spec), torch.arange(7).view(1, 7) % spec.vocab_size
    found = taps.record(model, ids)
    check_shapes(spec, found, batch=1, seq=7)
    cache = model.new_cache(1, 7)
    assert_close(model(ids[:, :5], cache=cache), model(ids[:, :5]))
    step = taps.record(model, ids[:, 5:6], cache=cache)
    check_shapes(spec, step, batch=1, seq=1, past=5)
    assert cache.n_text == 6
    padded = torch.cat((torch.zeros(1, 3, dtype=ids.dtype), ids), 1)
    padding = torch.arange(10).view(1, 10) < 3
    assert_close(model(padded, padding_BT=padding)[:, 3:], found.logits)
    cache = model.new_cache(1, 10)
    assert_close(model(padded[:, :8], padding_BT=padding[:, :8], cache=cache)[:, 3:], model(ids[:, :5]))
    assert_close(model(ids[:, 5:6], cache=cache), step.logits)


def test_biases_are_those_of_distances_and_of_pairs_of_segments() -> None:
    model = randomized(decode(document()))
    table, seen = model.relative_bias.weight, []
    scores = taps.record(model, torch.tensor([[4, 9]]), sites="layers.0.attn.*")
    q, k = scores["layers.0.attn.q"], scores["layers.0.attn.k"]
    seen = scores["layers.0.attn.scores"][0, 1] - (q[0, 1] @ k[0, 1].T) / 2
    # Four sides of distances in each direction, then rows of three segments: the prompt's is 0, the text's 2.
    prompt, text = 8 + 2, 8 + 6
    rows = [[0, 5, 6, prompt, prompt], [1, 0, 5, prompt, prompt], [2, 1, 0, prompt, prompt]]
    rows += [[text, text, text, 0, 5], [text, text, text, 1, 0]]
    assert_close(seen, table[torch.tensor(rows), 1])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (document(reads_pass=False), "decoder.soft_prompt: its rows would not see the text"),
        (document(ATTENTION | {"window": 3}), "decoder.reads_pass: a layer reads part of a pass"),
        (document(ATTENTION | {"position": {"kind": "rope"}}), "decoder.reads_pass: a layer reads part of a pass"),
        (document(prefix=True), "decoder.(reads_pass|prefix)"),
        (document(soft_prompt=PROMPT | {"first": 7}), "soft_prompt.first: 10 of 9 rows; expected rows of the table"),
        (document(soft_prompt=PROMPT | {"segment": 3}), "soft_prompt.segment: found 3; expected a row of the table"),
        (document(soft_prompt=PROMPT | {"segment": 2}), "n_segments: padding would change how far the text is"),
        (document(position={"kind": "learned"}), "soft_prompt: is stated together with position"),
        (document(soft_prompt=None), "n_segments: the stack has no 3 segments"),
        (document(ATTENTION | {"position": RELATIVE | {"n_segments": 0}}), "n_segments: padding would change"),
        (document(table=TABLE | {"n_rows": 4}), "n_segments: the stack has no 3 segments"),
    ],
)
def test_what_a_soft_prompt_cannot_be(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(wrong)
