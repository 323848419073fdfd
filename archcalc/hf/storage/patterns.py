"""Patterns of modules' names, as each library matches them, as regular expressions of whole names.

Files are not trusted: an expression that can take exponential time is refused, as is one with many repetitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from archcalc.errors import InputError, shown
from archcalc.words import msg

MAX_LENGTH = 2_000
_MAX_REPETITIONS = 6
_REPETITION = re.compile(r"(?<!\\)(?:\*|\+|\{\d*,\d*\})")
_REPEATED_GROUP = re.compile(r"(?<!\\)\)(?:\*|\+|\{)")


def checked(pattern: str, where: str) -> str:
    """Return a pattern. Raises InputError if it is no regular expression, or one that may take too long."""
    simple = re.sub(r"(?:\.\*)+", ".*", pattern)
    is_slow = len(_REPETITION.findall(simple)) > _MAX_REPETITIONS or _REPEATED_GROUP.search(simple)
    if len(pattern) > MAX_LENGTH or is_slow:
        raise InputError(
            msg("found {found}", found=shown(pattern, 60)),
            where=where,
            allowed=msg("a regular expression with at most {n} repetitions, none of a group", n=_MAX_REPETITIONS),
        )
    try:
        re.compile(simple)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            msg("the pattern {pattern} does not parse ({error})", pattern=shown(pattern, 60), error=error),
            where=where,
            allowed=msg("a regular expression"),
        ) from None
    return simple


def any_of(patterns: Iterable[str]) -> str | None:
    """Return the pattern that matches what any of these does; None for none."""
    alternatives = "|".join(f"(?:{pattern})" for pattern in dict.fromkeys(patterns))
    return alternatives or None


def skipped(keys: Iterable[str], where: str) -> str | None:
    """Return the pattern of modules that transformers leaves as they are (quantizers_utils.should_convert_module).

    A key matches from the start of a name to the end of one of its parts, as text or as an expression, or the end of a
    name.
    """
    return any_of(rf"(?:{_expression(key, where)})(?:(?<=\.)|(?=\.|$)).*|.*{re.escape(key)}" for key in keys if key)


def _expression(key: str, where: str) -> str:
    return key if re.fullmatch(r"[\w.]*", key) else checked(key, where)


def compressed(targets: Iterable[str], where: str) -> str | None:
    """Return the pattern of compressed-tensors' targets: whole names, or 're:' and an expression of their start."""
    return any_of(
        f"(?:{checked(target[3:], where)}).*" if target.startswith("re:") else re.escape(target) for target in targets
    )


def wildcards(names: Iterable[str]) -> str | None:
    """Return the pattern of names with wildcards (ModelOpt): '*' is any text, and what is named includes its parts."""
    return any_of(rf"(?:{'.*'.join(map(re.escape, re.split(r'[*]+', name)))})(?:\..*)?" for name in names if name)


def containing(parts: Iterable[str]) -> str | None:
    """Return the pattern of names that contain one of these (AutoAWQ)."""
    return any_of(f".*{re.escape(part)}.*" for part in parts if part)
