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
    from archcalc.hf.family import Family, Misfit
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
    from archcalc.hf import classes, composites, storage

    data, assumptions = classes.resolve(config)
    document = classes.with_assumptions(family_of(data.get("model_type")).form(data).document(data), assumptions)
    about = composites.about(config)
    stored, unread = storage.storage_of(config, data)
    document = classes.with_assumptions(document, unread)
    about |= {"storage": stored} if stored else {}
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
                return config | _stored_mtp(config["model_type"], spec)
        except InputError:
            continue
    raise InputError(_unwritten(spec), allowed=_COVERAGE)


def _stored_mtp(model_type: str, spec: Spec) -> dict[str, Any]:
    """Return the key that counts the modules for multi-token prediction in the spec's files, if the type has one."""
    mtp, stored = family_of(model_type).spelling.mtp, spec.about.stored_mtp
    return {mtp.keys[0]: stored.n_modules} if mtp and stored else {}


def _unwritten(spec: Spec) -> Message:
    """Return why no config has a spec's architecture: the fields that the nearest model type cannot express."""
    misfits: list[Misfit] = []
    read_back = [misfit for config in _candidates(spec, misfits) if (misfit := _misfit(config, spec))]
    nearest_type = min([*read_back, *misfits], key=_distance, default=None)
    if nearest_type is None:
        return msg("no Hugging Face model has the architecture of {name}", name=repr(spec.name))
    return msg(
        "no Hugging Face model has the architecture of {name}: the nearest, {model_type}, cannot express {fields}",
        name=repr(spec.name),
        model_type=nearest_type.model_type,
        fields=", ".join(nearest_type.fields[:3]),
    )


def _distance(misfit: Misfit) -> int:
    """Return how many fields do not fit; a whole part of another kind is worse than any other."""
    parts = ("encoder", "decoder", "attention", "cross", "mixer", "ffn", "head", "labels")
    return len(misfit.fields) + 1000 * sum(field.rpartition(".")[2] in parts for field in misfit.fields)


def _misfit(config: dict[str, Any], spec: Spec) -> Misfit | None:
    """Return the fields in which a spec differs from the model of a config that was written of it."""
    from archcalc.hf.family import Misfit
    from archcalc.spec.differences import differences
    from archcalc.spec.document import decode, encode

    about = {"name": "", "about": {}}
    try:
        changes = differences(encode(decode(from_config(config))) | about, encode(spec) | about)
    except InputError:
        return None
    return Misfit(config["model_type"], tuple(changes) or ("runs",))


def tensor_map(source: str | dict[str, Any]) -> TensorMap:
    """Return which parameters hold which canonical tensors, of a model type's first class or of a config's."""
    config = {"model_type": source} if isinstance(source, str) else source
    return family_of(config.get("model_type")).form(config).tensors


def written_as(spec: Spec, model_type: str, class_name: str) -> dict[str, Any]:
    """Return the config of a class of a model type with the architecture of a spec that was read from one.

    Raises InputError if the class does not have it any more.
    """
    from archcalc.hf.equivalence import is_same_architecture
    from archcalc.spec.document import decode

    family = family_of(model_type)
    for config in (config for form in (family, *family.forms) for config in form.configs(spec)):
        if class_name in ("", *config["architectures"]) and is_same_architecture(decode(from_config(config)), spec):
            return config
    raise InputError(
        msg("no longer has the architecture of {model_type}", model_type=model_type),
        where="about.storage",
        allowed=msg("a `dtype`, or the architecture as its files have it"),
    )


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


def _candidates(spec: Spec, misfits: list[Misfit] | None = None) -> Iterator[dict[str, Any]]:
    """Yield a config of each class that can express the spec."""
    for model_type in registry.model_types(spec.family):
        family = family_of(model_type)
        for form in (family, *family.forms):
            yield from form.configs(spec, misfits)
    if spec.family == "encoder" and not spec.predicts_tokens:
        # Some encoders are a class of an encoder-decoder's model type.
        for model_type in registry.model_types("encoder-decoder"):
            yield from family_of(model_type).configs(spec, misfits)
