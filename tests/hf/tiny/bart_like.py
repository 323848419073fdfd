"""Small configs of BART's relatives."""

from __future__ import annotations

SIDES = {
    "vocab_size": 96,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
}
SEAMLESS = {"hidden_size" if name == "d_model" else name: value for name, value in SIDES.items()}
TYPES = ("bart", "mbart", "pegasus", "blenderbot", "blenderbot-small", "plbart", "mvp", "m2m_100")

CONFIGS = {
    **{f"{name}:small": SIDES | {"scale_embedding": True} for name in TYPES},
    "m2m_100:padding": SIDES | {"pad_token_id": 4},
    **{f"{name}:small": SEAMLESS | {"activation_function": "gelu"} for name in ("seamless_m4t", "seamless_m4t_v2")},
    "bart:relu": SIDES | {"activation_function": "relu"},
    "plbart:unscaled": SIDES | {"scale_embedding": False},
}
