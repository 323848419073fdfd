"""Direct logit attribution as a page: the sum, and the contribution graph of the strongest heads."""

from __future__ import annotations

from archcalc.interp.heads.attribution_result import ContributionRow, EdgeRow, LogitAttribution
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg


def view(result: LogitAttribution, options: None = None) -> Page:
    """Return the page of all contributions and of the edges of the strongest heads."""
    lines = [
        msg("the scale of every norm is frozen at its value in this pass; logits are before a softcap"),
        msg("an edge is the weight of one token times what its value adds to the logit"),
    ]
    blocks: list[Block] = [
        table(msg("Contributions"), result.contributions, ContributionRow, total=msg("logit")),
        *([table(msg("Contribution graph"), result.edges, EdgeRow)] if result.edges else []),
        Text(msg("What the figures mean"), lines),
    ]
    return Page(title(result), subtitle(result), blocks)


def title(result: LogitAttribution) -> Message:
    """Return the title of the page."""
    return msg("{model}: direct logit attribution", model=result.label)


def subtitle(result: LogitAttribution) -> Message:
    """Return which logit is attributed."""
    values = {"token": repr(result.token), "position": result.position}
    if result.against is None:
        return msg("logit of {token} at position {position}", **values)
    values["against"] = repr(result.against)
    return msg("logit of {token} minus that of {against} at position {position}", **values)
