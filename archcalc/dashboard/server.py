"""The server of `archcalc app`: streamlit with its settings."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Final

from archcalc.dashboard.models import MODELS_VARIABLE
from archcalc.errors import InputError
from archcalc.extras import require
from archcalc.words import msg

# The same as in .streamlit/config.toml, which `streamlit run app.py` reads.
SETTINGS: Final[dict[str, object]] = {
    "browser.gatherUsageStats": False,
    # Sliders have a default, which a click on a map replaces.
    "global.disableWidgetStateDuplicationWarning": True,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "server.showEmailPrompt": False,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 4,
}


def serve(host: str, port: int, models: Path | None, *, has_browser: bool) -> None:
    """Serve the dashboard until it is interrupted, and open it in a browser if `has_browser`.

    Raises InputError if the port is in use or not allowed, MissingExtraError if streamlit is not installed.
    """
    require("streamlit", does=msg("the dashboard"), extra="app")
    _check_free(host, port)
    if models is not None:
        os.environ[MODELS_VARIABLE] = str(models.resolve())
    # Imported now, so that the first visitor does not wait.
    from streamlit.web import cli

    import archcalc.dashboard.navigation
    import archcalc.dashboard.pages.architecture  # noqa: F401
    from archcalc.dashboard.inside import preload

    preload.start()

    if has_browser:
        threading.Timer(1.5, webbrowser.open, [f"http://{host}:{port}"]).start()
    address = {"server.address": host, "server.port": port, "server.headless": True}
    flags = [part for name, value in {**SETTINGS, **address}.items() for part in (f"--{name}", str(value).lower())]
    script = Path(__file__).with_name("script") / "app.py"
    cli.main(["run", str(script), *flags], standalone_mode=False)


def is_interactive() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = msg("{address} cannot be served at ({reason})", address=f"{host}:{port}", reason=reason)
        raise InputError(problem, where="port", allowed=msg("a free one")) from None
