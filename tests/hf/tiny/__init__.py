"""A tiny config for each choice of each family, `type:what it shows`, its switches at values that tell."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny import bert_like, llama_like

TINY: dict[str, dict[str, Any]] = {**llama_like.CONFIGS, **bert_like.CONFIGS}
