"""Memory of training adapters as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archcalc.analysis.adapters.config import ALL_LINEAR
from archcalc.analysis.adapters.methods import TITLES
from archcalc.analysis.lora import AdapterTensor, LoraMemory
from archcalc.analysis.training_memory import PartMemory
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.render.training import notes
from archcalc.units import percent
from archcalc.words import Message, joined, msg

MAX_NAMES = 12


def view(result: LoraMemory, options: None = None) -> Page:
    """Return the page of the parts and of every adapter."""
    return Page(
        _title(result),
        _subtitle(result),
        [
            table(msg("From step to step"), result.parts, PartMemory, total=msg("total")),
            table(msg("Adapters"), result.adapters, AdapterTensor, total=msg("total")),
            Text("", [*_notes(result), *notes(result.recipe, result.optimizer, result.step_counters_bytes)]),
        ],
    )


def _title(result: LoraMemory) -> Message:
    method = TITLES[result.method]
    if result.rank is None:
        return msg("{label}: {method}", label=result.label, method=method)
    return msg("{label}: {method} of rank {rank:,}", label=result.label, method=method, rank=result.rank)


def _subtitle(result: LoraMemory) -> Message:
    targets = result.targets or ALL_LINEAR
    parts: list[str | Message] = [result.name, msg("weights {dtype}", dtype=result.dtype), result.recipe]
    if result.targets is not None:
        parts.insert(1, msg("targets {names}", names=targets if isinstance(targets, str) else ",".join(targets)))
    return joined(" · ", parts)


def _notes(result: LoraMemory) -> Iterator[Message]:
    """Yield how many parameters are trained, whose names the modules have, and what has no adapters."""
    yield _share(result)
    yield _names(result)
    if result.trained_biases:
        yield msg("{n:,} of them are biases of the model, whose bytes are among the frozen", n=result.trained_biases)
    if any("modules_to_save" in row.path for row in result.adapters):
        yield msg("copies of modules are counted as adapters are stored; the library keeps the model's dtype")
    if result.shared:
        yield msg("{n:,} fixed numbers, which all adapters share, are among the frozen", n=result.shared)
    if result.left_out:
        yield msg("without adapters: {names}", names=_listed(result.left_out))
    if result.not_found:
        yield msg("not in this class: {names}", names=_listed(result.not_found))
    if result.without_effect:
        yield msg("without effect on sizes: {names}", names=_listed(result.without_effect))
    yield msg("the saved activations of a step, also those of adapters, are left out")


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:MAX_NAMES], *(["…"] if len(names) > MAX_NAMES else [])])


def _names(result: LoraMemory) -> Message:
    if result.naming == "archcalc":
        return msg("modules by our names: every matrix has its own adapter, also where a library joins several")
    return msg(
        "adapters as {library} attaches them to {class_name} of transformers",
        library=result.library,
        class_name=result.class_name,
    )


def _share(result: LoraMemory) -> Message:
    return msg(
        "{trained:,} of {total:,} parameters are trained: {share}",
        trained=result.trainable,
        total=result.parameters,
        share=percent(result.trainable, result.parameters),
    )
