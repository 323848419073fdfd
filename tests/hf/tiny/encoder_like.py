"""Small configs of encoders with parts of their own: adapters."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.bert_like import BERT

LANGUAGES = {"languages": ["en_XX", "de_DE", "cs_CZ"], "default_language": "de_DE", "adapter_reduction_factor": 3}
XMOD = BERT | LANGUAGES | {"hidden_act": "relu"}

CONFIGS: dict[str, Any] = {
    "xmod:default": {},
    "xmod:small": XMOD,
    "xmod:untied": XMOD | {"ln_before_adapter": False, "tie_word_embeddings": False},
    "xmod:own norm": XMOD | {"adapter_layer_norm": True, "default_language": "cs_CZ"},
    "xmod:no norm": XMOD | {"adapter_reuse_layer_norm": False, "num_hidden_layers": 2},
    "xmod:before": XMOD | {"pre_norm": True, "architectures": ["XmodForCausalLM"], "is_decoder": True},
    "xmod:before, outside": XMOD | {"pre_norm": True, "ln_before_adapter": False, "num_hidden_layers": 2},
}
