"""What the rows of a ledger are called where people read them."""

from __future__ import annotations

from archcalc.ledger.leaves import Kind
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
    return tensor_label(row.path, row.group, row.kind)


def tensor_label(path: str, group: str, kind: Kind) -> str:
    """Return a tensor's path, group of layers and kind: 'layers.*.ffn.correction_bias [moe] (buffer)'."""
    return path_in_group(path, group) + ("" if kind == "trainable" else f" ({kind})")
