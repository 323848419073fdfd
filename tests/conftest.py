"""The hypothesis profiles of every test: nothing in them depends on the speed of the machine.

`archcalc`, the default, draws the same examples in every run, so that a failure is always one of the change at hand.
`explore` draws new ones, and more (`tests/examples.py`): ARCHCALC_HYPOTHESIS_PROFILE=explore .venv/bin/pytest -n 2
"""

from __future__ import annotations

import gc
from contextlib import suppress

from hypothesis import HealthCheck, settings

from tests.examples import PROFILE

# Its log handler keeps the stderr of the first import, which must not be that of one test. Many tests need no torch.
with suppress(ModuleNotFoundError):
    import torch  # noqa: F401

# Health checks measure time, and data that a large spec needs by nature. A failure prints how to reproduce it.
settings.register_profile("explore", deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
settings.register_profile("archcalc", settings.get_profile("explore"), derandomize=True)
settings.load_profile(PROFILE)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of every search for garbage: it is all kept, and searching it costs a quarter."""
    gc.collect()
    gc.freeze()
