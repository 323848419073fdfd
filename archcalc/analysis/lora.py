"""Low-rank adapters beside frozen weights (LoRA, Hu et al. 2021, arXiv:2106.09685), as rows of a ledger of their own.

A matrix W [out, in] gets A [r, in] and B [out, r]; W is frozen, stored in any format, without gradient. With W in NF4
this is QLoRA (Dettmers et al. 2023, arXiv:2305.14314). Shapes and targets are those of the library peft. A library that
fuses several matrices (GPT-2's q, k and v) gives them one A; here each has its own. For some mixtures, 'all-linear' in
peft includes the experts, and doubles the rank of fused ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Annotated

from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.optimizers import Optimizer
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.training import Precision, Recipe, formulas, persistent_bytes, persistent_tensors
from archcalc.analysis.training_memory import PartMemory, PartSize, part_bytes, parts_of, persistent_parts
from archcalc.analysis.weights import role_of, weights
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.policy import Role
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Component, Weight
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.results import Result, Row, Sureness, count, data, share, text
from archcalc.results import product as sizes
from archcalc.spec import Spec
from archcalc.words import msg

ALL_LINEAR = "all-linear"
MAX_RANK = 2**20

_LINEAR: tuple[Role, ...] = ("linear", "router", "gate")
_TABLES: tuple[Role, ...] = ("embedding", "tied", "position", "types", "table")

Targets = str | Sequence[str]
RANK = Poly.symbol("rank")


class AdapterTensor(Row, frozen=True, kw_only=True):
    """An adapter matrix over the layers that have it."""

    path: Annotated[str, text(msg("adapter"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    component: Annotated[Component, data(msg("component"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    shape: Annotated[tuple[int, ...], sizes(msg("shape"))]
    parameters: Annotated[int, count(msg("parameters"))]
    share: Annotated[float, share(msg("share"))]
    formula: Annotated[str, text(msg("formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class LoraMemory(Result, frozen=True, kw_only=True):
    """Bytes of training adapters beside frozen weights: all exact, from step to step."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    rank: Annotated[int, data(msg("rank of the adapters"))]
    targets: Annotated[str | tuple[str, ...], data(msg("modules with adapters"))]
    dtype: Annotated[str, data(msg("format of the frozen weights"))]
    recipe: Annotated[str, data(msg("mixed-precision recipe"))]
    optimizer: Annotated[str, data(msg("optimizer"))]
    dtypes: Annotated[Precision, data(msg("dtypes of weights, gradients and master copy"))]
    trainable: Annotated[int, data(msg("parameters of the adapters"))]
    parameters: Annotated[int, data(msg("parameters"))]
    frozen_bytes: Annotated[int, data(msg("bytes of the frozen weights"))]
    adapters_bytes: Annotated[int, data(msg("bytes of the adapters"))]
    gradients_bytes: Annotated[int, data(msg("bytes of the gradients"))]
    master_bytes: Annotated[int, data(msg("bytes of the master copy"))]
    optimizer_bytes: Annotated[int, data(msg("bytes of the optimizer states"))]
    total_bytes: Annotated[int, data(msg("bytes from step to step"))]
    step_counters_bytes: Annotated[int, data(msg("bytes of step counters on the host"))]
    parts: Annotated[tuple[PartMemory, ...], data(msg("parts of a training step"))]
    adapters: Annotated[tuple[AdapterTensor, ...], data(msg("adapters"))]


def lora_memory(
    spec: Spec, *, rank: int, targets: Targets, dtype: str, recipe: Recipe, optimizer: Optimizer
) -> LoraMemory:
    """Return the memory of training adapters of a rank beside their targets.

    The weights are stored in the format `dtype`, the adapters as the recipe says. Raise InputError for an unknown
    format, and as `adapters` does.
    """
    ledger, precision = build(spec), recipe.precision()
    rows = adapters(ledger, rank, targets)
    total = persistent_bytes(persistent_tensors(rows, precision, optimizer))
    frozen_bytes = sum(line.total_bytes for line in weights(ledger, dtype))
    trainable = sum(row.total for row in rows)
    rewriter = Rewriter(structs.replace(ledger, sizes={**ledger.sizes, "rank": rank}))
    persistent = persistent_parts(total, precision, formulas(rows, precision, optimizer), rewriter)
    frozen = PartSize("frozen", dtype, frozen_bytes, None)
    trained = [structs.replace(one, part="adapters") if one.part == "weights" else one for one in persistent]
    parts = part_bytes(total)
    return LoraMemory(
        name=spec.name,
        label=spec.label,
        rank=rank,
        targets=targets if isinstance(targets, str) else tuple(targets),
        dtype=dtype,
        recipe=recipe.name,
        optimizer=optimizer.name,
        dtypes=precision,
        trainable=trainable,
        parameters=ledger.total() + trainable,
        frozen_bytes=frozen_bytes,
        adapters_bytes=parts.pop("weights_bytes"),
        **parts,
        total_bytes=frozen_bytes + total.bytes,
        step_counters_bytes=total.step_counters_bytes,
        parts=parts_of([frozen, *trained], ledger.total()),
        adapters=tuple(_adapter(row, trainable, rewriter) for row in rows),
    )


def _adapter(row: WeightRow, trainable: int, rewriter: Rewriter) -> AdapterTensor:
    return AdapterTensor(
        path=path_pattern(row.path),
        group=row.group,
        component=row.component,
        layers=row.layers,
        shape=row.shape,
        parameters=row.total,
        share=row.total / trainable,
        formula=rewriter.equation(row.formula),
    )


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
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= MAX_RANK:
        raise InputError(
            msg("found {found}", found=shown(rank)),
            where="rank",
            allowed=msg("an integer from 1 to {max_rank:,}", max_rank=MAX_RANK),
        )
    rows = [row for row in ledger.rows if _may_be_adapted(row)]
    is_target = _chooser(targets, rows)
    sized = [structs.replace(row, sizes={**ledger.sizes, "rank": rank}) for row in rows]
    return [adapter for row in sized for adapter in _adapters_of(row, is_target)]


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
    """Return whether a module's name is, or ends in, `target`; experts only match targets with 'experts'."""
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
    """Return a module's last name, with 'experts' and 'shared' before it."""
    *before, last = row.path.removesuffix(".weight").split(".")
    return f"{before[-1]}.{last}" if before and before[-1] in ("experts", "shared") else last
