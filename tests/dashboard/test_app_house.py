"""The house of the pages: what is served, how, and that each page is there."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from archcalc.dashboard.pages import PAGES, Entry
from archcalc.dashboard.serve import SETTINGS
from archcalc.words import LANGS, translator
from tests.dashboard.app import html

ROOT = Path(__file__).parents[2]


def test_a_checkout_is_served_as_a_wheel_is() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert {f"{part}.{name}": value for part, held in config.items() for name, value in held.items()} == SETTINGS


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.path)
def test_each_page_is_a_module_with_a_title(entry: Entry) -> None:
    assert callable(import_module(f"archcalc.dashboard.pages.{entry.module}").page)
    assert all(translator(lang)(entry.title) for lang in LANGS)


def test_nothing_stands_beside_the_served_script() -> None:
    """Streamlit takes a folder of pages there for its own."""
    served = ROOT / "archcalc" / "dashboard" / "served"
    assert {path.name for path in served.iterdir()} - {"__pycache__"} == {"__init__.py", "app.py"}


@pytest.mark.parametrize("script", ["app.py", "archcalc/dashboard/served/app.py"])
def test_the_front_door_opens_on_gpt3(script: str) -> None:
    page = AppTest.from_file(str(ROOT / script), default_timeout=600).run()
    assert not page.exception
    assert "174,604,259,328" in html(page)
