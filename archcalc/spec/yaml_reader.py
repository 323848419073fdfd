"""Read YAML and JSON safely: bounded size, bounded aliases, no duplicate keys, no code."""

from __future__ import annotations

from typing import Any

from archcalc.errors import InputError, shown
from archcalc.spec.text_bounds import MAX_BYTES, MAX_DEPTH, MAX_NODES
from archcalc.words import msg


def parse(data: bytes) -> Any:
    """Return the data of YAML or JSON text.

    Raises InputError with the line for text that is invalid, too large, too deeply nested, or expands without bound.
    """
    if len(data) > MAX_BYTES:
        raise InputError(msg("{n_data:,} bytes", n_data=len(data)), allowed=msg("up to {most:,}", most=MAX_BYTES))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(msg("not text in UTF-8"), allowed=msg("YAML or JSON")) from None
    if not text.strip():
        raise InputError(msg("empty"), allowed=msg("YAML or JSON"))
    try:
        value = _value(text)
    except RecursionError:
        raise InputError(
            msg("nested too deeply, or inside itself"), allowed=msg("{max_depth} levels", max_depth=MAX_DEPTH)
        ) from None
    except ValueError as error:
        problem = "an integer of too many digits" if "integer string" in str(error) else str(error)
        raise InputError(
            msg("a value that cannot be read ({problem})", problem=problem), allowed=msg("YAML or JSON")
        ) from None
    _check_size(value)
    return value


def _value(text: str) -> Any:
    if text.lstrip().startswith("{"):
        return _from_json(text)
    # Most values of --set are sizes, which need no parser.
    return int(text) if text.isascii() and text.isdigit() and str(int(text)) == text else _from_yaml(text)


def _from_yaml(text: str) -> Any:
    from archcalc.spec.yaml_loader import load  # PyYAML takes long to import

    return load(text)


def _from_json(text: str) -> Any:
    """Return the data of JSON text; what is not JSON may still be YAML in braces."""
    import json

    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError:
        return _from_yaml(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise InputError(msg("the key {key} is repeated", key=shown(repeated)), allowed=msg("each key once"))
    return mapping


def _check_size(value: Any) -> None:
    """Refuse data with aliases that expand without bound or contain themselves."""
    n_nodes = 0
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        ]
        n_nodes += len(level)
        if n_nodes > MAX_NODES:
            raise InputError(msg("expands to too many values"), allowed=msg("up to {most:,}", most=MAX_NODES))
        if not level:
            return
    raise InputError(msg("nested too deeply, or inside itself"), allowed=msg("{max_depth} levels", max_depth=MAX_DEPTH))
