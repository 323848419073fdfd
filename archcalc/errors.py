"""The errors a user can cause. Each prints as one line; the CLI turns them into an exit code.

An error names parameters of the library, never options of the command line. In a text, a parameter is in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_IN_BACKTICKS = re.compile(r"`(\w+)`")
_IN_PLACE = re.compile(r"(?:^|(?<=, ))\w+(?=$|[, ])")  # 'tp, fsdp', 'settings n_layers'


class ArchcalcError(Exception):
    """Anything a user's input or machine can cause; `exit_code` is what the CLI ends with."""

    exit_code = 2

    def rename_parameters(self, names: Mapping[str, str]) -> None:
        """Replace the names of parameters, such as by the options that set them.

        >>> error = InputError("found 3", where="tp", allowed="1, 2, or `fsdp`")
        >>> error.rename_parameters({"tp": "--tp", "fsdp": "--fsdp"})
        >>> str(error)
        '--tp: found 3; allowed: 1, 2, or --fsdp'
        """
        self.args = tuple(_renamed(one, names) if isinstance(one, str) else one for one in self.args)


class InputError(ArchcalcError):
    """A source, a field or an option that cannot be used.

    >>> str(InputError("-3 is not allowed", allowed="1 or more", where="decoder.n_layers", file="a.yaml"))
    'a.yaml: decoder.n_layers: -3 is not allowed; allowed: 1 or more'
    """

    def __init__(self, problem: str, *, allowed: str = "", where: str = "", file: str = "") -> None:
        self.problem, self.allowed, self.where, self.file = problem, allowed, where, file
        super().__init__(problem)

    def __str__(self) -> str:
        place = "".join(f"{part}: " for part in (self.file, self.where) if part)
        line = place + self.problem + (f"; allowed: {self.allowed}" if self.allowed else "")
        return printable(line)

    def rename_parameters(self, names: Mapping[str, str]) -> None:
        """Replace the names of parameters in all texts, and in the place unless it is a field of a file."""
        self.problem, self.allowed = _renamed(self.problem, names), _renamed(self.allowed, names)
        if not self.file:
            self.where = _IN_PLACE.sub(lambda found: names.get(found[0], found[0]), self.where)

    def within(self, file: str) -> InputError:
        """The same error, told of the file it was met in."""
        return InputError(self.problem, allowed=self.allowed, where=self.where, file=self.file or file)


class RefusedError(InputError):
    """A config that transformers itself cannot build."""


class MissingExtraError(ArchcalcError):
    """Something that an optional part of the package would do."""

    def __init__(self, does: str, extra: str) -> None:
        super().__init__(f"{does} needs the extra '{extra}': pip install 'archcalc[{extra}]'")


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return _IN_BACKTICKS.sub(lambda found: names.get(found[1], found[0]), text)


def printable(text: str) -> str:
    """`text` on one line, control characters escaped, so that a hostile file cannot drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def shown(value: object, limit: int = 60) -> str:
    """A value as a message shows it: its repr, cut at `limit` characters.

    Ints that Python refuses to print in full are described by their length.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value).replace("`", r"\x60")  # what is in backticks is a parameter
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """' (did you mean …?)' if one of `words` is as close to `word` as `cutoff`, from 0 to 1; else nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]!r}?)" if close else ""
