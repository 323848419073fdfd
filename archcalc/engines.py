"""Who counts a model: archcalc from its spec, or transformers from its own class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from archcalc.errors import InputError, shown
from archcalc.words import msg

Engine = Literal["archcalc", "transformers"]
ENGINES: Final[tuple[Engine, ...]] = get_args(Engine)
# The kind of a number that transformers counts. Our own are exact, measured or modeled.
Counted = Literal["counted by transformers"]
COUNTED: Final = get_args(Counted)[0]
LABEL: Final = msg("counted by transformers, not derived; no formulas")


def check_engine(engine: str, sizes: Mapping[str, Any]) -> None:
    """Raise InputError for an unknown engine, and for sizes of a workload, of which transformers counts nothing."""
    if engine not in ENGINES:
        raise InputError(msg("found {found}", found=shown(engine)), where="engine", allowed=", ".join(ENGINES))
    if stated := [name for name, value in sizes.items() if value]:
        raise InputError(
            msg("found with `engine` transformers, which counts no FLOPs and no caches"),
            where=stated[0],
            allowed=msg("no value"),
        )
