"""Bytes of stored weights, row by row, and their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from archcalc.ledger.leaves import COMPONENTS, Component, Kind
from archcalc.ledger.rows import Ledger


class WeightBytes(msgspec.Struct, frozen=True):
    """A row's bytes in the format it is stored in, over `layers` tensors. One row has two lines where layers differ."""

    path: str
    kind: Kind
    format: str
    layers: int
    payload_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return payload and overhead together."""
        return self.payload_bytes + self.overhead_bytes


def stored_bytes(lines: Iterable[WeightBytes]) -> int:
    """Return the bytes of all parameters, each stored tensor once, without buffers."""
    return sum(line.total_bytes for line in lines if line.kind != "buffer")


def by_component(ledger: Ledger, lines: Iterable[WeightBytes]) -> list[tuple[Component, str, int, int]]:
    """Return (component, format, payload bytes, bytes of scales and zero points) of lines, without buffers."""
    component_of = {row.path: row.component for row in ledger.counted_rows}
    payloads: Counter[tuple[int, str]] = Counter()
    overheads: Counter[tuple[int, str]] = Counter()
    for line in lines:
        if line.path in component_of:
            kind = COMPONENTS.index(component_of[line.path]), line.format
            payloads[kind] += line.payload_bytes
            overheads[kind] += line.overhead_bytes
    return [
        (COMPONENTS[place], form, payloads[place, form], overheads[place, form]) for place, form in sorted(payloads)
    ]
