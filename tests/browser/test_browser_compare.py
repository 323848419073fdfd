"""The page that compares, in a real browser."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

from archcalc.cli.main import cli
from tests.browser.visiting import press, saved, settled, visit

pytestmark = pytest.mark.slow


def test_models_are_added_by_keys_and_the_table_is_the_command_lines(page: Page) -> None:
    visit(page, "/compare?compare_models=llama-3-8b")
    expect(page.get_by_role("columnheader", name="llama-3-8b")).to_be_visible()
    box = page.get_by_role("combobox", name="Presets to compare")
    box.fill("qwen3-8b")
    box.press("Enter")
    box.press("Escape")
    expect(page.get_by_role("columnheader", name="qwen3-8b")).to_be_visible()
    settled(page)
    page.reload()
    expect(page.get_by_role("columnheader", name="qwen3-8b")).to_be_visible()
    settled(page)
    printed = CliRunner().invoke(cli, ["compare", "gpt3-175b", "llama-3-8b", "qwen3-8b", "--format", "csv"]).stdout
    assert saved(page, page.locator(".st-key-save_compare-page-csv button")).decode() == printed


def test_two_of_them_differ_as_the_command_line_says(page: Page) -> None:
    visit(page, "/compare?compare_models=llama-3-8b&compare_models=mistral-7b&compare_view=diff")
    for side, name in (("From", "llama-3-8b"), ("To", "mistral-7b")):
        box = page.get_by_role("combobox", name=side, exact=True)
        box.fill(name)
        box.press("Enter")
        box.press("Escape")
        expect(page.get_by_role("columnheader", name=name).first).to_be_visible()
    expect(page.get_by_role("columnheader", name="gpt3-175b")).to_have_count(0)
    settled(page)
    printed = CliRunner().invoke(cli, ["diff", "llama-3-8b", "mistral-7b", "--format", "json"]).stdout
    assert saved(page, page.locator(".st-key-save_diff-page-json button")).decode() == printed


def test_bars_change_their_scale(page: Page) -> None:
    visit(page, "/compare")
    press(page, "Bars")
    press(page, "Logarithmic")
    expect(page.locator("[data-testid=stVegaLiteChart]").locator("canvas, svg").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("radio", name="Logarithmic")).to_be_checked()
