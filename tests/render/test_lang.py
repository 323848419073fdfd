"""The words of every page: each sentence in every language, with the same places to fill in."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from archcalc.render import lang
from archcalc.render.lang import LANGS, sentences, words

PAGES = sorted(path.stem for path in Path(lang.__file__).parent.glob("*.py") if path.stem != "__init__")
CHINESE = re.compile("[\u4e00-\u9fff]")
# What has no words: a formula, a field's name;
# or what is called so in every language.
SAME = re.compile(r"formula$|windowed$|^logit$|^(states|logits|widths|layers_all|rope|alibi|softcap)$")


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_there_are_pages() -> None:
    assert {"common", "explain"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_sentence_stands_in_every_language_with_the_same_places(page: str) -> None:
    for name, told in sentences(page).items():
        assert len(told) == len(LANGS), name
        english, chinese = told
        assert english, name
        assert places(english) == places(chinese), name
        assert "" not in places(english), f"{name}: places have names"
        assert not CHINESE.search(english), name
        has_words = re.sub(r"\{.*?\}", "", english).strip(" :,.;()=−+·×/%0123456789…")
        assert not has_words or CHINESE.search(chinese) or SAME.search(name), f"{name} is not translated"


def test_words_fill_in() -> None:
    assert words("en")("explain.over_layers", n=96) == "over 96 layers"
    assert words("zh")("explain.over_layers", n=96) == "共 96 层"
    with pytest.raises(KeyError):
        words("zh")("explain.no_such_sentence")
