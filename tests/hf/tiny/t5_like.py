"""Small configs of T5's relatives."""

from __future__ import annotations

T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 12, "d_ff": 40, "num_layers": 2, "num_heads": 4}

CONFIGS = {
    "mt5:silu": T5 | {"feed_forward_proj": "gated-silu", "num_decoder_layers": 3},
}
