"""Bytes of weights and caches in a plain dtype, exact; `weights.py` and `caches.py` have every other format."""

from __future__ import annotations

from typing import Final, Literal, TypedDict, get_args

from archcalc.errors import InputError, nearest, shown
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.rows import Ledger
from archcalc.spec.workload import Workload
from archcalc.words import msg

Dtype = Literal["fp32", "fp16", "bf16", "fp8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
# As the source states it.
AUTO: Final = "auto"
DtypeOrAuto = Dtype | Literal["auto"]


def check_dtype(dtype: str, allowed: tuple[str, ...] = (AUTO, *DTYPES)) -> None:
    """Raise InputError for a dtype that is not allowed."""
    if dtype not in allowed:
        raise InputError(
            msg("found {found}{hint}", found=shown(dtype), hint=nearest(str(dtype), DTYPES)),
            where="dtype",
            allowed=", ".join(allowed),
        )


class Memory(TypedDict):
    """Bytes by what they hold.

    weights_bytes: all parameters. kv_cache_bytes: after past + seq tokens, the cross cache included. state_bytes: the
    state of recurrent layers.
    """

    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int


def summary(ledger: Ledger, work: Workload, dtype: Dtype) -> Memory:
    """Return the totals of a workload in a dtype."""
    sizes = ledger.at(work)
    return {
        "weights_bytes": ledger.total() * element_bytes(dtype),
        "kv_cache_bytes": sum(row.elements(sizes) for row in ledger.caches) * element_bytes(dtype),
        "state_bytes": state_bytes(ledger, work, dtype),
    }


def state_bytes(ledger: Ledger, work: Workload, dtype: Dtype) -> int:
    """Return the bytes of all recurrent states, which do not depend on the length of the text."""
    sizes = ledger.at(work)
    return sum(row.bytes_formula(element_bytes(dtype)).at(sizes) for row in ledger.states)
