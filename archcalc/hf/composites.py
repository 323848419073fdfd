"""Configs of several parts: the text model of one, without its vision or audio towers.

`composites.json` and `twins.json` are generated with transformers (`python -m archcalc.hf`). The first has, for each
model type with a `text_config`:

- `text`: the text model's type if none is stated
- `tied`: whether its head is tied if the whole config does not say
- `is_inner`: a tied head of the text model decides
- `has_head`: the text model is a class with a head of its own, whose own flag alone decides
- `is_flat`: keys of the text model may be at the top of the file (Qwen2-VL)

The second has, for each text model of `TWINS`, the defaults of its class that its twin does not have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.hf import registry, upstream
from archcalc.hf.config import SIZE, Config
from archcalc.hf.lens import Key
from archcalc.hf.spellings import MtpFiles
from archcalc.typed_data import decode_json

if TYPE_CHECKING:
    from archcalc.hf.family import Family

FILE = os.path.join(os.path.dirname(__file__), "composites.json")
TWINS_FILE = os.path.join(os.path.dirname(__file__), "twins.json")
TIE = "tie_word_embeddings"
# Types of text models inside others, or of custom code → the model type that has the same layers.
TWINS = {
    "cosmos3_edge_text": "arcee",
    "emu3_text_model": "llama",
    "exaone4_5_text": "exaone4",
    "glm4v_moe_text": "glm4_moe",
    "glm4v_text": "glm4",
    "glm_image_text": "glm4",
    "glm_ocr_text": "glm4",
    "granite4_vision_text": "granite",
    "granite_docling_text": "granite",
    "hunyuan_vl_text": "hunyuan_v1_dense",
    "kimi_k2": "deepseek_v3",
    "mimo": "qwen2",
    "paddleocr_vl_text": "llama",  # with ERNIE's keys, and without its interleaved rotation
    "qwen2_5_omni_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen3_omni_moe_text": "qwen3_moe",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_vl_text": "qwen3",
}
# Modules for multi-token prediction in the files of custom code.
TWIN_MTP = {"mimo": MtpFiles(("num_nextn_predict_layers",))}
# Keys of text models for which their twins have others.
_RENAMED = {"paddleocr_vl_text": {"use_bias": ("attention_bias", "mlp_bias")}}
# What the classes of text models fix, whatever a config says.
_FIXED: dict[str, dict[str, Any]] = {"glm4v_text": {"attention_bias": True}, "glm_ocr_text": {"attention_bias": False}}
# Text models of GLM, whose heads are as wide as the model divided by their number, and the number by default.
_DIVIDED = {"glm4v_moe_text": 96, "glm4v_text": 32, "glm_image_text": 32, "glm_ocr_text": 16}
# Whole models whose published files do not state a tie and hold a head, although their class ties it.
_WITH_HEAD = ("mistral3",)
# Keys that the whole model sets in its text model for the tokens of images.
_OF_THE_WHOLE = {"paligemma": ("use_bidirectional_attention",)}
NO_PARTS = ("text_config", "quantization_config", "generation_config", "decision_config")


class Composite(msgspec.Struct, frozen=True):
    """What the class of a config of several parts fills in."""

    text: str
    tied: bool
    is_inner: bool
    has_head: bool
    is_flat: bool


def text_model(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the config of the text model of several parts; None if there is none that is read."""
    whole = config.get("model_type")
    composite = find(whole)
    text = _text(config, composite) if composite else None
    if composite is None or text is None:
        return None
    text = twin({"model_type": composite.text} | text)
    family = registry.find(text["model_type"]) if isinstance(text["model_type"], str) else None
    if family is None:
        return None
    left_out = (*_OF_THE_WHOLE.get(str(whole), ()), *(() if composite.has_head else (TIE,)))
    fixed = {"architectures": [_text_class(config, family)], "_name_or_path": config.get("_name_or_path") or whole}
    tie = {} if composite.has_head else {TIE: _is_tied(config, text, composite)}
    return {key: value for key, value in text.items() if key not in left_out} | fixed | tie


def twin(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the model type that has the same layers; the same config if it is of no other's twin."""
    stated = config.get("model_type")
    if not isinstance(stated, str) or stated not in TWINS:
        return config
    family = registry.find(TWINS[stated])
    assert family is not None, "a twin is read"
    full = _defaults().get(stated, {}) | _with_text_positions(config) | _FIXED.get(stated, {})
    fixed = {"model_type": TWINS[stated], "architectures": [_text_class(config, family)]}
    return _renamed(stated, _head_width(stated, full)) | fixed


def _renamed(stated: str, text: dict[str, Any]) -> dict[str, Any]:
    """Return a text model's keys as its twin names them."""
    names = _RENAMED.get(stated, {})
    return {twin: value for key, value in text.items() for twin in names.get(key, (key,))}


def _text_class(config: Mapping[str, Any], family: Family) -> str:
    """Return the class of a text model: without a head if the whole model's class has none."""
    stated = config.get("architectures")
    name = stated[0] if isinstance(stated, list) and stated else None
    if isinstance(name, str) and name.endswith("Model") and "For" not in name:
        bare = [each for each, kind in upstream.classes(family.model_type).items() if kind == "Model"]
        return bare[0] if bare else family.classes[0]
    return family.classes[0]


def _text(config: Mapping[str, Any], composite: Composite) -> dict[str, Any] | None:
    """Return the mapping of the text model's keys: `text_config`, or the flat file without its other parts."""
    text = config.get("text_config")
    if isinstance(text, dict) or text is not None or not composite.is_flat:
        return text if isinstance(text, dict) else None
    return {key: value for key, value in config.items() if not key.endswith("_config")} | {"model_type": composite.text}


def _with_text_positions(text: dict[str, Any]) -> dict[str, Any]:
    """Return a text model's keys without what its positions in images need: of a text, all three are the same."""
    scaling = {
        key: {name: word if word != "mrope" else "default" for name, word in value.items() if name[:6] != "mrope_"}
        for key in ("rope_scaling", "rope_parameters")
        if isinstance(value := text.get(key), dict)
    }
    return text | scaling


def _head_width(stated: str, text: dict[str, Any]) -> dict[str, Any]:
    """Return a text model's keys with the width of its heads, if its class divides and they do not say it."""
    if stated not in _DIVIDED or text.get("head_dim") is not None:
        return text
    config = Config(text)
    heads = Key("num_attention_heads", SIZE, _DIVIDED[stated])
    return text | {"head_dim": Key("hidden_size", SIZE, 4096).read(config) // heads.read(config)}


def _is_tied(config: Mapping[str, Any], text: Mapping[str, Any], composite: Composite) -> Any:
    """Return whether the head is tied: as the whole config says, unless its class heeds the text model's flag."""
    if composite.is_inner and text.get(TIE) is True:
        return True
    default = text.get(TIE, False) if config["model_type"] in _WITH_HEAD else composite.tied
    return config.get(TIE, default)


def about(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a spec says of a text model's other parts, or of the modules of custom code; empty if nothing."""
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in TWIN_MTP:
        return TWIN_MTP[model_type].about(config)
    if text_model(config) is None:
        return {}
    return {"title": f"{model_type}: the text model alone, without {', '.join(parts(config)) or 'its other parts'}"}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of the parts besides the text model, also of those that are left to their defaults."""
    return [
        name for name in config if name.endswith("_config") and name not in NO_PARTS and isinstance(config[name], dict)
    ]


def find(model_type: Any) -> Composite | None:
    """Return what a model type of several parts fills in, or None."""
    return all_of_them().get(model_type) if isinstance(model_type, str) else None


@cache
def all_of_them() -> dict[str, Composite]:
    """Return every model type with a `text_config`."""
    with open(FILE, "rb") as file:
        return decode_json(file.read(), dict[str, Composite])


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    with open(TWINS_FILE, "rb") as file:
        found: dict[str, dict[str, Any]] = msgspec.json.decode(file.read())
    return found
