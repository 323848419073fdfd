"""The errors a user can cause. Each prints as one line; the CLI turns them into an exit code.

An error names parameters of the library, never options of the command line. In a text, a parameter is in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import structs

from archcalc.words import ENGLISH, Message, Translator, msg

_IN_PLACE = re.compile(r"(?:^|(?<=, ))\w+(?=$|[, ])")  # 'tp, fsdp', 'settings n_layers'


class ArchcalcError(Exception):
    """Anything a user's input or machine can cause; `exit_code` is what the CLI ends with."""

    exit_code = 2

    def __init__(self, problem: str | Message) -> None:
        self.problem = problem
        self.names: Mapping[str, str] = {}
        super().__init__(problem)

    def __str__(self) -> str:
        return self.text(ENGLISH)

    def text(self, say: Translator) -> str:
        """Return the error as one line in a language."""
        return printable(self._named(say)(self.problem))

    def _named(self, say: Translator) -> Translator:
        return structs.replace(say, names=self.names)

    def rename_parameters(self, names: Mapping[str, str]) -> None:
        """Replace the names of parameters, such as by the options that set them.

        >>> error = InputError("found 3", where="tp", allowed=msg("1, 2, or `fsdp`"))
        >>> error.rename_parameters({"tp": "--tp", "fsdp": "--fsdp"})
        >>> str(error)
        '--tp: found 3; allowed: 1, 2, or --fsdp'
        """
        self.names = names


class InputError(ArchcalcError):
    """A source, a field or an option that cannot be used.

    >>> str(InputError("-3 is not allowed", allowed="1 or more", where="decoder.n_layers", file="a.yaml"))
    'a.yaml: decoder.n_layers: -3 is not allowed; allowed: 1 or more'
    """

    def __init__(
        self, problem: str | Message, *, allowed: str | Message = "", where: str | Message = "", file: str = ""
    ) -> None:
        self.allowed, self.where, self.file = allowed, str(where), file
        super().__init__(problem)

    def text(self, say: Translator) -> str:
        """Return the error as one line: file, place, problem, what is allowed. Fields of a file are not renamed."""
        say = self._named(say)
        where = self.where if self.file else _IN_PLACE.sub(lambda found: self.names.get(found[0], found[0]), self.where)
        line = "".join(f"{part}: " for part in (self.file, where) if part) + say(self.problem)
        if self.allowed:
            line = say(msg("{problem}; allowed: {allowed}", problem=line, allowed=self.allowed))
        return printable(line)

    def within(self, file: str) -> InputError:
        """The same error, told of the file it was met in."""
        return InputError(self.problem, allowed=self.allowed, where=self.where, file=self.file or file)


class RefusedError(InputError):
    """A config that transformers itself cannot build."""


class MissingExtraError(ArchcalcError):
    """Something that an optional part of the package would do."""

    def __init__(self, does: str | Message, extra: str) -> None:
        super().__init__(f"{does} needs the extra '{extra}': pip install 'archcalc[{extra}]'")


def parameter(name: str) -> Message:
    """Return the name of a parameter as a message has it: `rename_parameters` renames it."""
    return Message(f"`{name}`")


def printable(text: str) -> str:
    """`text` on one line, control characters escaped, so that a hostile file cannot drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def shown(value: object, limit: int = 60) -> str | Message:
    """A value as a message shows it: its repr, cut at `limit` characters.

    Ints that Python refuses to print in full are described by their length.
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
    """' (did you mean …?)' if one of `words` is as close to `word` as `cutoff`, from 0 to 1; else nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return msg(" (did you mean {name}?)", name=repr(close[0])) if close else ""
