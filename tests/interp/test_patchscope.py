"""Patchscopes: their laws on models of every family that generates, their prompts, and transformers' hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc.errors import InputError
from archcalc.inside import Patchscope, patchscope
from archcalc.interp.patchscope.prompts import PROMPTS, target_prompt
from archcalc.nn.build import build
from archcalc.run.decoding.generate import generate
from archcalc.run.loading.source import open_source
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.text.spans import positions_of, token_spans
from archcalc.text.tokenizer import ByteTokenizer, Tokenizer
from tests.examples import examples
from tests.strategies import specs

PROMPT, OTHER = [1, 2, 0], [2, 2, 1]


def generates(spec: Spec) -> bool:
    models = [stack.model for stack in spec.stacks]
    return spec.predicts_tokens and all(model.vocab_size >= 3 and model.n_ctx >= 6 for model in models)


GENERATORS = st.one_of(specs("decoder", per_token=True), specs("encoder-decoder", per_token=True)).filter(generates)


def run(spec: Spec, source: list[int], **options: Any) -> Patchscope:
    torch.manual_seed(0)
    model = build(spec, "cpu").eval().requires_grad_(False)
    return patchscope(model, source, [1], PROMPT, [1], max_tokens=3, start_id=0, **options)


@examples(20)
@given(GENERATORS)
def test_a_vector_in_its_own_place_changes_nothing(spec: Spec) -> None:
    found = run(spec, PROMPT)
    for text in found.texts:
        if text.layer == text.target_layer:
            assert text.ids == found.plain.ids
            assert text.first_probability == pytest.approx(found.plain.first_probability, rel=1e-5)
    assert len(found.texts) == (1 + (spec.stacks[0].stack.n_layers or 0)) ** 2


@examples(12)
@given(GENERATORS)
def test_the_text_is_the_same_with_and_without_a_cache(spec: Spec) -> None:
    """Where two tokens are not as good as equally likely: a cache rounds in another order."""
    for one, other in zip(run(spec, OTHER).texts, run(spec, OTHER, use_cache=False).texts, strict=True):
        assert one.first_probability == pytest.approx(other.first_probability, rel=1e-4)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return archcalc.load_model("tiny")


TEXTS = ([295, 258, 407, 20], [31, 258, 335, 20, 44])


def test_the_same_texts_without_a_cache(tiny: Any) -> None:
    found, uncached = (patchscope(tiny, TEXTS[0], [2, 3], TEXTS[1], [1, 3], use_cache=use) for use in (True, False))
    assert [text.ids for text in found.texts] == [text.ids for text in uncached.texts]
    assert len({text.ids for text in found.texts}) > 3, "the vectors matter"
    assert all(len(text.ids) == 10 for text in found.texts)


def test_a_vector_in_its_own_place_changes_no_bit(tiny: Any) -> None:
    found = patchscope(tiny, TEXTS[0], [1, 2], TEXTS[0], [1, 2], answer=7, max_tokens=4)
    own = [text for text in found.texts if text.layer == text.target_layer]
    assert {(text.ids, text.first_probability, text.answer_probability, text.answer_rank) for text in own} == {
        (found.plain.ids, found.plain.first_probability, found.plain.answer_probability, found.plain.answer_rank)
    }


def test_the_plain_text_is_the_generated_one(tiny: Any) -> None:
    loaded = open_source("tiny").load(Workload(batch=1, seq=20), packed=False)
    expected = generate(loaded, TEXTS[1], max_tokens=6, ignore_eos=True).ids
    found = patchscope(tiny, TEXTS[0], [2], TEXTS[1], [1], pairs=[(1, 1)], max_tokens=6)
    assert list(found.plain.ids) == expected


def test_pairs_do_not_depend_on_their_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = patchscope(tiny, TEXTS[0], [2], TEXTS[1], [1], max_tokens=3)
    done: list[int] = []
    monkeypatch.setattr("archcalc.interp.patchscope.run.N_ROWS", 4)
    again = patchscope(tiny, TEXTS[0], [2], TEXTS[1], [1], max_tokens=3, progress=done.append)
    assert [text.ids for text in found.texts] == [text.ids for text in again.texts]
    assert done == [4] * 6 + [1]


def test_a_text_ends_before_its_end_token(tiny: Any) -> None:
    first = patchscope(tiny, TEXTS[0], [2], TEXTS[1], [1], pairs=[(0, 1)], max_tokens=3).texts[0]
    ended = patchscope(tiny, TEXTS[0], [2], TEXTS[1], [1], pairs=[(0, 1)], max_tokens=3, eos_ids=[first.ids[1]])
    assert ended.texts[0].ids == first.ids[:1]


def test_like_hooks_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    source, prompt = [5, 6, 7, 8], [9, 3, 4]
    found = patchscope(archcalc.load_model(str(tmp_path)), source, [2], prompt, [1], max_tokens=4, answer=11)
    with torch.no_grad():
        states = theirs(torch.tensor([source]), output_hidden_states=True).hidden_states
    for text in found.texts:
        if text.layer == 3 or text.target_layer == 0:
            continue  # transformers' last state is normed

        def place(_: Any, inputs: Any, output: torch.Tensor, vector: torch.Tensor = states[text.layer][0, 2]) -> Any:
            if output.shape[1] > 1:
                output[:, 1] = vector
            return output

        with theirs.model.layers[text.target_layer - 1].register_forward_hook(place), torch.no_grad():
            logits_V = theirs(torch.tensor([prompt])).logits[0, -1].double()
            ids = theirs.generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False, pad_token_id=0)
        assert tuple(ids[0, 3:].tolist()) == text.ids
        assert float(logits_V.softmax(-1)[11]) == pytest.approx(text.answer_probability, rel=1e-4)


ERRORS: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((TEXTS[0], [4], TEXTS[1], [1]), {}, "source_positions: found 4"),
    ((TEXTS[0], [], TEXTS[1], [1]), {}, "source_positions: has no positions"),
    ((TEXTS[0], [0], TEXTS[1], [5]), {}, "positions: found 5"),
    ((TEXTS[0], [0, 1], TEXTS[1], [1]), {}, "positions: 1 positions for 2 vectors"),
    ((TEXTS[0], [0], TEXTS[1], [1]), {"pairs": [(0, 5)]}, "layer: found 5"),
    ((TEXTS[0], [0], TEXTS[1], [1]), {"answer": 9999}, "answer: found id 9999"),
    (([9999], [0], TEXTS[1], [1]), {}, "prompt: found id 9999"),
    (([1], [0], [], [0]), {}, "prompt: has no tokens"),
]


@pytest.mark.parametrize(("arguments", "options", "error"), ERRORS)
def test_errors(tiny: Any, arguments: tuple[Any, ...], options: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError) as found:
        patchscope(tiny, *arguments, **options)
    assert str(found.value).startswith(error)


def test_an_encoder_does_not_generate() -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match="does not predict the next token"):
        patchscope(build(archcalc.load("tiny-encoder"), "cpu").eval(), [1], [0], [1], [0])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = open_source("tiny").tokenizer
    assert found is not None
    return found


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_prompt_has_a_placeholder(name: Any, lang: str, tokenizer: Tokenizer) -> None:
    text = PROMPTS[name][lang]
    for each in (tokenizer, ByteTokenizer(n_vocab=300)):
        ids, positions = target_prompt(each, text, 1)
        assert each.decode(ids) == text
        assert each.decode([ids[positions[0]]]).strip() == "x"
        more, three = target_prompt(each, text, 3)
        assert len(more) == len(ids) + 2
        assert three == [positions[0] + i for i in range(3)]
        assert {more[position] for position in three} == {ids[positions[0]]}


def test_the_placeholder_is_a_word_of_its_own(tokenizer: Tokenizer) -> None:
    ids, (position,) = target_prompt(tokenizer, "an x is an ox", 1)
    assert tokenizer.decode(ids[position:]).strip() == "x is an ox"
    with pytest.raises(InputError, match="has no 'x'"):
        target_prompt(tokenizer, "an ox", 1)
    assert target_prompt(ByteTokenizer(n_vocab=300), "x is", 2) == ([120, 120, 32, 105, 115], [0, 1])


def test_words_have_positions(tokenizer: Tokenizer) -> None:
    text = "And the king of the land"
    assert positions_of(tokenizer, text, "king", "noise") == [2]
    assert positions_of(tokenizer, text, " the", "noise") == [1, 4], "every occurrence"
    spans = token_spans(ByteTokenizer(n_vocab=300), "a猫b")
    assert [spans[0], spans[-1]] == [(0, 1), (2, 3)]
    assert set(spans[1:-1]) == {(1, 2)}
    assert positions_of(ByteTokenizer(n_vocab=300), "a猫b", "猫", "noise") == [1, 2, 3]
