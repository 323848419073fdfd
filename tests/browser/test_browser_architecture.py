"""The page of one architecture, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect

import archcalc
from archcalc.cli.main import cli
from tests.browser.visiting import choose, press, saved, settled, visit

pytestmark = pytest.mark.slow


def printed(*args: str) -> str:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 0, result.output
    return result.stdout


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_a_preset_shows_its_exact_total(page: Page) -> None:
    visit(page, "/?model=gpt2")
    choose(page, "Preset", "gpt3-175b")
    expect(page.get_by_text("174,604,259,328").first).to_be_visible()
    choose(page, "Preset", "llama-3-8b")
    expect(page.get_by_text("8,030,261,248").first).to_be_visible()
    assert state(page)["model"] == ["llama-3-8b"]
    page.reload()
    expect(page.get_by_text("8,030,261,248").first).to_be_visible()


def test_the_first_screen_is_the_answer_and_a_picture_and_nothing_is_changed(page: Page) -> None:
    visit(page, "/")
    expect(page.get_by_role("heading", name="GPT-3 175B has 174,604,259,328 parameters.")).to_be_in_viewport()
    expect(page.get_by_role("img", name="Where the parameters are")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("img", name="GPT-3 175B").last).to_be_in_viewport()
    expect(page.get_by_text("12·L·d² + C·d + 13·L·d + V·d + 2·d = 174,604,259,328")).to_be_visible()
    expect(page.get_by_role("textbox", name="Changed fields")).to_have_value("")
    assert urlsplit(page.url)[2:] == ("/", "", "")


def test_changed_fields_are_followed_and_told_where_they_are_wrong(page: Page) -> None:
    visit(page, "/?model=gpt3-175b")
    field = page.get_by_role("textbox", name="Changed fields")
    field.fill("n_layers=48")
    field.press("Enter")
    total = archcalc.report(archcalc.load("gpt3", {"n_layers": 48}))["params"]["total"]
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()
    field.fill("n_layer=48")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("n_layers")
    expect(field).to_have_value("n_layer=48")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("did you mean")


def test_a_pasted_spec_lives_in_the_link_and_its_fault_stands_beside_it(page: Page) -> None:
    visit(page, "/?from=text")
    area = page.get_by_role("textbox", name="A spec as YAML")
    area.fill("base: gpt2\nn_layers: [")
    area.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("line 3, column 1")
    area.fill("base: gpt2\nd_model: 770\n")
    area.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("d_head")
    expect(area).to_have_value("base: gpt2\nd_model: 770\n")
    area.fill("base: gpt2\nname: mine\nn_layers: 3\n")
    area.press("Control+Enter")
    total = archcalc.report(archcalc.load({"base": "gpt2", "name": "mine", "n_layers": 3}))["params"]["total"]
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()
    assert state(page)["yaml"] == ["base: gpt2\nname: mine\nn_layers: 3\n"]
    page.reload()
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()


def test_the_servers_files_are_no_visitors(page: Page) -> None:
    visit(page, "/?from=text&yaml=base:%20./presets/models/gpt2.yaml")
    expect(page.get_by_role("alert")).to_contain_text("expected the name of a preset")
    visit(page, "/?from=text&yaml=./presets/models/gpt2.yaml")
    expect(page.get_by_role("alert")).to_contain_text("expected a mapping")


def test_an_upload_stays_out_of_the_link_and_is_limited(page: Page, tmp_path: Path) -> None:
    spec, large = tmp_path / "mine.yaml", tmp_path / "large.yaml"
    spec.write_text("base: gpt2\nname: mine\nn_layers: 5\n")
    large.write_bytes(b"#" * (5 << 20))
    visit(page, "/?from=file")
    field = page.locator("input[type=file]")
    field.set_input_files(large)
    expect(page.get_by_text("must be 4.0MB or smaller")).to_be_visible()
    field.set_input_files(spec)
    total = archcalc.report(archcalc.load({"base": "gpt2", "name": "mine", "n_layers": 5}))["params"]["total"]
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()
    expect(page.get_by_text("not part of the link")).to_be_visible()
    assert set(state(page)) == {"from"}
    for name in ("Run", "Architecture"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()


def test_files_are_the_command_lines(page: Page) -> None:
    visit(page, "/?model=gpt2&set=n_layers%3D13")
    page.get_by_role("button", name="Export").click()
    whole = saved(page, page.get_by_role("button", name="Report (HTML)"))
    assert whole.decode() == printed("report", "gpt2", "--set", "n_layers=13", "--format", "html")
    data = saved(page, page.get_by_role("button", name="Report (JSON)"))
    assert json.loads(data) == archcalc.report(archcalc.load("gpt2", {"n_layers": 13}))
    spec = saved(page, page.get_by_role("button", name="Spec (YAML)"))
    assert archcalc.load(yaml.safe_load(spec)) == archcalc.load("gpt2", {"n_layers": 13})
    page.keyboard.press("Escape")
    press(page, "Weights")
    expect(page.get_by_role("heading", name="Weights")).to_be_visible()
    table = saved(page, page.get_by_role("button", name="CSV", exact=True).first)
    assert table.decode() == printed("report", "gpt2", "--set", "n_layers=13", "--view", "weights", "--format", "csv")


def test_the_proof_is_run_on_the_spot(page: Page) -> None:
    visit(page, "/?model=tiny&view=verify")
    page.get_by_role("button", name="Build the model on the meta device").click()
    expect(page.get_by_text("Equal: ")).to_be_visible()


def test_languages_and_views_are_in_the_link(page: Page) -> None:
    visit(page, "/")
    press(page, "Claims")
    press(page, "中文")
    expect(page.get_by_role("heading", name="架构")).to_be_visible()
    assert (state(page)["lang"], state(page)["view"]) == (["zh"], ["claims"])
    page.reload()
    settled(page)
    expect(page.get_by_role("radio", name="公开数字")).to_be_checked()


def test_visitors_do_not_see_each_other(browser: Browser, page: Page, address: str) -> None:
    visit(page, "/?model=gpt2")
    with browser.new_context(base_url=address) as other:
        second = other.new_page()
        visit(second, "/")
        choose(second, "Preset", "bert-base")
        settled(page)
        assert state(page)["model"] == ["gpt2"]
        expect(page.get_by_role("combobox", name="Preset")).to_have_value("gpt2")


def test_a_narrow_page_needs_no_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, "/")
    expect(page.get_by_text("174,604,259,328").first).to_be_visible()
    expect(page.get_by_role("img", name="Where the parameters are")).to_be_in_viewport()
    for shown in (".ac-headline", ".ac-map", ".ac-legend"):
        box = page.locator(shown).first.bounding_box()
        assert box
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_alone_will_do(page: Page) -> None:
    visit(page, "/")
    page.get_by_role("combobox", name="Preset").focus()
    page.keyboard.type("gpt2-xl")
    page.keyboard.press("Enter")
    total = archcalc.report(archcalc.load("gpt2-xl"))["params"]["total"]
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()


def test_address_with_port_taken_is_one_line(serve: Callable[..., str], address: str) -> None:
    result = CliRunner().invoke(cli, ["app", "--port", address.rpartition(":")[2], "--no-browser"])
    assert result.exit_code
    assert "cannot be served at" in result.output
