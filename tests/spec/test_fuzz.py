"""Whatever is done to a valid document: loading it gives a Spec or an InputError in one line, no other exception."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.document import encode
from archcalc.spec.yaml_reader import parse
from tests.examples import examples

DOCUMENTS = [encode(load(name)) for name in ("tiny", "gpt3", "deepseek-v3", "t5-small", "bert-base", "gpt-oss-20b")]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.sampled_from((2**31, 2**32, 2**63, 10**40, 10**4000, -(10**4000)))
    | st.floats()
    | st.sampled_from(
        ("", "gqa", "mla", "moe", "plain", "rope", "relative", "learned", "kind", "$.x[0]", "`", "\ud800")
    )
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("kind"), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in items for place in [(node, key), *places(value)]]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A preset's document after one to three changes: a value replaced, a key taken out, added or renamed."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    everywhere = places(document)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(everywhere))
        change = draw(st.sampled_from(("replace", "swap", "remove", "add", "rename")))
        if change == "replace":
            holder[key] = draw(VALUES)
        elif change == "swap":
            other, there = draw(st.sampled_from(everywhere))
            holder[key] = copy.deepcopy(_at(other, there))
        elif isinstance(holder, list):
            holder.append(draw(VALUES))
        elif change == "add":
            holder[draw(st.sampled_from(sorted({str(key) for _, key in everywhere})))] = draw(VALUES)
        else:
            value = holder.pop(key, None)
            if change == "rename":
                holder[draw(st.text(max_size=6) | st.just(f"{key}s"))] = value
    return document


def _at(holder: Any, key: Any) -> Any:
    return holder.get(key) if isinstance(holder, dict) else holder[key]


def loaded(source: Any) -> Spec | str:
    """The spec, or what is said of its mistake; any other exception fails the test."""
    try:
        return load(source)
    except InputError as error:
        return str(error)


def is_one_line(message: str) -> bool:
    return message.isprintable() and 5 < len(message) < 2_000


@examples(200)
@given(mutated())
def test_a_changed_document_is_a_spec_or_an_input_error(document: dict[str, Any]):
    found = loaded(document)
    if isinstance(found, str):
        assert is_one_line(found)
    elif sum(stack.n_layers or 0 for stack in (own.stack for own in found.stacks)) < 1000:
        assert build(found).total() > 0


@examples(50)
@given(VALUES)
def test_any_data_is_an_input_error(value: Any):
    found = loaded({"base": "tiny", "encoder": value, "decoder": None})
    assert is_one_line(str(found))
    if isinstance(value, dict):
        assert is_one_line(str(loaded(value)))


@examples(200)
@given(st.sampled_from(presets.names()), st.data())
def test_broken_text_is_data_or_an_input_error(name: str, data: st.DataObject):
    path = presets.path_of(name)
    assert path is not None
    text = Path(path).read_bytes()
    if data.draw(st.booleans()):
        text = json.dumps(parse(text)).encode()
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.sampled_from((0, 1, 5, len(text))))
    inserted = data.draw(
        st.binary(max_size=4) | st.sampled_from((b"{", b"[", b"*mla", b"<<: ", b"!!", b"&a ", b"- ", b"\t"))
    )
    broken = text[:start] + inserted + text[start + length :]
    try:
        parse(broken)
    except InputError as error:
        message = str(error)
    else:
        return
    assert is_one_line(message)


def test_a_number_too_long_to_print_is_one_line():
    with pytest.raises(InputError, match="an integer of 16610 bits"):
        load("tiny", {"n_layers": 10**5000})
