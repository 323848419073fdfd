"""The class that a config's `architectures` names: as transformers calls it today, and of which kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, shown
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.spec.document import Document

# Names of classes that transformers, or the code beside published weights, had earlier.
ALIASES = {
    "LLaMAForCausalLM": "LlamaForCausalLM",
    "LLaMaForCausalLM": "LlamaForCausalLM",
    "RWForCausalLM": "FalconForCausalLM",
    "T5WithLMHeadModel": "T5ForConditionalGeneration",
}


def stated(data: Mapping[str, Any]) -> str | None:
    """Return the class that a config names, in a list or as text; None where it names none.

    Raises InputError for what is no name, or more than one.
    """
    found = data.get("architectures")
    name = found[0] if isinstance(found, list) and len(found) == 1 else found
    if name is None or name == []:
        return None
    if not isinstance(name, str):
        raise InputError(
            msg("found {name}", name=shown(name)), where="architectures", allowed=msg("the name of one class")
        )
    return ALIASES.get(name, name)


def resolved(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a config with today's names of its model type and class, and what was assumed for it.

    A model type that only code beside the weights knows is read as that of its class (Kimi-K2's is DeepSeek-V3's).
    """
    from archcalc.hf import registry, upstream

    name, model_type = stated(config), config.get("model_type")
    data = config | ({"architectures": [name]} if name else {})
    if not isinstance(model_type, str) or model_type in registry.model_types() or model_type in upstream.model_types():
        return data, []
    _check_parts(config)
    types = [found for found in upstream.types_of(name or "") if found in registry.model_types()]
    if not types:
        return data, []
    # Some types share the class that is called after another.
    own = next((found for found in types if str(name).lower().startswith(found.replace("_", ""))), types[0])
    return data | {"model_type": own}, [f"model_type {own}, whose class is {name}"]


def with_assumed(document: Document, assumed: list[str]) -> Document:
    """Return a document whose provenance says what was assumed too."""
    provenance = document.get("about", {}).get("provenance", {})
    both = [*assumed, *provenance.get("assumed", ())]
    return document | ({"about": {"provenance": provenance | {"assumed": both}}} if both else {})


def _check_parts(config: Mapping[str, Any]) -> None:
    """Raise InputError, with advice, for a model of several parts."""
    parts = [name for name in config if name.endswith("_config") and isinstance(config[name], dict)]
    if "text_config" in parts and len(parts) > 1:
        raise InputError(
            msg(
                "{config} is a model of several parts ({parts}), which is not read yet. Put its text_config into a "
                "file of its own to read its language model",
                config=shown(config["model_type"]),
                parts=", ".join(parts),
            ),
            where="model_type",
        )
