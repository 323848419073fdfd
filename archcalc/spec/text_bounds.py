"""How much text is read as YAML or JSON."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 4 << 20
MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 60
