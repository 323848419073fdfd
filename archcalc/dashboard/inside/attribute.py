"""The view Attribution: what the embedding, each head and each feed-forward add to a logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.inside import cell_map
from archcalc.dashboard.inside.patch import token_of
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, say
from archcalc.interp.heads.attribution_result import PART_NAMES, ContributionRow, EdgeRow, LogitAttribution
from archcalc.render import attribute as pages
from archcalc.render.grid import Grid
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.heads.contributions import Attribution

# Edges of each head.
N_EDGES: Final = 3


class AttributeOptions(msgspec.Struct, frozen=True):
    """The token whose logit is split, and the one whose logit is subtracted; empty for the likeliest and for none."""

    token: str
    against: str


@dataclass(frozen=True)
class AttributedLogit:
    """The attribution, and its result with the edges of every head."""

    attribution: Attribution
    result: LogitAttribution

    @property
    def n_heads(self) -> int:
        """Return the number of heads."""
        return sum(one.head is not None for one in self.result.contributions)


def _options(subject: Subject) -> AttributeOptions:
    say_ = say()
    left, right = st.columns(2)
    token = left.text_input(
        say_(msg("Token")),
        key="attribute_token",
        help=say_(msg("One token. Left empty: the likeliest.")),
        **IN_URL,
    )
    against = right.text_input(
        say_(msg("Against")),
        key="attribute_against",
        help=say_(msg("One token, whose logit is subtracted.")),
        **IN_URL,
    )
    return AttributeOptions(token, against)


def _compute(subject: Subject, options: AttributeOptions, progress: Progress) -> AttributedLogit:
    from archcalc.interp.heads.attribution import attribute
    from archcalc.interp.heads.attribution_rows import logit_attribution

    inputs = subject.inputs
    token = token_of(subject, options.token, "token")
    against = token_of(subject, options.against, "against")
    found = attribute(subject.model(), inputs.ids, inputs.target, token=token, against=against)
    n_heads = sum(one.head is not None for one in found.contributions)
    return AttributedLogit(found, logit_attribution(subject.source, found, inputs.texts, n_heads, N_EDGES))


def _show(subject: Subject, options: AttributeOptions, found: AttributedLogit) -> Output:
    result = found.result
    page = pages.view(result)
    st.caption(say()(page.subtitle))
    cells = _cells(result)
    grid = _grid(cells, page.title)
    values = grid.values["contribution"]
    start = max(
        ((row, column) for row, line in enumerate(values) for column, x in enumerate(line) if x is not None),
        key=lambda at: abs(values[at[0]][at[1]] or 0.0),
    )
    row, column = cell_map.choose(grid, "attribute", start)
    path, name = list(cells)[row], grid.columns[column]
    chosen = next((one for heading, one in cells[path] if heading == name), None)
    blocks.show(Page("", "", _details(result, chosen)), name="attribute.cell")
    return Output(result, lambda: page, _command(subject, found), _python(subject, found))


def _cells(result: LogitAttribution) -> dict[str, list[tuple[str | Message, ContributionRow]]]:
    """Return the contributions by layer, each with its column: a head's number, or the name of its part."""
    cells: dict[str, list[tuple[str | Message, ContributionRow]]] = {}
    for one in result.contributions:
        row = "" if one.layer is None else f"{one.path.partition('layers.')[0]}layers.{one.layer}"
        arm = one.path.rpartition(".")[2]
        head = f"{'' if arm == 'attn' else f'{arm} '}{one.head}"
        cells.setdefault(row, []).append((PART_NAMES[one.part] if one.head is None else head, one))
    return cells


def _grid(cells: dict[str, list[tuple[str | Message, ContributionRow]]], title: str | Message) -> Grid:
    columns = list(dict.fromkeys(heading for row in cells.values() for heading, _ in row))
    by_row = [{heading: one.contribution for heading, one in row} for row in cells.values()]
    return Grid(
        title=title,
        row_title=msg("layer"),
        rows=tuple(name or "—" for name in cells),
        column_title=msg("part"),
        columns=tuple(columns),
        values={"contribution": tuple(tuple(row.get(column) for column in columns) for row in by_row)},
    )


def _details(result: LogitAttribution, chosen: ContributionRow | None) -> list[Any]:
    """Return the chosen contribution, and of a head the tokens that it reads."""
    if chosen is None:
        return []
    edges = [row for row in result.edges if (row.path, row.head) == (chosen.path, chosen.head)]
    found: list[Any] = [table(msg("Contribution"), [chosen], ContributionRow)]
    return [*found, table(msg("Contribution graph"), edges, EdgeRow)] if edges else found


def _command(subject: Subject, found: AttributedLogit) -> str:
    attribution = found.attribution
    return subject.command(
        "attribute",
        f"--token-id {attribution.token}",
        "" if attribution.against is None else f"--against-id {attribution.against}",
        f"--heads {found.n_heads} --edges {N_EDGES}",
    )


def _python(subject: Subject, found: AttributedLogit) -> str:
    texts, attribution = ", ".join(map(repr, subject.inputs.texts)), found.attribution
    against = "" if attribution.against is None else f", against={attribution.against}"
    return subject.python(
        f"found = archcalc.inside.attribute(model, {texts}, token={attribution.token}{against})",
        "found.contributions, found.edges",
    )


VIEW: Final = View(
    msg("Attribution"),
    msg("What the embedding, each head and each feed-forward add to a logit. The cells sum to the logit."),
    _options,
    _compute,
    _show,
)
