"""Compressed attention and experts that tokens choose: ledger and modules agree, a cache changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis import flops
from archcalc.analysis.memory import summary as memory
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.nn import taps
from archcalc.nn.build import build as build_module
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from tests import test_workloads as workloads
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.nn import flop_truth
from tests.nn.two_readings import check_counts, check_shapes
from tests.strategies import compressed_specs


@examples(20)
@given(compressed_specs(), st.sampled_from(("none", "full", "selective")), st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute), seq=9)


@examples(12)
@given(spec=compressed_specs(), past=st.integers(1, 10))
def test_a_step_costs_and_keeps_what_the_ledger_says(spec: Spec, past: int) -> None:
    step = Workload(batch=2, seq=1, past=past)
    assert flop_truth.decode(spec, 2, 1, past).total == flops.summary(build(spec), step)["forward"]
    kept = memory(build(spec), step, "bf16")
    assert kept["kv_cache_bytes"] + kept["state_bytes"] == workloads.allocated(spec, step)


@examples(12)
@given(spec=compressed_specs(), cuts=st.sampled_from(((5, 1, 1, 4), (1,) * 11, (11,), (2, 2, 7))))
def test_a_cache_changes_nothing_and_sites_have_their_shapes(spec: Spec, cuts: tuple[int, ...]) -> None:
    model = build_module(spec, "cpu").eval()
    ids = torch.arange(22).view(2, 11) % spec.vocab_size
    found = taps.record(model, ids)
    check_shapes(spec, found, batch=2, seq=11)
    cache = model.new_cache(2, 11)
    assert_close(torch.cat([model(step, cache=cache) for step in ids.split(cuts, 1)], 1), found.logits)
    rows = torch.tensor([1, 0])
    cache = model.new_cache(2, 11)
    model(ids[:, :7], cache=cache)
    cache.reorder(rows)
    assert_close(model(ids[rows][:, 7:], cache=cache), found.logits[rows][:, 7:])


@pytest.mark.parametrize("n_pool", [2, 5])
def test_pairs_are_those_of_every_query(n_pool: int) -> None:
    """Query p sees (p + 1) // n_pool entries, and at most three are selected."""
    indexer = {"n_index_heads": 2, "d_index": 4, "n_selected": 3}
    for past, seq in ((0, 17), (3, 9), (12, 1)):
        queries = range(past, past + seq)
        seen = [(p + 1) // n_pool for p in queries]
        for compression, entries in (
            ({"n_pool": n_pool}, seen),
            ({"n_pool": n_pool, "indexer": indexer}, [min(n, 3) for n in seen]),
        ):
            ledger = build(decode(document(compression)))
            rows = {row.path: row for row in ledger.matmuls}
            sizes = ledger.at(Workload(seq=seq, past=past))
            window = [min(p + 1, 4) for p in queries]
            pairs = sum(window) + sum(entries)
            assert rows["layers.{i}.attn.scores"].causal_formula.at(sizes) == 2 * pairs * 2 * 6
            if "indexer" in compression:
                scores = rows["layers.{i}.attn.indexer.scores"]
                assert scores.causal_formula.at(sizes) == 2 * sum(seen) * 2 * 4


ATTENTION = {"kind": "compressed", "n_heads": 2, "d_head": 6, "q_rank": 5, "d_rope": 4, "window": 4}
ATTENTION |= {"n_out_groups": 2, "out_rank": 3}


def document(compression: dict[str, Any] | None, more: dict[str, Any] | None = None) -> dict[str, Any]:
    layer = {"norm": {"kind": "rmsnorm"}, "attention": ATTENTION | {"compression": compression} | (more or {})}
    stack = {"runs": [{"count": 1, "pattern": [layer | {"ffn": {"kind": "gated", "d_ff": 9}}]}]}
    return {"name": "compressed", "vocab_size": 17, "n_ctx": 32, "d_model": 8, "decoder": stack}


def test_padding_is_refused() -> None:
    model = build_module(decode(document({"n_pool": 2})), "cpu").eval()
    ids = torch.arange(8).view(2, 4)
    with pytest.raises(InputError, match="padding: compressed attention has no place for padding"):
        model(ids, padding_BT=torch.tensor([[True, False, False, False], [False] * 4]))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"n_out_groups": 5}, r"n_out_groups: 5 does not divide the heads' width 12"),
        ({"d_out_group": 5}, r"d_out_group: found 5; expected 6"),
        ({"d_rope": 8}, r"d_head: 6 is less than d_rope 8"),
        ({"compression": {"n_pool": 1}}, r"n_pool: found 1; expected 2 or more"),
        ({"position": {"kind": "rope", "values": True}}, r"position.values: compressed attention does not support it"),
    ],
)
def test_what_compressed_attention_cannot_be(more: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(document(None, more))
