"""What the two readings of a spec must agree on: the module that runs, and the ledger that counts."""

from __future__ import annotations

from typing import Any

import torch

from archcalc.analysis import flops
from archcalc.analysis.activations import saved_tensors
from archcalc.ledger.build import build
from archcalc.nn import taps
from archcalc.nn.build import build as build_module
from archcalc.proof import verify
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from tests.checkpoint.test_logits import assert_close
from tests.nn import flop_truth, saved_truth


def check_counts(spec: Spec, execution: Execution, *, seq: int = 5) -> None:
    """Weights, FLOPs in both directions and saved bytes of two texts are the module's."""
    assert all(comparison.is_equal for comparison in verify(spec))
    work = workload(spec, batch=2, seq=seq)
    ours = flops.summary(build(spec), work)
    assert ours["forward"] == flop_truth.prefill(spec, 2, seq).total
    assert ours["backward"] == flop_truth.backward(spec, 2, seq).total
    saved = sum(tensor.bytes for tensor in saved_tensors(build(spec, execution), work, execution))
    assert saved == sum(tensor.nbytes for tensor in saved_truth.kept(spec, work, execution))


def check_sites_and_cache(spec: Spec) -> None:
    """Recorded values have the shapes of the sites, and steps from a cache give the logits of one pass."""
    model = build_module(spec, "cpu").eval()
    ids = torch.arange(14).view(2, 7) % spec.vocab_size
    found = taps.record(model, ids)
    check_shapes(spec, found, batch=2, seq=7)
    cache = model.new_cache(2, 7)
    assert_close(torch.cat([model(step, cache=cache) for step in ids.split((3, 1, 3), 1)], 1), found.logits)


def check_shapes(spec: Spec, found: taps.Recording, **sizes: int) -> None:
    """Every site is recorded, and its value has the shape that the site states for a workload of these sizes."""
    shapes = {site.name: site.shape(workload(spec, **sizes)) for site in sites(spec)}
    assert {name: tuple(value.shape) for name, value in found.items()} == shapes


def check_padding(spec: Spec) -> None:
    """Recorded values have the shapes of the sites, and tokens that pad before a text change none of its logits."""
    model, ids = randomized(spec), torch.arange(7).view(1, 7) % spec.vocab_size
    found = taps.record(model, ids)
    check_shapes(spec, found, batch=1, seq=7)
    padded = torch.cat((torch.ones(1, 3, dtype=ids.dtype), ids), 1)
    padding = torch.arange(10).view(1, 10) < 3
    with torch.no_grad():
        assert_close(model(padded, padding_BT=padding)[:, 3:], model(ids))


def randomized(spec: Spec, seed: int = 0) -> Any:
    """A model whose weights are large enough for every part to tell."""
    torch.manual_seed(seed)
    model = build_module(spec, "cpu").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5)
    return model
