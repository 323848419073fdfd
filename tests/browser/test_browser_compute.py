"""The page of compute and memory, in a real browser."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

import archcalc
from archcalc.cli.main import cli
from tests.browser.visiting import press, saved, settled, visit

pytestmark = pytest.mark.slow


def forward(**sizes: int) -> str:
    return f"{archcalc.report(archcalc.load('llama-3-8b'), **sizes)['flops']['forward']:,}"


def test_a_slider_is_moved_by_keys_and_its_link_reopens_it(page: Page) -> None:
    visit(page, "/compute?model=llama-3-8b")
    expect(page.get_by_text(forward(seq=2048)).first).to_be_visible()
    slider = page.get_by_role("slider", name="Context (new tokens, seq), on a logarithmic scale")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.get_by_text(forward(seq=4096)).first).to_be_visible()
    number = page.get_by_role("spinbutton", name="Context (new tokens, seq)")
    expect(number).to_have_value("4096")
    number.fill("3000")
    number.press("Enter")
    expect(page.get_by_text(forward(seq=3000)).first).to_be_visible()
    settled(page)
    assert parse_qs(urlsplit(page.url).query)["compute_seq"] == ["3000"]
    page.reload()
    expect(page.get_by_text(forward(seq=3000)).first).to_be_visible()
    expect(number).to_have_value("3000")
    expect(slider).to_have_attribute("aria-valuetext", "3,000")


def test_a_training_step_is_shown_by_policy_and_saved_as_the_command_line_writes_it(page: Page) -> None:
    visit(page, "/compute?model=gpt2")
    press(page, "Training step")
    expect(page.get_by_text("memory of a training step, by recompute policy")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]").first.locator("canvas, svg").first).to_be_visible()
    found = CliRunner().invoke(cli, ["memory", "gpt2", "--train", "--format", "json"]).stdout
    expect(page.get_by_text(f"{json.loads(found)['peak']['bytes']:,}").first).to_be_visible()
    press(page, "FLOPs conventions")
    expect(page.get_by_text("Megatron", exact=True).first).to_be_visible()
    press(page, "Training memory")
    expect(page.get_by_text("From step to step, by component")).to_be_visible()
    settled(page)
    file = saved(page, page.locator(".st-key-save_gpt2-training-page-json button"))
    assert file.decode() == found


def test_what_cannot_be_stays_and_is_told_below(page: Page) -> None:
    visit(page, "/compute?model=gpt3-175b&compute_seq=4096")
    expect(page.get_by_role("alert")).to_contain_text("more than the table of positions has")
    expect(page.get_by_role("spinbutton", name="Context (new tokens, seq)")).to_have_value("4096")
