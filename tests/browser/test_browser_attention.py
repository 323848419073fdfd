"""The page of all heads in a browser: one is enlarged, kinds are highlighted, weights are read; nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import archcalc
from archcalc.cli.pictures import with_picture
from archcalc.inside import attention
from archcalc.interp.heads.attention_result import attentions
from archcalc.interp.heads.attribution import attribute
from archcalc.interp.heads.attribution_rows import logit_attribution
from archcalc.interp.heads.patterns import AttentionReading
from archcalc.render.attention_page import as_html
from archcalc.render.attribute import view
from archcalc.render.charts.attribute import chart
from archcalc.render.html import as_html as page_html
from archcalc.run.loading.source import ModelSource, open_source
from archcalc.words import ENGLISH

pytestmark = pytest.mark.slow

N_TOKENS = 12


@pytest.fixture(scope="module")
def source() -> ModelSource:
    return open_source("tiny")


@pytest.fixture(scope="module")
def reading() -> AttentionReading:
    return attention(archcalc.load_model("tiny"), list(range(100, 100 + N_TOKENS)))


@pytest.fixture
def heads_page(browser: Browser, tmp_path: Path, source: ModelSource, reading: AttentionReading) -> Iterator[Page]:
    result = attentions(source, reading, [list(range(100, 100 + N_TOKENS))])
    (tmp_path / "heads.html").write_text(as_html(result, reading, ENGLISH), encoding="utf-8")
    page, problems = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "heads.html").as_uri())
    yield page
    assert problems == []
    page.close()


def test_a_click_enlarges_a_head(heads_page: Page) -> None:
    page = heads_page
    assert page.locator("#grid button").count() == 24
    assert page.inner_text("#name") == "layers.0.attn · head 0"
    button = page.get_by_role("button", name="layers.3.attn head 5, kv head")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator('#grid button[aria-pressed="true"]').count() == 1
    assert page.inner_text("#name") == "layers.3.attn · head 5"
    assert "kind of head: previous token" in page.inner_text("#figures")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.inner_text("#name") == "layers.3.attn · head 4"


def test_the_pointer_reads_a_weight(heads_page: Page, source: ModelSource, reading: AttentionReading) -> None:
    page, (query, key) = heads_page, (9, 8)
    page.get_by_role("button", name="layers.3.attn head 5, kv head").click()
    box = page.locator("#large").bounding_box()
    assert box
    side_x, side_y = box["width"] / N_TOKENS, box["height"] / N_TOKENS
    page.mouse.move(box["x"] + (key + 0.5) * side_x, box["y"] + (query + 0.5) * side_y)
    weight = float(reading.patterns["layers.3.attn"][5, query, key])
    text = page.inner_text("#cell")
    assert f"query {query}" in text
    assert f"key {key}" in text
    assert f"weight {weight:.4f}" in text
    assert str(source.piece(100 + key)) in text
    page.mouse.move(box["x"] + (query + 0.5) * side_x, box["y"] + (key + 0.5) * side_y)
    assert "masked" in page.inner_text("#cell")


def test_masked_cells_are_gray_and_weights_blue(heads_page: Page) -> None:
    corners = heads_page.evaluate(
        """() => [[0, 0], [1, 0]].map(([x, y]) =>
            Array.from(document.querySelector("#grid canvas").getContext("2d").getImageData(x, y, 1, 1).data))"""
    )
    assert corners[0][:3] == [0, 114, 178], "the first token sees itself alone"
    assert len(set(corners[1][:3])) == 1


def test_a_kind_is_highlighted(heads_page: Page, reading: AttentionReading) -> None:
    page, kinds = heads_page, reading.kinds
    assert kinds
    n_previous = sum(kinds.kind(path, n) == "previous_token" for path in reading.arms for n in range(6))
    page.select_option("#pick", label="previous token")
    assert page.locator("#grid button:not(.faded)").count() == n_previous >= 1
    page.select_option("#pick", value="")
    assert page.locator("#grid button.faded").count() == 0


def test_the_page_of_an_attribution(browser: Browser, tmp_path: Path, source: ModelSource) -> None:
    ids = [100, 101, 102]
    result = logit_attribution(source, attribute(archcalc.load_model("tiny"), ids), [ids], 2, 2)
    html = page_html(ENGLISH.within(with_picture(view, lambda: chart(result))(result, None)))
    (tmp_path / "attribution.html").write_text(html, encoding="utf-8")
    page, problems = browser.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "attribution.html").as_uri())
    assert page.locator("svg").first.bounding_box()["width"] > 300  # type: ignore[index]
    assert page.get_by_role("cell", name="layers.3.ffn").count() == 1
    assert problems == []
    page.close()
