"""A page of the dashboard without a browser: as the house draws it, and what it shows."""

from __future__ import annotations

import json
import shlex
from typing import Any

from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from archcalc.cli.main import cli


def _house(module: str) -> None:
    import importlib

    from archcalc.dashboard import session, subject

    session.choose_language()
    subject.choose()
    importlib.import_module(f"archcalc.dashboard.pages.{module}").page()


def opened(module: str, **link: Any) -> AppTest:
    """The page of this module, opened by a link."""
    at = AppTest.from_function(_house, kwargs={"module": module}, default_timeout=600)
    for key, value in link.items():
        at.query_params[key] = value
    at.run()
    assert not at.exception, at.exception
    return at


def html(at: AppTest) -> str:
    """Figures and tables as they are drawn."""
    assert not at.exception, at.exception
    return "\n".join(one.proto.body for one in at.get("html"))


def command(at: AppTest) -> str:
    """The command line's way to what the page shows."""
    return str(next(code.value for code in at.code if code.value.startswith(("archcalc", "for"))))


def python(at: AppTest) -> Any:
    """What Python's way to what the page shows comes to."""
    *lines, last = next(code.value for code in at.code if code.value.startswith("import")).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102 - the page's own lines
    return eval(last, names)  # noqa: S307


def printed(line: str) -> Any:
    """The JSON that a command line of ours prints."""
    result = CliRunner().invoke(cli, [*shlex.split(line)[1:], "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
