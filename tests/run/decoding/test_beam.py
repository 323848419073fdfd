"""Beam search against transformers' generate, on tiny random models with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.run.decoding.beam import beam_search
from archcalc.sources import load
from tests.nn import test_nn_transformers as theirs

START = 0
PAD = 1  # of transformers, whose prompts have none of it


def marian() -> theirs.Case:
    attention = {"kind": "gqa", "n_heads": 4} | theirs.BIASES
    ffn = {"kind": "plain", "d_ff": 31, "activation": "gelu", "bias": True}
    layer = {"norm": theirs.LN, "placement": "post", "attention": attention, "ffn": ffn}
    stack = {"n_layers": 2, "position": {"kind": "sinusoidal", "stored": True}}
    spec = theirs.SIZES | {
        "name": "x",
        "encoder": stack | {"runs": [{"pattern": [layer]}]},
        "decoder": stack | {"runs": [{"pattern": [layer | {"cross": attention}]}]},
        "head": {"tied": True},
    }
    names = {
        r"embed\.tokens": "model.shared",
        r"(\w+)\.positions": r"model.\1.embed_positions",
        r"(\w+)\.layers\.(\d+)\.attn\.out": r"model.\1.layers.\2.self_attn.out_proj",
        r"(\w+)\.layers\.(\d+)\.attn\.([qkv])": r"model.\1.layers.\2.self_attn.\3_proj",
        r"(\w+)\.layers\.(\d+)\.cross\.out": r"model.\1.layers.\2.encoder_attn.out_proj",
        r"(\w+)\.layers\.(\d+)\.cross\.([qkv])": r"model.\1.layers.\2.encoder_attn.\3_proj",
        r"(\w+)\.layers\.(\d+)\.attn_norm": r"model.\1.layers.\2.self_attn_layer_norm",
        r"(\w+)\.layers\.(\d+)\.cross_norm": r"model.\1.layers.\2.encoder_attn_layer_norm",
        r"(\w+)\.layers\.(\d+)\.ffn_norm": r"model.\1.layers.\2.final_layer_norm",
        r"(\w+)\.layers\.(\d+)\.ffn\.up": r"model.\1.layers.\2.fc1",
        r"(\w+)\.layers\.(\d+)\.ffn\.down": r"model.\1.layers.\2.fc2",
    }
    config = {"vocab_size": 37, "d_model": 24, "max_position_embeddings": 24, "encoder_layers": 2, "decoder_layers": 2}
    for side in ("encoder", "decoder"):
        config |= {f"{side}_attention_heads": 4, f"{side}_ffn_dim": 31}
    config |= {"forced_eos_token_id": None, "pad_token_id": PAD, "decoder_start_token_id": START}
    return theirs.Case("MarianMTModel", config, spec, names, inputs=["input_ids", "decoder_input_ids"])


def t5() -> theirs.Case:
    """With stacks of the same depth: transformers' generate makes a cache of the encoder's."""
    case = theirs.t5()
    case.config["num_layers"] = case.spec["encoder"]["n_layers"] = 3
    return case


CASES = (t5, marian, theirs.llama, theirs.gpt2)


def both(make: Callable[[], theirs.Case], seed: int) -> tuple[Any, Any, int | None]:
    """Their model, ours, and what the targets begin with."""
    torch.manual_seed(seed)
    case = make()
    model, ours = theirs.their_model(case), build(load(case.spec), "cpu").eval()
    theirs.load_theirs(ours, dict(model.state_dict()), case)
    return model, ours, START if "decoder_input_ids" in case.inputs else None


def padded(prompts: list[list[int]], left: bool) -> dict[str, Tensor]:
    """Sources are padded on the right: their encoders count places from the batch's first, padding or not."""
    longest = max(map(len, prompts))
    places = [slice(longest - len(ids), None) if left else slice(len(ids)) for ids in prompts]
    ids, mask = torch.full((len(prompts), longest), PAD), torch.zeros(len(prompts), longest, dtype=torch.long)
    for b, (place, row) in enumerate(zip(places, prompts, strict=True)):
        ids[b, place], mask[b, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


def generated(model: Any, prompts: list[list[int]], eos: list[int], **how: Any) -> tuple[list[tuple[int, ...]], Any]:
    """What transformers' generate adds to each prompt, up to its first end token, and the scores."""
    made = model.generate(
        **padded(prompts, left=not model.config.is_encoder_decoder),
        max_new_tokens=how["max_tokens"],
        num_beams=how["beams"],
        length_penalty=how.get("length_penalty", 1.0),
        early_stopping=how.get("early_stopping", False),
        eos_token_id=eos or None,
        pad_token_id=PAD,
        decoder_start_token_id=START,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    n_before = 1 if model.config.is_encoder_decoder else max(map(len, prompts))
    found = []
    for row in made.sequences[:, n_before:].tolist():
        ends = [place for place, token in enumerate(row) if token in eos]
        found.append(tuple(row[: ends[0] + 1] if ends else row))
    return found, getattr(made, "sequences_scores", None)


def prompts_of(*lengths: int) -> list[list[int]]:
    return [torch.randint(2, 37, (n,)).tolist() for n in lengths]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_same_tokens_and_scores_as_transformers(make: Callable[[], theirs.Case], early_stopping: bool) -> None:
    ended, lengths = 0, set()
    for seed, (beams, length_penalty) in enumerate(product((2, 3, 5), (0.0, 1.0, 2.0, -0.5))):
        model, ours, start = both(make, seed)
        eos, prompts = torch.randint(2, 37, (1 + seed % 6,)).tolist(), prompts_of(5, 3, 7)
        how = {"beams": beams, "max_tokens": 9, "length_penalty": length_penalty, "early_stopping": early_stopping}
        expected, scores = generated(model, prompts, eos, **how)
        found = beam_search(ours, prompts, eos_ids=eos, start_id=start, **how)
        assert [each.ids for each in found] == expected
        torch.testing.assert_close(torch.tensor([each.score for each in found]), scores, rtol=1e-4, atol=1e-5)
        ended += sum(each.ids[-1] in eos for each in found)
        lengths |= {len(each.ids) for each in found}
    assert ended >= 5, "some end by an end token"
    assert len(lengths) >= 3, "some end early"


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_one_beam_is_greedy(make: Callable[[], theirs.Case]) -> None:
    for seed in range(4):
        model, ours, start = both(make, seed)
        eos, prompts = torch.randint(2, 37, (4,)).tolist(), prompts_of(4, 6)
        expected, _ = generated(model, prompts, eos, beams=1, max_tokens=9)
        found = beam_search(ours, prompts, beams=1, max_tokens=9, eos_ids=eos, start_id=start)
        assert [each.ids for each in found] == expected


def test_no_end_token() -> None:
    model, ours, start = both(t5, 3)
    prompts = prompts_of(4)
    expected, scores = generated(model, prompts, [], beams=3, max_tokens=6)
    (found,) = beam_search(ours, prompts, beams=3, max_tokens=6, start_id=start)
    assert found.ids == expected[0]
    assert found.score == pytest.approx(scores[0].item(), rel=1e-5)


@pytest.mark.parametrize("make", [t5, theirs.llama], ids=lambda make: make.__name__)
def test_enough_beams_find_the_likeliest_of_all(make: Callable[[], theirs.Case]) -> None:
    _, ours, start = both(make, 5)
    (prompt,) = prompts_of(4)
    (found,) = beam_search(ours, [prompt], beams=37, max_tokens=2, start_id=start)
    texts = torch.tensor(list(product(range(37), repeat=2)))
    n_all = len(texts)
    with torch.no_grad():
        if start is None:
            logits = ours(torch.cat((torch.tensor([prompt] * n_all), texts), 1))[:, len(prompt) - 1 : -1]
        else:
            logits = ours(torch.tensor([prompt] * n_all), torch.cat((torch.full((n_all, 1), start), texts[:, :1]), 1))
    totals = logits.log_softmax(-1).gather(-1, texts.unsqueeze(-1)).sum((1, 2))
    assert found.ids == tuple(texts[totals.argmax()].tolist())
    assert found.score == pytest.approx(totals.max().item() / 2, rel=1e-5)


def test_a_vocabulary_of_end_tokens() -> None:
    _, ours, _ = both(theirs.llama, 0)
    (found,) = beam_search(ours, [[3, 4]], beams=40, max_tokens=3, eos_ids=range(37))
    with torch.no_grad():
        best = ours(torch.tensor([[3, 4]]))[0, -1].log_softmax(-1).max(-1)
    assert found.ids == (best.indices.item(),)
    assert found.score == pytest.approx(best.values.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"beams": 0}, "beams"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompts": [[]]}, "prompt: has no tokens"),
        ({"prompts": [[1], [37]]}, "prompt 2"),
        ({"max_tokens": 30}, "capacity"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], found: str) -> None:
    model = build(load(theirs.gpt2().spec), "cpu")
    asked: dict[str, Any] = {"prompts": [[1, 2]], "beams": 2, "max_tokens": 3} | wrong
    with pytest.raises(InputError, match=found):
        beam_search(model, asked.pop("prompts"), **asked)


def test_an_encoder_and_a_missing_start_are_refused() -> None:
    with pytest.raises(InputError, match="does not predict the next token"):
        beam_search(build(load(theirs.bert().spec), "cpu"), [[1]], beams=1, max_tokens=1)
    with pytest.raises(InputError, match="decoder_start_token_id"):
        beam_search(build(load(theirs.t5().spec), "cpu"), [[1]], beams=1, max_tokens=1)
