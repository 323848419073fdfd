"""A tiny config for each choice of each family, `type:what it shows`, its switches at values that tell."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny import llama_like, mla_like, moe_like

TINY: dict[str, dict[str, Any]] = {**llama_like.CONFIGS, **mla_like.CONFIGS, **moe_like.CONFIGS}
