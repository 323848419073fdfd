"""One step of a trace."""

from __future__ import annotations

from dataclasses import dataclass

from archcalc.interp.trace.expression import Expression


@dataclass(frozen=True)
class Step:
    """One step: its name, its kind (which selects its description), its expression (None for ids), and its layer.

    `key_ids` is the step with the ids of the tokens along a key axis; empty outside of parts that mix tokens.
    """

    name: str
    kind: str
    expression: Expression | None
    layer: str = ""
    key_ids: str = ""
