"""Models whose encoder and decoder have whole configs of their own, against transformers."""

from __future__ import annotations

from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.hf import from_config, tensor_map
from archcalc.hf.families.composed import CROSSES, TYPES
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.ledger.build import build
from archcalc.spec.document import decode
from tests.hf.tiny.bert_like import BERT


def composed(encoder: dict[str, Any], decoder: dict[str, Any]) -> dict[str, Any]:
    return {"model_type": "encoder-decoder", "encoder": BERT | encoder, "decoder": BERT | decoder}


@pytest.mark.parametrize("model_type", TYPES)
def test_every_type_is_both_parts(model_type: str) -> None:
    of_type = {"model_type": model_type}
    config = composed(of_type, of_type | CROSSES | {"tie_word_embeddings": False})
    ours = {tensor.name: tensor.shape for tensor in build(decode(from_config(config))).tensors()}
    theirs, _ = reference_shapes(build_reference(config))
    assert tensor_map(config).named_shapes(ours, theirs) == theirs


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (composed({}, {}), "decoder.is_decoder: found None; expected true, for a decoder that reads an encoder"),
        (composed({}, CROSSES | {"hidden_size": 64}), "encoder.hidden_size: found 32; expected 64, the width of"),
        (composed({"model_type": "gpt2"}, CROSSES), "encoder.model_type: found 'gpt2'; expected bert, bert-generation"),
        (composed({"hidden_act": "x"}, CROSSES), "encoder.hidden_act: found 'x'"),
        (
            {"model_type": "encoder-decoder", "encoder": {"hidden_size": 96}},
            "encoder.hidden_size: found 96; expected 768",
        ),
        ({"model_type": "encoder-decoder", "architectures": ["BertModel"]}, "architectures: found 'BertModel'"),
        ({"model_type": "encoder-decoder", "tie_encoder_decoder": True}, "tie_encoder_decoder: found True"),
    ],
    ids=lambda item: item.partition(":")[0] if isinstance(item, str) else "",
)
def test_what_cannot_be_joined_is_refused(config: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        from_config(config)


def test_ignored_keys_are_reported_by_their_path() -> None:
    spec = decode(from_config(composed({"nothing": 1}, CROSSES | {"naught": 2}) | {"nil": 3}))
    assert spec.about.provenance.ignored == ("nil", "encoder.nothing", "decoder.naught")
    assert all(one.kind == "class" for one in spec.about.provenance.assumed)
    slip = decode(from_config(composed({}, CROSSES | {"hidden_dropout_probs": 0.5})))
    assert "decoder.hidden_dropout_probs" in str(slip.about.provenance.assumed[-1])
