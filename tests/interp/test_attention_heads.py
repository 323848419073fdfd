"""Patterns of all heads equal transformers' eager attentions, obey the laws of softmax, and show constructed kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import assume, given

import archcalc
from archcalc.errors import InputError
from archcalc.inside import attention
from archcalc.interp.heads.arms import attention_arms
from archcalc.interp.heads.effective import MixerArm, mixer_arms
from archcalc.interp.heads.kinds import kind_scores
from archcalc.interp.heads.patterns import AttentionReading
from archcalc.spec import Spec
from archcalc.spec.compressed import CompressedAttention
from tests.checkpoint.random_models import random_model
from tests.examples import examples
from tests.interp.test_attribution import texts_of
from tests.nn.test_nn_cache import drawn
from tests.strategies import prompted_specs, soft_prompt_specs, specs

IDS, TARGET = [5, 9, 2, 7, 40, 31], [1, 8, 3]
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "num_key_value_heads": 2}
BART = {"layers": 2, "attention_heads": 4, "ffn_dim": 40}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LlamaForCausalLM": (transformers.LlamaConfig, LLAMA),
    "GPT2LMHeadModel": (
        transformers.GPT2Config,
        {"vocab_size": 96, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    ),
    "BertForMaskedLM": (transformers.BertConfig, SMALL | {"intermediate_size": 40, "max_position_embeddings": 64}),
    "T5ForConditionalGeneration": (
        transformers.T5Config,
        {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4}
        | {"decoder_start_token_id": 0},
    ),
    "BartForConditionalGeneration": (
        transformers.BartConfig,
        {"vocab_size": 96, "d_model": 32, "max_position_embeddings": 64}
        | {f"{stack}_{size}": n for stack in ("encoder", "decoder") for size, n in BART.items()},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_patterns_equal_transformers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, sizes = MODELS[name]
    theirs = getattr(transformers, name)(config(**sizes, attn_implementation="eager")).eval()
    theirs.save_pretrained(tmp_path)
    is_pair = name.startswith(("T5", "Bart"))
    reading = attention(archcalc.load_model(tmp_path), IDS, TARGET if is_pair else None)
    target = {"decoder_input_ids": torch.tensor([TARGET])} if is_pair else {}
    with torch.no_grad():
        out = theirs(torch.tensor([IDS]), output_attentions=True, **target)
    if is_pair:
        by_stack = {
            "encoder.layers.{}.attn": out.encoder_attentions,
            "decoder.layers.{}.attn": out.decoder_attentions,
            "decoder.layers.{}.cross": out.cross_attentions,
        }
    else:
        by_stack = {"layers.{}.attn": out.attentions}
    expected = {path.format(i): x[0] for path, layers in by_stack.items() for i, x in enumerate(layers)}
    assert expected.keys() == reading.patterns.keys()
    for path, pattern in expected.items():
        assert (reading.patterns[path] - pattern).abs().max() < 1e-5
    path = next(iter(expected))
    products = reading.products(path, 3, 2, 1)
    assert products.products.shape == products.query.shape
    if name == "LlamaForCausalLM":
        assert abs(products.rest) < 1e-6
        assert [reading.arms[path].kv_head(n) for n in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["mistral", "gemma2", "gpt_oss", "qwen3"])
def test_windows_sinks_and_soft_caps_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    torch.manual_seed(3)
    ids = torch.randint(6, 96, (1, 11))
    with torch.no_grad():
        out = theirs(ids, output_attentions=True)
    reading = attention(archcalc.load_model(tmp_path), ids[0].tolist(), with_kinds=False)
    assert len(reading.patterns) == len(out.attentions)
    for (path, pattern), expected in zip(reading.patterns.items(), out.attentions, strict=True):
        assert (pattern - expected[0]).abs().max() < 1e-5, path
        hidden = reading.scores[path] < -1e30
        assert not pattern[hidden].any()
        assert bool(pattern[~hidden].all())
        part = reading.arms[path].part
        window = getattr(part, "window", None)
        n_seen = (~hidden).sum(-1)
        assert n_seen.tolist() == [[min(t + 1, window or 11) for t in range(11)]] * 4
        share = pattern.sum(-1)
        assert bool((share < 1 - 1e-4).all()) if name == "gpt_oss" else (share - 1).abs().max() < 1e-5
        found = reading.products(path, 1, 8, 6)
        capped = float(found.products.sum())
        cap = getattr(part, "softcap", None)
        assert found.score == pytest.approx(cap * torch.tensor(capped / cap).tanh().item() if cap else capped, abs=1e-4)


def assert_laws(reading: AttentionReading, path: str, *, is_causal: bool) -> None:
    arm, p_NTS = reading.arms[path], reading.patterns[path].double()
    share_NT, n_keys = p_NTS.sum(-1), p_NTS.shape[-1]
    sinks = (getattr(arm.part, name, False) for name in ("sinks", "token_sinks"))
    has_sinks = any(sinks) or isinstance(arm.part, CompressedAttention)
    assert bool((p_NTS >= 0).all())
    assert bool((share_NT <= 1 + 1e-5).all()) if has_sinks else (share_NT - 1).abs().max() < 1e-5
    if is_causal:
        assert not p_NTS.triu(1 + n_keys - p_NTS.shape[1]).any()
    entropy_NT = reading.entropy_nats(path)
    most = torch.tensor(float(n_keys + has_sinks)).log().item()
    assert bool((entropy_NT >= -1e-9).all())
    assert float(entropy_NT.max()) <= most + 1e-5
    distance_NT = reading.distance(path)
    assert (distance_NT is None) == arm.is_cross
    assert distance_NT is None or float(distance_NT.max()) <= n_keys - 1 + 1e-9
    assert [arm.kv_head(n) for n in range(arm.n_heads)] == [
        n for n in range(arm.n_kv_heads) for _ in range(arm.n_heads // arm.n_kv_heads)
    ]


@examples(40)
@given(specs() | soft_prompt_specs() | prompted_specs())
def test_patterns_obey_the_laws_of_softmax(spec: Spec) -> None:
    model, texts = drawn(spec), texts_of(spec)
    with torch.no_grad():
        logits = model(*(torch.tensor([row]) for row in texts))
    assume(bool(logits.isfinite().all()))
    if not [*attention_arms(spec), *mixer_arms(spec)]:
        with pytest.raises(InputError, match="has no attention"):
            attention(model, *texts)
        return
    reading = attention(model, *texts, seed=1)
    with torch.no_grad():
        assert torch.equal(model(*(torch.tensor([row]) for row in texts)), logits)
    for path, arm in reading.arms.items():
        if isinstance(arm, MixerArm):
            continue  # tests/interp/test_effective.py
        assert_laws(reading, path, is_causal=arm.is_causal)
        if reading.kinds and path in reading.kinds.scores:
            scores = reading.kinds.scores[path]
            assert scores.shape == (reading.arms[path].n_heads, 4)
            assert bool((scores >= 0).all() and (scores <= 1 + 1e-5).all())


N_VOCAB, N_CTX, SHARP = 64, 63, 60.0
TOKENS, PLACES = slice(0, N_VOCAB), slice(N_VOCAB, N_VOCAB + N_CTX)
BEFORE = slice(N_VOCAB + N_CTX, 2 * N_VOCAB + N_CTX)


def constructed() -> Any:
    """A decoder whose residual stream has one dimension for each token, each position and each token before.

    Layer 0 has a head that looks at the previous token and copies it, one that looks at the first token, and one that
    looks at its own token elsewhere. Head 0 of layer 1 looks for its own token among the tokens before: induction.
    """
    width = 2 * N_VOCAB + N_CTX
    sizes = {"n_layers": 2, "d_model": width, "n_heads": 3, "d_head": width, "d_ff": 4, "vocab_size": N_VOCAB}
    model = archcalc.random_model(archcalc.load("gpt2", {**sizes, "n_ctx": N_CTX}))
    eye_TT, eye_PP = torch.eye(N_VOCAB), torch.eye(N_CTX)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(float("norm.weight" in name))
        model.embed.tokens.weight[:, TOKENS] = eye_TT
        model.positions.weight[:, PLACES] = eye_PP
        first, second = (model.layers[i].attn for i in "01")
        q, k, v = (getattr(first, name).weight.view(3, width, width) for name in ("q", "k", "v"))
        q[0, PLACES, PLACES], k[0, PLACES, PLACES] = SHARP * eye_PP.roll(-1, 0), eye_PP
        q[0, PLACES, N_VOCAB] = 0
        v[0, BEFORE, TOKENS] = eye_TT
        first.out.weight[BEFORE, BEFORE] = eye_TT
        q[1, N_VOCAB, PLACES], k[1, N_VOCAB, N_VOCAB] = SHARP, 1
        q[2, TOKENS, TOKENS], k[2, TOKENS, TOKENS] = SHARP * eye_TT, eye_TT
        q[2, PLACES, PLACES], k[2, PLACES, PLACES] = SHARP * eye_PP, -eye_PP
        q, k = (getattr(second, name).weight.view(3, width, width) for name in ("q", "k"))
        q[0, BEFORE, TOKENS], k[0, BEFORE, BEFORE] = SHARP * eye_TT, eye_TT
    return model


def test_kinds_are_found_on_constructed_heads() -> None:
    reading = attention(constructed(), [3, 1, 2], seed=5)
    kinds = reading.kinds
    assert kinds is not None
    assert kinds.n_repeated == 31
    found = {(path, n): kinds.kind(path, n) for path, arm in reading.arms.items() for n in range(arm.n_heads)}
    assert found == {
        ("layers.0.attn", 0): "previous_token",
        ("layers.0.attn", 1): "first_token",
        ("layers.0.attn", 2): "duplicate_token",
        ("layers.1.attn", 0): "induction",
        ("layers.1.attn", 1): "other",
        ("layers.1.attn", 2): "other",
    }
    assert kinds.scores["layers.0.attn"][0, 0] > 0.99
    assert kinds.scores["layers.0.attn"][1, 1] > 0.99
    # Random tokens that are the same by chance share the weight.
    assert kinds.scores["layers.0.attn"][2, 3] > 0.6
    assert kinds.scores["layers.1.attn"][0, 2] > 0.6


def test_a_short_context_has_no_kinds() -> None:
    model = archcalc.random_model(archcalc.load("gpt2", {"n_layers": 1, "n_ctx": 8, "vocab_size": 30}))
    assert kind_scores(model, {}, [torch.tensor([[1, 2]])]) is None
    assert attention(model, [1, 2]).kinds is None


def test_a_model_without_mixers_is_run_once_and_once_more_for_kinds() -> None:
    model, passes = archcalc.load_model("tiny"), []
    model.register_forward_hook(lambda *_: passes.append(1))
    attention(model, [5, 6, 7], with_kinds=False)
    assert len(passes) == 1
    attention(model, [5, 6, 7])
    assert len(passes) == 3
