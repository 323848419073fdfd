"""Run a page of the dashboard without a browser, and read what it shows."""

from __future__ import annotations

import json
import shlex
from typing import Any

from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from archcalc.cli.main import cli


def _draw_page(module: str) -> None:
    import importlib

    from archcalc.dashboard import chooser, session

    session.choose_language()
    chooser.draw()
    importlib.import_module(f"archcalc.dashboard.pages.{module}").page()


def open_page(module: str, **query: Any) -> AppTest:
    """Return the page of a module, opened with these query parameters."""
    at = AppTest.from_function(_draw_page, kwargs={"module": module}, default_timeout=600)
    for key, value in query.items():
        at.query_params[key] = value
    at.run()
    assert not at.exception, at.exception
    return at


def html(at: AppTest) -> str:
    """Return the HTML of numbers and tables."""
    assert not at.exception, at.exception
    return "\n".join(element.proto.body for element in at.get("html"))


def command(at: AppTest) -> str:
    """Return the command that the page shows."""
    return str(next(code.value for code in at.code if code.value.startswith(("archcalc", "for"))))


def python_result(at: AppTest) -> Any:
    """Return the value of the Python code that the page shows."""
    *lines, last = next(code.value for code in at.code if code.value.startswith("import")).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102 - the page's own code
    return eval(last, names)  # noqa: S307


def json_output(line: str) -> Any:
    """Return the JSON that a command prints."""
    result = CliRunner().invoke(cli, [*shlex.split(line)[1:], "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
