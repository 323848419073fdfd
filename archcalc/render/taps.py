"""The sites of a forward pass, as a page."""

from __future__ import annotations

from archcalc.analysis.site_shapes import SiteList, SiteShape
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, joined, msg

AXES: dict[str, str | Message] = {
    "B": msg("batch"),
    "T": msg("tokens of the pass"),
    "S": msg("key tokens"),
    "V": msg("vocabulary"),
    "Y": msg("labels"),
    "P": msg("first tokens of a text"),
    "D": "d_model",
    "N": msg("heads"),
    "K": msg("key and value heads"),
    "H": msg("head width"),
    "U": msg("value width"),
    "C": "kv_rank",
    "R": "d_rope",
    "F": msg("feed-forward width"),
    "X": msg("heads of the indexer"),
    "J": msg("width of the indexer's heads"),
    "M": msg("residual streams"),
    "Z": msg("width of the mixer's projection"),
    "I": msg("inner width of the mixer"),
    "E": msg("experts"),
    "k": msg("chosen experts"),
}
NOTES = (
    msg("Shapes are exact. Reading a site costs its memory; scores and patterns are recomputed unless eager."),
    msg("In Python: taps.record(model, ids, sites=…), taps.edit(model, taps.Edit(site, layer, fn))."),
)


def view(result: SiteList, options: None = None) -> Page:
    """Return the page of the sites that can be read and edited in a forward pass."""
    used = {axis for row in result.sites for axis in row.axes}
    legend = joined(msg(", "), (joined(" ", pair) for pair in AXES.items() if pair[0] in used))
    sites = table(msg("Sites, in the order of the pass"), result.sites, SiteShape, total=msg("all, in every layer"))
    title = msg("{label}: named points of the forward pass", label=result.label)
    return Page(title, _subtitle(result), [sites, Text("", [msg("Axes: {legend}.", legend=legend), *NOTES])])


def _subtitle(result: SiteList) -> Message:
    work = result.workload
    parts: list[str | Message] = [
        result.name,
        msg("batch {n:,}", n=work.batch),
        msg("{n:,} new tokens", n=work.seq),
        msg("{n:,} past", n=work.past),
    ]
    if result.family == "encoder-decoder":
        parts.append(msg("source {n:,}", n=work.source_seq))
    return joined(" · ", parts)
