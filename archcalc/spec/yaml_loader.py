"""The loader of YAML: no code, no tags, no duplicate keys, a bounded depth."""

from __future__ import annotations

import re
from typing import Any

import yaml

from archcalc.errors import InputError, shown
from archcalc.spec.text_bounds import MAX_DEPTH, MAX_NODES
from archcalc.words import msg

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


def load(text: str) -> Any:
    """Return the data of YAML text. Raises InputError with the line for text that is invalid or nested too deeply."""
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


def _syntax_error(error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if "recursive" in problem:
        return InputError(msg("a value contains itself"), where=where, allowed=msg("finite values"))
    if "nesting depth" in problem:  # libyaml's own limit, since PyYAML 6.0.4
        return InputError(msg("nested too deeply"), allowed=msg("{max_depth} levels", max_depth=MAX_DEPTH))
    return InputError(msg("not valid YAML or JSON: {problem}", problem=problem), where=where)
