"""What every page must hold in Chinese: no words stay English, and all data stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from archcalc.errors import InputError
from archcalc.ledger.leaves import COMPONENTS
from archcalc.words import Bytes, Message, joined, translator

CHINESE = translator("zh")
CHARACTER = re.compile("[\u4e00-\u9fff]")
# What Chinese texts write in Latin letters: terms, names of fields, options and functions.
TERMS = {"FLOPs", "GPU", "MFU", "archcalc", "coverage", "d_model", "d_rope", "eager", "logit", "logits"}
TERMS |= {"softmax", "transformers", "Python", "RoPE", "KV", "untied", "vLLM", *COMPONENTS}
CODE, OPTION = re.compile(r"taps\.\w+\(.*\)"), re.compile(r"--[a-z-]+")
NAME = re.compile(r"llama\.cpp|fp32")


def leaves(value: Any) -> Iterator[Any]:
    """Yield all that a page or a chart shows, in its order."""
    if isinstance(value, msgspec.Struct) and not isinstance(value, Message | Bytes):
        value = [getattr(value, field) for field in value.__struct_fields__]
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def data_of(message: Message) -> Iterator[str]:
    """Yield the plain texts in a message."""
    for value in message.values.values():
        if isinstance(value, InputError):
            yield from (value.where, value.file)
            value = joined("", (value.problem, value.allowed))
        if isinstance(value, Message):
            yield from data_of(value)
        else:
            yield str(value)


def words_of(message: Message) -> bool:
    """Whether a message says anything but its data."""
    parts = [value for value in message.values.values() if isinstance(value, Message)]
    return bool(re.search("[A-Za-z]", re.sub(r"\{.*?\}", "", message.text))) or any(map(words_of, parts))


def english_in(message: Message) -> set[str]:
    """Return the words of a message in Chinese that are English, its data apart."""
    text = OPTION.sub("", CODE.sub("", CHINESE(message)))
    for name in sorted(data_of(message), key=len, reverse=True):
        text = text.replace(name, "")
    words = re.findall(r"[A-Za-z_]{2,}", NAME.sub("", text))
    return {word for word in words if "_" not in word} - TERMS  # fields have a "_"


def check(shown: Any) -> None:
    """In Chinese every plain text is as it was, and every message has Chinese and no English words."""
    before, after = list(leaves(shown)), list(leaves(CHINESE.within(shown)))
    assert len(before) == len(after)
    n_messages = 0
    for one, chinese in zip(before, after, strict=True):
        if not isinstance(one, Message):
            assert chinese is one or chinese == one or isinstance(one, Bytes)  # digits and units
            continue
        n_messages += 1
        assert chinese == CHINESE(one)
        assert not english_in(one), (str(one), chinese)
        if words_of(one) and str(one) not in TERMS:
            assert CHARACTER.search(chinese) or CODE.search(chinese), chinese
    assert n_messages > 3
