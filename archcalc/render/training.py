"""Memory of a training step as a page."""

from __future__ import annotations

import msgspec
from msgspec import structs

from archcalc.analysis.activations import SavedActivations
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.training import RECIPES, Precision
from archcalc.analysis.training_memory import ComponentTraining, PartMemory, TrainingMemory
from archcalc.analysis.value_names import SURENESS
from archcalc.render import activation_conventions, activations, peak
from archcalc.render.memory import View
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Bytes, Message, joined, msg


class TrainingMemoryOptions(msgspec.Struct, frozen=True):
    """What the table of saved activations shows."""

    view: View = "components"


def view(result: TrainingMemory, options: TrainingMemoryOptions) -> Page:
    """Return the page of persistent bytes, saved activations and the peak of a step."""
    total = msg("total")
    blocks: list[Block] = [
        table(_title(result.activations), result.parts, PartMemory, total=total),
        *activations.blocks(result.activations, options.view),
        *peak.blocks(result.peak),
    ]
    if options.view == "components":
        title = msg("From step to step, by component")
        blocks.append(table(title, result.components, ComponentTraining, total=total))
    if result.conventions:
        blocks += activation_conventions.blocks(result.conventions)
    blocks.append(Text("", notes(result.recipe, result.optimizer, result.step_counters_bytes)))
    title = msg("{label}: training memory", label=result.label)
    return Page(title, _subtitle(result), blocks, answer=_answer(result))


def _answer(result: TrainingMemory) -> Message:
    return msg(
        "{peak} at the peak of a step ({sureness}), {state} from step to step",
        peak=Bytes(result.peak.bytes),
        sureness=SURENESS[result.peak.kind],
        state=Bytes(result.total_bytes),
    )


def _subtitle(result: TrainingMemory) -> Message:
    work = result.workload
    tokens = msg("{batch:,} × {seq:,} tokens", batch=work.batch, seq=work.seq)
    return joined(" · ", (result.name, result.recipe, result.optimizer, dtypes_text(result.dtypes), tokens))


def _title(saved: SavedActivations) -> Message:
    title = msg("Memory of a training step")
    return title if saved.kind == "exact" else msg("{name} ({sureness})", name=title, sureness=SURENESS[saved.kind])


def dtypes_text(precision: Precision) -> Message:
    """Return the dtypes in words."""
    dtypes = structs.asdict(precision)
    if precision.master:
        return msg("weights {weights}, gradients {gradients}, copy {master}", **dtypes)
    return msg("weights {weights}, gradients {gradients}", **dtypes)


def notes(recipe: str, optimizer: str, step_counters_bytes: int) -> list[Message]:
    """Return the meaning of the recipe and the optimizer, and what is not counted."""
    meanings = [
        msg("{name}: {meaning}", name=one.name, meaning=one.title) for one in (RECIPES[recipe], OPTIMIZERS[optimizer])
    ]
    return [*meanings, _not_counted(step_counters_bytes)]


def _not_counted(step_counters_bytes: int) -> Message:
    if step_counters_bytes:
        return msg(
            "exact unless marked; the memory from step to step and the saved activations leave out the loss, gradients "
            "of activations, workspace, and {n:,} bytes of step counters on the host",
            n=step_counters_bytes,
        )
    return msg(
        "exact unless marked; the memory from step to step and the saved activations leave out the loss, gradients of "
        "activations and workspace"
    )
