"""The page Architecture: input of visitors, errors, headline, views."""

from __future__ import annotations

import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import archcalc
from archcalc.analysis.closed_form import closed_form
from archcalc.analysis.row_names import path_pattern
from archcalc.dashboard.overview import formula_lines
from archcalc.dashboard.session import LINK_BYTES
from archcalc.ledger.build import build
from tests.dashboard.app import html, json_output, open_page, python_result

VIEWS = ("overview", "map", "diagram", "weights", "layers", "formulas", "claims", "verify", "form")


def error_lines(at: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in at.error]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_opens_by_its_url(view: str) -> None:
    at = open_page("architecture", model="t5-small", view=view)
    assert not at.error
    assert "60,506,624" in html(at)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: gpt2\nn_layers: [", "line 3, column 1: not valid YAML"),
        ("./presets/models/gpt2.yaml", "found './presets/models/gpt2.yaml'; expected a mapping"),
        ("[gpt2]", "found a list; expected a mapping"),
        ("base: /etc/hostname", "base: found '/etc/hostname'; expected the name of a preset"),
        ("!!python/object/apply:os.system ['id']", "plain data without tags"),
        ("base: gpt2\nd_model: -1", "d_model: found -1; expected an integer from 1"),
        ('{"model_type": "nope"}', "model_type: found 'nope'"),
        ("base: gpt2\nn_layer: 3", "n_layer"),
    ],
)
def test_an_error_in_pasted_text_is_one_line_and_keeps_the_text(text: str, message: str) -> None:
    at = open_page("architecture", **{"from": "text", "yaml": text})
    (line,) = error_lines(at)
    assert message in line
    assert "\n" not in line
    assert at.text_area(key="yaml_text").value == text


def headline_rows(at: AppTest) -> dict[str, tuple[str, str]]:
    """Return the rows of the headline: label → number and details."""
    return {
        label: (number, details)
        for label, number, details in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd><dd>(.*?)</dd>", html(at))
    }


def test_the_headline_has_the_total_and_its_costs() -> None:
    at = open_page("architecture")
    assert "<h2>GPT-3 175B has <strong>174,604,259,328</strong> parameters.</h2>" in html(at)
    assert headline_rows(at) == {
        "Active per token": ("174,604,259,328", "parameters · all of them · exact"),
        "Weights in bf16": ("349,208,518,656", "bytes · 349.2 GB (325.2 GiB) · exact"),
        "KV cache of 2,048 tokens": ("9,663,676,416", "bytes · 9.664 GB (9.000 GiB) · exact"),
        "Forward pass over 2,048 tokens": ("734,804,261,732,352", "FLOPs · 734.8 T · exact"),
    }


def test_the_headline_of_a_mixture_an_encoder_and_an_encoder_decoder() -> None:
    lines = headline_rows(open_page("architecture", model="deepseek-v3"))
    assert lines["Active per token"] == ("37,552,282,624", "parameters · 5.60 % · exact")
    assert not any("cache" in label for label in headline_rows(open_page("architecture", model="bert-base")))
    assert "Forward pass over 512 source and 512 target tokens" in headline_rows(
        open_page("architecture", model="t5-small")
    )


def test_the_headline_is_translated() -> None:
    at = open_page("architecture", model="gpt2", lang="zh")
    assert "<h2>GPT-2 Small 共有 <strong>124,439,808</strong> 个参数。</h2>" in html(at)
    assert list(headline_rows(at)) == [
        "每个词元激活",
        "权重（bf16）",
        "KV 缓存（1,024 个词元）",
        "前向计算（1,024 个词元）",
    ]


def test_the_first_page_has_no_changed_fields() -> None:
    at = open_page("architecture")
    assert at.text_input(key="set").value == ""
    assert not at.query_params


@pytest.mark.parametrize("view", VIEWS[1:])
def test_a_view_changes_no_field(view: str) -> None:
    at = open_page("architecture", view=view)
    assert at.text_input(key="set").value == ""
    assert set(at.query_params) == {"view"}
    assert "174,604,259,328" in html(at)


@pytest.mark.parametrize("model", ["gpt3-175b", "deepseek-v3", "t5-small", "bert-base"])
def test_the_overview_shows_every_weight_and_component(model: str) -> None:
    at, ledger = open_page("architecture", model=model), build(archcalc.load(model))
    tiles = dict(re.findall(r'%;background-color:#\w+" title="(.*?): ([\d,]+) = ', html(at)))
    rows = {path_pattern(row.path): row.total for row in ledger.counted_rows}
    assert set(tiles) == {name for name, total in rows.items() if total > ledger.total() / 1e6}
    assert all(int(tiles[name].replace(",", "")) == rows[name] for name in tiles)
    shares = re.findall(r'<li title="([\d,]+)"><i ', html(at))
    assert sum(int(share.replace(",", "")) for share in shares) == ledger.total()
    assert "data:image/svg+xml;base64," in html(at)


def test_a_short_closed_form_is_one_line_and_equals_the_total() -> None:
    line = "12·L·d² + C·d + 13·L·d + V·d + 2·d = 174,604,259,328"
    page = html(open_page("architecture"))
    assert page.count(line) == 1
    assert "<li>L = n_layers = 96</li><li>d = d_model = 12,288</li>" in page
    assert "<li>with n_kv_heads = n_heads, n_heads·d_head = d_model, d_ff = 4·d_model</li>" in page
    (formula, *_), sizes = (
        formula_lines(closed_form(build(archcalc.load("gpt3")))),
        {"L": 96, "d": 12288, "C": 2048, "V": 50257},
    )
    product, _, total = formula.replace("·", "*").replace("²", "**2").replace(",", "").partition(" = ")
    assert eval(product, sizes) == int(total)  # noqa: S307


def test_a_long_closed_form_has_a_line_per_kind_of_layer() -> None:
    lines = formula_lines(closed_form(build(archcalc.load("deepseek-v3"))))
    assert lines[-2:] == ["= 656,569,532,416 + 1,189,085,184 + 11,414,421,504 + 1,853,365,248", "= 671,026,404,352"]
    page = html(open_page("architecture", model="deepseek-v3"))
    assert "\n".join(lines) in page.replace("<wbr>", "")
    assert "d_model·<wbr>n_layers[moe]·<wbr>(3·<wbr>n_experts·<wbr>d_expert + 3·n_shared·d_shared" in page


def test_a_config_is_read_and_names_are_escaped() -> None:
    at = open_page("architecture", **{"from": "text", "yaml": '{"model_type": "gpt2"}'})
    assert f"{archcalc.report(archcalc.load({'model_type': 'gpt2'}))['params']['total']:,}" in html(at)
    at = open_page("architecture", **{"from": "text", "yaml": "base: gpt2\nname: '<b>x</b>'\ntitle: '**y** <i>z</i>'"})
    assert "<h2>**y** &lt;i&gt;z&lt;/i&gt; has <strong>124,439,808</strong> parameters.</h2>" in html(at)
    assert "<b>x</b>" not in html(at)
    assert "<i>z</i>" not in html(at)


def test_a_long_text_is_not_in_the_url_and_a_note_says_so() -> None:
    at = open_page("architecture", **{"from": "text"})
    text = "base: gpt2\n" + "# a comment\n" * (LINK_BYTES // 12)
    at.text_area(key="yaml_text").set_value(text).run()
    assert not at.error
    assert "yaml" not in at.query_params
    assert any("4,096" in caption.value for caption in at.caption)


def test_changed_fields_equal_those_of_the_command_line() -> None:
    at = open_page("architecture", model="llama-3-8b", set="n_layers=16 ffn.d_ff=8192")
    line = next(code.value for code in at.code if code.value.startswith("archcalc"))
    assert line == "archcalc report llama-3-8b --set n_layers=16 --set ffn.d_ff=8192"
    expected: Any = archcalc.report(archcalc.load("llama-3-8b", {"n_layers": 16, "ffn.d_ff": 8192}))
    assert json_output(line) == expected == python_result(at)
    assert f"{expected['params']['total']:,}" in html(at)


def test_unknown_values_in_the_url_fall_back_to_the_defaults() -> None:
    at = open_page("architecture", model="../../etc/passwd", view="nothing", lang="xx")
    assert at.selectbox(key="model").value == "gpt3-175b"
    assert "174,604,259,328" in html(at)


def test_the_treemap_zooms_by_the_url() -> None:
    at = open_page("architecture", model="gpt2", view="map", into_0="attention")
    assert any("attention" in heading.value for heading in at.subheader)
    at = open_page("architecture", model="gpt2", view="map", into_0="attention", into_1="layers.*.attn.q.weight")
    assert any("attn.q.weight" in heading.value.replace("\\", "") for heading in at.subheader)
