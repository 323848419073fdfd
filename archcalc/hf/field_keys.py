"""What a config calls the fields of a spec, for errors about a spec that was read from a config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from archcalc.errors import InputError
from archcalc.hf import classes, family_of
from archcalc.hf.lens import Key, Template
from archcalc.hf.stack import StackLens
from archcalc.words import msg

_WORD = re.compile(r"\w+")
_STACKS = ("encoder", "decoder")


def in_keys(error: InputError, config: dict[str, Any]) -> InputError:
    """Return an error about a stack of a config's spec with a sentence on what the config calls the fields in it."""
    stack, _, path = str(error.where).partition(".")
    named = " ".join((path.rpartition(".")[2], str(error.problem), str(error.allowed)))
    keys = _keys_by_field(config, stack)
    pairs = dict.fromkeys(f"{word} = {keys[word]}" for word in _WORD.findall(named) if word in keys)
    if error.advice or not pairs:
        return error
    return error.with_advice(msg("Keys of the config: {pairs}", pairs=", ".join(pairs)))


def _keys_by_field(config: dict[str, Any], stack: str) -> dict[str, str]:
    """Return field → key for the fields of the model and of one stack that are called otherwise in the config."""
    data, _ = classes.resolve(config)
    template = family_of(data.get("model_type")).form(data).template
    assert isinstance(template, Mapping), "a row's template is that of a spec"
    found: dict[str, set[str]] = {}
    for name, value in template.items():
        if name == stack or name not in _STACKS:
            for field, key in _pairs(name, value):
                found.setdefault(field, set()).add(key)
    return {field: key for field, keys in found.items() for key in keys if len(keys) == 1 and key != field}


def _pairs(field: str, template: Template) -> Iterator[tuple[str, str]]:
    """Yield (field, key) of every field whose value is that of one key."""
    if isinstance(template, Key):
        yield field, template.name
    elif isinstance(template, Mapping):
        for name, value in template.items():
            yield from _pairs(name if isinstance(name, str) else field, value)
    elif isinstance(template, tuple):
        for value in template:
            yield from _pairs(field, value)
    elif isinstance(template, msgspec.Struct):
        names = {"count": "n_layers"} if isinstance(template, StackLens) else {}
        for name in template.__struct_fields__:
            yield from _pairs(names.get(name, field), getattr(template, name))
