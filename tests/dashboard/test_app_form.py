"""The form, drawn and edited without a browser."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec.inspect as inspect
import pytest
from streamlit.testing.v1 import AppTest

from archcalc.dashboard.form import kinds, lists, parts
from archcalc.dashboard.form.faults import fault_of
from archcalc.sources import document_of
from archcalc.spec.differences import differences
from archcalc.spec.document import Document, decode
from archcalc.spec.field_types import Path, member_types, path_text, spec_type, value_at, with_defaults

LAYER: Path = ("decoder", "runs", 0, "pattern", 0)
PRESETS = ("gpt3", "deepseek-v3", "gemma-2-9b", "t5-small", "bert-base", "gpt-oss-20b")


def run_form() -> None:
    import streamlit as st

    from archcalc.dashboard.form import draw_form

    def changed(document: dict) -> None:
        st.session_state["changed"] = document

    st.session_state["result"] = draw_form(st.session_state["input"], "f", on_change=changed)


def open_form(document: Document, section: str = "") -> AppTest:
    at = AppTest.from_function(run_form, default_timeout=600)
    at.session_state["input"] = document
    at.run()
    return open_section(at, section) if section else at


def open_section(at: AppTest, section: str) -> AppTest:
    at.segmented_control(key="f..#").set_value(section).run()
    assert not at.exception
    return at


def result(at: AppTest) -> Document:
    assert not at.exception
    document: Document = at.session_state["result"]
    return document


def key(*path: str | int) -> str:
    return f"f.{path_text(path)}"


def widgets(at: AppTest) -> set[str]:
    drawn = (at.number_input, at.text_input, at.text_area, at.toggle, at.selectbox)
    return {str(widget.key) for widget in (widget for each in drawn for widget in each)}


def messages(at: AppTest) -> list[str]:
    return [text.value for text in at.markdown if ":red[" in text.value]


def fields_of(kind: inspect.Type, value: Any, path: Path) -> set[str]:
    """The places of all fields within a part, read from its types; the first item of each list."""
    own = set()
    for member in member_types(kind):
        if (
            isinstance(member, inspect.VarTupleType)
            and isinstance(value, list)
            and value
            and isinstance(value[0], dict)
        ):
            own |= fields_of(member.item_type, value[0], (*path, 0))
        elif isinstance(member, inspect.StructType) and isinstance(value, dict):
            if member.tag_field and value[member.tag_field] != member.tag:
                continue
            for field in filter(parts.is_editable, member.fields):
                here, inner = (*path, field.name), value[field.name]
                is_single = len(member_types(field.type)) == 1 and isinstance(field.type, inspect.StructType)
                own |= fields_of(field.type, inner, here)
                own |= set() if parts.has_list(field) or is_single else {key(*here)}
    return own


@pytest.mark.parametrize("preset", PRESETS)
def test_every_field_has_its_widget(preset: str) -> None:
    document = with_defaults(document_of(preset))
    at = open_form(document_of(preset))
    spec = spec_type()
    assert isinstance(spec, inspect.StructType)
    plain = {field.name for field in spec.fields if parts.is_plain(field)}
    assert widgets(at) == {key(field) for field in plain}
    for field in (field for field in spec.fields if parts.has_part(field)):
        chooser = {key(field.name)} if len(member_types(field.type)) > 1 else set()
        assert widgets(open_section(at, field.name)) == chooser | fields_of(
            field.type, document[field.name], (field.name,)
        ), field.name
    assert result(at) == document


def test_a_change_calls_on_change() -> None:
    at = open_form(document_of("gpt3"), "decoder")
    at.number_input(key=key("decoder", "n_layers")).set_value(48).run()
    assert differences(document_of("gpt3"), result(at)) == {"n_layers": 48}
    assert at.session_state["changed"] == result(at)
    assert messages(at) == []


def test_edits_survive_other_sections_and_reruns() -> None:
    """The caller may give back what it was given, or what it gave at first; another document starts anew."""
    at = open_form(document_of("gpt3"), "decoder")
    at.number_input(key=key("decoder", "n_layers")).set_value(48).run()
    open_section(at, "head").toggle(key=key("head", "bias")).set_value(True).run()
    assert open_section(at, "decoder").number_input(key=key("decoder", "n_layers")).value == 48
    expected = {"n_layers": 48, "head.bias": True}
    assert differences(document_of("gpt3"), result(at)) == expected
    at.session_state["input"] = copy.deepcopy(result(at))
    assert differences(document_of("gpt3"), result(at.run())) == expected
    at.session_state["input"] = document_of("t5-small")
    assert result(at.run()) == with_defaults(document_of("t5-small"))
    assert at.number_input(key=key("decoder", "n_layers")).value == 6


@pytest.mark.parametrize(
    ("preset", "section", "path", "value", "message"),
    [
        ("gpt3", "", ("n_ctx",), 0, "found 0; expected an integer from 1 to 4294967296"),
        ("gpt3", "decoder", (*LAYER, "attention", "n_kv_heads"), 7, "7 does not divide n_heads 96"),
        ("gpt3", "decoder", ("decoder", "n_layers"), None, "neither n_layers nor the 'count' of a run is stated"),
        ("gpt3", "dropout", ("dropout", "ffn"), 1.0, "found 1.0; expected a number ≥ 0 and < 1"),
        ("deepseek-v3", "decoder", ("decoder", "runs", 0, "count"), 61, "61, but the runs with a 'count' have 61"),
        ("deepseek-v3", "decoder", (*LAYER, "attention", "kv_rank"), 2**40, "found 1099511627776"),
    ],
)
def test_a_fault_is_shown_after_its_field(preset: str, section: str, path: Path, value: Any, message: str) -> None:
    at = open_form(document_of(preset), section)
    at.number_input(key=key(*path)).set_value(value).run()
    (fault,) = messages(at)
    assert message in fault.replace("\\", "")
    assert at.number_input(key=key(*path)).value == value
    assert value_at(result(at), path) == value
    place = ("decoder", "n_layers") if path[-1] == "count" else path
    assert _before(at, fault) == key(*place)


def _before(at: AppTest, text: str) -> str:
    """The key of the widget that stands before a text."""
    last = ""
    for element in at.main:
        if getattr(element, "value", None) == text:
            return last
        last = getattr(element, "key", None) or last
    raise AssertionError(f"{text} is not drawn")


def test_an_invalid_name_is_kept_with_its_fault() -> None:
    at = open_form(document_of("deepseek-v3"), "decoder")
    at.text_input(key=key(*LAYER, "name")).set_value("Two Words").run()
    (fault,) = messages(at)
    assert "found 'Two Words'" in fault.replace("\\", "")
    assert at.text_input(key=key(*LAYER, "name")).value == "Two Words"
    at.text_input(key=key(*LAYER, "name")).set_value("").run()
    assert messages(at) == []
    assert value_at(result(at), LAYER)["name"] is None


def test_a_hidden_fault_is_shown_at_the_top_with_a_button() -> None:
    document = with_defaults(document_of("gemma-2-9b"))
    document["decoder"]["runs"][0]["pattern"][1]["attention"]["n_heads"] = 7
    at = open_form(document)
    (fault,) = messages(at)
    assert "decoder.runs[0].pattern[1].attention.n_kv_heads: 8 does not divide" in fault.replace("\\", "")
    options = at.segmented_control(key="f..#").proto.options
    assert [(option.content, option.content_icon) for option in options if option.content_icon] == [
        ("decoder", ":material/error:")
    ]
    at.button(key="f.go").click().run()
    assert at.segmented_control(key="f..#").value == "decoder"
    assert _before(at, *messages(at)) == key("decoder", "runs", 0, "pattern", 1, "attention", "n_kv_heads")


def test_a_value_of_a_wrong_type_can_be_edited() -> None:
    document = document_of("gpt3") | {"d_model": "wide", "head": 3}
    at = open_form(document)
    assert at.text_input(key=key("d_model")).value == "wide"
    at.text_input(key=key("d_model")).set_value("768").run()
    assert result(at)["d_model"] == 768
    assert at.number_input(key=key("d_model")).value == 768
    at.button(key="f.go").click().run()
    at.text_input(key=key("head")).set_value("{tied: true}").run()
    assert decode(result(at)).head.tied


def test_a_missing_required_field_has_a_widget_and_a_fault() -> None:
    document = document_of("gpt3")
    del document["d_model"]
    at = open_form(document)
    assert _before(at, *messages(at)) == key("d_model")
    at.number_input(key=key("d_model")).set_value(768).run()
    assert messages(at) == []


def test_a_replaced_part_is_restored_with_its_kind() -> None:
    at = open_form(document_of("gpt3"), "decoder")
    before = result(at)
    at.selectbox(key=key(*LAYER, "attention")).set_value("mla").run()
    assert messages(at) == []
    assert value_at(result(at), LAYER)["attention"]["n_heads"] == 96
    at.number_input(key=key(*LAYER, "attention", "kv_rank")).set_value(100).run()
    at.selectbox(key=key(*LAYER, "attention")).set_value("gqa").run()
    assert result(at) == before
    at.selectbox(key=key(*LAYER, "attention")).set_value("mla").run()
    assert value_at(result(at), LAYER)["attention"]["kv_rank"] == 100


def test_runs_are_added_moved_and_removed() -> None:
    at = open_form(document_of("deepseek-v3"), "decoder")
    before = result(at)
    runs = ("decoder", "runs")
    at.button(key=f"{key(*runs, 0)}.down").click().run()
    assert result(at)["decoder"]["runs"] == before["decoder"]["runs"][::-1]
    assert at.number_input(key=key(*runs, 1, "count")).value == 3
    at.button(key=f"{key(*runs, 1)}.up").click().run()
    assert result(at) == before
    at.button(key=f"{key(*runs, 0)}.double").click().run()
    assert [run["count"] for run in result(at)["decoder"]["runs"]] == [3, 1, None]
    at.button(key=f"{key(*runs, 1)}.add").click().run()
    assert [run["count"] for run in result(at)["decoder"]["runs"]] == [3, 1, None, 1]
    assert messages(at) == []
    for _ in range(3):
        at.button(key=f"{key(*runs, at.segmented_control(key=f'{key(*runs)}.#').value)}.remove").click().run()
    assert [run["count"] for run in result(at)["decoder"]["runs"]] == [3]
    assert decode(result(at)).decoder.n_layers == 3


def test_help_is_translated() -> None:
    at = open_form(document_of("gpt3"))
    at.session_state["lang"] = "zh"
    at.run()
    assert at.number_input(key=key("vocab_size")).help == "词表中的词元数，即词元表的行数"
    assert at.number_input(key=key("vocab_size")).label == "vocab_size"


def choices(document: Document) -> list[tuple[Path, str]]:
    """Every place that may be of another kind, with each of the kinds."""
    from archcalc.dashboard.form.document_paths import walk

    return [
        (path, kind)
        for path, type_, _ in walk(document)
        if path and path[0] != "about" and any(isinstance(member, inspect.StructType) for member in member_types(type_))
        for kind in kinds.part_types(type_)
    ]


# What leaves nothing of a model, or a part that nobody reads, or contradicts what another part says, only the visitor
# can make good.
_UNMENDED = (
    "neither an encoder nor a decoder",
    "no layer attends to the encoder",
    "the required field 'norm' is missing",
    "no head uses it",
    "hyper-connections have no norm after the sum",
    "a stream that is set aside has no norm after the sum",
    "applies only to a head that scores the vocabulary",
    "a decoder does not read the whole text at once",
    "selection and an indexer of kind shared require each other",
    "8, but relative positions are keys of every head",
    "layers read it, but there is none; expected a per-layer embedding",
    "padding would change how far the text is from the soft prompt",
)


@pytest.mark.parametrize("preset", PRESETS)
def test_changing_a_kind_gives_a_valid_spec_if_possible(preset: str) -> None:
    document = with_defaults(document_of(preset))
    wrong = [(place, why) for place in choices(document) if (why := fault_of(kinds.switch_kind(document, *place)))]
    assert wrong
    assert all(why.message.startswith(_UNMENDED) for _, why in wrong)


def test_a_new_part_keeps_common_fields_and_derives_the_others() -> None:
    document = with_defaults(document_of("deepseek-v3"))
    changed = value_at(kinds.switch_kind(document, (*LAYER, "ffn"), "moe"), (*LAYER, "ffn"))
    assert changed == value_at(document, ("decoder", "runs", 1, "pattern", 0, "ffn"))
    plain = value_at(kinds.switch_kind(document, (*LAYER, "ffn"), "plain"), (*LAYER, "ffn"))
    bare = {"bias": False, "down_bias": None, "down_norm": None, "up_block": None, "down_block": None}
    assert plain == {"kind": "plain", "d_ff": 18432, "activation": "silu"} | bare


def test_cross_attention_is_added_and_removed_with_the_encoder() -> None:
    document = with_defaults(document_of("gpt3"))
    both = kinds.switch_kind(document, ("encoder",), "Stack")
    spec = decode(both)
    assert spec.family == "encoder-decoder"
    assert spec.decoder.runs[0].pattern[0].cross.n_heads == 96
    assert kinds.switch_kind(both, ("encoder",), "none") == document


def test_a_new_stack_is_complete() -> None:
    document = {"name": "x", "vocab_size": 7, "n_ctx": 5, "d_model": 48, "decoder": None, "encoder": None}
    spec = decode(kinds.switch_kind(with_defaults(document), ("decoder",), "Stack"))
    assert spec.decoder.runs[0].pattern[0].attention.n_heads == 3


@pytest.mark.parametrize("change", [lists.duplicate_item, lists.remove_item, lists.append_item])
def test_a_list_is_changed_without_mutation(change: Callable[[Document, Path], Document]) -> None:
    document = with_defaults(document_of("gemma-2-9b"))
    before = copy.deepcopy(document)
    n_before, n_after = 2, {lists.remove_item: 1}.get(change, 3)
    changed = change(document, (*LAYER[:-1], 0))
    assert document == before
    assert len(value_at(before, LAYER[:-1])) == n_before
    assert len(decode(changed).decoder.runs[0].pattern) == n_after
