"""Documents decoded, encoded and overridden."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from archcalc import presets
from archcalc.errors import InputError
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.about import About
from archcalc.spec.document import decode, encode, flat_fields, override
from archcalc.spec.yaml_reader import parse
from tests.examples import examples
from tests.spec.documents import LAYER, changed, small
from tests.strategies import specs


@examples(50)
@given(specs())
def test_encoding_loses_nothing(spec: Spec):
    assert decode(encode(spec)) == spec


@examples(40)
@given(specs())
def test_what_is_encoded_is_json_and_survives_it(spec: Spec):
    assert decode(parse(msgspec.json.encode(encode(spec)))) == spec


@pytest.mark.parametrize("name", presets.names())
def test_presets_survive(name: str):
    spec = load(name)
    assert decode(encode(spec)) == spec


def test_defaults_are_left_out_and_kinds_kept():
    document = encode(decode(small()))
    layer = document["decoder"]["runs"][0]["pattern"][0]
    assert layer["norm"] == {"kind": "rmsnorm"}
    assert layer["ffn"] == {"kind": "gated", "d_ff": 64}
    assert "placement" not in layer
    assert set(document) == {"name", "vocab_size", "n_ctx", "d_model", "decoder"}


def test_flat_has_every_plain_value_by_its_path():
    found = flat_fields(decode(small()))
    assert found["d_model"] == 16
    assert found["decoder.runs.0.pattern.0.ffn.d_ff"] == 64
    assert found["decoder.runs.0.pattern.0.attention.position.kind"] == "rope"


def overridden(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return flat_fields(decode(override(document, {key.replace("__", "."): value for key, value in changes.items()})))


def difference(**changes: Any) -> dict[str, Any]:
    """What is other after overriding the small document."""
    before, after = flat_fields(decode(small())), overridden(small(), **changes)
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"vocab_size": 7}, {"vocab_size": 7}),
        ({"decoder__runs__0__count": 5}, {"decoder.runs.0.count": 5, "decoder.n_layers": 5}),
        ({"count": 5}, {"decoder.runs.0.count": 5, "decoder.n_layers": 5}),
        ({"d_ff": 48}, {f"{LAYER}.ffn.d_ff": 48}),
        ({"ffn__bias": True}, {f"{LAYER}.ffn.bias": True}),
        ({"position__d_rotary": 2}, {f"{LAYER}.attention.position.d_rotary": 2}),
        ({"head__tied": True}, {"head.tied": True}),
        ({"attention": {"window": 8}}, {f"{LAYER}.attention.window": 8}),
        ({"ffn": {"kind": "gated", "bias": True}}, {f"{LAYER}.ffn.bias": True}),
        ({"dropout__attention": 0.5}, {"dropout.attention": 0.5}),
        ({"dropout": {"ffn": 0.5}}, {"dropout.ffn": 0.5}),
        ({"final_norm": {"kind": "layernorm"}}, {
            "decoder.final_norm": None,  # was null, is a mapping
            "decoder.final_norm.kind": "layernorm",
            "decoder.final_norm.weight": True,
            "decoder.final_norm.bias": True,
            "decoder.final_norm.unit_offset": False,
            "decoder.final_norm.eps": 1e-5,
        }),
    ],
)  # fmt: skip
def test_what_an_override_changes(changes: dict[str, Any], expected: dict[str, Any]):
    found = difference(**changes)
    assert found == {key: value for key, value in expected.items() if value is not None or key in found}


def test_a_name_is_set_wherever_it_stands():
    document = small()
    document["decoder"]["runs"] *= 2
    after = overridden(document, d_ff=8)
    assert after["decoder.runs.0.pattern.0.ffn.d_ff"] == after["decoder.runs.1.pattern.0.ffn.d_ff"] == 8
    after = overridden(document, runs__1__pattern__0__ffn__d_ff=8)
    assert (after["decoder.runs.0.pattern.0.ffn.d_ff"], after["decoder.runs.1.pattern.0.ffn.d_ff"]) == (64, 8)


def test_a_field_of_the_root_is_set_there_alone():
    """The encoder of an encoder-decoder, not something called so deeper down."""
    after = overridden(small(), name="other")
    assert after["name"] == "other"
    assert after[f"{LAYER}.name"] is None


def test_another_kind_takes_the_place_of_the_old_one():
    after = overridden(small(), ffn={"kind": "plain", "d_ff": 8, "activation": "relu"})
    assert after[f"{LAYER}.ffn.kind"] == "plain"
    with pytest.raises(InputError, match="the required field 'activation' is missing"):
        overridden(small(), ffn={"kind": "plain", "d_ff": 8})


def test_a_list_takes_the_place_of_the_old_one():
    run = small()["decoder"]["runs"][0]
    after = overridden(small(), runs=[run, run | {"count": 3}])
    assert after["decoder.n_layers"] == 5


def test_overriding_leaves_the_document_as_it_was():
    document = small()
    override(document, {"d_ff": 8})
    assert document == small()


def test_an_override_starts_from_what_was_written_not_from_what_was_filled_in():
    """A d_head left out follows the new d_model."""
    after = overridden(small(), d_model=32)
    assert after[f"{LAYER}.attention.d_head"] == 8


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"there is no field 'd_f' \(did you mean 'd_ff'\?\)"):
        override(small(), {"d_f": 8})
    with pytest.raises(InputError, match=r"there is no field 'ffn\.dff' \(did you mean 'ffn\.d_ff'\?\)"):
        override(small(), {"ffn.dff": 1})
    with pytest.raises(InputError, match=r"ffn\.n_heads: there is no field 'ffn\.n_heads'"):
        override(small(), {"ffn.n_heads": 8})
    with pytest.raises(InputError, match="the key 3 is not text"):
        override(small(), {3: 8})


def test_a_base_is_changed_in_what_differs(tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text("base: tiny\nname: wide\nd_ff: 1024\ndecoder: {final_norm: {eps: 0.5}}")
    wide, tiny = flat_fields(load(path)), flat_fields(load("tiny"))
    changed_keys = {key for key in wide if wide[key] != tiny[key]} - {"about.title"}
    assert changed_keys == {"name", f"{LAYER}.ffn.d_ff", "decoder.final_norm.eps"}


def test_what_is_about_the_model_may_stand_at_the_top():
    loose = decode(
        changed(
            "title",
            "A",
        )
        | {"source": ["a", "b"], "note": "n"}
    )
    assert loose == decode(changed("about", {"title": "A", "source": ["a", "b"], "note": "n"}))
    assert loose.label == "A"
    assert flat_fields(decode(override(encode(loose), {"title": "B"})))["about.title"] == "B"
    assert decode(override(encode(loose), {"note": "m"})).about.sources == ("a", "b")
    with pytest.raises(InputError, match=r"title: also stated as about\.title"):
        decode(changed("about", {"title": "A"}) | {"title": "B"})


@pytest.mark.parametrize("key", ["about", "title"])
def test_what_is_about_a_base_is_not_inherited_but_for_its_sources(key, tmp_path):
    said = {"title": "A", "source": "p. 1", "note": "n", "provenance": {"assumed": ["x"]}}
    base = changed("about", said) if key == "about" else changed("title", "A") | said
    (tmp_path / "a.yaml").write_text(str(base))
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path}/a.yaml\nname: b")
    assert load(tmp_path / "b.yaml").about == About(source="p. 1")


def test_claims_are_not_inherited(tmp_path):
    claim = {"id": "a", "quantity": "total", "value": "1 B", "where": "p. 1", "verdict": "holds"}
    (tmp_path / "a.yaml").write_text(str(changed("claims", [claim])))
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path}/a.yaml\nn_ctx: 8")
    assert len(load(tmp_path / "a.yaml").about.claims) == 1
    assert load(tmp_path / "b.yaml").about.claims == ()
    assert load(tmp_path / "b.yaml").n_ctx == 8
