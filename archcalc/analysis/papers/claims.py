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
class Checked:
    """A claim and what checking it found.

    `figure` is exact (of a share: in percent) and counted by `accounting`; `shown` is the same in the claim's unit.
    `holds_in` are the other accountings whose figure is another one, and rounds to the claim's value.
    """

    claim: Claim
    figure: Figure
    shown: str
    verdict: Verdict
    accounting: str
    agrees_with_record: bool
    holds_in: tuple[str, ...]


@dataclass(frozen=True)
class Printed:
    """A figure as printed: `digits` units of its last place, which is `step`."""

    digits: int
    decimals: int
    unit: str

    @property
    def step(self) -> Fraction:
        """What one unit of the last printed digit is worth."""
        return Fraction(10) ** (EXPONENTS[self.unit] - self.decimals)


def check(spec: Spec, ledger: Ledger) -> list[Checked]:
    """Every claim of a spec, with its verdict found anew from the spec's ledger.

    Raises InputError, with the claim's path, for a quantity, an accounting or a value that means nothing here.

    >>> from archcalc.ledger.build import build
    >>> from archcalc.sources import load
    >>> spec = load("gpt3-175b")
    >>> {one.shown for one in check(spec, build(spec)) if one.claim.quantity == "total" and one.claim.value == "175 B"}
    {'174.60 B'}
    """
    return [_checked(claim, spec, ledger, f"about.claims[{i}]") for i, claim in enumerate(spec.about.claims)]


def _checked(claim: Claim, spec: Spec, ledger: Ledger, path: str) -> Checked:
    figures = _figures(claim, spec, ledger, path)
    printed = _printed(claim, path)
    figure = figures[claim.accounting]
    verdict = judged(figure, printed)
    holds_in = tuple(name for name, other in figures.items() if other != figure and judged(other, printed) == "holds")
    return Checked(
        claim, figure, in_unit(figure, printed), verdict, claim.accounting, verdict == claim.verdict, holds_in
    )


# --- what is printed ---------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,30})(?:\.(?P<rest>[0-9]{1,30}))?(?: ?(?P<unit>[kMGT]B|[KMBT%]))?",
    re.ASCII,
)


def parse(value: str) -> Printed:
    """A printed figure: '174.6 B', '0.7 %', '12288', '175,181,291,520', '31.4 GB'.

    Raises InputError for any other form.
    """
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise InputError(
            msg("found {found}", found=shown(value)),
            allowed=msg("a figure as printed, such as '174.6 B', '0.7 %', '12,288'"),
        )
    rest = match["rest"] or ""
    return Printed(int(match["whole"].replace(",", "") + rest), len(rest), match["unit"] or "")


def _printed(claim: Claim, path: str) -> Printed:
    """The claim's value, its unit fit for what it measures."""
    try:
        printed = parse(claim.value)
    except InputError as error:
        raise InputError(error.problem, allowed=error.allowed, where=f"{path}.value") from None
    is_share = claim.quantity.partition(":")[0] in ("share", *activation_claims.PERCENT)
    if is_share != (printed.unit == "%") or printed.unit in BYTE_UNITS:
        allowed = "a figure in %" if is_share else "a figure without unit, or in K, M, B or T"
        raise InputError(
            msg("found {value} for {quantity}", value=shown(claim.value), quantity=shown(claim.quantity)),
            allowed=allowed,
            where=f"{path}.value",
        )
    return printed


def judged(figure: Figure, printed: Printed) -> Verdict:
    """Whether a figure rounds to what is printed (a tie may go either way), is cut off or up to it, or neither.

    >>> judged(1_250_000_000, parse("1.3 B")), judged(3_353_032_704, parse("3.3 B")), judged(124, parse("117"))
    ('holds', 'truncates', 'differs')
    """
    places = figure / printed.step
    half = Fraction(1, 2)
    if printed.digits in (math.floor(places + half), math.ceil(places - half)):
        return "holds"
    return "truncates" if printed.digits in (math.floor(places), math.ceil(places)) else "differs"


def in_unit(figure: Figure, printed: Printed) -> str:
    """A figure in the unit of what is printed, to two digits more where it has them; without unit an int is exact.

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
    """No biases, no norms, no positions: the matrices that tokens are multiplied by, and the token table."""
    return tuple(r for r in rows if r.path.endswith(".weight") and len(r.shape) > 1 and r.component != "position")


def _without_input(ledger: Ledger) -> tuple[WeightRow, ...]:
    """A tied head reads the table, which therefore stays."""
    return ledger.counted_rows if ledger.tied else _without_paths(ledger, TOKEN_TABLE)


def _without_paths(ledger: Ledger, *paths: str) -> tuple[WeightRow, ...]:
    return tuple(row for row in ledger.counted_rows if row.path not in paths)


def _without_component(ledger: Ledger, component: str) -> tuple[WeightRow, ...]:
    return tuple(row for row in ledger.counted_rows if row.component != component)


# Each says which rows are counted; a tied head's matrix counts only where the head is counted apart.
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
    """What a quantity is taken over: the rows of one accounting, and all of the model."""

    rows: tuple[WeightRow, ...]
    spec: Spec
    ledger: Ledger

    def where(self, test: Callable[[WeightRow], bool]) -> int:
        """Parameters of the rows that pass."""
        return sum(row.total for row in self.rows if test(row))


def _untied(counting: Counting) -> int:
    return counting.ledger.total() + sum(row.total for row in counting.ledger.tied)


# Quantities that are just a name.
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
    """Percent of all that is counted. Of a tied head counted apart both tables are embedding, for they are one."""
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
    """The rows whose path is `name`, or ends in it; a tied head's name too."""
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
    """One head's part of a projection: its heads are an axis, or a factor of one."""
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
    """A number that the resolved spec states; items of a list by their index."""
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


# Quantities of the form KIND:NAME. Those that are one figure in every accounting stand apart.
NAMED: dict[str, Callable[[Counting, str], Figure]] = {"component": _component, "share": _share}
FACTS: dict[str, Callable[[Counting, str], Figure]] = {
    "tensor": _tensor,
    "rows": _over_layers,
    "per_head": _per_head,
    "field": _field,
}


def _figures(claim: Claim, spec: Spec, ledger: Ledger, path: str) -> dict[str, Figure]:
    """The figure that a claim is about, in every accounting."""
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
        raise InputError(error.problem, allowed=error.allowed, where=f"{path}.quantity") from None


def _activation_figures(claim: Claim, spec: Spec, path: str) -> dict[str, Figure]:
    """Of what training keeps and computes again, which has accountings of its own."""
    try:
        found = activation_claims.figures(claim.quantity, spec)
    except InputError as error:
        raise InputError(error.problem, allowed=error.allowed, where=f"{path}.quantity") from None
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
