"""FLOPs of a workload as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from archcalc.analysis.elementwise import ElementwiseFlops
from archcalc.analysis.latent_forms import LatentFlops
from archcalc.analysis.layers import LayerFlops
from archcalc.analysis.papers.conventions import ConventionFlops
from archcalc.analysis.value_names import RECOMPUTE_NAMES
from archcalc.analysis.workload_flops import ComponentFlops, MatmulFlops, StepFlops, WorkloadFlops
from archcalc.render.page import Block, Page, Table, Text
from archcalc.render.tables import table
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import Message, joined, msg

View = Literal["components", "ops", "layers"]
VIEWS: tuple[View, ...] = get_args(View)

LATENT_NOTE = msg("Latent attention rebuilds keys and values from every cached latent (kv_up runs over all keys held).")


class FlopsOptions(msgspec.Struct, frozen=True):
    """What the first table shows: FLOPs by component, by matrix product or by layer."""

    view: View = "components"


def view(result: WorkloadFlops, options: FlopsOptions) -> Page:
    """Return the page of a workload's FLOPs, and of a training step."""
    total = msg("total")
    blocks: list[Block] = [
        _first(result, options.view),
        table(msg("Elementwise (modeled)"), result.elementwise, ElementwiseFlops, total=total),
    ]
    if result.latent_forms:
        blocks.append(table(msg("Latent attention, expanded and absorbed"), result.latent_forms, LatentFlops))
    if result.training_steps:
        blocks.append(_steps(result))
    if result.conventions:
        blocks.append(conventions_table(result.conventions))
    notes = [msg("2 FLOPs per multiply-accumulate, matrix products only: exact. Backward is twice forward.")]
    blocks.append(Text("", [*notes, LATENT_NOTE] if result.has_latent_cache else notes))
    return Page(msg("{label}: FLOPs", label=result.label), subtitle(result, result.workload), blocks)


def _first(result: WorkloadFlops, view: View) -> Table:
    total = msg("total")
    if view == "components":
        return table(msg("By component"), result.components, ComponentFlops, total=total)
    if view == "ops":
        return table(msg("By operation"), result.ops, MatmulFlops, total=total)
    return table(msg("By layer"), result.layers, LayerFlops, total=total)


def _steps(result: WorkloadFlops) -> Table:
    """Return the table of a training step, with what its checkpoints recompute."""
    title = msg("A training step: recompute {recompute}", recompute=RECOMPUTE_NAMES[result.recompute])
    without = ("checkpoint", "recomputation", "ratio") if result.recompute == "none" else ()
    return table(title, result.training_steps, StepFlops, without=without)


def conventions_table(rows: Sequence[ConventionFlops]) -> Table:
    """Return the table of the conventions of papers."""
    return table(msg("A training step, as papers count it"), rows, ConventionFlops)


def subtitle(about: Spec | WorkloadFlops, work: Workload) -> Message:
    """Return the names of a model and of a workload's sizes."""
    parts: list[str | Message] = [
        about.name,
        msg("batch {n:,}", n=work.batch),
        msg("{n:,} new tokens", n=work.seq),
        msg("{n:,} past", n=work.past),
    ]
    if about.family == "encoder-decoder":
        parts.append(msg("source {n:,}", n=work.source_seq))
    return joined(" · ", parts)
