"""What a visitor does on a page of the dashboard."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page

# Whether the page has been drawn to its end and stayed so: what was just pressed may not have reached the server yet.
_STAYS_QUIET = """milliseconds => {
    const app = document.querySelector('[data-testid=stApp]');
    const quiet = app?.dataset.testScriptState === 'notRunning' && !document.querySelector('[data-stale=true]');
    window.quietSince = quiet ? window.quietSince ?? performance.now() : null;
    return quiet && performance.now() - window.quietSince > milliseconds;
}"""
QUIET_MILLISECONDS = 300


def settled(page: Page) -> None:
    """Wait until the page has been drawn to its end."""
    page.evaluate("() => { window.quietSince = null }")
    page.wait_for_function(_STAYS_QUIET, arg=QUIET_MILLISECONDS)


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
