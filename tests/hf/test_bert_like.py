"""What BERT and its kin cannot say is refused by name; what decides logits alone is counted, and not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.hf import from_config, to_config
from archcalc.spec.document import decode
from tests.checkpoint.random_models import random_model
from tests.hf.tiny.bert_like import BERT, ESM, XLM


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            BERT | {"model_type": "bert", "position_embedding_type": "relative_key"},
            "position_embedding_type: found 'rel",
        ),
        (ESM | {"model_type": "esm", "position_embedding_type": "relative_key"}, "expected absolute, rotary"),
        (BERT | {"model_type": "bert", "type_vocab_size": 0}, "type_vocab_size: found 0"),
        (
            BERT | {"model_type": "roberta", "pad_token_id": 63},
            "max_position_embeddings: found 64; expected more than 64",
        ),
        (
            BERT | {"model_type": "bert", "is_decoder": True, "add_cross_attention": True},
            "add_cross_attention: found True",
        ),
        (BERT | {"model_type": "albert", "num_hidden_groups": 4}, "num_hidden_groups: found 4; expected at most 3"),
        (ESM | {"model_type": "esm", "token_dropout": True}, "mask_token_id: found None"),
        (XLM | {"model_type": "xlm", "asm": True}, "asm: found True"),
    ],
)
def test_what_cannot_be_said_is_refused(config: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        from_config(config)


@pytest.mark.parametrize(
    ("name", "change"),
    [("ibert", {"quant_mode": True}), ("mpnet", {"relative_attention_num_buckets": 48})],
)
def test_what_is_counted_and_not_run_is_refused_with_its_weights(
    name: str, change: dict[str, Any], tmp_path: Path
) -> None:
    model = random_model(name)
    model.config.update(change)
    model.config.save_pretrained(tmp_path)
    from_config({"model_type": name} | BERT | change)
    with pytest.raises(InputError, match=next(iter(change))):
        open_checkpoint(str(tmp_path))


def test_positions_start_after_the_padding_token() -> None:
    """Liu et al. 2019's code: 64 rows, of which the padding token's and those before it are no positions."""
    spec = decode(from_config({"model_type": "roberta"} | BERT | {"pad_token_id": 5}))
    assert (spec.n_ctx, spec.encoder.position.n_extra) == (58, 6)
    assert to_config(spec)["pad_token_id"] == 5


def test_a_decoder_is_written_under_its_causal_class() -> None:
    config = {"model_type": "roberta"} | BERT | {"is_decoder": True}
    assert to_config(decode(from_config(config)))["architectures"] == ["RobertaForCausalLM"]
