"""A tiny config for each choice of each family, `type:what it shows`, its switches at values that tell."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny import (
    bart_like,
    bert_like,
    encoder_like,
    gpt_like,
    llama_like,
    mixer_like,
    mla_like,
    moe_like,
    sparse_like,
    t5_like,
)

TINY: dict[str, dict[str, Any]] = {
    **llama_like.CONFIGS,
    **bert_like.CONFIGS,
    **mla_like.CONFIGS,
    **moe_like.CONFIGS,
    **mixer_like.CONFIGS,
    **gpt_like.CONFIGS,
    **bart_like.CONFIGS,
    **t5_like.CONFIGS,
    **sparse_like.CONFIGS,
    **encoder_like.CONFIGS,
}
# What classes need that cannot be built from their defaults.
NEEDS: dict[str, dict[str, Any]] = {
    **bart_like.NEEDS,
    **bert_like.NEEDS,
    **gpt_like.NEEDS,
    **llama_like.NEEDS,
    **mixer_like.NEEDS,
    **mla_like.NEEDS,
    **moe_like.NEEDS,
}
