"""Contrasting prompts as a user gives them: texts, files of pairs, token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archcalc.errors import InputError
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.run.loading.source import ModelSource
from archcalc.words import msg

GROUPS = ("positive", "negative")


@dataclass(frozen=True)
class ContrastPrompts:
    """The prompts of both groups: `ids` as the model reads them, `shown` as they were given."""

    ids: dict[str, list[list[int]]]
    shown: dict[str, list[str | list[int]]]


def contrast_prompts(
    source: ModelSource, texts: Mapping[str, Sequence[str]], id_lists: Mapping[str, Sequence[str]], *, chat: bool
) -> ContrastPrompts:
    """Return the prompts of each group: first the texts, as messages with `chat`, then the token ids."""
    ids: dict[str, list[list[int]]] = {}
    shown: dict[str, list[str | list[int]]] = {}
    for group in GROUPS:
        rows = prompt_ids(source, [], id_lists[group]) if id_lists[group] else []
        ids[group] = [*(text_ids(source, text, group, chat=chat) for text in texts[group]), *rows]
        shown[group] = [*texts[group], *rows]
        if not ids[group]:
            raise InputError(msg("found none"), where=group, allowed=msg("1 prompt or more"))
    return ContrastPrompts(ids, shown)


def text_ids(source: ModelSource, text: str, where: str, *, chat: bool) -> list[int]:
    """Return a text as token ids; with `chat`, as a user's message up to the reply."""
    from archcalc.run.decoding.chat import conversation_ids

    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=where, allowed=msg("token ids"))
    if chat:
        return conversation_ids(source.tokenizer, [{"role": "user", "content": text}])
    return source.tokenizer.encode(text)


def read_pairs(path: str) -> dict[str, list[str]]:
    """Return the prompts of a file by group: on each line a positive one, a tab, and a negative one.

    Raises InputError that names the file and the line for others.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=path) from None
    except UnicodeDecodeError:
        raise InputError(msg("is not UTF-8 text"), file=path, allowed=msg("a text file")) from None
    pairs = []
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if not line.strip():
            continue
        if len(parts) != len(GROUPS) or not all(parts):
            raise InputError(
                msg("found {n} columns", n=len(parts)),
                file=path,
                where=msg("line {number}", number=number),
                allowed=msg("a positive prompt, a tab, and a negative prompt"),
            )
        pairs.append(parts)
    return {group: [pair[i] for pair in pairs] for i, group in enumerate(GROUPS)}
