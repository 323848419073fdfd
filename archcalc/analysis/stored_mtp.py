"""Parameters with the modules for multi-token prediction that the files hold and the model's class does not build."""

from __future__ import annotations

from typing import TypedDict

from msgspec import structs

from archcalc.analysis.params import HEAD_MATRIX, TOKEN_TABLE
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.attention import AnyAttention
from archcalc.spec.branches import arms
from archcalc.spec.groups import layers_of, lender_index
from archcalc.spec.layer import Layer, Run, Stack


class MtpTotals(TypedDict):
    """Totals with the modules.

    total: each matrix once. as_stored: every tensor in the files, copies of the tables and buffers too.
    """

    total: int
    as_stored: int


def with_stored_mtp(spec: Spec, ledger: Ledger) -> MtpTotals | None:
    """Return the totals of a model and of the modules in its files; None if they hold none, or none like its layers.

    DeepSeek-V3: 671,026,404,352 parameters, 682,636,472,320 with its module; its files have 684,489,845,504 weights.
    """
    stored, stack = spec.about.stored_mtp, spec.decoder
    layer = _layer(stack) if stack else None
    if stored is None or stack is None or layer is None:
        return None
    parameters, buffers = _module(spec, stack, layer)
    total = ledger.total() + stored.n_modules * parameters
    tables = sum(row.total for row in ledger.rows if row.path in (TOKEN_TABLE, HEAD_MATRIX))
    copies = stored.n_modules * tables if stored.has_tables else 0
    return {
        "total": total,
        "as_stored": total + copies + _buffers(ledger) + stored.n_modules * buffers,
    }


def _layer(stack: Stack) -> Layer | None:
    """Return the last layer that has an attention and reads nothing of other layers, or None."""
    own = (layer for layer in reversed(layers_of(stack)) if lender_index(layer) is None)
    return next((layer for layer in own if any(isinstance(arm.part, AnyAttention) for arm in arms(layer))), None)


def _module(spec: Spec, stack: Stack, layer: Layer) -> tuple[int, int]:
    """Return the parameters and the buffers of one module whose layer is like this one."""
    one = structs.replace(stack, n_layers=1, runs=(Run(count=1, pattern=(layer,)),))
    without, with_one = (
        build(structs.replace(spec, decoder=structs.replace(one, n_mtp=n_modules))) for n_modules in (0, 1)
    )
    return with_one.total() - without.total(), _buffers(with_one) - _buffers(without)


def _buffers(ledger: Ledger) -> int:
    return sum(row.total for row in ledger.rows if row.kind == "buffer")
