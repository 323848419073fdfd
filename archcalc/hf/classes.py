"""The class that a config names in `architectures`, under its current name in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, shown
from archcalc.spec.assumption import Assumption
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.spec.document import Document

# Former names of classes, in transformers or in the custom code of published weights.
ALIASES = {
    "LLaMAForCausalLM": "LlamaForCausalLM",
    "LLaMaForCausalLM": "LlamaForCausalLM",
    "RWForCausalLM": "FalconForCausalLM",
    "T5WithLMHeadModel": "T5ForConditionalGeneration",
}


# A head that scores decisions, on the text model that `text_config` describes.
DECISION, DECISION_CLASS = "jev", "JevForDecision"


def class_name(data: Mapping[str, Any]) -> str | None:
    """Return the class that a config names, as a list or as text; None if it names none.

    Raises InputError for several names, or something that is not a name.
    """
    names = data.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if name is None or name == []:
        return None
    if not isinstance(name, str):
        raise InputError(
            msg("found {found}", found=shown(name)), where="architectures", allowed=msg("the name of one class")
        )
    return ALIASES.get(name, name)


def resolve(config: dict[str, Any]) -> tuple[dict[str, Any], list[Assumption]]:
    """Return a config with the current names of its model type and class, and the assumptions made for it.

    A model type that only custom code knows is read as the model type of its class (Kimi-K2 as DeepSeek-V3).
    """
    from archcalc.hf import composites, registry, upstream

    if config.get("model_type") == DECISION:
        config = _decision(config)
    assumptions = []
    if text := composites.text_model(config):
        assumptions = [Assumption(kind="text_model", of=str(config["model_type"]))]
        config = text
    name, model_type = class_name(config), config.get("model_type")
    data = config | ({"architectures": [name]} if name else {})
    if not isinstance(model_type, str) or model_type in registry.model_types() or model_type in upstream.model_types():
        return data, assumptions
    _check_parts(config)
    types = [each for each in upstream.types_of(name or "") if each in registry.model_types()]
    if not types and (twin := composites.twin(data)) is not data:
        return twin, [Assumption(kind="twin", value=twin["model_type"], of=model_type)]
    if not types:
        return data, []
    # Several types may share a class: prefer the one that it is named after.
    first = next((each for each in types if str(name).lower().startswith(each.replace("_", ""))), types[0])
    return data | {"model_type": first}, [Assumption(kind="model_type", value=first, of=str(name))]


def _decision(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the text model of a decision model, with the keys of its head."""
    text = config.get("text_config")
    if not isinstance(text, dict) or "model_type" not in text:
        raise InputError(
            msg("found {found}", found=shown(text)), where="text_config", allowed=msg("the config of its text model")
        )
    width, text_width = config.get("hidden_size", 4096), text.get("hidden_size")
    if width != text_width:
        raise InputError(
            msg("found {found}", found=shown(width)), where="hidden_size", allowed=msg("that of text_config")
        )
    head = {key: config[key] for key in ("num_verbalizers", "softcap") if key in config}
    return text | head | {"architectures": [DECISION_CLASS]}


def with_assumptions(document: Document, assumptions: list[Assumption]) -> Document:
    """Return a document with these assumptions added to its provenance."""
    about = document.get("about", {})
    provenance = about.get("provenance", {})
    both = [*(one.data for one in assumptions), *provenance.get("assumed", ())]
    return document | ({"about": about | {"provenance": provenance | {"assumed": both}}} if both else {})


def _check_parts(config: Mapping[str, Any]) -> None:
    """Raise InputError, with advice, for a model of several parts."""
    from archcalc.hf import composites, upstream

    parts = composites.parts(config)
    if isinstance(config.get("text_config"), dict) and parts:
        found = {"config": shown(config["model_type"]), "parts": ", ".join(("text_config", *parts))}
        if config["model_type"] not in upstream.all_model_types():
            problem = msg(
                "{config} is a model of several parts ({parts}), whose language model is not read yet", **found
            )
        else:
            problem = msg(
                "{config} is a model of several parts ({parts}), whose language model is not read yet. `report` counts "
                "its parameters with `engine` transformers",
                **found,
            )
        raise InputError(problem, where="model_type")
