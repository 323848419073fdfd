"""Presets that differ in more than their sizes."""

from __future__ import annotations

import json
import re

from archcalc import presets
from archcalc.sources import load
from archcalc.spec.document import encode

_NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


def _structure(name: str) -> str:
    document = {key: value for key, value in encode(load(name)).items() if key not in ("name", "about")}
    return _NUMBER.sub("#", json.dumps(document))


# One of each structure: what is counted of a second one with other sizes is counted by the same lines.
STRUCTURES = sorted({_structure(name): name for name in reversed(presets.names())}.values())
