"""Target prompts with a placeholder (Ghandeharioun et al. 2024, section 3 and appendix)."""

from __future__ import annotations

import re
from typing import Literal, get_args

from archcalc.errors import InputError, shown
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg

PromptName = Literal["identity", "description", "few-shot"]
PROMPT_NAMES: tuple[PromptName, ...] = get_args(PromptName)
PLACEHOLDER = "x"

# By name and language. The last x is the placeholder.
PROMPTS: dict[PromptName, dict[str, str]] = {
    "identity": {
        "en": "cat -> cat\n1135 -> 1135\nhello -> hello\nx ->",
        "zh": "猫 -> 猫\n1135 -> 1135\n你好 -> 你好\nx ->",
    },
    "description": {
        "en": "The following is a short description of x: It is",
        "zh": "以下是对 x 的简短介绍：它是",
    },
    "few-shot": {
        "en": "Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean "
        "multinational major appliance and consumer electronics corporation, x",
        "zh": "叙利亚：中东国家，莱昂纳多·迪卡普里奥：美国演员，三星：韩国跨国电子公司，x",
    },
}


def target_prompt(
    tokenizer: Tokenizer, text: str, n_vectors: int, placeholder: str = PLACEHOLDER
) -> tuple[list[int], list[int]]:
    """Return the ids of a prompt and the positions of its placeholder: the last one, a token for each vector.

    A space before the placeholder is part of its token. Raises InputError for a text without it.
    """
    word = rf"(?<![A-Za-z0-9]){re.escape(placeholder)}(?![A-Za-z0-9])"
    places = [match.span() for match in re.finditer(word, text)] if placeholder else []
    if not places:
        raise InputError(
            msg("{text} has no {placeholder}", text=shown(text), placeholder=shown(placeholder)),
            where="into",
            allowed=msg("a text with the placeholder"),
        )
    before, after = text[: places[-1][0]], text[places[-1][1] :]
    start, space = (before[:-1], " ") if before.endswith(" ") else (before, "")
    ids = tokenizer.encode(start) if start else _start_ids(tokenizer)
    *prefix, token = tokenizer.encode(f"{space}{placeholder}", special=False)
    # What the tokenizer puts after a whole text, such as [SEP] or </s>, belongs after all of it.
    n_end = _n_after(ids, tokenizer.encode(start, special=False)) if start else 0
    begin, end = [*ids[: len(ids) - n_end], *prefix], ids[len(ids) - n_end :]
    rest = tokenizer.encode(after, special=False) if after else []
    positions = list(range(len(begin), len(begin) + n_vectors))
    return [*begin, *[token] * n_vectors, *rest, *end], positions


def _start_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens before a text: its BOS, if the tokenizer adds one."""
    ids, plain = tokenizer.encode(PLACEHOLDER), tokenizer.encode(PLACEHOLDER, special=False)
    return ids[: next((i for i in range(len(ids)) if ids[i : i + len(plain)] == plain), 0)]


def _n_after(ids: list[int], plain: list[int]) -> int:
    """Return the number of special tokens after a text."""
    ends = [i + len(plain) for i in range(len(ids)) if plain and ids[i : i + len(plain)] == plain]
    return len(ids) - ends[-1] if ends else 0
