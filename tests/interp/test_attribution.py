"""Direct logit attribution: contributions sum to the logit on models of every shape, edges to their heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

import archcalc
from archcalc.errors import InputError
from archcalc.inside import attribute
from archcalc.interp.heads.attribution_reading import added_branches
from archcalc.interp.heads.contributions import Attribution
from archcalc.spec import Spec
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.groups import layers_of
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.variants import variant
from archcalc.spec.xl import XlAttention
from tests.checkpoint.random_models import random_model
from tests.examples import examples
from tests.nn.test_nn_cache import drawn, inputs, lengths
from tests.strategies import (
    altup_specs,
    bottleneck_specs,
    convolved_specs,
    cycle_specs,
    hyper_specs,
    set_aside_specs,
    soft_prompt_specs,
    specs,
)


def texts_of(spec: Spec) -> list[list[int]]:
    """The ids of one text, and of a source before it if there are two stacks."""
    torch.manual_seed(2)
    if spec.family == "encoder":
        text, sources = torch.randint(spec.vocab_size, (1, lengths(spec)[0])), []
    else:
        text, sources = inputs(spec, 1)
    pairs = zip((*sources, text), spec.stacks, strict=True)
    return [ids[0, : own.model.n_ctx].tolist() for ids, own in pairs]


def logits_of(model: Any, texts: list[list[int]], position: int) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(*(torch.tensor([row]) for row in texts))[0, position]
    return logits


def adds_heads(part: Any) -> bool:
    """Whether heads are not subtracted, rotated back, projected by experts, convolved or moved by positions."""
    is_joined = isinstance(part, CompressedAttention | RoutedAttention | ConvolvedAttention | XlAttention)
    return not is_joined and not getattr(part, "differential", None)


# Several streams, streams of another width, and outputs that are convolved.
OF_OTHER_STREAMS = st.one_of(
    altup_specs(),
    hyper_specs(),
    set_aside_specs(),
    bottleneck_specs(),
    convolved_specs(),
    soft_prompt_specs(),
    cycle_specs(),
)


@examples(90)
@given(specs(per_token=True) | OF_OTHER_STREAMS)
def test_contributions_sum_to_the_logit(spec: Spec) -> None:
    assume(spec.predicts_tokens)
    model, texts = drawn(spec), texts_of(spec)
    position = len(texts[-1]) // 2
    logits = logits_of(model, texts, position)
    assume(bool(logits.isfinite().all()))
    found = attribute(model, *texts, position=position, token=1, against=0, n_promoted=1)
    scale = sum(abs(one.value) for one in found.contributions) + 1e-30
    assert abs(found.remainder) <= 1e-5 * scale
    if spec.head is not None and spec.head.softcap is None:
        assert found.logit == pytest.approx(float(logits[1] - logits[0]), rel=1e-9, abs=1e-12)
    stack = spec.stacks[-1].stack
    n_heads = sum(
        arm.part.n_heads
        for layer in layers_of(stack)
        for branch in added_branches(layer)
        for arm in branch.arms
        if variant(arm.part).component == "attention" and not arm.d_out_conv and adds_heads(arm.part)
    )
    heads = [one for one in found.contributions if one.head is not None]
    assert len(heads) == n_heads
    for one in heads:
        assert float(found.edges[one.path][one.head].sum()) == pytest.approx(one.value, rel=1e-4, abs=1e-5 * scale)
        if spec.stacks[-1].is_causal and not one.path.endswith("cross"):
            assert not found.edges[one.path][one.head][position + 1 :].any()


@pytest.mark.parametrize(
    "name",
    [
        "mistral",
        "gemma2",
        "gpt_oss",
        "gpt2",
        "qwen3",
        "mixtral",
        "bert",
        "distilbert",
        "zaya sliding",
        "zamba own",
        "mobilebert",
        "inkling_text sparse",
        "inkling2_text all kinds",
        "mobilebert wide",
        "mobilebert narrow attention",
        "gemma3n_text lists",
        "deepseek_v4 all kinds",
        "hy_v4 default switches",
        "hrm_text cycles",
        "hrm_text counted",
    ],
)
def test_contributions_sum_to_the_logit_of_transformers(name: str, tmp_path: Path) -> None:
    """With groups of heads, windows, sinks, soft caps, biases and experts; of the last soft cap, what is before it."""
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    torch.manual_seed(3)
    ids = torch.randint(6, 96, (1, 11))
    with torch.no_grad():
        logits = theirs(ids).logits[0, 8].double()
    if cap := getattr(theirs.config, "final_logit_softcapping", None):
        logits = cap * (logits / cap).atanh()
    done: list[int] = []
    model = archcalc.load_model(tmp_path)
    found = attribute(model, ids[0].tolist(), position=8, token=17, against=4, progress=done.append)
    total, size = (sum(map(f, (one.value for one in found.contributions))) for f in (float, abs))
    assert total == pytest.approx(float(logits[17] - logits[4]), abs=1e-5 * size)
    assert done == [1] * len(layers_of(model.spec.stacks[0].stack))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": 2048}, "token: found 2048; expected 0 to 2047"),
        ({"against": -1}, "against: found -1; expected 0 to 2047"),
        ({"position": 3}, "position: found 3"),
    ],
)
def test_what_cannot_be_attributed(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as error:
        attribute(archcalc.load_model("tiny"), [5, 6, 7], **options)
    assert message in str(error.value)
    with pytest.raises(InputError, match="the model predicts no tokens"):
        attribute(
            archcalc.random_model(archcalc.load("bert-base", {"n_layers": 1, "vocab_size": 9, "head": None})), [1]
        )


@pytest.mark.parametrize("name", ["diffllama plain", "jetmoe plain", "convbert", "mamba plain", "xlnet"])
def test_what_has_no_heads_to_add_is_one_part(name: str, tmp_path: Path) -> None:
    random_model(name).save_pretrained(tmp_path)
    model = archcalc.load_model(tmp_path)
    found = attribute(model, [7, 8, 9, 10], token=5)
    parts = [one.part for one in found.contributions if one.path.endswith((".attn", ".mixer"))]
    assert set(parts) == {"mixer" if name == "mamba plain" else "attention"}
    assert abs(found.remainder) <= 1e-5 * sum(abs(one.value) for one in found.contributions)


NORM = {"kind": "rmsnorm"}
ATTENTION = {"kind": "gqa", "n_heads": 2, "n_kv_heads": 1, "q_bias": True}
LOW = {"kind": "plain", "d_ff": 3, "activation": "identity"}


OWN_NORM = {"norm": {"kind": "layernorm"}, "norm_out": NORM, "scale": 1.5}


def check_sum(spec: Spec) -> Attribution:
    """The parts of a logit of the model with random weights."""
    model, ids = drawn(spec), [3, 1, 4, 1, 5]
    found = attribute(model, ids, token=1, against=0, n_promoted=31)
    logits = logits_of(model, [ids], 4)
    assert found.logit == pytest.approx(float(logits[1] - logits[0]))
    assert abs(found.remainder) <= 1e-5 * sum(abs(one.value) for one in found.contributions)
    return found


@pytest.mark.parametrize(
    "joins", [("next", "next"), ("next_sum", "next"), ("next", "next_sum"), ("next_sum", "next_sum")]
)
@pytest.mark.parametrize("gate", [None, 2])
def test_a_branch_that_adds_what_it_reads_of_the_one_before(joins: tuple[str, str], gate: int | None) -> None:
    """The heads of a branch that is only read are parts too, if the next one adds its input."""
    low = {"part": LOW, "skip": True, "norm_out": NORM}
    first = {"arms": [{"name": "attn", "part": ATTENTION}], "norm_in": NORM, "norm_out": NORM, "scale": 0.5}
    second = {"arms": [low | {"name": "low", "norm": NORM}, {"name": "more", "part": LOW}], "scale": 1.5}
    last = {"arms": [low | {"name": "last"}], "norm_in": NORM, "in_gate_rank": gate, "skip": 0.7}
    chain = [first | {"joins": joins[0]}, second | {"joins": joins[1]}, last]
    runs = [{"count": 2, "pattern": [{"branches": chain}]}]
    document = {"name": "chain", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "head": {"tied": True}}
    found = check_sum(archcalc.load(document | {"decoder": {"runs": runs, "final_norm": NORM}}))
    assert sum(one.head is not None for one in found.contributions) == 2 * ATTENTION["n_heads"]


@pytest.mark.parametrize(
    ("branch", "arm"),
    [
        ({"norm_in": NORM, "scale": 0.5, "skip": 0.7}, {"norm_out": NORM}),
        ({"norm_in": {"kind": "layernorm"}, "norm_out": NORM, "skip_reads": "normed"}, {}),
        ({"norm_after": NORM, "skip": 0.3}, OWN_NORM),
        ({"norm_out": NORM, "scale": 0.5}, OWN_NORM),
    ],
)
def test_an_arm_that_adds_its_input(branch: dict[str, Any], arm: dict[str, Any]) -> None:
    """As LAuReL beside attention, and by itself."""
    low = {"arms": [{"name": "low", "part": LOW, "skip": True} | arm]} | branch
    both = {"arms": [{"name": "attn", "part": ATTENTION}, {"name": "more", "part": LOW, "skip": True} | arm]} | branch
    runs = [{"count": 2, "pattern": [{"branches": [both, low]}]}]
    document = {"name": "skips", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "head": {"tied": True}}
    spec = archcalc.load(document | {"decoder": {"runs": runs, "final_norm": NORM}})
    found, model, ids = check_sum(spec), drawn(spec), [3, 1, 4, 1, 5]
    # What a head promotes is what its output adds to all logits: the order of their attributions.
    head = next(one for one in found.contributions if one.head is not None)
    alone = [
        next(
            one.value
            for one in attribute(model, ids, token=token, n_promoted=0).contributions
            if (one.path, one.head) == (head.path, head.head)
        )
        for token in range(31)
    ]
    ranked = sorted(range(31), key=lambda token: -alone[token])
    assert ranked == found.promoted_ids[head.path, head.head or 0]
