"""A state of fixed size between steps: its bytes, cached decoding, padding, beams, and what the papers refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcalc.analysis.memory import summary
from archcalc.analysis.papers.conventions import convention_flops
from archcalc.errors import InputError
from archcalc.ledger.build import build as build_ledger
from archcalc.nn import build, taps
from archcalc.nn.arm_cache import RecurrentState
from archcalc.run.distributed import split_plan
from archcalc.spec import Spec
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from tests.nn.ema import D_STATE, ema_spec
from tests.nn.test_nn_cache import cached, filled

__all__ = ["ema_spec"]


def made(spec: Spec) -> Any:
    torch.manual_seed(1)
    return filled(build(spec, "cpu", torch.float64))


def test_the_ledger_has_the_module_s_weights_and_states(ema_spec: Spec) -> None:
    model, ledger = made(ema_spec), build_ledger(ema_spec)
    assert {t.name: t.shape for t in ledger.tensors()} == {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert {row.component for row in ledger.rows} >= {"mixer", "attention", "ffn"}
    assert [(row.path, len(row.layer_indices)) for row in ledger.states] == [("layers.{i}.mixer.state", 3)]


@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_state_bytes_do_not_grow_with_the_text(ema_spec: Spec, tokens: int) -> None:
    found = summary(build_ledger(ema_spec), workload(ema_spec, batch=2, seq=tokens), "bf16")
    assert found["state_bytes"] == 3 * 2 * D_STATE * 2
    assert found["kv_cache_bytes"] == 2 * 2 * tokens * 4 * 2
    cache = made(ema_spec).new_cache(2, tokens, dtype=torch.bfloat16)
    assert cache.nbytes == found["state_bytes"] + found["kv_cache_bytes"]


def test_a_state_is_not_stored_in_the_format_of_tokens(ema_spec: Spec) -> None:
    layer = made(ema_spec).new_cache(2, 8, format="int8").layers[0]
    assert isinstance(layer["mixer"], RecurrentState)
    assert [tensor.shape for tensor in layer["mixer"].tensors] == [(2, D_STATE)]


@pytest.mark.parametrize("chunks", [[11], [1] * 11, [4, 1, 6]])
@torch.no_grad()
def test_logits_are_the_same_in_chunks(ema_spec: Spec, chunks: list[int]) -> None:
    model, ids = made(ema_spec), torch.randint(23, (2, 11))
    cache = model.new_cache(2, 11)
    torch.testing.assert_close(cached(model, ids, [], cache, chunks), model(ids))
    cache.past = 0  # begins anew: nothing of the last text is read
    torch.testing.assert_close(cached(model, ids, [], cache, chunks), model(ids))


@torch.no_grad()
def test_padding_never_enters_a_state(ema_spec: Spec) -> None:
    model, ids = made(ema_spec), torch.randint(23, (2, 9))
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[0, :4] = True
    alone = model(ids[:1, 4:])
    torch.testing.assert_close(model(ids, padding_BT=padding)[:1, 4:], alone)
    cache = model.new_cache(2, 9)
    first = model(ids[:, :6], cache=cache, padding_BT=padding[:, :6])
    rest = model(ids[:, 6:], cache=cache)
    torch.testing.assert_close(torch.cat((first, rest), 1)[:1, 4:], alone)


@torch.no_grad()
def test_a_beam_takes_its_state_along(ema_spec: Spec) -> None:
    model, ids = made(ema_spec), torch.randint(23, (3, 8))
    cache = model.new_cache(3, 8)
    model(ids[:, :5], cache=cache)
    rows = torch.tensor([2, 0, 2])
    cache.reorder(rows)
    chosen = torch.cat((ids[rows, :5], ids[:, 5:]), 1)
    torch.testing.assert_close(model(ids[:, 5:], cache=cache), model(chosen)[:, 5:])


@torch.no_grad()
def test_its_points_are_reached(ema_spec: Spec) -> None:
    model, ids = made(ema_spec), torch.randint(23, (1, 4))
    recording = taps.record(model, ids)
    work = workload(ema_spec, seq=4)
    assert {site.name: site.shape(work) for site in sites(ema_spec)} == {k: x.shape for k, x in recording.items()}


def test_what_nobody_said_is_refused(ema_spec: Spec) -> None:
    """Papers' conventions and ranks: a mixer that they say nothing of is no silent 0."""
    with pytest.raises(InputError, match="the paper gives no formula"):
        convention_flops(ema_spec, build_ledger(ema_spec), workload(ema_spec, seq=4))
    with pytest.raises(InputError, match="ranks cannot share"):
        split_plan.check(ema_spec, 2)
