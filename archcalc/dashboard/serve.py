"""The server behind `archcalc app`: streamlit, with settings of our own."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Final

from archcalc.errors import InputError
from archcalc.extras import require
from archcalc.words import msg

# Where the pages look for checkpoints; set by --models alone, since what it names can be opened by every visitor.
MODELS_VARIABLE: Final = "ARCHCALC_MODELS"

# As in .streamlit/config.toml, which a checkout's `streamlit run app.py` reads.
SETTINGS: Final[dict[str, object]] = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "server.showEmailPrompt": False,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 4,
}


def serve(host: str, port: int, models: Path | None, *, opens: bool) -> None:
    """Serve the dashboard until it is interrupted; with `opens`, show it in the browser once it is there.

    Raises InputError for a port that is taken or not allowed, MissingExtraError where streamlit is not installed.
    """
    require("streamlit", does=msg("the dashboard"), extra="app")
    _check_free(host, port)
    if models is not None:
        os.environ[MODELS_VARIABLE] = str(models.resolve())
    # What the first visitor would wait for.
    from streamlit.web import cli

    import archcalc.dashboard.home
    import archcalc.dashboard.pages.architecture  # noqa: F401

    if opens:
        threading.Timer(1.5, webbrowser.open, [f"http://{host}:{port}"]).start()
    own = {"server.address": host, "server.port": port, "server.headless": True}
    flags = [part for name, value in {**SETTINGS, **own}.items() for part in (f"--{name}", str(value).lower())]
    script = Path(__file__).with_name("served") / "app.py"
    cli.main(["run", str(script), *flags], standalone_mode=False)


def opens_here() -> bool:
    """Whether there is somebody to show a browser to."""
    return sys.stdout is not None and sys.stdout.isatty()


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        problem = f"{host}:{port} cannot be served at ({getattr(error, 'strerror', None) or error})"
        raise InputError(problem, where="port", allowed=msg("a free one")) from None
