"""What a training step keeps, from step to step and while it runs, as pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from archcalc.analysis import activations
from archcalc.analysis.optimisers import Optimiser
from archcalc.analysis.papers.activation_conventions import compared
from archcalc.analysis.peak import Moment, moments
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.training import PARTS, Kept, Part, Precision, Recipe, Totals, by_component, formulas, totals
from archcalc.analysis.training_setup import TrainingSetup
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES, SURENESS
from archcalc.ledger.build import build
from archcalc.render import activation_conventions as render_conventions
from archcalc.render import activations as render_activations
from archcalc.render import peak as render_peak
from archcalc.render.memory import View
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from archcalc.units import exact, human_bytes
from archcalc.words import Message, joined, msg

TITLES: dict[Part, Message] = {
    "weights": msg("weights"),
    "gradients": msg("gradients"),
    "master": msg("master copy"),
    "optimiser": msg("optimiser states"),
}


def page(subject: TrainingSetup, view: View = "components") -> Page:
    """What is kept from step to step and while a step runs: by part, then in detail as the view asks."""
    lines, spec, work = subject.lines(), subject.spec, subject.work
    whole, saved = totals(lines), activations.summary(build(spec, subject.how), work)
    lasting = part_rows(subject.precision, whole)
    blocks: list[Block] = [
        parts_table(
            [*lasting, (_marked(msg("saved activations"), subject.how), _manner(subject.how), saved["total_bytes"])],
            subject.ledger.total(),
            _marked(msg("All that a training step keeps"), subject.how),
        ),
        *render_activations.blocks(spec, work, subject.how, view),
        *render_peak.blocks(*_peak(subject, lines)),
    ]
    if view == "components":
        blocks.append(components(lines))
    if subject.conventions:
        blocks += render_conventions.blocks(compared(spec, work))
    blocks.append(Text("", notes(subject.recipe, subject.optimiser, whole)))
    words = (spec.name, subject.recipe.name, subject.optimiser.name, stored(subject.precision), _tokens(work))
    return Page(msg("{label}: training memory", label=spec.label), joined(" · ", words), blocks)


def _peak(subject: TrainingSetup, lines: list[Kept]) -> tuple[list[Moment], Moment | None, int | None]:
    return moments(subject.spec, subject.work, subject.how, lines), subject.tracked, subject.grown_bytes


def _manner(how: Execution) -> Message:
    return msg(
        "{dtype}, {attention} on {device}, recompute {recompute}",
        dtype=how.dtype,
        attention=how.attention,
        device=how.device,
        recompute=RECOMPUTE_NAMES[how.recompute],
    )


def _marked(name: Message, how: Execution) -> Message:
    """The name of a figure, marked where it is not exact."""
    sureness = activations.sureness(how)
    return name if sureness == "exact" else msg("{name} ({sureness})", name=name, sureness=SURENESS[sureness])


def _tokens(work: Workload) -> Message:
    return msg("{batch:,} × {seq:,} tokens", batch=work.batch, seq=work.seq)


def stored(precision: Precision) -> Message:
    """The dtypes in words."""
    dtypes = msgspec.structs.asdict(precision)
    if precision.master:
        return msg("weights {weights}, gradients {gradients}, copy {master}", **dtypes)
    return msg("weights {weights}, gradients {gradients}", **dtypes)


PartRow = tuple[Message, str | Message, int]
KEPT = msg("Kept from step to step")


def part_rows(precision: Precision, whole: Totals, titles: Mapping[Part, Message] = TITLES) -> list[PartRow]:
    """Each part that there is: its title, what it is stored as, its bytes."""
    dtypes = {"weights": precision.weights, "gradients": precision.gradients, "master": precision.master}
    found: list[PartRow] = [(titles[part], dtypes.get(part) or "", int(getattr(whole, part))) for part in PARTS]
    return [row for row in found if row[2]]


def parts_table(rows: Sequence[PartRow], n_parameters: int, title: Message = KEPT) -> Table:
    """Parts and their sum, which is that of the rows."""
    total = sum(size for *_, size in rows)
    columns = (
        Column(msg("part")),
        Column(msg("stored as")),
        Column(msg("bytes"), "count"),
        Column("", "human"),
        Column(msg("share"), "percent"),
        Column(msg("bytes a parameter"), "words"),
    )
    lines = [
        (part, form, size, human_bytes(size), size / total, _each(size, n_parameters)) for part, form, size in rows
    ]
    last = (msg("total"), "", total, human_bytes(total), 1.0, _each(total, n_parameters))
    return Table(title, columns, [*lines, last], n_sums=1)


def _each(size: int, n_parameters: int) -> str:
    """'8' where it is a whole number, '2.033' where it is not."""
    return exact(size // n_parameters) if size % n_parameters == 0 else f"{size / n_parameters:.4g}"


def components(lines: Sequence[Kept]) -> Table:
    """A row for each component, a column for each part."""
    whole = totals(lines)
    columns = (
        Column(msg("component")),
        *(Column(title, "count") for title in TITLES.values()),
        Column(msg("bytes"), "count"),
        Column("", "human"),
        Column(msg("share"), "percent"),
    )
    rows = [_component(_COMPONENTS[name], own, whole) for name, own in by_component(lines).items()]
    rows.append(_component(msg("total"), whole, whole))
    return Table(msg("Kept from step to step, by component"), columns, rows, n_sums=1)


_COMPONENTS: dict[str, Message] = {**COMPONENT_NAMES, "buffers": msg("buffers")}


def _component(name: Message, own: Totals, whole: Totals) -> tuple[Any, ...]:
    sizes = (getattr(own, part) for part in PARTS)
    return (name, *sizes, own.total, human_bytes(own.total), own.total / whole.total)


def notes(recipe: Recipe, optimiser: Optimiser, whole: Totals) -> list[Message]:
    """What the recipe and the optimiser are, and what is not counted."""
    named = [msg("{name}: {meaning}", name=one.name, meaning=one.title) for one in (recipe, optimiser)]
    return [*named, _not_counted(whole.steps)]


def _not_counted(step_bytes: int) -> Message:
    if step_bytes:
        return msg(
            "exact but where marked; not counted: the loss, gradients of activations, workspace,"
            " {n:,} bytes of step counters on the host",
            n=step_bytes,
        )
    return msg("exact but where marked; not counted: the loss, gradients of activations, workspace")


def data(subject: TrainingSetup) -> dict[str, Any]:
    """The same as plain data."""
    lines = subject.lines()
    whole = totals(lines)
    symbols = formulas(subject.ledger.rows, subject.precision, subject.optimiser)
    found = {
        "recipe": subject.recipe.name,
        "optimizer": subject.optimiser.name,
        "dtypes": msgspec.structs.asdict(subject.precision),
        **sizes(whole),
        "formulas": {KEYS[part]: None if poly is None else str(poly) for part, poly in symbols.items()},
        "by_component": {name: sizes(own) for name, own in by_component(lines).items()},
        "weights": [_row(line) for line in lines],
        "peak": render_peak.data(*_peak(subject, lines)),
        "activations": render_activations.data(subject.spec, subject.work, subject.how),
        "step_bytes": whole.total + activations.summary(build(subject.spec, subject.how), subject.work)["total_bytes"],
        "kind": "exact",
        "kinds": {"total_bytes": "exact", "step_bytes": activations.sureness(subject.how)},
    }
    if subject.conventions:
        found["conventions"] = render_conventions.data(compared(subject.spec, subject.work))
    return found


KEYS: dict[Part, str] = {
    "weights": "weights_bytes",
    "gradients": "gradients_bytes",
    "master": "master_bytes",
    "optimiser": "optimizer_bytes",
}


def sizes(own: Totals) -> dict[str, int]:
    """Each part's bytes, their sum, and the step counters that are no part of it."""
    found: dict[str, int] = {key: getattr(own, part) for part, key in KEYS.items()}
    return {**found, "total_bytes": own.total, "step_counters_bytes": own.steps}


def _row(line: Kept) -> dict[str, Any]:
    return {
        "weight": path_pattern(line.row.path),
        "group": line.row.group,
        "component": line.row.component,
        "layers": line.row.layers,
        "trained": line.row.kind == "trainable",
        **sizes(totals([line])),
        "kind": "exact",
    }
