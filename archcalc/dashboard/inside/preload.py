"""The example of the page Inside, computed while the server starts."""

from __future__ import annotations

import threading
from contextlib import suppress

from archcalc.errors import ArchcalcError


def start() -> None:
    """Compute the example in a thread, so that the page shows it at once."""
    threading.Thread(target=compute, daemon=True).start()


def compute() -> None:
    """Compute what the page begins with. Without the extra that runs models, or memory for it, nothing happens."""
    from archcalc.dashboard.inside import answers
    from archcalc.dashboard.inside.lens import DEFAULT
    from archcalc.dashboard.inside.view import FIRST_MODEL, Subject
    from archcalc.dashboard.inside.views import VIEWS
    from archcalc.dashboard.job import Progress
    from archcalc.dashboard.running.model_choice import ModelChoice

    name, view = next(iter(VIEWS.items()))
    with suppress(ArchcalcError):
        answers.answer(name, view, Subject(ModelChoice(FIRST_MODEL)), DEFAULT, Progress())
