"""Take the pictures of the dashboard beside this file anew: each page light and dark, wide and narrow, on one sheet.

archcalc app --no-browser & python docs/dashboard/take.py
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ADDRESS = "http://localhost:8501"
WIDE, NARROW, HEIGHT = 1280, 390, 1500
SCALE = 0.5

PAGES = {
    "architecture": "/?model=llama-3-8b",
    "treemap": "/?model=gpt3-175b&view=map",
    "compute": "/compute?model=llama-3-8b&compute_view=context",
    "compare": "/compare?compare_models=llama-3-70b&compare_models=deepseek-v3&compare_view=bars",
    "run": "/run?run_seed=1&run_max_tokens=48",
    "trace": "/trace?trace_view=attention&trace_query=1",
}


def shot(browser: Browser, path: str, width: int, scheme: str) -> Image.Image:
    """A page at a width and in a scheme of colors, scaled down."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(ADDRESS + path)
    page.locator("h1").first.wait_for()
    quiet = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    quiet.wait_for()
    if path.startswith("/run"):
        page.get_by_role("button", name="Generate").click()
        page.get_by_role("heading", name="Token by token").wait_for()
        quiet.wait_for()
    page.wait_for_timeout(1500)  # fonts and charts settle
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop = 0")
    taken = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    return taken.resize((round(taken.width * SCALE), round(taken.height * SCALE)), Image.Resampling.LANCZOS)


def sheet(taken: list[Image.Image]) -> Image.Image:
    """Pictures side by side."""
    gap = 8
    whole = Image.new("RGB", (sum(one.width + gap for one in taken) - gap, taken[0].height), "#888888")
    x = 0
    for one in taken:
        whole.paste(one, (x, 0))
        x += one.width + gap
    return whole


def main() -> None:
    """Every page's sheet."""
    here = Path(__file__).parent
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name, link in PAGES.items():
            looks = [(width, scheme) for width in (WIDE, NARROW) for scheme in ("light", "dark")]
            sheet([shot(browser, link, *look) for look in looks]).save(here / f"{name}.webp", quality=55, method=6)
            print(name, (here / f"{name}.webp").stat().st_size)
        browser.close()


if __name__ == "__main__":
    main()
