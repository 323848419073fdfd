"""Several residual streams are traced and read by lenses; what reads or edits one of them refuses the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given

import archcalc
from archcalc import inside
from archcalc.errors import InputError
from archcalc.interp.lens.maps import lens_sites
from archcalc.interp.lens.result import lens_predictions
from archcalc.interp.trace.run import trace
from archcalc.run.loading.source import open_source
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.sites import sites
from tests.checkpoint.random_models import random_model
from tests.examples import examples
from tests.interp.recompute import Interpreter
from tests.nn.test_nn_altup import ATTENTION, document
from tests.nn.two_readings import randomized
from tests.strategies import altup_specs, hyper_specs, set_aside_specs

IDS = [1, 3, 2, 4, 7]


def drawn(spec: Spec) -> Any:
    return randomized(spec, seed=3)


NORM = {"kind": "rmsnorm"}
FIRST = ATTENTION | {"skip": 0.5}
PRE = {"arms": [{"name": "ffn", "part": {"kind": "gated", "d_ff": 12}, "in_scale": 0.5}], "norm_in": NORM}
AFTER = {
    "arms": [{"name": "own", "part": {"kind": "plain", "d_ff": 5, "activation": "relu"}}],
    "norm_out": NORM,
    "joins": "later_streams",
}

OTHER = {"arms": [{"name": "other", "part": {"kind": "gated", "d_ff": 6}}], "joins": "later_streams"}


@pytest.mark.parametrize(
    "streams",
    [{"kind": "altup", "n_streams": 3, "active": 1}, {"kind": "altup", "n_streams": 2, "out_scale": False}],
)
def test_every_value_follows_from_those_before_it(streams: dict[str, Any]) -> None:
    assert_traced(document(FIRST, PRE, AFTER, OTHER, streams=streams))


def assert_traced(text: dict[str, Any]) -> None:
    """Evaluate every expression of a trace."""
    spec = decode(text | {"head": {"tied": True}})
    model = drawn(spec)
    found, interpreter, known = trace(model, IDS), Interpreter(spec, model.state_dict()), {}
    for one in found.steps:
        if one.step.expression is not None:
            made = interpreter.value(one.step.expression, known)
            torch.testing.assert_close(
                made, one.value, rtol=2e-4, atol=2e-5, msg=f"{one.step.name} = {one.step.expression}"
            )
        known[one.step.name] = one.value
    assert torch.equal(found["logits"], model(torch.tensor([IDS]))[0])
    assert {site.name for site in sites(spec)} <= set(known)


HYPER = {"kind": "hyper", "n_streams": 3, "eps": 0.01}
SCALED = {"arms": [*FIRST["arms"], *PRE["arms"]], "norm_in": NORM, "scale": 0.5}


@pytest.mark.parametrize("streams", [HYPER, HYPER | {"write_eps": 0.02, "mix": {"n_turns": 2}, "n_streams": 2}])
def test_every_value_of_hyper_connections_follows_from_those_before_it(streams: dict[str, Any]) -> None:
    last = {key: value for key, value in OTHER.items() if key != "joins"} | {"norm_out": NORM}
    assert_traced(document(SCALED, last, streams=streams))


@pytest.mark.parametrize("is_split", [True, False])
def test_every_value_of_a_stream_that_is_set_aside_follows_from_those_before_it(is_split: bool) -> None:
    convolved = {"d_conv": 2, "conv_by_token": True, "conv_scale": 0.5}
    part = ATTENTION["arms"][0]["part"] | convolved
    first = {"arms": [{"name": "attn", "part": part}], "norm_in": NORM, "splits_input": is_split, "scale": 0.5}
    assert_traced(document(first, PRE, streams={"kind": "set_aside", "n_block": 2, "eps": 0.01}))


@examples(5)
@given(spec=altup_specs() | hyper_specs() | set_aside_specs())
def test_the_last_site_is_the_output_and_streams_are_read_merged(spec: Spec) -> None:
    model = drawn(spec)
    reading = inside.lens(model, IDS, positions="all")
    logits = model(torch.tensor([IDS]))[0]
    assert torch.equal(reading.output, logits)
    assert reading.sites[0] == "split"
    assert reading.sites[-1] == f"layers.{spec.decoder.n_layers - 1}.streams"
    found, readout = trace(model, IDS), model.head
    torch.testing.assert_close(reading.states[-1], found["merged"], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        last = readout(model.apply_final_norm(reading.states[-1:]), model.embed.tokens.weight)[0]
    torch.testing.assert_close(last, logits, rtol=1e-3, atol=1e-4)
    assert reading.kl_nats[-1].abs().max() == 0
    ends = [site.name for site in lens_sites(spec, "layers")]
    assert ends == ["split", *(f"layers.{i}.streams" for i in range(spec.decoder.n_layers))]


def test_hidden_states_and_attentions_of_gemma_3n(tmp_path: Path) -> None:
    theirs = random_model("gemma3n_text lists")
    theirs.save_pretrained(tmp_path)
    ours, ids = archcalc.load_model(tmp_path), [5, 9, 2, 7, 40, 31]
    with torch.no_grad():
        out = theirs(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    reading = inside.attention(ours, ids, with_kinds=False)
    for pattern, expected in zip(reading.patterns.values(), out.attentions, strict=True):
        assert (pattern - expected[0]).abs().max() < 1e-5
    found = trace(ours, ids)
    scale = float(found["logits"].abs().max())
    assert (found["logits"] - out.logits[0]).abs().max() < 1e-5 * scale
    rows = lens_predictions(open_source(str(tmp_path)), inside.lens(ours, ids, sites="layers"), 0).readings
    assert [(row.path, row.layer) for row in rows[:2]] == [("split", 0), ("layers.0.streams", 0)]
    streams = [found["split"], *(found[f"layers.{i}.streams"] for i in range(5))]
    for ours_TMD, theirs_MBTD in zip(streams, out.hidden_states, strict=False):
        if theirs_MBTD.dim() == 4:
            assert (ours_TMD.transpose(0, 1) - theirs_MBTD[:, 0]).abs().max() < 1e-5 * float(theirs_MBTD.abs().max())


CALLS: dict[str, Callable[[Any], object]] = {
    "patch": lambda model: inside.patch(model, IDS, IDS[::-1], components=["residual"]),
    "patchscope": lambda model: inside.patchscope(model, IDS, [1], IDS, [1], pairs=[(0, 0)]),
    "direction": lambda model: inside.direction(model, [IDS], [IDS[::-1]]),
    "jacobian": lambda model: inside.jacobian_lens(model, [IDS]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["altup", "hyper", "set_aside"])
def test_what_needs_one_stream(name: str, kind: str) -> None:
    branches = () if kind == "altup" else (ATTENTION, PRE)
    streams = {"kind": kind} | ({"n_block": 1} if kind == "set_aside" else {"n_streams": 3})
    model = drawn(decode(document(*branches, streams=streams) | {"head": {"tied": True}}))
    with pytest.raises(InputError, match="streams: the layers have 3 residual streams; expected one; `trace`"):
        CALLS[name](model)


def test_a_tuned_lens_reads_merged_streams() -> None:
    model = drawn(decode(document(streams={"kind": "altup", "n_streams": 3}) | {"head": {"tied": True}}))
    tuned = inside.train_lens(model, [IDS, IDS[::-1]], steps=2)
    assert tuned.maps["layers.0.streams"][0].shape == (8, 8)
    assert inside.lens(model, IDS, using=tuned).kl_nats[-1].item() == 0
