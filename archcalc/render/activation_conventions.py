"""Saved activations as a paper counts them, beside the ledger's: blocks of a page."""

from __future__ import annotations

from archcalc.analysis.papers.activation_conventions import (
    ActivationConventions,
    PaperConfiguration,
    PaperTensor,
    PaperTotals,
)
from archcalc.analysis.value_names import RECOMPUTE_NAMES, SURENESS
from archcalc.render.page import Block, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg


def blocks(result: ActivationConventions) -> list[Block]:
    """Return totals by recompute policy, then tensor by tensor, then the paper's table 2."""
    title = msg("Tensor by tensor, recomputed: {recompute}", recompute=RECOMPUTE_NAMES[result.execution.recompute])
    configurations = msg("The paper's table 2, on each of {tensor} devices", tensor=result.devices)
    letters = msg(
        "{source}. s tokens, b sequences, h = d_model, a heads, v words, t devices that share a layer.",
        source=result.source,
    )
    return [
        table(_totals_title(result), result.totals, PaperTotals),
        table(title, result.tensors, PaperTensor, total=msg("total")),
        table(configurations, result.configurations, PaperConfiguration),
        Text("", [letters]),
    ]


def _totals_title(result: ActivationConventions) -> Message:
    return msg(
        "Saved activations by sections 4 and 5, bytes (ledger: {dtype}, {attention} attention, {device}, {sureness})",
        dtype=result.execution.dtype,
        attention=result.execution.attention,
        device=result.execution.device,
        sureness=SURENESS[result.kind],
    )
