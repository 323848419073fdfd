"""Messages and their catalogs: every message of the code is translated, with the same places, and nothing else is."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from archcalc.errors import ArchcalcError, InputError
from archcalc.words import ENGLISH, LANGS, Message, in_context, msg, plural, translator
from tests import catalogs

CHINESE = re.compile("[\u4e00-\u9fff]")
LOGISTIC = "softmax({a}, {b}) = {p:.4f}, {q:.4f}; logistic({a} − {b}) = 1 / (1 + exp(−{x})) = {logistic:.4f}"
# Formulas of names, without a word, and an example of the language that a translation is into.
FORMULAS = {
    "seq + past",
    "seq + min(past, {w} − 1)",
    "⌊(past + seq) / {w}⌋",
    "⌊(past + seq) / {w}⌋ − ⌊past / {w}⌋",
    "⌊seq / {w}⌋ · min(1, seq − 1)",
    "min(seq + past, {w})",
    "seq·past + seq·(seq + 1)/2",
    LOGISTIC,
    "`recipe` pure",
    "n_heads · d_head = d_inner",
    "seq · min(seq, {w})",
    "source_new · min(source_new, {w})",
    "<start> le chat était assis sur",
}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("lang", LANGS[1:])
def test_the_catalog_is_that_of_the_code(lang: str) -> None:
    """Else run `python -m tests.catalogs`, translate what is new, and run it again."""
    assert catalogs.path_of(lang, "po").read_bytes() == catalogs.as_po(catalogs.updated(lang))
    assert catalogs.path_of(lang, "mo").read_bytes() == catalogs.compiled(lang)


@pytest.mark.parametrize("lang", LANGS[1:])
def test_every_message_is_translated_with_the_same_places(lang: str) -> None:
    found = [message for message in catalogs.read(lang) if message.id]
    assert len(found) > 800
    for message in found:
        (*_, english), translated = ((x,) if isinstance(x, str) else tuple(x) for x in (message.id, message.string))
        assert not message.fuzzy, english
        for text in translated:
            assert places(english) == places(text), english
            assert "" not in places(english), f"{english}: places have names"
            assert not CHINESE.search(english), english
            words = re.sub(r"\{.*?\}", "", english)
            assert text, english
            assert english in FORMULAS or CHINESE.search(text) or not re.search("[a-z]{3}.* .*[a-z]{3}", words), (
                f"{english} is not translated"
            )


def test_texts_of_messages_are_literals() -> None:
    """What the catalogs are extracted by: a text that is put together would never be found in them."""
    for path in sorted(catalogs.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in catalogs.MAKERS:
                is_maker = path == Path(catalogs.PACKAGE, "words.py")
                assert is_maker or all(isinstance(text, ast.Constant) for text in node.args), (path, node.lineno)


def test_errors_speak_in_messages() -> None:
    """A sentence in an error's arguments is a message; mypy sees that the problem is one, wherever it comes from."""
    places_of_prose = [
        f"{path.relative_to(catalogs.PACKAGE)}:{node.lineno}: {text}"
        for path in sorted(catalogs.PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _name(node) in ERRORS
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
        for text in _prose(argument)
    ]
    assert places_of_prose == []
    assert get_type_hints(ArchcalcError.__init__)["problem"] is Message
    assert get_type_hints(InputError.__init__)["problem"] is Message
    assert list(_prose(ast.parse("f'found {n} words', msg('in a message')"))) == ["found ", " words"]


def _every_error() -> set[str]:
    kinds, names = [ArchcalcError], set[str]()
    while kinds:
        kind = kinds.pop()
        names.add(kind.__name__)
        kinds += kind.__subclasses__()
    return names


# `places` such as 'settings n_layers' are names of parameters.
ERRORS = _every_error()
PARAMETERS = ("over ", "format ", "settings ", "measure process")


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _prose(node: ast.AST) -> Iterator[str]:
    """Yield the literals with words that stand outside of messages."""
    if isinstance(node, ast.Call) and _name(node) in (*catalogs.MAKERS, "nearest", "shown"):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if re.search(r"[a-z]{2,} [a-z]{2,}|[a-z]{2,} $|^ [a-z]{2,}", node.value) and node.value not in PARAMETERS:
            yield node.value
        return
    for child in ast.iter_child_nodes(node):
        yield from _prose(child)


def test_a_message_is_translated_when_it_is_printed() -> None:
    said, chinese = plural("over {n} layer", "over {n} layers", n=96), translator("zh")
    assert str(said) == ENGLISH(said) == "over 96 layers"
    assert str(said.fill(n=1)) == "over 1 layer"
    assert chinese(said) == "共 96 层"
    assert chinese("over 96 layers") == "over 96 layers"
    assert chinese(msg("{n} tokens", n=5)) != chinese(in_context("place", "rank")) != chinese(msg("rank"))
    nested = msg("{name}: {meaning}", name="x", meaning=msg("weights"))
    assert chinese(nested) == f"x：{chinese(msg('weights'))}"
    assert chinese.within({"a": [msg("weights"), "weights", 3], "b": (nested,)}) == {
        "a": ["权重", "weights", 3],
        "b": (chinese(nested),),
    }


def test_a_message_without_translation_is_english() -> None:
    assert translator("zh")(Message("no such {thing}", {"thing": "message"})) == "no such message"
