"""The page that steps through a forward pass, in a real browser."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

from archcalc.cli.main import cli
from tests.browser.visiting import press, saved, visit

pytestmark = pytest.mark.slow


def test_stepping_shows_the_printed_numbers_and_a_reload_the_same_step(page: Page) -> None:
    visit(page, "/trace?trace_stage=10")
    expect(page.get_by_role("heading", name="layers.0.attn.pattern").first).to_be_visible()
    expect(page.get_by_role("cell", name="0.6000").first).to_be_visible()
    press(page, "Next")
    expect(page.get_by_role("heading", name="layers.0.attn.values").first).to_be_visible()
    expect(page.get_by_role("cell", name="1.2000").first).to_be_visible()
    assert "trace_stage=11" in page.url
    page.reload()
    expect(page.get_by_role("heading", name="layers.0.attn.values").first).to_be_visible()
    press(page, "Previous")
    expect(page.get_by_role("heading", name="layers.0.attn.pattern").first).to_be_visible()


def test_the_slider_steps_by_keyboard(page: Page) -> None:
    visit(page, "/trace?trace_stage=4")
    page.get_by_role("slider", name="Step, of 26").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="layers.0.resid_pre").first).to_be_visible()


def test_the_mask_is_said_and_the_softmax_taken_apart(page: Page) -> None:
    visit(page, "/trace?trace_view=attention&trace_query=1")
    expect(page.get_by_text("Masked: 2 很.")).to_be_visible()
    expect(page.get_by_text("hatched: masked").first).to_be_visible()
    table = page.get_by_role("region", name="Softmax step by step: layers.0.attn, head 0, query 1")
    expect(table.get_by_role("row", name="masked(x)")).to_contain_text("−∞ (masked)")
    expect(table.get_by_role("row", name="divided")).to_contain_text("0.8163")


def test_the_saved_page_is_the_command_lines(page: Page) -> None:
    visit(page, "/trace?lang=zh")
    whole = CliRunner().invoke(cli, ["trace", "happy", "--lang", "zh", "--format", "html"]).stdout
    assert saved(page, page.get_by_role("button", name="HTML", exact=True).last) == whole.encode()


def test_a_mistake_is_told_and_nothing_typed_is_lost(page: Page) -> None:
    visit(page, "/trace?trace_ids=0,9")
    expect(page.get_by_text("prompt: found id 9; expected 1 to 4 ids from 0 to 4")).to_be_visible()
    expect(page.get_by_role("textbox", name="Or token ids")).to_have_value("0,9")
