"""The errors that a user can cause. Each is printed as one line; the CLI maps them to exit codes.

Errors name parameters of the library, never command-line options. In texts, parameters are in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import structs

from archcalc.words import ENGLISH, Message, Translator, msg

_PARAMETER = re.compile(r"(?:^|(?<=, ))\w+(?=$|[, ])")  # 'tp, fsdp', 'settings n_layers'


class ArchcalcError(Exception):
    """Base class of all errors caused by input or environment; `exit_code` is that of the CLI."""

    exit_code = 2

    def __init__(self, problem: Message) -> None:
        self.problem = problem
        self.names: Mapping[str, str] = {}
        super().__init__(problem)

    def __str__(self) -> str:
        return self.text(ENGLISH)

    def text(self, say: Translator) -> str:
        """Return the error as one line in the language of the translator."""
        return printable(self._named(say)(self.problem))

    def _named(self, say: Translator) -> Translator:
        return structs.replace(say, names=self.names)

    def rename_parameters(self, names: Mapping[str, str]) -> None:
        """Replace parameter names in the text, such as by the options that set them.

        >>> error = InputError(msg("found {n}", n=3), where="tp", allowed=msg("1, 2, or `fsdp`"))
        >>> error.rename_parameters({"tp": "--tp", "fsdp": "--fsdp"})
        >>> str(error)
        '--tp: found 3; expected 1, 2, or --fsdp'
        """
        self.names = names


class InputError(ArchcalcError):
    """An invalid source, field or argument.

    >>> error = InputError(msg("found {n}", n=-3), allowed=msg("1 or more"), where="decoder.n_layers", file="a.yaml")
    >>> str(error)
    'a.yaml: decoder.n_layers: found -3; expected 1 or more'

    `advice` is a sentence that follows.
    """

    def __init__(
        self,
        problem: Message,
        *,
        allowed: str | Message = "",
        advice: str | Message = "",
        where: str | Message = "",
        file: str = "",
    ) -> None:
        self.allowed, self.advice, self.where, self.file = allowed, advice, where, file
        super().__init__(problem)

    def text(self, say: Translator) -> str:
        """Return the error as one line: file, place, problem, allowed values. Fields of a file are not renamed."""
        say = self._named(say)
        where = say(self.where)
        if not self.file:
            where = _PARAMETER.sub(lambda match: self.names.get(match[0], match[0]), where)
        line = "".join(f"{part}: " for part in (self.file, where) if part) + say(self.problem)
        if self.allowed:
            line = say(msg("{problem}; expected {allowed}", problem=line, allowed=self.allowed))
        if self.advice:
            line = say(msg("{problem}. {advice}", problem=line, advice=self.advice))
        return printable(line)

    def within(self, file: str) -> InputError:
        """Return the error with the file in which it occurred, unless it has one."""
        return self.at(self.where, self.file or file)

    def with_advice(self, advice: str | Message) -> InputError:
        """Return the error with a sentence that follows."""
        return InputError(self.problem, allowed=self.allowed, advice=advice, where=self.where, file=self.file)

    def at(self, where: str | Message = "", file: str = "") -> InputError:
        """Return the error with this place and file in the stead of its own."""
        return InputError(self.problem, allowed=self.allowed, advice=self.advice, where=where, file=file)


class RefusedError(InputError):
    """A config that transformers cannot build either."""


class MissingExtraError(ArchcalcError):
    """A task that needs an optional package which is not installed."""

    def __init__(self, does: Message, extra: str) -> None:
        super().__init__(
            msg("{does} needs the extra '{extra}': pip install 'archcalc[{extra}]'", does=does, extra=extra)
        )


def parameter(name: str) -> Message:
    """Return the name of a parameter as a message has it: `rename_parameters` renames it."""
    return Message(f"`{name}`")


def printable(text: str) -> str:
    """Return the text on one line with control characters escaped, so that a hostile file cannot control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def shown(value: object, limit: int = 60) -> str | Message:
    """Return the repr of a value for a message, cut at `limit` characters.

    Very large ints are described by their length, mappings and lists by their type.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return msg("an integer of {n} bits", n=value.bit_length())
    if isinstance(value, dict):
        return msg("a mapping")
    if isinstance(value, list | tuple):
        return msg("a list")
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | Message:
    """Return ' (did you mean …?)' with the closest of `words`, or '' if none is as similar as `cutoff` (0 to 1)."""
    import difflib

    close = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return msg(" (did you mean {name}?)", name=repr(close[0])) if close else ""
