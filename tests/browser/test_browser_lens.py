"""The map of a lens in a browser: cells show their tokens, pins their ranks; nothing is loaded, and it stays fluid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from archcalc.interp.lens.result import LensPredictions, LensToken, SiteReading, TokenTrajectory
from archcalc.render.lens_page import as_html
from archcalc.words import translator

pytestmark = pytest.mark.slow

N_LAYERS, N_TOKENS, N_TOP = 32, 64, 10
# Times are those of a busy machine; a fast one takes a twentieth.
FLUID_MS = 200


def predictions() -> LensPredictions:
    """Return predictions of the size that must stay fluid: 64 tokens, 32 layers, two branches."""
    sites = ["layers.0.resid_pre"]
    sites += [f"layers.{i}.resid_{end}" for i in range(N_LAYERS) for end in ("mid", "post")]
    readings = [
        SiteReading(
            path=path,
            layer=0,
            position=position,
            token=f" t{(s + position) % 97}",
            id=(s + position) % 97,
            probability=0.5,
            others="",
            entropy_nats=1.5,
            kl_nats=float(len(sites) - 1 - s),
            ranks={},
            ids=tuple((s + position + k) % 97 for k in range(N_TOP)),
            tokens=tuple(f" t{(s + position + k) % 97}" for k in range(N_TOP)),
            probabilities=tuple(0.5 / (k + 1) for k in range(N_TOP)),
        )
        for s, path in enumerate(sites)
        for position in range(N_TOKENS)
    ]
    trajectory = TokenTrajectory(
        position=N_TOKENS - 1,
        token="</script> x",  # noqa: S106 - no password
        id=99,
        is_named=True,
        first_path="",
        steady_path="",
        best_rank=7,
        output_rank=7,
        ranks=tuple(range(1007 - 1, 1007 - 1 - len(sites), -1)),
        probabilities=(0.0,) * len(sites),
    )
    return LensPredictions(
        name="m",
        label="M",
        family="decoder",
        lens_kind="logit",
        lens_origin={},
        sites=tuple(sites),
        tokens=tuple(LensToken(position=i, id=i, token=f"w{i}", is_read=True) for i in range(N_TOKENS)),
        readings=tuple(readings),
        trajectories=(trajectory,),
    )


@pytest.fixture
def lens_page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "lens.html").write_text(as_html(predictions(), translator("en")), encoding="utf-8")
    page, problems = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "lens.html").as_uri())
    yield page
    assert problems == []
    page.close()


def test_a_cell_shows_its_tokens(lens_page: Page) -> None:
    page = lens_page
    assert page.locator("#map tbody td").count() == (2 * N_LAYERS + 1) * N_TOKENS
    assert page.inner_text("#name") == 'layers.31.resid_post · 63 "w63"', "the output, at the last token"
    assert '"</script> x": rank 942 ×' in page.inner_text("#pins")
    page.click("#map tbody tr:nth-child(3) td:nth-child(5)")
    assert page.inner_text("#name") == 'layers.30.resid_post · 3 "w3"'
    assert page.locator("#tokens tr").count() == N_TOP
    assert page.locator("#tokens tr td").first.inner_text() == f'" t{(62 + 3) % 97}"'
    page.focus("#scroll")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#name") == 'layers.30.resid_mid · 4 "w4"'


def test_pins_show_their_ranks_and_stay_in_the_address(lens_page: Page) -> None:
    page = lens_page
    page.click("#map tbody tr:nth-child(3) td:nth-child(5)")
    page.click("#tokens tr:nth-child(2) button")
    token = f't{(62 + 3 + 1) % 97}"'
    assert f"{token}: rank 2 ×" in page.inner_text("#pins")
    assert page.locator("#chart circle").count() > 1
    assert page.evaluate("location.hash").startswith("#62,3,99-66")
    page.reload()
    assert f"{token}: rank 2 ×" in page.inner_text("#pins")
    assert page.inner_text("#name") == 'layers.30.resid_post · 3 "w3"'
    page.click("#pins button:nth-child(2)")
    assert token not in page.inner_text("#pins")


def test_colors_follow_the_figure(lens_page: Page) -> None:
    page = lens_page
    top, bottom = (f"#map tbody tr:nth-child({row}) td:nth-child(2)" for row in (1, 2 * N_LAYERS + 1))
    page.select_option("#color", "kl")
    colors = [page.eval_on_selector(cell, "td => td.style.backgroundColor") for cell in (top, bottom)]
    assert [float(color.split(",")[-1].strip(" )")) for color in colors] == [0, 0.8]


def test_it_stays_fluid(lens_page: Page) -> None:
    milliseconds = lens_page.evaluate(
        """() => [() => select(5, 5), () => { paint(); byId("map").offsetHeight; }].map(action => {
            const time = () => { const start = performance.now(); action(); return performance.now() - start; };
            return Array.from({length: 7}, time).sort((a, b) => a - b)[3];
        })"""
    )
    assert max(milliseconds) < FLUID_MS
