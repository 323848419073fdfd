"""Published figures about a model, checked against its ledger: which hold, and in which way of counting."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import msgspec

from archcalc.analysis.papers import activation_claims
from archcalc.analysis.params import EMBEDDING, HEAD_MATRIX, TOKEN_TABLE
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec.claim import Claim, Verdict
from archcalc.spec.model import Spec
from archcalc.words import msg

Figure = int | Fraction

BYTE_UNITS = {"kB": 3, "MB": 6, "GB": 9, "TB": 12}
EXPONENTS = {"": 0, "K": 3, "M": 6, "B": 9, "T": 12, "%": 0, **BYTE_UNITS}


@dataclass(frozen=True)
class ClaimCheck:
    """A claim and the exact figure that it is about.

    `figure` is counted by `accounting`; a share is in percent. `figure_in_unit` is the same in the claim's unit.
    `holds_in` are the accountings with a different figure that rounds to the claim's value.
    """

    claim: Claim
    figure: Figure
    figure_in_unit: str
    verdict: Verdict
    accounting: str
    is_as_recorded: bool
    holds_in: tuple[str, ...]


@dataclass(frozen=True)
class PrintedFigure:
    """A published figure: `digits` units of its last place, which is `step`."""

    digits: int
    decimals: int
    unit: str

    @property
    def step(self) -> Fraction:
        """Return the value of one unit of the last printed digit."""
        return Fraction(10) ** (EXPONENTS[self.unit] - self.decimals)


def check(spec: Spec, ledger: Ledger) -> list[ClaimCheck]:
    """Return the checks of all claims of a spec.

    Raises InputError, with the claim's path, for an unknown quantity or accounting and an invalid value.

    >>> from archcalc.ledger.build import build
    >>> from archcalc.sources import load
    >>> spec = load("gpt3-175b")
    >>> [one.figure_in_unit for one in check(spec, build(spec)) if one.claim.quantity == "total"][0]
    '174.604 B'
    """
    return [_check(claim, spec, ledger, f"about.claims[{i}]") for i, claim in enumerate(spec.about.claims)]


def _check(claim: Claim, spec: Spec, ledger: Ledger, path: str) -> ClaimCheck:
    figures = _figures(claim, spec, ledger, path)
    printed = _printed(claim, path)
    figure = figures[claim.accounting]
    verdict = verdict_of(figure, printed)
    holds_in = tuple(
        name for name, other in figures.items() if other != figure and verdict_of(other, printed) == "holds"
    )
    return ClaimCheck(
        claim, figure, in_unit(figure, printed), verdict, claim.accounting, verdict == claim.verdict, holds_in
    )


# --- what is printed ---------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,30})(?:\.(?P<rest>[0-9]{1,30}))?(?: ?(?P<unit>[kMGT]B|[KMBT%]))?",
    re.ASCII,
)


def parse(value: str) -> PrintedFigure:
    """Return a published figure: '174.6 B', '0.7 %', '12288', '175,181,291,520', '31.4 GB'.

    Raises InputError for any other form.
    """
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise InputError(
            msg("found {found}", found=shown(value)),
            allowed=msg("a figure as printed, such as '174.6 B', '0.7 %', '12,288'"),
        )
    rest = match["rest"] or ""
    return PrintedFigure(int(match["whole"].replace(",", "") + rest), len(rest), match["unit"] or "")


def _printed(claim: Claim, path: str) -> PrintedFigure:
    """Return the claim's value. Raises InputError if its unit does not fit the quantity."""
    try:
        printed = parse(claim.value)
    except InputError as error:
        raise error.at(f"{path}.value") from None
    is_share = claim.quantity.partition(":")[0] in ("share", *activation_claims.PERCENT)
    if is_share != (printed.unit == "%") or printed.unit in BYTE_UNITS:
        allowed = "a figure in %" if is_share else "a figure without unit, or in K, M, B or T"
        raise InputError(
            msg("found {value} for {quantity}", value=shown(claim.value), quantity=shown(claim.quantity)),
            allowed=allowed,
            where=f"{path}.value",
        )
    return printed


def verdict_of(figure: Figure, printed: PrintedFigure) -> Verdict:
    """Return whether a figure rounds to the printed one (a tie either way), truncates to it, or differs.

    >>> [verdict_of(n, parse(text)) for n, text in [(1_250, "1.3 K"), (3_353, "3.3 K"), (124, "117")]]
    ['holds', 'truncates', 'differs']
    """
    places = figure / printed.step
    half = Fraction(1, 2)
    if printed.digits in (math.floor(places + half), math.ceil(places - half)):
        return "holds"
    return "truncates" if printed.digits in (math.floor(places), math.ceil(places)) else "differs"


def in_unit(figure: Figure, printed: PrintedFigure) -> str:
    """Return a figure in the unit of the printed one, with two more digits; without a unit an int is exact.

    >>> in_unit(174_604_259_328, parse("175 B")), in_unit(617_558_016, parse("617,558,015"))
    ('174.60 B', '617,558,016')
    """
    exponent = EXPONENTS[printed.unit]
    decimals = printed.decimals + 2 if isinstance(figure, Fraction) else min(printed.decimals + 2, exponent)
    places = math.floor(figure / Fraction(10) ** (exponent - decimals) + Fraction(1, 2))
    whole, rest = divmod(places, 10**decimals)
    return f"{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "") + (f" {printed.unit}" if printed.unit else "")


# --- ways of counting --------------------------------------------------------------------------------------------


def _stored_once(ledger: Ledger) -> tuple[WeightRow, ...]:
    return ledger.counted_rows


def _head_apart(ledger: Ledger) -> tuple[WeightRow, ...]:
    return (*ledger.counted_rows, *ledger.tied)


def _matrices(rows: tuple[WeightRow, ...]) -> tuple[WeightRow, ...]:
    """Return the matrices that tokens are multiplied by, and the token table: no biases, norms or positions."""
    return tuple(r for r in rows if r.path.endswith(".weight") and len(r.shape) > 1 and r.component != "position")


def _without_input(ledger: Ledger) -> tuple[WeightRow, ...]:
    """Return the rows without the token table; it stays if a tied head reads it."""
    return ledger.counted_rows if ledger.tied else _without_paths(ledger, TOKEN_TABLE)


def _without_paths(ledger: Ledger, *paths: str) -> tuple[WeightRow, ...]:
    return tuple(row for row in ledger.counted_rows if row.path not in paths)


def _without_component(ledger: Ledger, component: str) -> tuple[WeightRow, ...]:
    return tuple(row for row in ledger.counted_rows if row.component != component)


# The rows that each counts. A tied head's matrix is one of them only where the head is counted apart.
ACCOUNTINGS: dict[str, Callable[[Ledger], tuple[WeightRow, ...]]] = {
    "stored once": _stored_once,
    "head counted apart": _head_apart,
    "weights alone": lambda ledger: _matrices(ledger.counted_rows),
    "weights alone, head apart": lambda ledger: _matrices(_head_apart(ledger)),
    "without biases": lambda ledger: tuple(row for row in ledger.counted_rows if not row.path.endswith("bias")),
    "without positions": lambda ledger: _without_component(ledger, "position"),
    "without head": lambda ledger: _without_component(ledger, "head"),
    "without input embedding": _without_input,
    "without embedding and head": lambda ledger: _without_paths(ledger, TOKEN_TABLE, HEAD_MATRIX),
}


# --- quantities --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counting:
    """The rows of one accounting, and the model that they are of."""

    rows: tuple[WeightRow, ...]
    spec: Spec
    ledger: Ledger

    def where(self, test: Callable[[WeightRow], bool]) -> int:
        """Return the parameters of the rows that pass a test."""
        return sum(row.total for row in self.rows if test(row))


def _untied(counting: Counting) -> int:
    return counting.ledger.total() + sum(row.total for row in counting.ledger.tied)


# Quantities without arguments.
PLAIN: dict[str, Callable[[Counting], int]] = {
    "total": lambda c: c.where(lambda row: True),
    "untied": _untied,
    "active": lambda c: sum(row.active for row in c.rows),
    "trainable": lambda c: c.where(lambda row: row.kind == "trainable"),
    "non_embedding": lambda c: c.where(lambda row: row.component not in EMBEDDING),
    "embedding": lambda c: c.where(lambda row: row.path == TOKEN_TABLE),
    "embedding_and_head": lambda c: c.where(lambda row: row.path in (TOKEN_TABLE, HEAD_MATRIX)),
    "layers": lambda c: c.where(lambda row: "layers.{i}." in row.path),
}


def _component(counting: Counting, name: str) -> int:
    return counting.where(lambda row: row.component == _known(name))


def _share(counting: Counting, name: str) -> Fraction:
    """Return percent of all parameters; a tied head that is counted apart is part of the embedding."""
    tied = counting.ledger.tied
    part = counting.where(lambda row: ("embedding" if row in tied else row.component) == _known(name))
    return Fraction(100 * part, counting.where(lambda row: True))


def _known(component: str) -> str:
    if component in COMPONENTS:
        return component
    raise InputError(
        msg("there is no component {component}{hint}", component=shown(component), hint=nearest(component, COMPONENTS)),
        allowed=", ".join(COMPONENTS),
    )


def _rows(counting: Counting, name: str) -> list[WeightRow]:
    """Return the rows whose path is or ends in `name`, the tied head included."""
    rows = (*counting.ledger.rows, *counting.ledger.tied)
    found = [row for row in rows if row.path == name or row.path.endswith(f".{name}")]
    if not found:
        paths = [row.path for row in rows]
        raise InputError(
            msg("there is no tensor {name}{hint}", name=shown(name), hint=nearest(name, [*paths, *_tails(paths)]))
        )
    return found


def _tails(paths: list[str]) -> Iterator[str]:
    return (path.partition("{i}.")[2] for path in paths if "{i}." in path)


def _over_layers(counting: Counting, name: str) -> int:
    return sum(row.total for row in _rows(counting, name))


def _tensor(counting: Counting, name: str) -> int:
    return _alike({row.count for row in _rows(counting, name)}, name)


def _per_head(counting: Counting, name: str) -> int:
    """Return the elements of one head's part of a projection."""
    return _alike({row.count // _n_heads(row, name) for row in _rows(counting, name)}, name)


def _n_heads(row: WeightRow, name: str) -> int:
    symbols = {symbol for axis in row.weight.axes for symbol in axis.symbols()}
    heads = [symbol for symbol in symbols if symbol.partition("[")[0] in ("n_heads", "n_kv_heads")]
    if not heads:
        raise InputError(
            msg("{name} is not divided among heads", name=shown(name)), allowed=msg("a projection of attention")
        )
    return row.sizes[heads[0]]


def _alike(counts: set[int], name: str) -> int:
    if len(counts) > 1:
        raise InputError(
            msg("tensors of {n_counts} sizes are called {name}", n_counts=len(counts), name=shown(name)),
            allowed=msg("a longer name, for one"),
        )
    return counts.pop()


def _field(counting: Counting, name: str) -> Figure:
    """Return a number of the resolved spec. Items of a list are named by their index."""
    value: Any = counting.spec
    for key in name.split("."):
        value = _item(value, key, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            msg("the field {name} holds {value}", name=shown(name), value=shown(value)),
            allowed=msg("a field that is a number"),
        )
    return value if isinstance(value, int) else Fraction(repr(value))


def _item(holder: Any, key: str, name: str) -> Any:
    if isinstance(holder, tuple) and key.isdecimal() and len(key) < 9 and int(key) < len(holder):
        return holder[int(key)]
    fields = holder.__struct_fields__ if isinstance(holder, msgspec.Struct) else ()
    if key not in fields:
        raise InputError(
            msg("there is no field {name}{hint}", name=shown(name), hint=nearest(key, fields)),
            allowed=", ".join(fields),
        )
    return getattr(holder, key)


# Quantities of the form KIND:NAME; FACTS are the same in every accounting.
NAMED: dict[str, Callable[[Counting, str], Figure]] = {"component": _component, "share": _share}
FACTS: dict[str, Callable[[Counting, str], Figure]] = {
    "tensor": _tensor,
    "rows": _over_layers,
    "per_head": _per_head,
    "field": _field,
}


def _figures(claim: Claim, spec: Spec, ledger: Ledger, path: str) -> dict[str, Figure]:
    """Return the figure that a claim is about in every accounting."""
    kind = claim.quantity.partition(":")[0]
    if kind in activation_claims.QUANTITIES:
        return _activation_figures(claim, spec, path)
    if claim.accounting not in ACCOUNTINGS:
        raise InputError(
            msg(
                "there is no accounting {accounting}{hint}",
                accounting=shown(claim.accounting),
                hint=nearest(claim.accounting, ACCOUNTINGS),
            ),
            where=f"{path}.accounting",
            allowed=", ".join(ACCOUNTINGS),
        )
    if kind in FACTS and claim.accounting != "stored once":
        raise InputError(
            msg("{quantity} is the same in all of them", quantity=shown(claim.quantity)),
            where=f"{path}.accounting",
            allowed=msg("none stated"),
        )
    accountings = ["stored once"] if kind in FACTS else [*ACCOUNTINGS]
    try:
        return {
            accounting: _figure(claim.quantity, Counting(ACCOUNTINGS[accounting](ledger), spec, ledger))
            for accounting in accountings
        }
    except InputError as error:
        raise error.at(f"{path}.quantity") from None


def _activation_figures(claim: Claim, spec: Spec, path: str) -> dict[str, Figure]:
    """Return figures about saved activations and recomputation, which have accountings of their own."""
    try:
        found = activation_claims.figures(claim.quantity, spec)
    except InputError as error:
        raise error.at(f"{path}.quantity") from None
    if claim.accounting not in found:
        raise InputError(
            msg(
                "{quantity} has no accounting {accounting}{hint}",
                quantity=shown(claim.quantity),
                accounting=shown(claim.accounting),
                hint=nearest(claim.accounting, found),
            ),
            where=f"{path}.accounting",
            allowed=", ".join(found),
        )
    return found


def _figure(quantity: str, counting: Counting) -> Figure:
    kind, colon, name = quantity.partition(":")
    if quantity in PLAIN:
        return PLAIN[quantity](counting)
    if colon and (find := (NAMED | FACTS).get(kind)):
        return find(counting, name)
    names = [*PLAIN, *(f"{kind}:NAME" for kind in NAMED | FACTS), *activation_claims.QUANTITIES]
    raise InputError(
        msg("there is no quantity {quantity}{hint}", quantity=shown(quantity), hint=nearest(quantity, names)),
        allowed=", ".join(names),
    )
