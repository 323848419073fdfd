"""The page that runs a model, in a real browser: text streams, can be stopped, and belongs to one visitor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

import archcalc
from archcalc import presets
from archcalc.checkpoint import native
from tests.browser.visiting import settled, visit

pytestmark = pytest.mark.slow

# A box of code in sight with more than the prompt in it.
GROWN = "box => box.checkVisibility() && box.innerText.length > 40"


def text(page: Page) -> str:
    """The text, in the first box of code that is not folded away."""
    return page.locator("[data-testid=stCode]:visible").first.inner_text()


def test_text_streams_and_keeps_what_was_there(page: Page) -> None:
    visit(page, "/run?run_max_tokens=200&run_seed=3")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_function(f"() => [...document.querySelectorAll('[data-testid=stCode]')].some({GROWN})")
    first = text(page)
    expect(page.get_by_role("heading", name="Token by token")).to_be_visible()
    settled(page)
    assert text(page).startswith(first)  # that it was shown before the end is seen below, where it is stopped
    expect(page.get_by_text("(measured)").first).to_be_visible()
    assert page.locator(".ac-chip").count() > 50


@pytest.fixture(scope="module")
def slow(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dashboard with a model that is some seconds at work: tiny's tokens, random weights of 60 M parameters."""
    folder, tiny = tmp_path_factory.mktemp("models"), Path(str(presets.weights_path("tiny")))
    spec = archcalc.load("tiny", {"name": "slow", "d_model": 768, "n_layers": 8, "d_head": 192, "d_ff": 3072})
    model = archcalc.random_model(spec)  # whose text is the same in every run
    native.write(
        folder / "slow", native.file_contents(model, spec) | {"tokenizer.json": (tiny / "tokenizer.json").read_bytes()}
    )
    return serve("--models", str(folder))


def test_it_can_be_stopped(page: Page, slow: str) -> None:
    visit(page, f"{slow}/run?run_model=slow&run_max_tokens=256&run_seed=3")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function(f"() => [...document.querySelectorAll('[data-testid=stCode]')].some({GROWN})")
    page.get_by_role("button", name="Stop").click()
    told = page.get_by_text("stopped · ")
    expect(told).to_be_visible()
    assert int(told.inner_text().split("·")[1].split()[0]) < 256
    before = text(page)
    settled(page)
    assert text(page) == before


def test_the_link_opens_the_same_again(page: Page) -> None:
    visit(page, "/run")
    area = page.get_by_role("textbox", name="Prompt")
    area.fill("And it came\nto pass")
    area.press("Control+Enter")
    settled(page)
    page.get_by_role("slider", name="Temperature").focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    page.wait_for_function("() => location.search.includes('run_temperature')")
    query = parse_qs(urlsplit(page.url).query)
    assert query["run_prompt"] == ["And it came\nto pass"]
    page.reload()
    settled(page)
    expect(area).to_have_value("And it came\nto pass")
    expect(page.get_by_role("slider", name="Temperature")).to_have_value("0.85")


def test_visitors_run_side_by_side(browser: Browser, page: Page, address: str) -> None:
    with browser.new_context(base_url=address) as other:
        second = other.new_page()
        for one, prompt in ((page, "And the king"), (second, "In those days")):
            visit(one, f"/run?run_max_tokens=30&run_prompt={prompt}")
        for one in (page, second):
            one.get_by_role("button", name="Generate").click()
        for one, prompt in ((page, "And the king"), (second, "In those days")):
            expect(one.get_by_role("heading", name="Token by token")).to_be_visible()
            assert text(one).startswith(prompt)
