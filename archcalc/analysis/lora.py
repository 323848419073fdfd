"""Low-rank adapters beside frozen weights (LoRA, Hu et al. 2021, arXiv:2106.09685), as rows of a ledger of their own.

Beside a matrix W [out, in] stand A [r, in] and B [out, r]; W stays as it is, stored in any format, without gradient.
With W in NF4 that is QLoRA (Dettmers et al. 2023, arXiv:2305.14314). Shapes and targets are those of the library peft.
A library that holds several matrices as one (GPT-2's q, k and v) gives them one A between them; here each has its own.
For some mixtures peft reads 'all-linear' as the experts too, and doubles the rank of those that it holds as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from archcalc.analysis.optimisers import Optimiser
from archcalc.analysis.training import Kept, Precision, Recipe, kept
from archcalc.analysis.weights import WeightBytes, role_of, weights
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.policy import Role
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.leaves import Weight
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.words import msg

ALL_LINEAR = "all-linear"
MAX_RANK = 2**20

_LINEAR: tuple[Role, ...] = ("linear", "router", "gate")
_TABLES: tuple[Role, ...] = ("embedding", "tied", "position", "types", "table")

Targets = str | Sequence[str]
RANK = Poly.symbol("rank")


class Tuned(msgspec.Struct, frozen=True):
    """A model with adapters: its weights as they are stored, and what training keeps of each adapter."""

    base: list[WeightBytes]
    adapters: list[Kept]

    @property
    def base_bytes(self) -> int:
        """Bytes of the frozen weights, buffers too."""
        return sum(line.total_bytes for line in self.base)

    @property
    def trainable(self) -> int:
        """Parameters of the adapters."""
        return sum(line.row.total for line in self.adapters)


def tuned(
    ledger: Ledger, rank: int, targets: Targets, *, form: str, precision: Precision, optimiser: Optimiser
) -> Tuned:
    """A model with adapters of a rank beside its targets; the model stored in a format, the adapters in `precision`."""
    return Tuned(weights(ledger, form), kept(adapters(ledger, rank, targets), precision, optimiser))


def adapters(ledger: Ledger, rank: int, targets: Targets = ALL_LINEAR) -> list[WeightRow]:
    """The rows of every A and B.

    `targets` is 'all-linear' (every Linear, routers too, but not the head), a list of names ('q', 'ffn.up',
    'layers.0.attn.q', and 'all-linear' among them), each of which stands for all that end in it, or a pattern that
    matches whole names ('.*attn\\.[qv]'). Tables and the head have to be named. So have a mixture's experts
    ('experts.up'), which are one tensor [n_experts, out, in], as peft's `target_parameters` are; each expert has an A
    and a B of its own, stacked: [n_experts·r, in] and [out, n_experts·r].

    gpt3 with q and v, r = 1: 96 · 2 · (12,288 + 12,288) = 4,718,592 parameters (Hu et al., Table 4: 4.7 M).

    Raises InputError for a rank that is not positive, a target that nothing is called, a pattern that matches nothing.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= MAX_RANK:
        raise InputError(
            msg("found {found}", found=shown(rank)),
            where="rank",
            allowed=msg("an integer from 1 to {max_rank:,}", max_rank=MAX_RANK),
        )
    rows = [row for row in ledger.rows if _may_be_adapted(row)]
    is_target = _chooser(targets, rows)
    sizes = {**ledger.sizes, "rank": rank}
    found = [msgspec.structs.replace(row, sizes=sizes) for row in rows]
    return [adapter for row in found for adapter in _beside(row, is_target)]


def _may_be_adapted(row: WeightRow) -> bool:
    return row.kind == "trainable" and role_of(row) != "vector"


def modules(row: WeightRow) -> list[str]:
    """The names of the modules whose weights a row holds."""
    return [name.removesuffix(".weight") for name in row.names()]


def _beside(row: WeightRow, is_target: Callable[[str, WeightRow], bool]) -> Iterator[WeightRow]:
    """A row's A and B, of those of its layers that are targets."""
    chosen = [is_target(module, row) for module in modules(row)]
    if not any(chosen):
        return
    indices = tuple(index for index, yes in zip(row.indices, chosen, strict=True) if yes) if row.indices else ()
    repeats = row.repeats if all(chosen) else Poly.constant(len(indices))
    *stacked, out, into = row.weight.axes
    if role_of(row) in _TABLES:
        out, into = into, out
    rank = product((*stacked, RANK))
    for name, axes in (("lora_A", (rank, into)), ("lora_B", (out, rank))):
        weight = Weight(f"{name}.weight", axes, row.component)
        path = f"{row.path.removesuffix('weight')}{weight.name}"
        yield WeightRow(path, weight, row.group, indices, repeats, row.sizes)


def _chooser(targets: Targets, rows: Sequence[WeightRow]) -> Callable[[str, WeightRow], bool]:
    """Whether a module is a target; InputError if none is, or if one of a list's names is no module's."""
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
    """Matches of a regular expression; experts are parameters and no modules, which patterns are for."""
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
    """Whether a module's name is, or ends in, this one; of experts, only if it says so."""
    if target == ALL_LINEAR:
        return _linear(module, row)
    names_experts = role_of(row) != "experts" or "experts" in target.split(".")
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
    """A module's last name, with 'experts' and 'shared' before it."""
    *before, last = row.path.removesuffix(".weight").split(".")
    return f"{before[-1]}.{last}" if before and before[-1] in ("experts", "shared") else last


class AdapterSetup(msgspec.Struct, frozen=True):
    """What is tuned, and how: the adapters' rank and targets, the format of what stays as it is."""

    spec: Spec
    ledger: Ledger
    rank: int
    targets: Targets
    form: str
    recipe: Recipe
    precision: Precision
    optimiser: Optimiser

    def tuned(self) -> Tuned:
        """Return the model's weights, and what training keeps of each adapter."""
        return tuned(
            self.ledger,
            self.rank,
            self.targets,
            form=self.form,
            precision=self.precision,
            optimiser=self.optimiser,
        )
