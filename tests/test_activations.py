"""What the ledger says autograd keeps and computes again is what torch keeps and computes: to the byte, to the FLOP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.checkpoint import set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode

from archcalc.ledger.build import build
from archcalc.nn import build as build_module
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.ffn import MoE
from archcalc.spec.groups import layers_of
from archcalc.spec.workload import Workload
from tests.examples import examples
from tests.nn.flop_truth import CONVOLUTION
from tests.nn.saved_truth import kept
from tests.strategies import specs
from tests.structures import STRUCTURES
from tests.test_workloads import fitting, shallow

RECOMPUTE = st.sampled_from(("none", "selective", "full"))
EXECUTIONS = st.builds(
    Execution,
    dtype=st.sampled_from(("fp32", "bf16", "fp16")),
    attention=st.sampled_from(("eager", "math")),
    recompute=RECOMPUTE,
    dropout=st.booleans(),
    device=st.sampled_from(("meta", "cpu")),
)
FLASH = st.builds(
    Execution,
    dtype=st.sampled_from(("fp32", "bf16")),
    attention=st.just("flash"),
    recompute=RECOMPUTE,
    dropout=st.booleans(),
    device=st.just("cpu"),
)


def stated(spec: Spec, work: Workload, how: Execution) -> int:
    ledger = build(spec, how)
    sizes = ledger.at(work)
    return sum(row.formula.at(sizes) for row in ledger.saved_activations)


def measured(spec: Spec, work: Workload, how: Execution, *, real: bool = False) -> int:
    return sum(one.nbytes for one in kept(spec, work, how, real=real))


@examples(60)
@given(specs(), EXECUTIONS | FLASH, st.integers(1, 3), st.integers(1, 6))
def test_what_any_spec_keeps(spec: Spec, how: Execution, batch: int, seq: int) -> None:
    work = fitting(spec, seq, batch=batch)
    assert stated(spec, work, how) == measured(spec, work, how)


NEAR = {"kind": "disentangled", "n_distances": 4}
LAYERNORM = {"kind": "layernorm"}


def two_layers(position: dict[str, Any] | None, *, n_heads: int = 2, **fields: Any) -> Spec:
    attention = {"kind": "gqa", "n_heads": n_heads, "d_head": 3, "position": position}
    ffn = {"kind": "plain", "d_ff": 5, "activation": "relu"}
    pattern = [{"norm": LAYERNORM, "attention": attention, "ffn": ffn} | fields]
    encoder = {"runs": [{"count": 2, "pattern": pattern}]}
    return decode({"name": "x", "vocab_size": 17, "n_ctx": 9, "d_model": 6, "encoder": encoder, "head": None})


@pytest.mark.parametrize("norm", [None, LAYERNORM, {"kind": "rmsnorm"}], ids=["no norm", "layernorm", "rmsnorm"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_layers_keep_one_table_of_distances(norm: dict[str, Any] | None, recompute: Recompute) -> None:
    """The normalized rows; without a norm the table is a weight."""
    spec, how = two_layers(NEAR | {"norm": norm}), Execution(dtype="bf16", recompute=recompute)
    work = fitting(spec, 3, batch=2)
    assert stated(spec, work, how) == measured(spec, work, how)


@pytest.mark.parametrize("recompute", ["none", "selective"])
@pytest.mark.parametrize("n_heads", [1, 2])
def test_one_head_of_distances_is_read_in_place(n_heads: int, recompute: Recompute) -> None:
    spec, how = two_layers(NEAR, n_heads=n_heads), Execution(dtype="fp32", recompute=recompute)
    work = fitting(spec, 3, batch=2)
    assert stated(spec, work, how) == measured(spec, work, how)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize(
    "how",
    [
        Execution(dtype="bf16"),
        Execution(dtype="fp32", dropout=False),
        Execution(dtype="bf16", attention="math", recompute="selective"),
        Execution(dtype="bf16", attention="flash", device="cpu", dropout=False),
        Execution(dtype="bf16", recompute="full"),
    ],
    ids=["eager", "eager, fp32, no dropout", "math, selective", "flash", "full"],
)
def test_what_presets_keep(name: str, how: Execution) -> None:
    spec = shallow(name)
    work = fitting(spec, 64, batch=2)
    assert stated(spec, work, how) == measured(spec, work, how)


@examples(60)
@given(specs(), st.sampled_from(("fp32", "bf16")), RECOMPUTE, st.booleans(), st.integers(1, 3), st.integers(1, 6))
def test_what_experts_keep_where_choices_are_split(
    spec: Spec, dtype: str, recompute: Recompute, dropout: bool, batch: int, seq: int
) -> None:
    """With numbers: how many tokens an expert gets depends on them, what is kept in all does not.

    By what splitting changes: with numbers, other parts may keep a view of a tensor where they copy it on meta.
    """
    assume(any(isinstance(layer.ffn, MoE) for own in spec.stacks for layer in layers_of(own.stack)))
    work = fitting(spec, seq, batch=batch)
    split, gathered = (
        Execution(dtype=dtype, experts=experts, device="cpu", recompute=recompute, dropout=dropout)
        for experts in ("split", "gather")
    )
    changed = measured(spec, work, split, real=True) - measured(spec, work, gathered, real=True)
    assert stated(spec, work, split) - stated(spec, work, gathered) == changed


def again(spec: Spec, work: Workload, how: Execution, included: Callable[[str], bool]) -> int:
    """FLOPs that a backward pass computes anew, by the ledger."""
    ledger = build(spec, how)
    sizes = ledger.at(work)
    return sum(row.formula.at(sizes) for row in ledger.matmuls if included(row.matmul.recomputation))


def counted_step(spec: Spec, work: Workload, how: Execution, *, early_stop: bool) -> int:
    """FLOPs of a forward and a backward pass, as torch counts them on meta."""
    model = build_module(spec, execution=how).train()
    ids = [torch.zeros(work.batch, work.seq, dtype=torch.long, device="meta")]
    if spec.family == "encoder-decoder":
        ids.insert(0, torch.zeros(work.batch, work.source_seq, dtype=torch.long, device="meta"))
    with set_checkpoint_early_stop(early_stop), FlopCounterMode(display=False, custom_mapping=CONVOLUTION) as mode:
        model(*ids).float().sum().backward()
    return mode.get_total_flops()


@examples(25)
@given(specs(), RECOMPUTE, st.booleans(), st.sampled_from(("eager", "math")), st.integers(1, 2), st.integers(1, 5))
def test_what_any_spec_computes_again(
    spec: Spec, recompute: Recompute, dropout: bool, attention: str, batch: int, seq: int
) -> None:
    work = fitting(spec, seq, batch=batch)
    how = Execution(dtype="fp32", recompute=recompute, dropout=dropout, attention=attention)
    ledger = build(spec, how)
    plain = sum((row.formula + row.backward_formula).at(ledger.at(work)) for row in ledger.matmuls)
    early = again(spec, work, how, lambda recomputation: recomputation == "always")
    assert counted_step(spec, work, how, early_stop=True) == plain + early
    textbook = again(spec, work, how, lambda recomputation: recomputation != "never")
    assert counted_step(spec, work, how, early_stop=False) == plain + textbook


def test_a_weighted_skip_saves_the_stream_not_what_the_branch_reads() -> None:
    """The branch reads the sum of the stream with the output of the one before it."""
    own = {"arms": [{"name": "own", "part": {"kind": "plain", "d_ff": 5, "activation": "relu"}}]}
    other = {"arms": [{"name": "other", "part": {"kind": "plain", "d_ff": 3, "activation": "relu"}}]}
    layer = {"branches": [own | {"joins": "next_sum"}, other | {"skip_weight": True}]}
    stack = {"runs": [{"count": 2, "pattern": [layer]}]}
    spec = decode({"name": "x", "vocab_size": 17, "n_ctx": 9, "d_model": 6, "decoder": stack})
    work, how = fitting(spec, 5, batch=2), Execution(dtype="fp32")
    assert stated(spec, work, how) == measured(spec, work, how)


@pytest.mark.parametrize("out_scalar", [False, True])
def test_the_product_before_a_stored_number_is_computed_again(out_scalar: bool) -> None:
    spec, how = two_layers(None, out_scalar=out_scalar), Execution(dtype="fp32", recompute="full", dropout=False)
    work = fitting(spec, 3)
    ledger = build(spec, how)
    late = [row.path for row in ledger.matmuls if row.matmul.recomputation != "always"]
    assert late == ([] if out_scalar else ["layers.{i}.ffn.down"])
    plain = sum((row.formula + row.backward_formula).at(ledger.at(work)) for row in ledger.matmuls)
    early = again(spec, work, how, lambda recomputation: recomputation == "always")
    assert counted_step(spec, work, how, early_stop=True) == plain + early
