"""The page of one architecture: what visitors may bring, and that mistakes are told in one line."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import archcalc
from archcalc.dashboard.session import LINK_BYTES
from tests.dashboard.app import html, opened, printed, python

VIEWS = ("parameters", "map", "diagram", "weights", "layers", "formulas", "claims", "verify", "form")


def mistakes(at: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in at.error]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_opens_by_its_link(view: str) -> None:
    at = opened("architecture", model="t5-small", view=view)
    assert not at.error
    assert "60,506,624" in html(at)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base: gpt2\nn_layers: [", "line 3, column 1: not valid YAML"),
        ("./presets/models/gpt2.yaml", "found './presets/models/gpt2.yaml'; allowed: a mapping"),
        ("[gpt2]", "found a list; allowed: a mapping"),
        ("base: /etc/hostname", "base: found '/etc/hostname'; allowed: the name of a preset"),
        ("!!python/object/apply:os.system ['id']", "plain data without tags"),
        ("base: gpt2\nd_model: -1", "d_model: found -1; allowed: an integer from 1"),
        ('{"model_type": "nope"}', "model_type: found 'nope'"),
        ("base: gpt2\nn_layer: 3", "n_layer"),
    ],
)
def test_a_mistake_in_pasted_text_is_one_line_and_the_text_stays(text: str, told: str) -> None:
    at = opened("architecture", **{"from": "text", "yaml": text})
    (line,) = mistakes(at)
    assert told in line
    assert "\n" not in line
    assert at.text_area(key="yaml_text").value == text


def test_a_config_is_read_and_marked_up_names_are_only_names() -> None:
    at = opened("architecture", **{"from": "text", "yaml": '{"model_type": "gpt2"}'})
    assert f"{archcalc.report(archcalc.load({'model_type': 'gpt2'}))['params']['total']:,}" in html(at)
    at = opened("architecture", **{"from": "text", "yaml": "base: gpt2\nname: '<b>x</b>'\ntitle: '**y** $z$'"})
    assert at.markdown[0].value == r"**\*\*y\*\* \$z\$**"
    assert "<b>x</b>" not in html(at)


def test_long_text_stays_out_of_the_link_and_the_page_says_so() -> None:
    at = opened("architecture", **{"from": "text"})
    text = "base: gpt2\n" + "# a comment\n" * (LINK_BYTES // 12)
    at.text_area(key="yaml_text").set_value(text).run()
    assert not at.error
    assert "yaml" not in at.query_params
    assert any("4,096" in caption.value for caption in at.caption)


def test_changed_fields_are_those_of_the_command_line() -> None:
    at = opened("architecture", model="llama-3-8b", set="n_layers=16 ffn.d_ff=8192")
    line = next(code.value for code in at.code if code.value.startswith("archcalc"))
    assert line == "archcalc report llama-3-8b --set n_layers=16 --set ffn.d_ff=8192"
    expected: Any = archcalc.report(archcalc.load("llama-3-8b", {"n_layers": 16, "ffn.d_ff": 8192}))
    assert printed(line) == expected == python(at)
    assert f"{expected['params']['total']:,}" in html(at)


def test_an_unknown_preset_in_the_link_is_none() -> None:
    at = opened("architecture", model="../../etc/passwd", view="nothing", lang="xx")
    assert at.selectbox(key="model").value == "gpt3-175b"
    assert "174,604,259,328" in html(at)


def test_the_treemap_is_entered_and_left() -> None:
    at = opened("architecture", model="gpt2", view="map", into_0="attention")
    assert any("attention" in heading.value for heading in at.subheader)
    at = opened("architecture", model="gpt2", view="map", into_0="attention", into_1="layers.*.attn.q.weight")
    assert any("attn.q.weight" in heading.value.replace("\\", "") for heading in at.subheader)
