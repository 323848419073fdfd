"""Configs of several parts: the text model of one, without its vision or audio towers.

`composites.json` is generated with transformers (`python -m archcalc.hf`). It has, for each model type with a
`text_config`, the text model's type if none is stated (`text`), whether its head is tied if the whole config does not
say (`tied`), and whether a tied head of the text model decides (`is_inner`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from archcalc.hf import registry

FILE = os.path.join(os.path.dirname(__file__), "composites.json")
TIE = "tie_word_embeddings"
# Types of text models inside others → the model type that has the same layers.
_TWINS = {"exaone4_5_text": "exaone4", "kimi_k2": "deepseek_v3"}
_NO_PARTS = ("text_config", "quantization_config", "generation_config", "decision_config")


class Composite(msgspec.Struct, frozen=True):
    """What the class of a config of several parts fills in."""

    text: str
    tied: bool
    is_inner: bool


def text_model(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the config of the text model of several parts; None if there is none that is read."""
    composite, text = find(config.get("model_type")), config.get("text_config")
    if composite is None or not isinstance(text, dict):
        return None
    stated = text.get("model_type", composite.text)
    model_type = _TWINS.get(stated, stated)
    family = registry.find(model_type) if isinstance(model_type, str) else None
    if family is None:
        return None
    is_tied = config.get(TIE, composite.tied)
    if composite.is_inner and text.get(TIE) is True:
        is_tied = True
    fixed = {"model_type": model_type, "architectures": [family.classes[0]], TIE: is_tied}
    return text | fixed | {"_name_or_path": config.get("_name_or_path") or config["model_type"]}


def title(config: Mapping[str, Any]) -> str:
    """Return the title of a text model without the other parts of its config: what is left out."""
    parts = [name for name in config if name.endswith("_config") and name not in _NO_PARTS and config[name]]
    return f"{config['model_type']}: the text model alone, without {', '.join(parts) or 'its other parts'}"


def find(model_type: Any) -> Composite | None:
    """Return what a model type of several parts fills in, or None."""
    return _composites().get(model_type) if isinstance(model_type, str) else None


@cache
def _composites() -> dict[str, Composite]:
    with open(FILE, "rb") as file:
        return msgspec.json.decode(file.read(), type=dict[str, Composite])
