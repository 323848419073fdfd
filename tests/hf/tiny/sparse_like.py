"""Small configs of encoders with sparse attention: windows and blocks are shorter than the texts of the tests."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.bart_like import SIDES
from tests.hf.tiny.bert_like import BERT
from tests.hf.tiny.t5_like import T5

LED = {name: value for name, value in SIDES.items() if name != "max_position_embeddings"}
LED |= {"max_encoder_position_embeddings": 48, "max_decoder_position_embeddings": 40}
BLOCKS = {"block_size": 1, "num_random_blocks": 1}
LONGT5 = T5 | {"local_radius": 2}

PEGASUS_X = SIDES | {"block_size": 4, "num_global_tokens": 3}

CONFIGS: dict[str, Any] = {
    "longformer:default": {},
    "longformer:small": BERT | {"attention_window": [4, 8, 4], "hidden_act": "relu"},
    "longformer:one window": BERT | {"attention_window": 4, "pad_token_id": 3, "tie_word_embeddings": False},
    "led:small": LED | {"attention_window": [4, 8, 4], "activation_function": "relu"},
    "led:untied": LED | {"attention_window": 4, "tie_word_embeddings": False},
    "longt5:small": LONGT5 | {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 3},
    "longt5:transient": LONGT5
    | {"encoder_attention_type": "transient-global", "global_block_size": 3, "relative_attention_num_buckets": 8}
    | {"relative_attention_max_distance": 9, "tie_word_embeddings": False},
    "big_bird:small": BERT | BLOCKS | {"rescale_embeddings": True, "hidden_act": "relu"},
    "big_bird:full": BERT | {"attention_type": "original_full", "use_bias": False, "tie_word_embeddings": False},
    "big_bird:causal": BERT | {"is_decoder": True, "architectures": ["BigBirdForCausalLM"]},
    "bigbird_pegasus:small": SIDES | BLOCKS,
    "bigbird_pegasus:untied": SIDES
    | {"attention_type": "original_full", "use_bias": True, "tie_word_embeddings": False, "scale_embedding": False},
    "pegasus_x:small": PEGASUS_X,
    "pegasus_x:untied": PEGASUS_X
    | {"stagger_local_blocks": False, "block_size": 3, "tie_word_embeddings": False, "scale_embedding": False},
    "bigbird_pegasus:alone": SIDES
    | {"architectures": ["BigBirdPegasusForCausalLM"], "is_encoder_decoder": False, "pad_token_id": 0},
}
