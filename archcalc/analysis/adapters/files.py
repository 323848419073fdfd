"""Adapter folders and their `adapter_config.json`, as peft saves them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from archcalc.analysis.adapters.config import AdapterConfig, read_adapter_config
from archcalc.errors import InputError, shown
from archcalc.locations import CONFIG_FILE, SPEC_FILE, has_path_form
from archcalc.spec.text_bounds import MAX_BYTES
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg

ADAPTER_FILE = "adapter_config.json"
# What files call our fields, for errors.
_KEYS = {"targets": "target_modules", "rank": "r", "excluded": "exclude_modules"}


class AdapterFile(Struct, frozen=True):
    """An adapter's file: the path that was given, what it adapts and how, and its base model, empty if unnamed."""

    path: str
    config: AdapterConfig
    base: str


def read_adapter(path: str) -> AdapterFile:
    """Return the adapter in a file, or in a folder with an adapter_config.json.

    Raises InputError for a file that cannot be read or describes no adapter that is counted.
    """
    try:
        data = _data(os.path.expanduser(path))
        return AdapterFile(path, read_adapter_config(data), _base(path, data))
    except InputError as error:
        raise in_file(error, path) from None


def adapter_source(source: str) -> AdapterFile | None:
    """Return the adapter that a source is; None for any other source."""
    path = os.path.expanduser(source)
    if "\0" in path or not has_path_form(source) or not _is_adapter(path):
        return None
    return read_adapter(source)


def in_file(error: InputError, path: str) -> InputError:
    """Return an error about adapters with the file's name of the field."""
    where = str(error.where)
    return error.at(_KEYS.get(where, where), error.file or path)


def _is_adapter(path: str) -> bool:
    """Return whether a path is an adapter's folder without a model in it, or its file."""
    if os.path.isdir(path):
        names = (ADAPTER_FILE, CONFIG_FILE, SPEC_FILE)
        has_adapter, *has_model = (os.path.isfile(os.path.join(path, name)) for name in names)
        return has_adapter and not any(has_model)
    if not path.endswith(".json") or not os.path.isfile(path):
        return False
    try:
        data = parse(_bytes(path))
    except InputError:
        return False
    return isinstance(data, dict) and "peft_type" in data and "model_type" not in data


def _data(path: str) -> Mapping[str, Any]:
    data = parse(_bytes(os.path.join(path, ADAPTER_FILE) if os.path.isdir(path) else path))
    if not isinstance(data, dict):
        raise InputError(msg("found {found}", found=shown(data)), allowed=msg("the settings of an adapter"))
    return data


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(msg("{what}cannot be read ({strerror})", what="", strerror=reason)) from None


def _base(path: str, data: Mapping[str, Any]) -> str:
    """Return the base model that a file names: a path beside it if there is one, else as it is."""
    base = data.get("base_model_name_or_path")
    if not isinstance(base, str) or "\0" in base:
        return ""
    own = os.path.expanduser(path)
    folder = own if os.path.isdir(own) else os.path.dirname(own)
    beside = os.path.join(folder or os.curdir, base)
    return beside if has_path_form(base) and os.path.exists(beside) else base
