"""Hugging Face configs: read as specs, written from specs, and their tensors' names.

Nothing here imports transformers but `reference`, and a config's own family is the only one that is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archcalc.errors import InputError, nearest, shown
from archcalc.hf import registry
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.hf.family import Family
    from archcalc.hf.tensors import TensorMap
    from archcalc.spec.document import Document
    from archcalc.spec.model import Spec

# The list of names is long: it is printed where it is asked for.
_COVERAGE = "a model type that 'archcalc coverage' lists"

__all__ = ["family_of", "from_config", "model_types", "tensor_map", "to_config"]


def from_config(config: dict[str, Any]) -> Document:
    """The document of a Hugging Face config.

    Raises InputError naming the config's field: for a model type that is not known, a value that is not allowed, or
    a setting that the model's class knows and this package does not.
    """
    from archcalc.hf import classes

    data, assumed = classes.resolved(config)
    document = family_of(data.get("model_type")).form(data).document(data)
    return classes.with_assumed(document, assumed)


def to_config(spec: Spec) -> dict[str, Any]:
    """The config of a model family that has exactly this architecture, whatever the spec is called.

    Raises InputError if none has.
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
    """All that can be read."""
    return registry.model_types()


def family_of(model_type: Any) -> Family:
    """The family of a model type. Raises InputError if it is not known."""
    if not isinstance(model_type, str):
        raise InputError(msg("found {model_type}", model_type=shown(model_type)), where="model_type", allowed=_COVERAGE)
    if (family := registry.find(model_type)) is None:
        raise InputError(_unread(model_type), where="model_type", allowed=_COVERAGE)
    return family


def _unread(model_type: str) -> str:
    """Return what is wrong with a model type; a suggestion only for what can be no other model's name."""
    from archcalc.hf import upstream

    if model_type in upstream.model_types():
        return f"{shown(model_type)} is a model of transformers that is not read yet"
    digits = [name for name in model_types() if re.sub(r"\D", "", name) == re.sub(r"\D", "", model_type)]
    return f"found {shown(model_type)}{nearest(model_type, digits, cutoff=0.85)}"


def _candidates(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield a config from each class that has a place for everything its template names."""
    for model_type in registry.model_types(spec.family):
        family = family_of(model_type)
        for form in (family, *family.forms):
            yield from form.configs(spec)
    if spec.family == "encoder" and not spec.predicts_tokens:
        # An encoder that is a class of an encoder-decoder's type.
        for model_type in registry.model_types("encoder-decoder"):
            yield from family_of(model_type).configs(spec)
