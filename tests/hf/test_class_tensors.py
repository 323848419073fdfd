"""The tensors of classes with two heads, or with a head of several parts, by name and shape, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.hf import from_config, tensor_map, to_config
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.ledger.build import build
from archcalc.proof import verify
from archcalc.spec.document import decode
from tests.hf.hf_configs import CONFIGS

XLM = {"vocab_size": 96, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64}
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FSMT = CONFIGS["fsmt:small"]
BERT = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
ALBERT = BERT | {"embedding_size": 16}
UNTIED = {"tie_word_embeddings": False}
WHOLE_WIDTH = {"summary_proj_to_labels": False}

CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "albert": ("albert", "AlbertForPreTraining", ALBERT),
    "albert with 5 labels": ("albert", "AlbertForPreTraining", ALBERT | {"num_labels": 5}),
    "albert untied": ("albert", "AlbertForPreTraining", ALBERT | UNTIED),
    "bert": ("bert", "BertForPreTraining", BERT | {"num_labels": 5}),
    "bert untied": ("bert", "BertForPreTraining", BERT | UNTIED),
    "megatron": ("megatron-bert", "MegatronBertForPreTraining", BERT),
    "ernie": ("ernie", "ErnieForPreTraining", BERT),
    "fsmt": ("fsmt", "FSMTModel", FSMT),
    "fsmt tied": ("fsmt", "FSMTModel", FSMT | {"src_vocab_size": 96} | {"tie_word_embeddings": True}),
    "gpt2": ("gpt2", "GPT2DoubleHeadsModel", GPT2 | {"num_labels": 5}),
    "gpt2 untied": ("gpt2", "GPT2DoubleHeadsModel", GPT2 | UNTIED),
    "gpt2 of whole width": ("gpt2", "GPT2DoubleHeadsModel", GPT2 | WHOLE_WIDTH),
    "gpt2 without a projection": ("gpt2", "GPT2DoubleHeadsModel", GPT2 | {"summary_use_proj": False}),
    "gpt-sw3": ("gpt-sw3", "GPT2DoubleHeadsModel", GPT2),
    "openai-gpt": ("openai-gpt", "OpenAIGPTDoubleHeadsModel", GPT2),
    "openai-gpt of whole width": ("openai-gpt", "OpenAIGPTDoubleHeadsModel", GPT2 | WHOLE_WIDTH),
    **{
        f"{name}{what}": (name, f"{prefix}{kind}", XLM | more)
        for name, prefix in {"xlm": "XLM", "flaubert": "Flaubert"}.items()
        for what, kind, more in (
            (" choice", "ForMultipleChoice", {}),
            (" choice of 5", "ForMultipleChoice", {"num_labels": 5, "summary_activation": "tanh"}),
            (" answers", "ForQuestionAnswering", {"num_labels": 5}),
        )
    },
}


def config_of(name: str) -> dict[str, Any]:
    model_type, class_name, keys = CLASSES[name]
    return {"model_type": model_type} | keys | {"architectures": [class_name]}


@pytest.mark.parametrize("name", CLASSES)
def test_tensors_are_those_of_the_class(name: str) -> None:
    config = config_of(name)
    spec = decode(from_config(config))
    ours = {tensor.name: tensor.shape for tensor in build(spec).tensors() if tensor.kind != "buffer"}
    theirs, _ = reference_shapes(build_reference(config))
    assert tensor_map(config).named_shapes(ours, theirs) == theirs
    assert all(comparison.is_equal for comparison in verify(spec, against="transformers"))
    assert is_same_architecture(decode(from_config(to_config(spec))), spec)


@pytest.mark.parametrize("more", [{}, {"summary_proj_to_labels": False}, {"num_labels": 7}], ids=str)
def test_a_summary_is_as_wide_as_the_config_says(more: dict[str, Any]) -> None:
    config = {"model_type": "xlm", "architectures": ["XLMForSequenceClassification"]} | XLM | more
    spec = decode(from_config(config))
    assert build(spec).total() == sum(p.numel() for p in build_reference(config).parameters())
    assert is_same_architecture(decode(from_config(to_config(spec))), spec)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("ForSequenceClassification", "summary_use_proj"),
        ("ForMultipleChoice", "summary_use_proj"),
        ("ForMultipleChoice", "summary_proj_to_labels"),
    ],
)
def test_a_summary_that_no_head_can_read_is_refused(kind: str, key: str) -> None:
    config = {"model_type": "xlm", "architectures": [f"XLM{kind}"], key: False} | XLM
    with pytest.raises(InputError, match=f"{key}: found False; expected true"):
        from_config(config)


@pytest.mark.parametrize(
    ("read", "more"),
    [
        ("first", {}),
        ("last", {"summary_type": "last"}),
        ("mean", {"summary_type": "mean", "summary_activation": "tanh"}),
        ("last", {"summary_type": "cls_index"}),
    ],
    ids=str,
)
@torch.no_grad()
def test_choices_are_scored_as_transformers_does(read: str, more: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.XLMForMultipleChoice(transformers.XLMConfig(**XLM, num_labels=5, **more)).eval()
    theirs.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(str(tmp_path))
    assert checkpoint.spec.head.labels.reads == read
    ids = torch.randint(6, 96, (2, 11))
    # In float64, because a score is a small sum of large parts.
    wanted, ours = theirs.double()(input_ids=ids.unsqueeze(1)).logits, checkpoint.load(dtype=torch.float64)(ids)
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@torch.no_grad()
def test_answers_start_where_transformers_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.XLMForQuestionAnswering(transformers.XLMConfig(**XLM)).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(6, 96, (2, 11))
    wanted = theirs.qa_outputs.start_logits(theirs.transformer(ids)[0])
    ours = open_checkpoint(str(tmp_path)).load()(ids).squeeze(-1)
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@torch.no_grad()
def test_texts_are_continued_without_the_second_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.GPT2DoubleHeadsModel(transformers.GPT2Config(**GPT2)).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(96, (2, 11))
    wanted = theirs(ids).logits
    assert (open_checkpoint(str(tmp_path)).load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
