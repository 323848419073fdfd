"""The page Inside in a real browser: a click on a map chooses its cell, links restore it, tours lead through views."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Locator, Page, expect

from archcalc.cli.main import cli
from tests.browser.visiting import press, saved, settled, visit

pytestmark = pytest.mark.slow

IDS = "%2C".join(map(str, range(64)))
NUMBER = re.compile(r"(?<![\w.#-])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w-])")
LARGE = f"inside_from=random&model=tiny&set=n_layers%3D32&lens_sites=layers&inside_ids={IDS}"


def cell_map(page: Page, index: int = 0) -> Locator:
    """Return a map that has been drawn."""
    area = page.locator(".area").nth(index)
    expect(area).to_have_attribute("data-width", re.compile(r"\d"))
    return area


def click(page: Page, area: Locator, row: int, column: int) -> None:
    """Click a cell of a map."""
    settled(page)  # or the sizes could be those of an earlier drawing
    top, width, height = (float(area.get_attribute(f"data-{name}") or 0) for name in ("top", "width", "height"))
    area.locator("canvas").click(position={"x": width * (column + 0.5), "y": top + height * (row + 0.5)})
    settled(page)


def expect_cell(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text).first).to_be_visible()


def test_a_click_chooses_a_cell_and_a_reload_shows_it_again(page: Page) -> None:
    visit(page, "/inside")
    expect_cell(page, "layers.3.resid_post at position 4")
    expect(page.get_by_role("cell", name="' Moses'")).to_be_visible()
    click(page, cell_map(page), 3, 2)
    expect_cell(page, "layers.1.resid_mid at position 2")
    assert "lens_row=3&lens_column=2" in page.url
    page.reload()
    expect_cell(page, "layers.1.resid_mid at position 2")
    settled(page)
    press(page, "Next")
    expect_cell(page, "layers.1.resid_post at position 2")


def test_arrow_keys_move_over_the_map(page: Page) -> None:
    visit(page, "/inside?lens_row=3&lens_column=2")
    area = cell_map(page)
    area.focus()
    page.keyboard.press("ArrowUp")
    expect_cell(page, "layers.0.resid_post at position 2")
    settled(page)
    page.keyboard.press("ArrowRight")
    expect_cell(page, "layers.0.resid_post at position 3")
    expect(page.get_by_role("application").first).to_be_focused()


def test_a_head_and_a_pair_are_chosen_on_two_maps(page: Page) -> None:
    visit(page, "/inside?inside_view=attention")
    click(page, cell_map(page), 3, 5)
    expect_cell(page, "layers.3.attn, head 5: keys of query 4")
    click(page, cell_map(page, 1), 4, 3)
    expect_cell(page, "Query 4 · key 3 by dimension")
    page.reload()
    expect_cell(page, "layers.3.attn, head 5: keys of query 4")
    expect_cell(page, "Query 4 · key 3 by dimension")


def test_the_map_of_many_cells_scrolls_and_is_chosen_from(page: Page) -> None:
    visit(page, f"/inside?{LARGE}&lens_row=16&lens_column=2")
    area = cell_map(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the map scrolls, not the page"
    click(page, area, 30, 4)
    expect_cell(page, "layers.29.resid_post at position 4")
    frame = page.locator(".frame")
    assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    left = frame.evaluate("frame => { frame.scrollLeft = 500; return frame.scrollLeft; }")
    click(page, area, 2, 12)
    expect_cell(page, "layers.1.resid_post at position 12")
    assert frame.evaluate("frame => frame.scrollLeft") == left, "it stays where it was scrolled to"


def test_a_tour_leads_from_view_to_view(page: Page) -> None:
    visit(page, "/inside?lang=zh")
    page.get_by_role("link", name="为什么用 softmax").click()
    expect_cell(page, "分数没有尺度")
    settled(page)
    page.get_by_role("link", name="下一步").click()
    expect_cell(page, "差变成比")
    expect_cell(page, "layers.3.attn，第 3 个头：查询 4 的键")
    settled(page)
    page.get_by_role("link", name="上一步").click()
    expect_cell(page, "分数没有尺度")
    page.get_by_role("link", name="结束导览").click()
    expect(page.get_by_role("link", name="为什么用 softmax")).to_be_visible()
    assert "tour" not in page.url


def test_the_saved_view_is_the_command_lines(page: Page) -> None:
    visit(page, "/inside?inside_view=patch&lang=zh")
    command = ["patch", "tiny", "--prompt", "And the LORD said unto", "--corrupted", "And the king said unto"]
    whole = CliRunner().invoke(cli, [*command, "--component", "residual", "--lang", "zh", "--format", "html"]).stdout
    page_text = saved(page, page.get_by_role("button", name="HTML", exact=True).last).decode()
    assert NUMBER.sub("#", page_text) == NUMBER.sub("#", whole)
    expected = pytest.approx([float(number) for number in NUMBER.findall(whole)], rel=1e-3, abs=1e-5)
    assert [float(number) for number in NUMBER.findall(page_text)] == expected, "float32, in two processes"


def test_an_error_keeps_what_was_typed(page: Page) -> None:
    visit(page, "/inside?inside_ids=0,99999")
    expect(page.get_by_text("prompt: found id 99999; expected 1 to 256 ids from 0 to 2,047")).to_be_visible()
    expect(page.get_by_role("textbox", name="Or token ids")).to_have_value("0,99999")


def test_a_lens_is_trained_stopped_and_saved(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "verses.txt"
    text.write_text("In the beginning God created the heaven and the earth. " * 40)
    visit(page, "/inside?lens_kind=tuned&lens_sites=layers&inside_prompt=And+God")
    page.get_by_text("Train a tuned lens").click()
    page.locator("input[type=file]").set_input_files(text)
    page.get_by_text("verses.txt").nth(1).wait_for()
    settled(page)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").first.wait_for()
    settled(page)
    steps = page.get_by_role("slider", name="Steps")
    steps.focus()
    steps.press("Home")
    settled(page)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("Trained for 1 steps on").wait_for()
    settled(page)
    file = tmp_path / "lens.safetensors"
    file.write_bytes(saved(page, page.get_by_role("button", name="safetensors")))
    result = CliRunner().invoke(cli, ["lens", "tiny", "--prompt", "And God", "--sites", "layers", "--lens", str(file)])
    assert result.exit_code == 0, result.output
