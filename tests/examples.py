"""How many examples a property test draws: as many as it names where they are new, fewer where they are the same."""

from __future__ import annotations

import math
import os

from hypothesis import settings

# Of the profiles in `conftest.py`, or that of a tool that runs the tests in its own way (tests/mutation).
PROFILE = os.environ.get("ARCHCALC_HYPOTHESIS_PROFILE", "archcalc")
# The part of the examples that a profile draws: the default draws the same in every run.
_PARTS = {"explore": 1.0, "archcalc": 0.4, "mutation": 0.25}


def examples(n: int) -> settings:
    """Return the settings of a test that draws `n` examples with the profile `explore`."""
    return settings(max_examples=math.ceil(n * _PARTS.get(PROFILE, 1.0)))
