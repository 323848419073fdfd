"""Soft and learned prompts looked into: steps, states and patterns of transformers, and parts that sum to its logit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import archcalc
from archcalc import inside
from archcalc.errors import InputError
from archcalc.interp.heads.attention_result import attentions
from archcalc.interp.trace.result import forward_trace
from archcalc.interp.trace.run import Trace, trace
from archcalc.interp.trace.softmax import softmax_of
from archcalc.render import attention_page, trace_page
from archcalc.render.charts.attention import chart
from archcalc.render.trace_matrix import Slice, matrix
from archcalc.run.loading.source import open_source
from archcalc.words import ENGLISH
from tests.checkpoint.random_models import random_model
from tests.hf.tiny.bart_like import SIDES

SOURCE, TARGET = [3, 9, 14, 20, 8], [2, 7, 30, 11]


def both(name: str, folder: Path) -> tuple[Any, Any]:
    """A random model of transformers, and ours with its weights."""
    if name == "mvp":
        torch.manual_seed(0)
        config = transformers.MvpConfig(**SIDES, use_prompt=True, prompt_length=5, prompt_mid_dim=12)
        theirs: Any = transformers.MvpForConditionalGeneration(config).eval()
        with torch.no_grad():
            for weight in theirs.parameters():
                weight.normal_(std=0.3)
    else:
        theirs = random_model(name)
    theirs.save_pretrained(folder)
    return theirs, archcalc.load_model(folder)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    folder = tmp_path_factory.mktemp("soft")
    return *both("cpmant", folder), folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return both("mvp", tmp_path_factory.mktemp("learned"))


def near(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


def check_rows(model: Any, found: Trace, part: str, n_lead: int = 0) -> None:
    """The stages of a query are the scores and weights that were recorded."""
    row = softmax_of(model, found, part, head=1)
    query = min(found.position + n_lead, found[f"{part}.scores"].shape[1] - 1)
    stages = {stage.name: torch.tensor(stage.values) for stage in row.stages}
    torch.testing.assert_close(
        stages["biased" if "biased" in stages else "scaled"], found[f"{part}.scores"][1, query], rtol=1e-5, atol=1e-5
    )
    assert row.query == query


def test_states_of_a_text_after_a_soft_prompt_are_those_of_transformers(soft: tuple[Any, Any, Path]) -> None:
    theirs, ours, _ = soft
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor([SOURCE]), output_hidden_states=True)
    found, n_lead = trace(ours, SOURCE), ours.n_lead
    for layer, states in enumerate(wanted.hidden_states[:-1]):
        assert near(found[f"layers.{layer}.resid_pre"][n_lead:], states[0])
    assert near(found["text"], found[f"layers.{layer}.resid_post"][n_lead:])
    assert near(found["final_norm"], wanted.hidden_states[-1][0])
    assert near(found["logits"], wanted.logits[0])
    steps = {one.step.name: one for one in found.steps}
    assert torch.equal(steps["layers.0.resid_pre"].at(1), found["layers.0.resid_pre"][n_lead + 1])
    assert torch.equal(steps["embed"].at(1), found["embed"][1])
    check_rows(ours, found, "layers.0.attn", n_lead)


def test_lens_and_words_of_a_soft_prompt(soft: tuple[Any, Any, Path]) -> None:
    theirs, ours, _ = soft
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor([SOURCE]), output_hidden_states=True)
        last = theirs.cpmant.encoder.output_layernorm(wanted.hidden_states[1])
        logits = theirs.lm_head(last)[0]
    found = inside.lens(ours, SOURCE, positions="all", sites="layers")
    assert near(found.logits(found.sites[1]), logits)
    assert near(found.logits(found.sites[-1]), wanted.logits[0])
    tuned = inside.train_lens(ours, [SOURCE, TARGET], sites="layers", steps=1)
    assert inside.lens(ours, SOURCE, using=tuned, sites="layers").kl_nats[-1].max() == 0
    words = inside.contextual_similarity(ours, [SOURCE, SOURCE], [[1], [1]])
    assert all(row.cosine == pytest.approx(1) for row in words.layers)


def test_attention_after_a_soft_prompt(soft: tuple[Any, Any, Path]) -> None:
    _, ours, folder = soft
    n_lead, source = ours.n_lead, open_source(str(folder))
    reading = inside.attention(ours, SOURCE)
    path, arm = next(iter(reading.arms.items()))
    assert reading.patterns[path].shape[1:] == (n_lead + 5, n_lead + 5)
    assert arm.query_names(["a"] * 5) == (*(f"P {i}" for i in range(n_lead)), *"aaaaa")
    assert reading.distance(path).shape[1] == 5
    assert reading.kinds is None or set(reading.kinds.scores) == set(reading.arms)
    result = attentions(source, reading, [SOURCE], (path, 0), (n_lead, 0))
    assert [row.token for row in result.selected.weights[:2]] == ["P 0", "P 1"]
    assert len(result.selected.queries) == n_lead + 5
    assert "P 0" in str(chart(result, ENGLISH))
    assert "P 0" in attention_page.as_html(result, reading, ENGLISH)


def test_pages_of_a_trace_name_the_rows_of_a_soft_prompt(soft: tuple[Any, Any, Path]) -> None:
    _, ours, folder = soft
    source, found = open_source(str(folder)), trace(ours, SOURCE)
    result = forward_trace(source, found, is_full=True)
    step = next(row for row in result.steps if row.path == "layers.0.attn.pattern")
    assert (step.n_lead, step.n_learned) == (ours.n_lead, 0)
    assert "rows_from(x, a, n)" in {row.call for row in result.functions}
    assert '"n_lead": ' in trace_page.as_html(result, ENGLISH)
    cells = matrix(found, next(one for one in found.steps if one.step.name == step.path), str, Slice(0))
    assert cells.rows[cells.here] == "4 8"
    assert len(cells.columns) == len(cells.values[0])


@pytest.mark.parametrize("position", [0, 3])
def test_parts_sum_to_the_logit_after_a_soft_prompt(soft: tuple[Any, Any, Path], position: int) -> None:
    theirs, ours, _ = soft
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor([SOURCE])).logits[0, position]
    found = inside.attribute(ours, SOURCE, position=position, token=9, against=4)
    scale = sum(abs(one.value) for one in found.contributions)
    assert abs(sum(one.value for one in found.contributions) - float(wanted[9] - wanted[4])) <= 1e-5 * scale
    assert found.edges["layers.0.attn"].shape[1] == ours.n_lead + 5


def test_edits_by_position_are_refused(soft: tuple[Any, Any, Path]) -> None:
    with pytest.raises(
        InputError, match=r"^soft_prompt: the layers read \d+ rows of a soft prompt; expected null; `trace`"
    ):
        inside.patch(soft[1], SOURCE, [4, *SOURCE[1:]])


def test_states_and_patterns_beside_learned_keys_are_those_of_transformers(learned: tuple[Any, Any]) -> None:
    theirs, ours = learned
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor([SOURCE]), decoder_input_ids=torch.tensor([TARGET]), **asked)
    found, reading = trace(ours, SOURCE, TARGET), inside.attention(ours, SOURCE, TARGET)
    for name, states in (("encoder", wanted.encoder_hidden_states), ("decoder", wanted.decoder_hidden_states)):
        for layer, each in enumerate(states[:-1]):
            assert near(found[f"{name}.layers.{layer}.resid_pre"], each[0])
    kinds = {"encoder.{}.attn": wanted.encoder_attentions, "decoder.{}.attn": wanted.decoder_attentions}
    for name, patterns in (kinds | {"decoder.{}.cross": wanted.cross_attentions}).items():
        for layer, pattern in enumerate(patterns):
            path = name.format(f"layers.{layer}")
            assert near(found[f"{path}.pattern"], pattern[0])
            assert near(reading.patterns[path], pattern[0])
            check_rows(ours, found, path)
    assert near(found["logits"], wanted.logits[0])


def test_learned_keys_are_read_as_keys(learned: tuple[Any, Any]) -> None:
    theirs, ours = learned
    reading, path = inside.attention(ours, SOURCE, TARGET), "decoder.layers.1.attn"
    arm = reading.arms[path]
    assert arm.n_learned == 5
    assert arm.key_names(["a", "b", "c", "d"], 9) == ("P 0", "P 1", "P 2", "P 3", "P 4", *"abcd")
    for key in (2, 6):
        pair = reading.products(path, 1, 3, key)
        assert pair.rest == pytest.approx(0, abs=1e-4 * abs(pair.score) + 1e-5)
    assert reading.distance(path)[0, 0] == 0
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor([SOURCE]), decoder_input_ids=torch.tensor([TARGET])).logits[0, 2]
    found = inside.attribute(ours, SOURCE, TARGET, position=2, token=9, against=4)
    scale = sum(abs(one.value) for one in found.contributions)
    assert abs(sum(one.value for one in found.contributions) - float(wanted[9] - wanted[4])) <= 1e-5 * scale
    for one in found.contributions:
        if one.head is not None:
            assert float(found.edges[one.path][one.head].sum()) == pytest.approx(one.value, rel=1e-4, abs=1e-5 * scale)


def test_the_lens_and_patching_beside_learned_keys(learned: tuple[Any, Any]) -> None:
    _, ours = learned
    found = inside.lens(ours, SOURCE, TARGET, positions="all")
    assert found.kl_nats[-1].abs().max() == 0
    restored = inside.patch(ours, SOURCE, [4, *SOURCE[1:]], target=TARGET, answer=9, components=["residual"])
    assert restored.map("residual", 0).effects_RP[:, -1] == pytest.approx(1, abs=1e-4)
