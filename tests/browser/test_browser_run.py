"""The page that runs a model, in a real browser: text streams, can be stopped, and belongs to one visitor."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, Page, expect

from tests.browser.visiting import settled, visit


def text(page: Page) -> str:
    """The text, in the first box of code that is not folded away."""
    return page.locator("[data-testid=stCode]:visible").first.inner_text()


def test_text_streams_and_keeps_what_was_there(page: Page) -> None:
    visit(page, "/run?run_max_tokens=200&run_seed=3")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    grown = "box => box.checkVisibility() && box.innerText.length > 40"
    page.wait_for_function(f"() => [...document.querySelectorAll('[data-testid=stCode]')].some({grown})")
    first = text(page)
    expect(page.get_by_role("heading", name="Token by token")).to_be_visible()
    settled(page)
    assert text(page).startswith(first)
    assert len(text(page)) > len(first)
    expect(page.get_by_text("(measured)").first).to_be_visible()
    assert page.locator(".ac-chip").count() > 50


def test_it_can_be_stopped(page: Page) -> None:
    visit(page, "/run?run_max_tokens=256&run_seed=3")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("button", name="Stop").click()
    settled(page)
    expect(page.get_by_text("stopped · ")).to_be_visible()
    n = int(page.get_by_text("stopped · ").inner_text().split("·")[1].split()[0])
    assert n < 256


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
