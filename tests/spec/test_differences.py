"""Differences of two documents: `override` and `--set`, read backwards."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.sources import document_of, load
from archcalc.spec import Spec
from archcalc.spec.differences import differences
from archcalc.spec.document import convert, decode, encode, override
from archcalc.spec.field_types import parse_path, path_text, spec_type, with_defaults, without_defaults
from archcalc.spec.inline_yaml import as_settings, inline_yaml
from archcalc.spec.set_options import changes
from archcalc.spec.yaml_reader import parse
from tests.examples import examples
from tests.spec.documents import changed, small
from tests.strategies import specs

LAYER = "decoder.runs.0.pattern.0"


def two_layers() -> dict[str, Any]:
    """A pattern of two layers that differ."""
    document = small()
    (layer,) = document["decoder"]["runs"][0]["pattern"]
    other = copy.deepcopy(layer) | {"norm": {"kind": "layernorm"}}
    document["decoder"]["runs"][0]["pattern"] = [layer, other]
    return document


@examples(50)
@given(specs(), specs())
def test_one_spec_is_made_another(one: Spec, other: Spec):
    """As a mapping, and by the words that the command line would be told."""
    found = differences(encode(one), encode(other))
    assert decode(override(encode(one), found)) == other
    assert changes(as_settings(found)) == found


@examples(50)
@given(specs())
def test_filling_in_is_what_conversion_does_and_can_be_undone(spec: Spec):
    document = encode(spec)
    full = json.loads(msgspec.json.encode(convert(document)))
    assert with_defaults(document) == full
    assert without_defaults(full, spec_type()) == document
    assert differences(document, full) == {}


@pytest.mark.parametrize("name", ["gpt3", "deepseek-v3", "t5-small"])
@pytest.mark.parametrize("other", ["gpt3", "gemma-2-9b", "bert-base"])
def test_a_preset_is_made_another(name: str, other: str):
    found = changes(as_settings(differences(document_of(name), document_of(other))))
    assert decode(override(document_of(name), found)) == load(other)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("vocab_size", 7, {"vocab_size": 7}),
        ("decoder.n_layers", 2, {"n_layers": 2}),
        (f"{LAYER}.ffn.d_ff", 48, {"d_ff": 48}),
        ("embedding", {"scale": 2.0}, {"embedding.scale": 2.0}),  # attention has one too
        (f"{LAYER}.name", "one", {"pattern.0.name": "one"}),  # 'name' alone is the model's
        ("decoder.final_norm", {"kind": "rmsnorm"}, {"final_norm": {"kind": "rmsnorm"}}),
        (f"{LAYER}.ffn", None, {"pattern.0.ffn": None}),  # 'ffn' alone is a dropout too
        (f"{LAYER}.attention.position", {"kind": "alibi"}, {"attention.position": {"kind": "alibi"}}),
        (f"{LAYER}.attention.position.theta", 500.0, {"theta": 500.0}),
        ("head", None, {"head": None}),
        ("claims", [], {}),
        ("source", ["a", "b"], {"source": ["a", "b"]}),
    ],
)
def test_a_change_is_said_in_as_few_words_as_can_be(path: str, value: Any, expected: dict[str, Any]):
    assert differences(small(), changed(path, value)) == expected


def test_a_change_of_all_layers_is_one():
    before, after = two_layers(), two_layers()
    for layer in after["decoder"]["runs"][0]["pattern"]:
        layer["ffn"]["d_ff"] = 48
        layer["attention"]["window"] = 8
    assert differences(before, after) == {"d_ff": 48, "window": 8}
    after["decoder"]["runs"][0]["pattern"][1]["ffn"]["d_ff"] = 50
    assert differences(before, after) == {"pattern.0.ffn.d_ff": 48, "pattern.1.ffn.d_ff": 50, "window": 8}


def test_another_part_of_the_kind_that_comes_keeps_its_own_fields():
    """A mapping is merged into one of its kind, so no name that means both will do."""
    before, after = two_layers(), two_layers()
    before["decoder"]["runs"][0]["pattern"][0]["norm"]["eps"] = 0.5
    after["decoder"]["runs"][0]["pattern"][0]["norm"] = {"kind": "layernorm"}
    after["decoder"]["runs"][0]["pattern"][1]["norm"] = {"kind": "rmsnorm"}
    found = differences(before, after)
    assert decode(override(before, found)) == decode(after)
    assert found == {"pattern.0.norm": {"kind": "layernorm"}, "pattern.1.norm": {"kind": "rmsnorm"}}


def test_what_is_not_valid_can_be_said_too():
    """A form keeps what was typed, in its link as well."""
    found = differences(small(), with_defaults(changed(f"{LAYER}.attention.n_heads", None) | {"n_ctx": 0}))
    assert found == {"n_ctx": 0, "n_heads": None}


def test_a_change_in_many_places_is_a_change_of_each():
    """What one setting puts into many places is there as many times: the next may change one of them."""
    told = {"norm": {"kind": "layernorm", "eps": 0.5}, "pattern.0.norm.eps": 0.25}
    before = two_layers()
    before["decoder"]["runs"][0]["pattern"][1]["norm"] = {"kind": "rmsnorm"}
    pattern = override(before, told)["decoder"]["runs"][0]["pattern"]
    assert [layer["norm"]["eps"] for layer in pattern] == [0.25, 0.5]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=6,
)


@examples(200)
@given(VALUES)
def test_a_value_is_read_as_it_was_written(value: Any):
    assert parse(inline_yaml(value).encode("utf-8", "surrogateescape")) == value


@pytest.mark.parametrize(
    "value", ["1e5", "1", "true", "null", "", " ", "a: b", "{", "<<", "=", "2024-01-01", "é", "x\ny"]
)
def test_text_stays_text(value: str):
    assert changes(as_settings({"title": value})) == {"title": value}


def test_a_path_in_words():
    path = ("decoder", "runs", 0, "pattern", 12, "norm")
    assert path_text(path) == "decoder.runs[0].pattern[12].norm"
    assert parse_path(path_text(path)) == path
