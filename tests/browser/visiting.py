"""What a visitor does on a page of the dashboard."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect


def settled(page: Page) -> None:
    """Wait until the page has been drawn to its end."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def visit(page: Page, path: str) -> None:
    """Open a page by its link."""
    page.goto(path)
    page.locator("h1").first.wait_for()
    settled(page)


def choose(page: Page, label: str, option: str) -> None:
    """Pick from a select box by typing, as a keyboard does."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.fill(option)
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def press(page: Page, name: str) -> None:
    """Press a button, or one of a row of choices."""
    page.get_by_role("button", name=name, exact=True).or_(
        page.get_by_role("radio", name=name, exact=True)
    ).first.click()
    settled(page)


def saved(page: Page, button: Locator) -> bytes:
    """The bytes of the file that a button saves."""
    with page.expect_download() as told:
        button.click()
    return Path(told.value.path()).read_bytes()
