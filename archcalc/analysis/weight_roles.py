"""What a tensor is for in its model, by which formats and optimizers choose."""

from __future__ import annotations

from archcalc.analysis.params import HEAD_MATRIX, SOURCE_TABLE, TOKEN_TABLE
from archcalc.formats.policy import Role
from archcalc.ledger.rows import WeightRow

# Counts of matrices that are stacked in one tensor, of which a pass reads some.
_STACKED = ("n_experts", "n_pairs", "n_shared")
_ROLES: dict[str, Role] = {
    "router": "router",
    "shared_gate": "gate",
    "positions": "position",
    "types": "types",
    "rotary": "position",
    "relative_bias": "table",
    "summary_bias": "table",
    "distances": "table",
    "global_tokens": "table",
    "soft_prompt": "table",
    "table": "table",
    "up_rows": "table",
    "down_rows": "table",
    "columns": "head",
    "q_norm": "vector",
    "k_norm": "vector",
}


def role_of(row: WeightRow, tied: bool = False) -> Role:
    """Return a tensor's role in its model, by its canonical name."""
    if not row.path.endswith(".weight") or len(row.shape) < 2 or row.weight.convolves:
        return "vector"
    if row.path == TOKEN_TABLE:
        return "tied" if tied else "embedding"
    if row.path == SOURCE_TABLE:
        return "embedding"
    if row.path.removeprefix("encoder.").startswith("embed.tables."):
        return "types"
    if row.path.startswith("extras."):
        return "table"
    if len(row.shape) > 2 and any(name.startswith(_STACKED) for name in row.weight.axes[0].symbols()):
        return "experts"
    return _ROLES.get(row.path.split(".")[-2], "linear") if row.path != HEAD_MATRIX else "head"
