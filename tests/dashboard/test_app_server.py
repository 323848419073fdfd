"""The server: its settings, its script, its pages."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from archcalc.dashboard.pages import PAGES, PageEntry
from archcalc.dashboard.server import SETTINGS
from archcalc.words import LANGS, translator
from tests.dashboard.app import html

ROOT = Path(__file__).parents[2]


def test_settings_of_a_checkout_equal_those_of_a_wheel() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert {
        f"{section}.{name}": value for section, settings in config.items() for name, value in settings.items()
    } == SETTINGS


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.path)
def test_each_page_is_a_module_with_a_title(entry: PageEntry) -> None:
    assert callable(import_module(f"archcalc.dashboard.pages.{entry.module}").page)
    assert all(translator(lang)(entry.title) for lang in LANGS)


def test_the_script_is_alone_in_its_folder() -> None:
    """Streamlit would take a folder `pages` there for its own."""
    folder = ROOT / "archcalc" / "dashboard" / "script"
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"__init__.py", "app.py"}


@pytest.mark.parametrize("script", ["app.py", "archcalc/dashboard/script/app.py"])
def test_the_script_shows_gpt3(script: str) -> None:
    page = AppTest.from_file(str(ROOT / script), default_timeout=600).run()
    assert not page.exception
    assert "174,604,259,328" in html(page)
