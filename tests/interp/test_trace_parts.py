"""What a trace is read by: which steps a step reads, and a softmax taken apart."""

from __future__ import annotations

from math import inf, isinf
from typing import Any

import pytest
import torch
from hypothesis import given

from archcalc import build, load
from archcalc.errors import InputError
from archcalc.interp.memory import recorded_bytes
from archcalc.interp.text_input import text_input
from archcalc.interp.trace.run import Trace, trace
from archcalc.interp.trace.softmax import SoftmaxRow, attentions, softmax_of
from archcalc.interp.trace.step_inputs import step_inputs
from archcalc.interp.trace.target import target
from archcalc.nn.taps import sites
from archcalc.run.loading.source import open_source
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from tests.examples import examples
from tests.interp.test_trace import GATED, GQA, RMS, SPECS, spec_of
from tests.strategies import prompted_specs, soft_prompt_specs, specs


def made(spec: Spec, *texts: list[int]) -> tuple[Any, Trace]:
    torch.manual_seed(5)
    model = build(spec, "cpu").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5)
    return model, trace(model, *texts)


def rows(found: SoftmaxRow) -> dict[str, tuple[float, ...]]:
    return {stage.name: stage.values for stage in found.stages}


def test_happys_last_softmax_is_that_of_the_logarithms_of_its_shares() -> None:
    model = open_source("happy").checkpoint.load()
    found = softmax_of(model, trace(model, [0, 1, 2]), "layers.0.attn")
    assert [stage.name for stage in found.stages] == ["dots", "scaled", "masked", "shifted", "exps", "sum", "shares"]
    by_name = rows(found)
    assert by_name["masked"] == pytest.approx([-2.302585, -1.203973, -0.510826], abs=1e-5)
    assert by_name["shifted"] == pytest.approx([-1.791759, -0.693147, 0], abs=1e-5)
    assert by_name["exps"] == pytest.approx([1 / 6, 1 / 2, 1], abs=1e-5)
    assert by_name["sum"] == pytest.approx([5 / 3], abs=1e-5)
    assert by_name["shares"] == pytest.approx([0.1, 0.3, 0.6], abs=1e-5)
    assert found.hidden == (False, False, False)


def test_what_is_hidden_is_said() -> None:
    model = open_source("happy").checkpoint.load()
    found = softmax_of(model, trace(model, [0, 1, 2]), "layers.0.attn", query=1)
    assert found.hidden == (False, False, True)
    by_name = rows(found)
    assert not isinf(by_name["scaled"][2])
    assert by_name["masked"][2] == by_name["shifted"][2] == -inf
    assert by_name["exps"][2] == by_name["shares"][2] == 0


@examples(25)
@given(specs() | soft_prompt_specs() | prompted_specs())
def test_every_attentions_stages_lead_from_one_to_the_next(spec: Spec) -> None:
    ids = [token % spec.vocab_size for token in range(min(spec.n_ctx, 4))]
    model, found = made(spec, ids, *([[0]] if spec.family == "encoder-decoder" else []))
    for part in attentions(found):
        for head in range(found[f"{part}.scores"].shape[0]):
            leads(model, found, part, head)


def leads(model: Any, found: Trace, part: str, head: int) -> None:
    row = softmax_of(model, found, part, head=head)
    by_name = rows(row)
    before = [stage for stage in row.stages if stage.name in ("dots", "scaled", "capped", "biased")][-1]
    masked = [-inf if hidden else x for hidden, x in zip(row.hidden, before.values, strict=True)]
    assert by_name["masked"] == pytest.approx(masked, rel=1e-4, abs=1e-5), (part, head)
    assert max(by_name["shifted"]) <= 0
    shares = [x / by_name["sum"][0] for x in by_name["exps"]]
    assert by_name["shares"] == pytest.approx(shares, rel=1e-5, abs=1e-6)


def test_a_cap_a_bias_and_a_sink_are_stages_or_beside_them() -> None:
    model, found = made(SPECS["gemma2"], [1, 2, 3])
    assert "capped" in rows(softmax_of(model, found, "layers.1.attn"))
    biased, found = made(spec_of(RMS, GQA | {"position": {"kind": "alibi"}}, GATED), [1, 2, 3])
    assert "biased" in rows(softmax_of(biased, found, "layers.1.attn"))
    sunk, found = made(spec_of(RMS, GQA | {"sinks": True}, GATED), [1, 2, 3])
    row = softmax_of(sunk, found, "layers.1.attn", head=3)
    by_name = {stage.name: stage for stage in row.stages}
    assert by_name["masked"].sink == pytest.approx(sunk.layers["1"].attn.sinks[3].item())
    exps = [*by_name["exps"].values, by_name["exps"].sink]
    assert by_name["sum"].values == pytest.approx([sum(exps)])
    assert sum(by_name["shares"].values) < 1


def test_cross_attention_looks_at_the_source() -> None:
    model, found = made(SPECS["encoder and decoder"], [1, 2, 3, 4], [0, 2])
    row = softmax_of(model, found, "decoder.layers.1.cross", query=0)
    assert row.hidden == (False,) * 4
    assert softmax_of(model, found, "decoder.layers.1.attn", query=0).hidden == (False, True)
    assert softmax_of(model, found, "encoder.layers.0.attn").query == 1, "the place that is looked at"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"part": "layers.9.attn"}, "part: found 'layers.9.attn'; expected layers.0.attn"),
        ({"head": 1}, "head: found 1; expected 0 to 0"),
        ({"query": 3}, "query: found 3; expected 0 to 2"),
    ],
)
def test_a_softmax_that_is_not_there_is_told(told: dict[str, Any], says: str) -> None:
    model, found = made(load("happy"), [0, 1, 2])
    with pytest.raises(InputError, match=says):
        softmax_of(model, found, **({"part": "layers.0.attn"} | told))


def test_a_step_reads_what_its_formula_names_and_no_weights() -> None:
    _, found = made(SPECS["deepseek"], [1, 2])
    steps = {one.step.name: one for one in found.steps}

    def reads(name: str) -> list[str]:
        return [one.step.name for one in step_inputs(found, steps[f"layers.1.{name}"])]

    assert reads("attn.k") == ["layers.1.attn.latent", "layers.1.attn.k_shared"]
    assert reads("attn.scores") == ["layers.1.attn.q", "layers.1.attn.k"]
    assert reads("resid_post") == ["layers.1.resid_mid", "layers.1.ffn.out"]
    assert reads("ffn.experts") == ["layers.1.ffn_norm", "layers.1.ffn.chosen"]
    assert reads("resid_pre") == ["layers.0.resid_post"]


def test_of_shared_weights_a_module_is_no_step() -> None:
    _, found = made(SPECS["shared weights"], [1, 2])
    steps = {one.step.name: one for one in found.steps}
    query = steps["layers.1.attn.q"]
    assert str(query.step.expression) == (
        "rotated(norm(heads(linear(layers.1.attn_norm, layers.0.attn.q), 4), layers.0.attn.q_norm), 2)"
    )
    assert [one.step.name for one in step_inputs(found, query)] == ["layers.1.attn_norm"]
    assert [one.step.name for one in step_inputs(found, steps["tokens"])] == ["ids"]
    assert step_inputs(found, steps["ids"]) == ()


def test_what_is_asked_is_what_there_is_room_for() -> None:
    found = text_input(open_source("happy"), [0, 1])
    assert (found.ids, found.target, found.work.seq) == ([0, 1], None, 2)
    crossing = text_input(open_source("tiny-seq2seq", random_weights=True), [1, 2, 3])
    assert (crossing.target, crossing.work.seq, crossing.work.source_seq) == ([0], 1, 3)


def test_what_a_trace_takes_is_told_before_it_is_made() -> None:
    model, found = made(load("happy"), [0, 1, 2])
    names = {site.name for site in sites(model.spec)}
    kept = sum(one.value.numel() * 4 for one in found.steps if one.step.name in names)
    assert recorded_bytes(model.spec, Workload(batch=1, seq=3)) == kept == 708


def test_one_token_has_a_probability_and_a_rank() -> None:
    model = open_source("happy").checkpoint.load()
    found = trace(model, [0, 1, 2])
    assert [target(found, token).rank for token in range(5)] == [4, 2, 3, 1, 5]
    assert target(found, 3).probability == pytest.approx(0.783392, abs=1e-5)
    with pytest.raises(InputError, match="target: found 5; expected 0 to 4"):
        target(found, 5)
