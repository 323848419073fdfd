"""A served dashboard and a real browser, one of each for a test process."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 180

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("no chromium on this machine, which the dashboard's tests need")
    return found


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts the dashboard with further options; gives its address. Ended with the tests."""
    begun: list[subprocess.Popen[bytes]] = []

    def started(*options: str) -> str:
        port = free_port()
        log = tmp_path_factory.mktemp("app") / "log"
        call = [sys.executable, "-m", "archcalc", "app", "--port", str(port), "--no-browser", *options]
        with log.open("wb") as out:
            begun.append(subprocess.Popen(call, stdout=out, stderr=out, cwd=ROOT))  # noqa: S603 - our own command
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                with urlopen(f"http://localhost:{port}/_stcore/health"):
                    return f"http://localhost:{port}"
            except (URLError, ConnectionError):
                assert begun[-1].poll() is None, log.read_text()
                time.sleep(0.2)
        raise AssertionError(log.read_text())

    yield started
    for process in begun:
        process.terminate()
    for process in begun:
        process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def address(serve: Callable[..., str], browser: Browser) -> str:
    """The served dashboard's address, its pages imported: the first visitor of all would wait for torch."""
    return serve()


@pytest.fixture
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    made = browser.new_context(
        base_url=address, viewport={"width": 1280, "height": 900}, accept_downloads=True, locale="en-US"
    )
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A visitor's page. What streamlit shows of an exception of ours fails the test."""
    made = context.new_page()
    yield made
    assert made.locator("[data-testid=stException]").count() == 0
