"""Read YAML and JSON safely: bounded size, bounded aliases, no duplicate keys, no code."""

from __future__ import annotations

import re
from typing import Any

import yaml

from archcalc.errors import InputError, shown
from archcalc.words import msg

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 60

# Numbers of YAML 1.2 that YAML 1.1 reads as text.
FLOAT = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")

_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[valid-type, misc]
    """A loader that refuses duplicate and non-text keys, and reads 1e-5 as a number like YAML 1.2."""

    n_merged = 0

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = f"line {key_node.start_mark.line + 1}"
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = self._merged(value_node, line) | merged
                continue
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, str):
                raise InputError(msg("the key {key} is not text", key=shown(key)), where=line, allowed=msg("text keys"))
            if key in own:
                raise InputError(
                    msg("the key {key} is repeated", key=shown(key)), where=line, allowed=msg("each key once")
                )
            own[key] = self.construct_object(value_node, deep=deep)
        return merged | own

    def _merged(self, node: yaml.Node, line: str) -> dict[str, Any]:
        """Return the value of '<<': a mapping, or several merged ones; the first with a key wins."""
        value = self.construct_object(node, deep=True)
        mappings = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for mapping in mappings:
            if not isinstance(mapping, dict):
                raise InputError(
                    msg("'<<' merges {mapping}", mapping=shown(mapping)),
                    where=line,
                    allowed=msg("a mapping, or a list of them"),
                )
            self.n_merged += len(mapping) + 1
            if self.n_merged > MAX_NODES:
                raise InputError(
                    msg("merges too many values"), where=line, allowed=msg("up to {most:,}", most=MAX_NODES)
                )
            merged = mapping | merged
        return merged


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))


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
        value = _from_json(text) if text.lstrip().startswith("{") else _from_yaml(text)
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


def _from_yaml(text: str) -> Any:
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader's subclass
    except yaml.YAMLError as error:
        raise _syntax_error(error) from None


def _check_events(text: str) -> None:
    """Refuse tags, and count levels before loading, because deep recursion in C crashes the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if tag := getattr(event, "tag", None):
            where = f"line {event.start_mark.line + 1}" if event.start_mark else ""
            raise InputError(msg("the tag {tag}", tag=shown(tag)), where=where, allowed=msg("plain data without tags"))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InputError(msg("nested too deeply"), allowed=msg("{max_depth} levels", max_depth=MAX_DEPTH))


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


def _syntax_error(error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if "recursive" in problem:
        return InputError(msg("a value contains itself"), where=where, allowed=msg("finite values"))
    if "nesting depth" in problem:  # libyaml's own limit, since PyYAML 6.0.4
        return InputError(msg("nested too deeply"), allowed=msg("{max_depth} levels", max_depth=MAX_DEPTH))
    return InputError(msg("not valid YAML or JSON: {problem}", problem=problem), where=where)


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
