"""What the rows of a ledger are called where people read them."""

from __future__ import annotations

from archcalc.ledger.rows import WeightRow


def path_pattern(path: str) -> str:
    """Return a row's path with '*' for the layer, as people write it."""
    return path.replace("{i}", "*")


def path_in_group(path: str, group: str) -> str:
    """Return a path, with the layers that have it where not all do: 'layers.*.ffn.up [dense]'."""
    return path_pattern(path) + (f" [{group}]" if group else "")


def axes_text(row: WeightRow) -> str:
    """Return a row's axes by name: '[n_heads·d_head, d_model]'."""
    return "[" + ", ".join(map(str, row.weight.axes)) + "]"


def row_label(row: WeightRow) -> str:
    """Return a row's path, with the layers that have it where not all do, and its kind where that is not trainable."""
    kind = "" if row.kind == "trainable" else f" ({row.kind})"
    return path_in_group(row.path, row.group) + kind
