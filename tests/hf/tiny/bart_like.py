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
TYPES = ("bart", "mbart", "pegasus", "blenderbot", "blenderbot-small", "plbart", "mvp", "m2m_100")

CONFIGS = {
    **{f"{model_type}:small": SIDES | {"scale_embedding": True} for model_type in TYPES},
    "bart:relu": SIDES | {"activation_function": "relu"},
    "plbart:unscaled": SIDES | {"scale_embedding": False},
}
