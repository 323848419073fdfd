"""Encoders, decoders and encoder-decoders: hidden states equal transformers', and an arm is what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers

import archcalc
from archcalc import trace as tracing
from archcalc.inside import attention, attribute, lens
from archcalc.interp.heads.arms import attention_arms
from archcalc.spec.branches import branches
from archcalc.spec.layer import Layer
from tests.interp.test_attention_heads import IDS, MODELS, TARGET

# The states of transformers' lists that ours computes in another order of sums, and so up to rounding.
TOLERANCE = {"BartForConditionalGeneration": 1e-5, "T5ForConditionalGeneration": 1e-5, "BertForMaskedLM": 1e-5}


def states(theirs: Any, is_pair: bool) -> dict[str, Any]:
    """Return transformers' hidden states by the prefix of the stack, and its logits."""
    target = {"decoder_input_ids": torch.tensor([TARGET])} if is_pair else {}
    with torch.no_grad():
        out = theirs(torch.tensor([IDS]), output_hidden_states=True, **target)
    if is_pair:
        lists = {"encoder.": out.encoder_hidden_states, "decoder.": out.decoder_hidden_states}
    else:
        lists = {"": out.hidden_states}
    return {"logits": out.logits[0], **lists}


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_of_every_stack_equal_transformers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, sizes = MODELS[name]
    theirs = getattr(transformers, name)(config(**sizes, attn_implementation="eager")).eval()
    theirs.save_pretrained(tmp_path)
    model = archcalc.load_model(tmp_path)
    is_pair = len(model.spec.stacks) == 2
    expected = states(theirs, is_pair)
    logits = expected.pop("logits")
    trace = tracing.run(model, IDS, TARGET if is_pair else None)
    names = {traced.step.name for traced in trace.steps}

    def difference(ours: torch.Tensor, other: torch.Tensor) -> float:
        assert ours.shape == other.shape
        return float((ours - other).abs().max() / other.abs().max())

    differences = [difference(trace["logits"], logits)]
    for prefix, layers in expected.items():
        # The last of transformers' states is after the final norm, if there is one.
        last = (
            f"{prefix}final_norm" if f"{prefix}final_norm" in names else f"{prefix}layers.{len(layers) - 2}.resid_post"
        )
        ours = [f"{prefix}embed", *(f"{prefix}layers.{i}.resid_post" for i in range(len(layers) - 2)), last]
        differences += [difference(trace[path], x[0]) for path, x in zip(ours, layers, strict=True)]
    assert max(differences) <= TOLERANCE.get(name, 0.0 if name.startswith("GPT2") else 1e-5)
    reading = lens(model, IDS, TARGET if is_pair else None, positions="all")
    assert difference(reading.output, logits) <= 1e-5
    prefix = list(expected)[-1]
    for i, x in enumerate(expected[prefix][1:-1]):
        assert difference(reading.states[reading.sites.index(f"{prefix}layers.{i}.resid_post")], x[0]) <= 1e-5


def with_names(layer: Layer) -> Layer:
    """Return a layer in the explicit form, its arms under other names."""
    renamed = {"attn": "own", "cross": "reader", "ffn": "mlp"}
    explicit = tuple(
        msgspec.structs.replace(
            branch, arms=tuple(msgspec.structs.replace(arm, name=renamed[arm.name]) for arm in branch.arms)
        )
        for branch in branches(layer)
    )
    return Layer(branches=explicit)


@pytest.fixture(scope="module")
def renamed() -> Any:
    """Return a small encoder-decoder whose arms have names of their own."""
    spec = archcalc.load("tiny-seq2seq")
    replace = msgspec.structs.replace

    def changed(stack: Any) -> Any:
        runs = [replace(run, pattern=tuple(map(with_names, run.pattern))) for run in stack.runs]
        return replace(stack, runs=tuple(runs))

    return archcalc.random_model(replace(spec, encoder=changed(spec.encoder), decoder=changed(spec.decoder)))


def test_cross_attention_is_told_by_what_it_reads(renamed: Any) -> None:
    source, target = [5, 9, 2, 7], [1, 8, 3]
    arms = {arm.path: (arm.text, arm.key_text) for arm in attention_arms(renamed.spec)}
    assert arms["encoder.layers.0.own"] == (0, 0)
    assert arms["decoder.layers.1.own"] == (1, 1)
    assert arms["decoder.layers.1.reader"] == (1, 0)
    found = attribute(renamed, source, target)
    assert found.edges["decoder.layers.1.reader"].shape[1] == len(source)
    assert found.arms["decoder.layers.1.reader"].key_text == 0
    assert abs(found.remainder) < 1e-5
    assert attention(renamed, source, target, with_kinds=False).distance("decoder.layers.1.reader") is None
    trace = tracing.run(renamed, source, target)
    keys = {traced.step.name: traced.step.key_ids for traced in trace.steps if traced.step.kind == "pattern"}
    assert keys["decoder.layers.0.reader.pattern"] == "encoder.ids"
    assert keys["decoder.layers.0.own.pattern"] == "decoder.ids"
    row = tracing.softmax(renamed, trace, "decoder.layers.0.reader", head=1, query=0)
    assert len(row.stages[0].values) == len(source)
    assert not any(row.hidden)
