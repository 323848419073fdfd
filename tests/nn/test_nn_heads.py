"""Heads for labels, poolers, narrow heads and further tables: transformers' numbers and FLOPs from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archcalc.analysis.shards import check_parts
from archcalc.errors import InputError
from archcalc.interp.lens.reading import lens
from archcalc.interp.trace.run import trace
from archcalc.nn import build
from archcalc.sources import load
from tests.nn.test_nn_padding import padded
from tests.nn.test_nn_transformers import LN, SEQ, Case, bert, gpt2, llama, load_theirs, opt, their_model

LABELS = {"num_labels": 5, "pad_token_id": 0}
DENSE = {"activation": "tanh"}


def named(case: Case, names: dict[str, str]) -> dict[str, str]:
    """These names in place of a case's own, and before them."""
    return names | {ours: there for ours, there in case.names.items() if ours not in names}


def of_bert(kind: str, head: Any, names: dict[str, str], **more: Any) -> Case:
    """A BERT of another class."""
    case = bert()
    pooler = {r"pooler\.": "bert.pooler.dense."}
    spec = case.spec | {"head": head} | more
    return replace(case, kind=kind, config=case.config | LABELS, spec=spec, names=named(case, names | pooler))


def bert_sequence() -> Case:
    head = {"bias": True, "labels": {"n_labels": 5, "reads": "pooled"}}
    return of_bert("BertForSequenceClassification", head, {r"head\.": "classifier."}, pooler={})


def bert_tokens() -> Case:
    return of_bert("BertForTokenClassification", {"bias": True, "labels": {"n_labels": 5}}, {r"head\.": "classifier."})


def bert_answers() -> Case:
    case = of_bert("BertForQuestionAnswering", {"bias": True, "labels": {"n_labels": 2}}, {r"head\.": "qa_outputs."})
    return replace(case, config=case.config | {"num_labels": 2})


def bert_bare() -> Case:
    case = of_bert("BertModel", None, {}, pooler={})
    return replace(case, names={ours: there.removeprefix("bert.") for ours, there in case.names.items()})


def roberta_sequence() -> Case:
    head = {"bias": True, "labels": {"n_labels": 5, "reads": "first"}, "transform": DENSE}
    names = {r"head\.transform": "classifier.dense", r"head\.(\w+)$": r"classifier.out_proj.\1"}
    case = of_bert("RobertaForSequenceClassification", head, names)
    # Positions begin after the padding's.
    stack = case.spec["encoder"] | {"position": {"kind": "learned", "n_extra": 2}}
    spec = case.spec | {"encoder": stack, "n_ctx": 22}
    names = {ours: there.replace("bert.", "roberta.", 1) for ours, there in case.names.items()}
    return replace(case, spec=spec, names=names, config=case.config | {"pad_token_id": 1})


def electra_sequence() -> Case:
    head = {"bias": True, "labels": {"n_labels": 5, "reads": "first"}, "transform": {"activation": "gelu"}}
    names = {r"head\.transform": "classifier.dense", r"head\.(\w+)$": r"classifier.out_proj.\1"}
    case = of_bert("ElectraForSequenceClassification", head, names)
    names = {ours: there.replace("bert.", "electra.", 1) for ours, there in case.names.items()}
    return replace(case, names=names, config=case.config | {"embedding_size": 24})


def ernie() -> Case:
    case = bert()
    names = {ours: there.replace("bert.", "ernie.", 1) for ours, there in case.names.items()}
    tables = {"n_token_types": 3, "tables": [{"name": "task", "n_rows": 4}]}
    names = {r"embed\.tables\.task": "ernie.embeddings.task_type_embeddings"} | names
    config = case.config | {"use_task_id": True, "task_type_vocab_size": 4}
    return replace(case, kind="ErnieForMaskedLM", config=config, names=names, spec=case.spec | {"embedding": tables})


def llama_sequence() -> Case:
    case = llama()
    head = {"labels": {"n_labels": 5, "reads": "last", "picks": "after"}}
    names = named(case, {r"head\.": "score."})
    return Case("LlamaForSequenceClassification", case.config | LABELS, case.spec | {"head": head}, names)


def gpt2_sequence() -> Case:
    case = gpt2()
    head = {"labels": {"n_labels": 5, "reads": "last", "picks": "after"}}
    names = named(case, {r"head\.": "score."})
    return replace(
        case,
        kind="GPT2ForSequenceClassification",
        config=case.config | LABELS,
        spec=case.spec | {"head": head},
        names=names,
    )


def opt_untied() -> Case:
    case = opt()
    spec = case.spec | {"head": {"tied": False, "d_in": 10}}
    names = named(case, {r"head\.(weight)": r"lm_head.\1"})
    return replace(case, config=case.config | {"tie_word_embeddings": False}, spec=spec, names=names)


def rembert() -> Case:
    head = {"bias": True, "d_in": 14, "transform": {"activation": "gelu", "norm": LN | {"eps": 1e-12}}}
    head_names = {r"head\.transform": "dense", r"head\.norm": "LayerNorm", r"head\.(\w+)$": r"decoder.\1"}
    names = {ours: f"cls.predictions.{there}" for ours, there in head_names.items()}
    case = of_bert("RemBertForMaskedLM", head, names)
    embedding = {
        "n_token_types": 3,
        "factor": {"d_embed": 10, "bias": True, "widen": "after_positions"},
    }
    names = {r"embed\.project": "bert.encoder.embedding_hidden_mapping_in"} | case.names
    names = {ours: there.replace("bert.", "rembert.", 1) for ours, there in names.items()}
    config = case.config | {"input_embedding_size": 10, "output_embedding_size": 14, "tie_word_embeddings": False}
    return replace(case, spec=case.spec | {"embedding": embedding}, names=names, config=config)


CASES = [
    bert_sequence,
    bert_tokens,
    bert_answers,
    bert_bare,
    roberta_sequence,
    electra_sequence,
    ernie,
    llama_sequence,
    gpt2_sequence,
    opt_untied,
    rembert,
]


def given(found: Any) -> Tensor:
    """What a class of transformers gives, as one tensor."""
    if "pooler_output" in found:
        return found.pooler_output
    return torch.stack((found.start_logits, found.end_logits), -1) if "start_logits" in found else found.logits


def both(make: Callable[[], Case]) -> tuple[Any, Any]:
    """transformers' model and ours, of the same weights."""
    torch.manual_seed(1)
    case = make()
    theirs, ours = their_model(case), build(load(case.spec), "cpu").eval()
    load_theirs(ours, dict(theirs.state_dict()), case)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    return theirs, ours


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_the_same_numbers_and_flops(make: Callable[[], Case]) -> None:
    theirs, ours = both(make)
    ids = torch.randint(2, 37, (2, SEQ))
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        expected = given(theirs(ids))
    with torch.no_grad(), FlopCounterMode(display=False) as own:
        found = ours(ids)
    assert found.shape == expected.shape
    assert expected.std() > 0.05, "weights large enough to show a difference"
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert own.get_total_flops() == counted.get_total_flops()


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("make", [bert_sequence, roberta_sequence, llama_sequence], ids=lambda make: make.__name__)
def test_a_padded_text_is_read_as_alone(make: Callable[[], Case], left: bool) -> None:
    _, ours = both(make)
    rows = [torch.randint(2, 37, (n,)) for n in (9, 6)]
    ids, padding = padded(rows, left=left, vocab_size=37)
    with torch.no_grad():
        found = ours(ids, padding_BT=padding)
        alone = torch.cat([ours(row[None]) for row in rows])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


def test_the_mean_leaves_padding_out() -> None:
    spec = bert_tokens().spec
    labels = {"n_labels": 3, "reads": "mean"}
    ours = build(load(spec | {"head": {"labels": labels}}), "cpu").eval()
    every = build(load(spec | {"head": {"labels": {"n_labels": 3}}}), "cpu").eval()
    every.load_state_dict(ours.state_dict())
    ids, padding = padded([torch.randint(2, 37, (n,)) for n in (7, 4)], left=False, vocab_size=37)
    with torch.no_grad():
        scores = every(ids, padding_BT=padding)
        found = ours(ids, padding_BT=padding)
    torch.testing.assert_close(found, torch.stack((scores[0].mean(0), scores[1, :4].mean(0))), rtol=1e-4, atol=1e-6)


def test_rows_of_a_table_are_named() -> None:
    theirs, ours = both(ernie)
    ids, tasks = torch.randint(2, 37, (2, SEQ)), torch.randint(4, (2, SEQ))
    with torch.no_grad():
        expected = theirs(ids, task_type_ids=tasks).logits
        found = ours(ids, rows={"task": tasks})
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_token_dropout_is_esms() -> None:
    """Rows of masked tokens are zeros, and the share of them that is masked rescales the others."""
    from transformers import EsmConfig
    from transformers.models.esm.modeling_esm import EsmEmbeddings

    sizes = {"vocab_size": 37, "hidden_size": 24, "max_position_embeddings": 40, "pad_token_id": 1}
    config = EsmConfig(**sizes, token_dropout=True, mask_token_id=3, position_embedding_type="rotary")
    theirs = EsmEmbeddings(config).eval()
    spec = bert().spec | {"embedding": {"token_dropout": {"mask_id": 3}}}
    ours = build(load(spec), "cpu").eval().embed
    ids = torch.randint(4, 37, (2, SEQ))
    ids[0, 2:5], ids[1, 7] = 3, 3
    padding = torch.zeros_like(ids, dtype=torch.bool)
    padding[1, 9:] = True
    with torch.no_grad():
        ours.tokens.weight.copy_(theirs.word_embeddings.weight)
        expected = theirs(ids, attention_mask=(~padding).long())
        found = ours(ids, padding_BT=padding)
    torch.testing.assert_close(found[~padding], expected[~padding])


def test_one_state_of_a_text_has_no_places() -> None:
    model = build(load(bert_sequence().spec))
    with pytest.raises(InputError, match="n_logits: found 1; expected no value"):
        model(torch.zeros(1, 3, dtype=torch.long, device="meta"), n_logits=1)


CONTRADICTIONS = {
    "a tied head is as wide as its table": ({"head": {"tied": True, "d_in": 5}}, "head.d_in"),
    "labels are not tied": ({"head": {"tied": True, "labels": {"n_labels": 2}}}, "head.tied"),
    "labels without the pooler they read": ({"head": {"labels": {"n_labels": 2, "reads": "pooled"}}}, "labels.reads"),
    "a pooler that nothing reads": ({"pooler": {}}, "pooler: no head uses it"),
    "a pick of every token": ({"head": {"labels": {"n_labels": 2, "picks": "after"}}}, "labels.picks"),
    "a row that is not there": ({"embedding": {"tables": [{"name": "a", "n_rows": 2, "default_row": 2}]}}, "2 of 2"),
    "a tensor there twice": (
        {"extras": [{"name": "a", "axes": [2]}, {"name": "a.weight", "axes": [3]}]},
        "is a duplicate",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_told(name: str) -> None:
    change, message = CONTRADICTIONS[name]
    with pytest.raises(InputError, match=message):
        load(bert().spec | change)


def test_extras_are_held_by_name() -> None:
    extras = [
        {"name": "contact_head.regression.weight", "axes": [1, "all_heads"], "component": "head"},
        {"name": "contact_head.regression.bias", "axes": [1], "component": "head"},
        {"name": "unused_bias", "axes": ["vocab_size"], "storage": "buffer"},
    ]
    model = build(load(bert().spec | {"extras": extras}), "cpu")
    held = {name: tuple(x.shape) for name, x in model.state_dict().items() if name.startswith("extras.")}
    assert held == {
        "extras.contact_head.regression.weight": (1, 12),
        "extras.contact_head.regression.bias": (1,),
        "extras.unused_bias": (37,),
    }
    assert not model.extras.contact_head.regression.bias.any()


def padded_head(**head: Any) -> Any:
    return load("tiny", {"n_layers": 1, "vocab_size": 20, "head": {"tied": True, "softcap": 2.0} | head})


@torch.no_grad()
def test_logits_of_rows_that_pad_the_matrix_are_cut() -> None:
    torch.manual_seed(2)
    whole, cut = (build(padded_head(**head), "cpu").eval() for head in ({}, {"n_scored": 17}))
    cut.load_state_dict(whole.state_dict())
    ids = torch.tensor([[3, 19, 5]])
    assert torch.equal(cut(ids), whole(ids)[..., :17])
    assert trace(cut, [3, 19])["logits"].shape == (2, 17)
    (kl,) = lens(cut, [3, 19]).kl_nats[-1]
    assert kl == 0
    with pytest.raises(InputError, match="tokens: found id 18; expected 0 to 16"):
        lens(cut, [3, 19], tokens=[18])


@pytest.mark.parametrize(
    ("head", "error"),
    [
        ({"n_scored": 20}, r"head\.n_scored: found 20, of a vocabulary of 20; expected null, or less than vocab_size"),
        (
            {"tied": False, "n_scored": 3, "labels": {"n_labels": 5, "reads": "last"}},
            r"head\.n_scored: applies only to a head that scores the vocabulary",
        ),
    ],
)
def test_what_a_padded_head_cannot_be(head: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        padded_head(**head)


def test_a_padded_head_is_not_split() -> None:
    spec = padded_head(n_scored=17)
    with pytest.raises(InputError, match="tp: the head has rows that pad it; expected `fsdp`"):
        check_parts(spec, "tp", 2)
    check_parts(spec, "fsdp", 2)
