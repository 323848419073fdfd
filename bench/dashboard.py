"""How long the dashboard keeps its visitor waiting, measured in a real browser.

    python bench/dashboard.py [--rounds 5]

First paint: from asking for the page of GPT-3 until its exact total stands there (a fresh browser each time, the server
warm), and until nothing is drawn any more. A change: from a key pressed on a slider until the headlines above have
followed. The page Inside: until the table of the chosen cell stands there (a server that has just started, and one that
is warm); and, of a map of 64 tokens × 32 layers, from a click on a cell until its table has followed. Medians and the
worst of all rounds, in milliseconds. Streamlit's own empty page is measured beside them, since everything here stands
on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
PORT = 8599
EMPTY = 'import streamlit as st\nst.title("empty")\nif st.checkbox("tick"):\n    st.write("ticked")\n'
QUIET = "[data-testid=stApp][data-test-script-state=notRunning]"

# Begins at the key, inside the page, so that no round trip to this script is counted; ends when the headlines differ.
WATCH = """before => { window.archcalc = new Promise(done => {
    let begun = null;
    addEventListener("keydown", () => { begun = performance.now() }, {capture: true, once: true});
    const look = () => {
        const now = document.querySelector(".ac-figures")?.innerText;
        if (begun !== null && now && now !== before) done(performance.now() - begun);
        else requestAnimationFrame(look);
    };
    look();
}) }"""

# The same from a click on a map until the table of the chosen cell has another title.
WATCH_CELL = """before => { window.archcalc = new Promise(done => {
    let begun = null;
    addEventListener("pointerdown", () => { begun = performance.now() }, {capture: true, once: true});
    const look = () => {
        const now = document.querySelector("h3")?.innerText;
        if (begun !== null && now && now !== before) done(performance.now() - begun);
        else requestAnimationFrame(look);
    };
    look();
}) }"""
N_TOKENS, N_LAYERS = 64, 32
EXAMPLE = "layers.3.resid_post at position 4"
LARGE = f"inside_from=random&model=tiny&set=n_layers%3D{N_LAYERS}&inside_ids={'%2C'.join(map(str, range(N_TOKENS)))}"


@contextmanager
def served(*call: str) -> Iterator[str]:
    process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urlopen(f"http://localhost:{PORT}/_stcore/health").read()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://localhost:{PORT}"
    finally:
        process.terminate()
        process.wait()


def first_paint(browser: Browser, address: str, text: str) -> tuple[float, float]:
    """Milliseconds until a text stands on a fresh browser's page, and until it is drawn to its end."""
    with browser.new_context() as visitor:
        page = visitor.new_page()
        begun = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.get_by_text(text).first.wait_for()
        there = time.perf_counter()
        page.locator(QUIET).wait_for()
        return 1e3 * (there - begun), 1e3 * (time.perf_counter() - begun)


def slider(browser: Browser, address: str, rounds: int) -> list[float]:
    """Milliseconds that a step of the first slider takes, from the key to headlines that have changed."""
    found = []
    with browser.new_context() as visitor:
        page = visitor.new_page()
        page.goto(address)
        page.locator(".ac-figures").first.wait_for()
        page.locator(QUIET).wait_for()
        page.get_by_role("slider").first.focus()
        for _ in range(rounds):
            before = page.locator(".ac-figures").first.inner_text()
            page.evaluate(WATCH, before)
            page.keyboard.press("ArrowRight")
            found.append(float(page.evaluate("() => window.archcalc")))
            page.locator(QUIET).wait_for()
            page.wait_for_timeout(300)
    return found


def clicks(browser: Browser, address: str, rounds: int) -> list[float]:
    """Milliseconds from a click on a cell of a map to the table of this cell."""
    found = []
    with browser.new_context(viewport={"width": 1400, "height": 1400}) as visitor:
        page = visitor.new_page()
        page.goto(address)
        page.locator("h3").first.wait_for(timeout=120_000)
        page.locator(QUIET).wait_for()
        area = page.locator(".area").first
        top, width, height = (float(area.get_attribute(f"data-{name}") or 0) for name in ("top", "width", "height"))
        for i in range(rounds):
            page.evaluate(WATCH_CELL, page.locator("h3").first.inner_text())
            at = {"x": width * (1 + i % 4 + 0.5), "y": top + height * (3 + i + 0.5)}
            area.locator("canvas").click(position=at)
            found.append(float(page.evaluate("() => window.archcalc")))
            page.locator(QUIET).wait_for()
            page.wait_for_timeout(300)
    return found


def told(name: str, milliseconds: list[float]) -> None:
    print(f"{name:58} median {statistics.median(milliseconds):6.0f} ms   worst {max(milliseconds):6.0f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    path = shutil.which("chromium") or shutil.which("google-chrome")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {path}")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        empty = Path(folder, "empty.py")
        empty.write_text(EMPTY)
        streamlit = (sys.executable, "-m", "streamlit", "run", str(empty), "--server.port", str(PORT))
        with served(*streamlit, "--server.headless", "true", "--browser.gatherUsageStats", "false") as address:
            first_paint(browser, address, "empty")
            times = [first_paint(browser, address, "empty")[0] for _ in range(rounds)]
            told("streamlit's own empty page, first paint", times)
        with served(sys.executable, "-m", "archcalc", "app", "--port", str(PORT), "--no-browser") as address:
            cold = first_paint(browser, address, "174,604,259,328")
            print(f"{'the first visitor of all':58}        {cold[0]:6.0f} ms   whole {cold[1]:6.0f} ms")
            for view in ("overview", "map", "diagram"):
                both = [first_paint(browser, f"{address}/?view={view}", "174,604,259,328") for _ in range(rounds)]
                told(f"architecture, {view}: total is there", [there for there, _ in both])
                told(f"architecture, {view}: drawn to its end", [whole for _, whole in both])
            for model, phase in product(("gpt3-175b", "deepseek-v3"), ("prefill", "train")):
                times = slider(browser, f"{address}/compute?model={model}&compute_phase={phase}", rounds)
                told(f"compute, {model}, {phase}: a step of the batch's slider", times)
        measure_inside(browser, rounds)
        browser.close()


def measure_inside(browser: Browser, rounds: int) -> None:
    """Measure the page Inside on a server of its own, whose first visitor asks for this page."""
    with served(sys.executable, "-m", "archcalc", "app", "--port", str(PORT), "--no-browser") as address:
        cold = first_paint(browser, f"{address}/inside", EXAMPLE)
        print(f"{'inside: the first visitor of all':58}        {cold[0]:6.0f} ms   whole {cold[1]:6.0f} ms")
        both = [first_paint(browser, f"{address}/inside", EXAMPLE) for _ in range(rounds)]
        told("inside, the example: its cell is there", [there for there, _ in both])
        told("inside, the example: drawn to its end", [whole for _, whole in both])
        for name, sites in (("33 × 64", "layers"), ("65 × 64", "branches")):
            large = f"{address}/inside?{LARGE}&lens_sites={sites}"
            times = clicks(browser, large, rounds)
            told(f"inside, a map of {name} cells: a click", times)
            both = [first_paint(browser, large, "at position 63") for _ in range(rounds)]
            told(f"inside, a map of {name} cells: its cell is there", [there for there, _ in both])


if __name__ == "__main__":
    main()
