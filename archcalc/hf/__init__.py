"""Hugging Face configs: read as specs, written from specs, with the names of their tensors.

Only `reference` imports transformers, and reading a config imports only the module of its own family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, nearest, shown
from archcalc.hf import registry
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.hf.family import Family
    from archcalc.hf.tensors import TensorMap
    from archcalc.spec.document import Document
    from archcalc.spec.model import Spec

# The list of model types is too long for an error.
_COVERAGE = msg("a model type that 'archcalc coverage' lists")

__all__ = ["family_of", "from_config", "model_types", "tensor_map", "to_config"]


def from_config(config: dict[str, Any]) -> Document:
    """Return the document of a Hugging Face config.

    Raises InputError naming the config's field: for an unknown model type, a value that is not allowed, or a setting
    that transformers' class knows and archcalc does not support.
    """
    from archcalc.hf import classes, composites

    data, assumptions = classes.resolve(config)
    document = classes.with_assumptions(family_of(data.get("model_type")).form(data).document(data), assumptions)
    about = composites.about(config)
    return document | ({"about": document.get("about", {}) | about} if about else {})


def to_config(spec: Spec) -> dict[str, Any]:
    """Return the config of a model family with exactly this architecture, whatever the spec's name.

    Raises InputError if no family has it.
    """
    from archcalc.hf.equivalence import is_same_architecture
    from archcalc.spec.document import decode

    for config in _candidates(spec):
        try:
            if is_same_architecture(decode(from_config(config)), spec):
                return config
        except InputError:
            continue
    raise InputError(
        msg("no Hugging Face model has the architecture of {name}", name=repr(spec.name)), allowed=_COVERAGE
    )


def tensor_map(source: str | dict[str, Any]) -> TensorMap:
    """Return which parameters hold which canonical tensors, of a model type's first class or of a config's."""
    config = {"model_type": source} if isinstance(source, str) else source
    return family_of(config.get("model_type")).form(config).tensors


def model_types() -> list[str]:
    """Return all model types that can be read."""
    return registry.model_types()


def family_of(model_type: Any) -> Family:
    """Return the family of a model type. Raises InputError if it is unknown."""
    if not isinstance(model_type, str):
        raise InputError(msg("found {found}", found=shown(model_type)), where="model_type", allowed=_COVERAGE)
    if (family := registry.find(model_type)) is None:
        raise InputError(_unread(model_type), where="model_type", allowed=_COVERAGE)
    return family


def _unread(model_type: str) -> Message:
    """Return what is wrong with a model type. Suggest a name only if its digits are the same."""
    from archcalc.hf import upstream

    if model_type in upstream.all_model_types():
        return msg(
            "{found} is a model of transformers that is not read yet; `report` counts its parameters with `engine` "
            "transformers",
            found=shown(model_type),
        )
    digits = [name for name in model_types() if re.sub(r"\D", "", name) == re.sub(r"\D", "", model_type)]
    return msg("found {found}{hint}", found=shown(model_type), hint=nearest(model_type, digits, cutoff=0.85))


def _candidates(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield a config of each class that can express the spec."""
    for model_type in registry.model_types(spec.family):
        family = family_of(model_type)
        for form in (family, *family.forms):
            yield from form.configs(spec)
    if spec.family == "encoder" and not spec.predicts_tokens:
        # Some encoders are a class of an encoder-decoder's model type.
        for model_type in registry.model_types("encoder-decoder"):
            yield from family_of(model_type).configs(spec)
