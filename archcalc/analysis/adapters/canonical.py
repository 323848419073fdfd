"""Adapters counted by our names: every matrix has its own, also where a library joins several in one.

A matrix W [out, in] gets A [r, in] and B [out, r]. A library that joins several matrices (GPT-2's q, k and v) gives
them one A; here each has its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import compress

from msgspec import structs

from archcalc.analysis.adapters.config import ALL_LINEAR, checked_rank
from archcalc.analysis.adapters.methods import RANK
from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.policy import Role
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.leaves import Weight
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.words import msg

_LINEAR: tuple[Role, ...] = ("linear", "router", "gate")
_TABLES: tuple[Role, ...] = ("embedding", "tied", "position", "types", "table")

Targets = str | Sequence[str]


def adapters(ledger: Ledger, rank: int, targets: Targets = ALL_LINEAR) -> list[WeightRow]:
    """Return the rows of every A and B.

    `targets` is 'all-linear' (every Linear, routers too, but not the head), a list of names ('q', 'ffn.up',
    'layers.0.attn.q', also 'all-linear'), each of which means all modules whose names end in it, or a pattern that
    matches whole names ('.*attn\\.[qv]'). Tables and the head must be named. So must a mixture's experts
    ('experts.up'), which are one tensor [n_experts, out, in], as peft's `target_parameters` are; each expert has its
    own A and B, stacked: [n_experts·r, in] and [out, n_experts·r].

    gpt3 with q and v, r = 1: 96 · 2 · (12,288 + 12,288) = 4,718,592 parameters (Hu et al., Table 4: 4.7 M).

    Raise InputError for a rank that is not positive, an unknown target, a pattern that matches nothing.
    """
    checked_rank(rank)
    rows = [row for row in ledger.rows if _may_be_adapted(row)]
    is_target = _chooser(targets, rows)
    sized = [structs.replace(row, sizes={**ledger.sizes, "rank": rank}) for row in rows]
    return [adapter for row in sized for adapter in _adapters_of(row, is_target)]


def is_known(ledger: Ledger, targets: Targets | None) -> bool:
    """Return whether these are targets by our names."""
    if targets is None:
        return False
    try:
        _chooser(targets, [row for row in ledger.rows if _may_be_adapted(row)])
    except InputError:
        return False
    return True


def _may_be_adapted(row: WeightRow) -> bool:
    return row.kind == "trainable" and role_of(row) != "vector"


def modules(row: WeightRow) -> list[str]:
    """Return the names of the modules of a row's weights."""
    return [name.removesuffix(".weight") for name in row.names()]


def _adapters_of(row: WeightRow, is_target: Callable[[str, WeightRow], bool]) -> Iterator[WeightRow]:
    """Yield a row's A and B, in the layers that are targets."""
    selected = [is_target(module, row) for module in modules(row)]
    if not any(selected):
        return
    indices = tuple(compress(row.indices, selected))
    repeats = row.repeats if all(selected) else Poly.constant(len(indices))
    *stacked, out, into = row.weight.axes
    if role_of(row) in _TABLES:
        out, into = into, out
    rank = product((*stacked, RANK))
    for name, axes in (("lora_A", (rank, into)), ("lora_B", (out, rank))):
        weight = Weight(f"{name}.weight", axes, row.component)
        path = f"{row.path.removesuffix('weight')}{weight.name}"
        yield WeightRow(path, weight, row.group, indices, repeats, row.sizes)


def _chooser(targets: Targets, rows: Sequence[WeightRow]) -> Callable[[str, WeightRow], bool]:
    """Return whether a module is a target. Raise InputError if none is, or for a name that no module has."""
    if isinstance(targets, str):
        test = _linear if targets == ALL_LINEAR else _pattern(targets)
        if not any(test(module, row) for row in rows for module in modules(row)):
            raise InputError(
                msg("{targets} is no matrix here", targets=shown(targets)), where="targets", allowed=_allowed(rows)
            )
        return test
    for target in targets:
        if not any(_is_called(module, row, target) for row in rows for module in modules(row)):
            raise _unknown(target, rows)
    if not targets:
        raise InputError(msg("no target is named"), where="targets", allowed=_allowed(rows))
    return lambda module, row: any(_is_called(module, row, target) for target in targets)


def _linear(module: str, row: WeightRow) -> bool:
    return role_of(row) in _LINEAR


def _pattern(pattern: str) -> Callable[[str, WeightRow], bool]:
    """Return whether a regular expression matches a module; experts are parameters, which patterns do not match."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            msg("the pattern {pattern} does not parse ({error})", pattern=shown(pattern), error=error),
            where="targets",
            allowed=msg("a regular expression"),
        ) from None
    return lambda module, row: role_of(row) != "experts" and compiled.fullmatch(module) is not None


def _is_called(module: str, row: WeightRow, target: str) -> bool:
    """Return whether a module's name is, or ends in, `target`; names with 'experts' only match targets with it."""
    if target == ALL_LINEAR:
        return _linear(module, row)
    is_expert = role_of(row) == "experts" and "experts" in module.split(".")
    names_experts = not is_expert or "experts" in target.split(".")
    return names_experts and f".{module}".endswith(f".{target}")


def _unknown(target: str, rows: Sequence[WeightRow]) -> InputError:
    names = [name for row in rows for name in (_short(row), row.path.removesuffix(".weight"))]
    return InputError(
        msg("no matrix is called {target}{hint}", target=shown(target), hint=nearest(target, names)),
        where="targets",
        allowed=_allowed(rows),
    )


def _allowed(rows: Sequence[WeightRow]) -> str:
    names = dict.fromkeys(_short(row) for row in rows)
    return f"{ALL_LINEAR}, {', '.join(names)}, or a pattern"


def _short(row: WeightRow) -> str:
    """Return a module's last name, with 'experts' and 'shared' before it."""
    *before, last = row.path.removesuffix(".weight").split(".")
    return f"{before[-1]}.{last}" if before and before[-1] in ("experts", "shared") else last
