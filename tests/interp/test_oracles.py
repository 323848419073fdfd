"""Residual streams, patterns, attributions and lenses against TransformerLens and nnterp, on the same weights.

`.ci/run` installs both (tests/interp/oracles.txt) and sets ARCHCALC_TEST_ORACLES, so that a missing one fails.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import archcalc
from archcalc import taps
from archcalc.inside import attention, attribute, lens
from tests.checkpoint.random_models import random_model

IS_REQUIRED = bool(os.environ.get("ARCHCALC_TEST_ORACLES"))
IDS, TOKEN, AGAINST = [5, 9, 2, 7, 40, 31], 7, 3
UNKNOWN = "w0"
# Llama and Qwen 3 are computed in the same order as by transformers; GPT-2's Conv1D is another product.
TOLERANCES = {"llama": 0.0, "qwen3": 0.0, "gpt2": 1e-5}

pytestmark = [
    pytest.mark.skipif(
        not IS_REQUIRED and any(find_spec(name) is None for name in ("transformer_lens", "nnterp")),
        reason="TransformerLens and nnterp are not installed (tests/interp/oracles.txt)",
    ),
    pytest.mark.filterwarnings("ignore"),
]


class Case(NamedTuple):
    """A folder with random weights, our model of it, and how far apart it may be from others, relative to its scale."""

    folder: str
    ours: Any
    tolerance: float


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer whose token i is the word wi; the libraries load none without one."""
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(96)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict.fromkeys(("unk_token", "pad_token", "bos_token", "eos_token"), UNKNOWN)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special)


@pytest.fixture(scope="module", params=TOLERANCES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = str(tmp_path_factory.mktemp(request.param))
    random_model(request.param).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return Case(folder, archcalc.load_model(folder), TOLERANCES[request.param])


@pytest.fixture(scope="module")
def bridge(case: Case) -> Any:
    """TransformerLens' model, with the weights as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge import TransformerBridge

        return TransformerBridge.boot_transformers(case.folder, device="cpu", dtype=torch.float32)


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    difference, scale = (ours - theirs).abs().max(), theirs.abs().max()
    assert scale > 0
    assert difference <= tolerance * scale


@torch.no_grad()
def test_streams_patterns_and_logits_are_those_of_transformer_lens(case: Case, bridge: Any) -> None:
    logits, cache = bridge.run_with_cache(torch.tensor([IDS]))
    recording, reading = taps.record(case.ours, torch.tensor([IDS])), attention(case.ours, IDS, with_kinds=False)
    assert_close(recording.logits, logits, case.tolerance)
    for i in range(3):
        for name in ("resid_pre", "resid_mid", "resid_post"):
            assert_close(recording[f"layers.{i}.{name}"], cache[f"blocks.{i}.hook_{name}"], case.tolerance)
        pattern = cache[f"blocks.{i}.attn.hook_pattern"][0]
        assert_close(reading.patterns[f"layers.{i}.attn"], pattern, case.tolerance)


@torch.no_grad()
def test_contributions_are_those_of_transformer_lens(case: Case, bridge: Any) -> None:
    """Its contributions need the weights of norms within the matrices after them."""
    bridge.enable_compatibility_mode(
        disable_warnings=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    _, cache = bridge.run_with_cache(torch.tensor([IDS]))
    target = {"tokens": TOKEN, "incorrect_tokens": AGAINST}
    parts, labels = cache.decompose_resid(return_labels=True)
    theirs = dict(zip(labels, cache.logit_attrs(parts, **target)[:, 0, -1].tolist(), strict=True))
    heads = cache.logit_attrs(cache.stack_head_results(layer=-1), **target)[:, 0, -1].double()
    found = attribute(case.ours, IDS, token=TOKEN, against=AGAINST)
    by_path: dict[str, float] = defaultdict(float)
    for one in found.contributions:
        by_path[one.path] += one.value
    expected = {"embed": theirs["embed"] + theirs.get("pos_embed", 0.0)}
    for i in range(3):
        expected |= {f"layers.{i}.attn": theirs[f"{i}_attn_out"], f"layers.{i}.ffn": theirs[f"{i}_mlp_out"]}
    if bias := float(bridge.b_U[TOKEN] - bridge.b_U[AGAINST]):
        expected["final_norm"] = bias
    assert by_path.keys() == expected.keys()
    assert_close(torch.tensor([by_path[path] for path in expected]), torch.tensor(list(expected.values())), 1e-5)
    ours = [one.value for i in range(3) for one in found.contributions if one.part == "head" and one.layer == i]
    assert_close(torch.tensor(ours, dtype=torch.double), heads[: len(ours)], 1e-5)


@torch.no_grad()
def test_the_logit_lens_is_that_of_nnterp(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nnterp import StandardizedTransformer
        from nnterp.interventions import logit_lens

        theirs = logit_lens(StandardizedTransformer(case.folder), " ".join(f"w{token}" for token in IDS))[0]
    read = lens(case.ours, IDS, sites="layers", top=1)
    ours = torch.stack([read.logits(site)[0].softmax(-1) for site in read.sites[1:]])
    assert_close(ours, theirs, 1e-5)
    assert read.top_ids[1:, 0, 0].tolist() == theirs.argmax(-1).tolist()
