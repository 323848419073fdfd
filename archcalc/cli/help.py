"""Help and usage errors in the language of the command line.

click looks its own texts up with the standard library's gettext, so these are in the package's catalog too.
"""

from __future__ import annotations

import copy
import gettext
import inspect
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

import click

from archcalc.words import CHINESE, DOMAIN, LANGS, LOCALE, Message, msg, preferred_lang, translator

# click's texts that users of the command line see, plurals as pairs.
CLICK_TEXTS: Final[tuple[str | tuple[str, str], ...]] = (
    "Aborted!",
    "Choose from:\n\t{choices}",
    "Commands",
    "Could not open file {filename!r}: {message}",
    "Did you mean {possibility}?",
    ("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    "Invalid value for {param_hint}: {message}",
    "Invalid value: {message}",
    "Missing command.",
    "No such option {name!r}.",
    "Option {name!r} does not take a value.",
    ("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
    "Options",
    "Show the version and exit.",
    "Show this message and exit.",
    "Usage:",
    "default: {default}",
    "env var: {var}",
    "required",
    ("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    "{value!r} is not a valid {number_type}.",
    "{value} is not in the range {range}.",
)

# Where click would put a space into Chinese: it joins the lines of a paragraph by one.
_LINE_END: Final = f"(?<=[{CHINESE}])\n(?=\\S)"


def stated_lang(args: Sequence[str]) -> str:
    """Return the language that a command line asks for, before it is parsed: --lang, or the environment's."""
    stated = [after for word, after in pairwise(args) if word == "--lang"]
    stated += [word.removeprefix("--lang=") for word in args if word.startswith("--lang=")]
    return next((lang for lang in reversed(stated) if lang in LANGS), preferred_lang())


@contextmanager
def click_texts(lang: str) -> Iterator[None]:
    """Let click speak a language for the duration of the block."""
    if lang == LANGS[0]:
        yield
        return
    domain, language = gettext.textdomain(), os.environ.get("LANGUAGE")
    gettext.bindtextdomain(DOMAIN, LOCALE)
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = lang
    try:
        yield
    finally:
        gettext.textdomain(domain)
        if language is None:
            del os.environ["LANGUAGE"]
        else:
            os.environ["LANGUAGE"] = language


class _ChineseHelp(click.HelpFormatter):
    """Help with Chinese punctuation, where click has its own."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line without a space after its colon."""
        super().write_usage(prog, args, prefix or gettext.gettext("Usage:"))

    def write_heading(self, heading: str) -> None:
        """Write a heading with a full-width colon."""
        self.write(f"{'':>{self.current_indent}}{heading}：\n")


class _ChineseContext(click.Context):
    formatter_class = _ChineseHelp


def help_texts(command: click.Command) -> list[str]:
    """Return the texts of a command's help."""
    texts = [command.help, command.epilog, *(getattr(param, "help", None) for param in command.params)]
    return [inspect.cleandoc(text) for text in texts if text]


def in_language(command: click.Command, lang: str) -> click.Command:
    """Return a command with its help in a language."""
    if lang == LANGS[0]:
        return command
    say = translator(lang)

    def translated(part: click.Command | click.Parameter, *names: str) -> None:
        for name in names:
            if text := getattr(part, name, None):
                setattr(part, name, re.sub(_LINE_END, "", say(Message(inspect.cleandoc(text)))))

    command = copy.copy(command)
    command.context_class = _ChineseContext
    command.options_metavar = command.options_metavar and say(msg("[OPTIONS]"))
    if isinstance(command, click.Group):
        command.subcommand_metavar = say(msg("COMMAND [ARGS]..."))
    command._help_option = None  # click makes it once, in the language of the first call
    command.params = [copy.copy(param) for param in command.params]
    translated(command, "help", "epilog")
    for param in command.params:
        translated(param, "help")
    return command
