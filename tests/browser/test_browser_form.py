"""The form that builds an architecture, in a real browser."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

import archcalc
from tests.browser.visiting import press, settled, visit

pytestmark = pytest.mark.slow


def test_a_field_changes_the_figures_and_is_in_the_link(page: Page) -> None:
    visit(page, "/?model=gpt2&view=form")
    field = page.get_by_role("spinbutton", name="d_model", exact=True)
    field.fill("1536")
    field.press("Enter")
    expect(page.get_by_role("textbox", name="Changed fields")).to_have_value("d_model=1536")
    expect(page.get_by_role("alert")).to_have_count(0)
    settled(page)
    assert parse_qs(urlsplit(page.url).query)["set"] == ["d_model=1536"]
    total = archcalc.report(archcalc.load("gpt2", {"d_model": 1536}))["params"]["total"]
    expect(page.get_by_text(f"{total:,}").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("spinbutton", name="d_model", exact=True)).to_have_value("1536")


def test_a_mistake_stands_beside_its_field_and_can_be_mended(page: Page) -> None:
    visit(page, "/?model=gpt2&view=form&set=d_head%3Dnull")
    field = page.get_by_role("spinbutton", name="d_model", exact=True)
    field.fill("770")
    field.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("not divisible by n_heads")
    expect(field).to_have_value("770")
    field.fill("780")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    press(page, "Overview")
    expect(page.get_by_role("heading", name="Totals")).to_be_visible()
