"""`archcalc fill-mask`: a checkpoint with its tokenizer, against transformers; ids; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from archcalc.cli.fill_mask import command
from archcalc.cli.main import cli
from archcalc.errors import InputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "is", "in", "france", "a", "city"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as transformers saves it."""
    path = tmp_path_factory.mktemp("bert")
    unknown = {"unk_token": "[UNK]"}
    backend = Tokenizer(WordPiece({word: i for i, word in enumerate(WORDS)}, **unknown))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17}
    model = BertForMaskedLM(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
    model.save_pretrained(path)
    return path


def test_a_checkpoint_fills_as_transformers_does(folder: Path) -> None:
    text = "[MASK] is in [MASK]"
    done = CliRunner().invoke(
        command, [str(folder), "--prompt", text, "--top", "3", "-f", "json"], catch_exceptions=False
    )
    ids = PreTrainedTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = BertForMaskedLM.from_pretrained(folder).eval()(input_ids=ids).logits[0].softmax(-1)
    rows = json.loads(done.stdout)["predictions"]
    assert [row["position"] for row in rows] == [1, 1, 1, 4, 4, 4]
    for position in (1, 4):
        best, found = expected[position].topk(3), [row for row in rows if row["position"] == position]
        assert [row["id"] for row in found] == best.indices.tolist()
        assert [row["text"] for row in found] == [WORDS[i] for i in best.indices]
        probabilities = torch.tensor([row["probability"] for row in found])
        torch.testing.assert_close(probabilities, best.values, rtol=1e-4, atol=1e-6)


def test_a_line_for_each_token(folder: Path) -> None:
    done = CliRunner().invoke(command, [str(folder), "--prompt", "paris is in [MASK]", "--top", "2"])
    head, *lines = done.stdout.splitlines()
    assert head == "mask at token 4"
    assert len(lines) == 2
    assert all(line.split()[2] == WORDS[int(line.split()[1])] for line in lines)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["--prompt", "paris is in france"], "no mask"),
        (["--ids", "2,99,4"], "found id 99"),
        (["--ids", "2", "--prompt", "x"], "both"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, asked: list[str], found: str) -> None:
    with pytest.raises(InputError, match=found):
        CliRunner().invoke(command, [str(folder), *asked], catch_exceptions=False)


def test_a_preset_has_no_tokenizer_that_knows_a_mask() -> None:
    done = CliRunner().invoke(cli, ["fill-mask", "bert-base", "--random-weights", "--ids", "1,2"])
    assert "--mask-id" in done.output
