"""Memory of training low-rank adapters as a page."""

from __future__ import annotations

from archcalc.analysis.lora import AdapterTensor, LoraMemory
from archcalc.analysis.training_memory import PartMemory
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.render.training import notes
from archcalc.units import percent
from archcalc.words import Message, joined, msg


def view(result: LoraMemory, options: None = None) -> Page:
    """Return the page of the parts and of every adapter."""
    return Page(
        msg("{label}: LoRA of rank {rank:,}", label=result.label, rank=result.rank),
        _subtitle(result),
        [
            table(msg("From step to step"), result.parts, PartMemory, total=msg("total")),
            table(msg("Adapters"), result.adapters, AdapterTensor, total=msg("total")),
            Text("", [_share(result), *notes(result.recipe, result.optimizer, result.step_counters_bytes)]),
        ],
    )


def _subtitle(result: LoraMemory) -> Message:
    targets = result.targets if isinstance(result.targets, str) else ",".join(result.targets)
    return joined(
        " · ",
        (
            result.name,
            msg("targets {names}", names=targets),
            msg("weights {dtype}", dtype=result.dtype),
            result.recipe,
        ),
    )


def _share(result: LoraMemory) -> Message:
    return msg(
        "{trained:,} of {total:,} parameters are trained: {share}",
        trained=result.trainable,
        total=result.parameters,
        share=percent(result.trainable, result.parameters),
    )
