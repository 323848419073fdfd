"""Published tables about models that are only a size, checked as the claims of a preset are.

A paper is a YAML file in presets/papers: what it counts by, and its claims, of quantities KIND:ARGUMENTS.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import msgspec

from archcalc import presets
from archcalc.analysis.optimizers import find_optimizer
from archcalc.analysis.papers import zero
from archcalc.analysis.papers.claims import BYTE_UNITS, Checked, Printed, in_unit, judged, parse
from archcalc.analysis.training import find_recipe, formulas, persistent_bytes, persistent_tensors
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Weight
from archcalc.ledger.rows import WeightRow
from archcalc.spec.claim import Claim
from archcalc.spec.yaml_reader import parse as parse_yaml
from archcalc.words import msg


class Paper(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A paper's claims, and the recipe and optimizer that its figures are of."""

    name: str
    title: str
    source: str
    recipe: str
    optimizer: str = msgspec.field(name="optimiser")
    claims: tuple[Claim, ...]


def load(name: str) -> Paper:
    """The paper that comes with archcalc under this name, one of `presets.papers`."""
    with open(presets.paper_path(name), "rb") as file:
        return msgspec.convert(parse_yaml(file.read()), Paper)


def check(paper: Paper) -> list[Checked]:
    """Every claim of a paper, with its verdict found anew.

    Raises InputError, with the claim's path, for a quantity or a value that means nothing here.

    >>> {one.shown for one in check(load("zero")) if one.claim.id == "figure-1-os"}
    {'31.406 GB'}
    """
    return [_checked(paper, claim, f"claims[{i}]") for i, claim in enumerate(paper.claims)]


def _checked(paper: Paper, claim: Claim, path: str) -> Checked:
    kind, _, arguments = claim.quantity.partition(":")
    if kind not in QUANTITIES:
        raise InputError(
            msg(
                "there is no quantity {quantity}{hint}", quantity=shown(claim.quantity), hint=nearest(kind, QUANTITIES)
            ),
            where=f"{path}.quantity",
            allowed=", ".join(QUANTITIES),
        )
    try:
        figure, formula = QUANTITIES[kind](paper, arguments)
    except InputError as error:
        raise InputError(error.problem, allowed=error.allowed, where=f"{path}.quantity") from None
    printed = _printed(claim, path)
    verdict = judged(figure, printed)
    return Checked(claim, figure, in_unit(figure, printed), verdict, formula, verdict == claim.verdict, ())


def _printed(claim: Claim, path: str) -> Printed:
    try:
        printed = parse(claim.value)
    except InputError as error:
        raise InputError(error.problem, allowed=error.allowed, where=f"{path}.value") from None
    if printed.unit not in BYTE_UNITS:
        raise InputError(
            msg("found {found}", found=shown(claim.value)),
            where=f"{path}.value",
            allowed=msg("a figure in kB, MB, GB or TB"),
        )
    return printed


# --- quantities --------------------------------------------------------------------------------------------------

SIZE = Poly.symbol("Ψ")


def _device_bytes(paper: Paper, arguments: str) -> tuple[Fraction, str]:
    """'SIZE:STAGE:DEVICES': what each device holds of a model of that size, and the formula ('7.5 B:os:64')."""
    size, _, rest = arguments.partition(":")
    stage, _, devices = rest.partition(":")
    if not devices.isdecimal() or int(devices) < 1:
        raise InputError(
            msg("found {found}", found=shown(arguments)),
            allowed=msg("SIZE:STAGE:DEVICES, such as '7.5 B:os:64'"),
        )
    printed, split = parse(size), zero.stage_of(stage)
    row = _of_size(int(printed.digits * printed.step))
    precision, optimizer = find_recipe(paper.recipe).precision(), find_optimizer(paper.optimizer)
    total = persistent_bytes(persistent_tensors([row], precision, optimizer))
    return zero.device_bytes(total, split, int(devices)), _formula(paper, row, split, int(devices))


def _of_size(n_parameters: int) -> WeightRow:
    """A model of which only its size is known: one vector of all that it trains."""
    return WeightRow("parameters", Weight("parameters", (SIZE,), "other"), "", (), ONE, {str(SIZE): n_parameters})


def _formula(paper: Paper, row: WeightRow, stage: zero.Stage, devices: int) -> str:
    """'4·Ψ + 12·Ψ/64': what every device holds, and what is split."""
    parts = formulas([row], find_recipe(paper.recipe).precision(), find_optimizer(paper.optimizer))
    symbols = {part: poly for part, poly in parts.items() if poly is not None}
    split = Poly.sum(symbols.pop(part) for part in zero.SPLIT[stage])
    whole = Poly.sum(symbols.values())
    return " + ".join([str(whole)] * bool(whole.terms) + [f"{split}/{devices}"] * bool(split.terms))


QUANTITIES: dict[str, Callable[[Paper, str], tuple[Fraction, str]]] = {"device_bytes": _device_bytes}
