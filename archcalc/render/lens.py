"""A lens as a page: what each site of the residual stream predicts; and how near a trained lens is to the output."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from archcalc.interp.lens.result import (
    LENS_NAMES,
    LensPredictions,
    LensToken,
    SiteDivergence,
    SiteReading,
    TokenTrajectory,
    TrainedLens,
)
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.tables import table
from archcalc.units import exact
from archcalc.words import Message, msg

EXPLANATIONS = (
    msg("The states of each site pass through the final norm and the head, as the output does."),
    msg("KL(output‖site) is 0 where the site predicts the output's distribution; the last site is the output."),
    msg("A rank is 1 plus the number of likelier tokens."),
)
# What the maps of a lens are, by its kind.
DEFINITIONS: dict[str, Message] = {
    "tuned": msg(
        "Before the norm, the states pass through an affine map for each site, trained by KL(output‖site) on a text "
        "(Belrose et al. 2023)."
    ),
    "jacobian": msg(
        "Before the norm, the states are multiplied by the average Jacobian of the last layer's states: summed over "
        "the positions from theirs on, averaged over positions and texts (Gurnee et al. 2026)."
    ),
}


def view(result: LensPredictions, options: None = None) -> Page:
    """Return the page of a table for each position, the ranks of tokens, and what the figures mean."""
    blocks: list[Block] = list(_positions(result))
    blocks.append(table(msg("Ranks of tokens"), result.trajectories, TokenTrajectory))
    definition = DEFINITIONS.get(result.lens_kind)
    blocks.append(Text(msg("What the figures mean"), [*EXPLANATIONS, *([definition] if definition else [])]))
    return Page(title(result), subtitle(result), blocks)


def title(result: LensPredictions) -> Message:
    """Return the title of the page."""
    return msg("{model}: what each layer predicts ({lens})", model=result.label, lens=LENS_NAMES[result.lens_kind])


def subtitle(result: LensPredictions) -> Message:
    """Return the size of what was read, and what the lens was made of."""
    origin = result.lens_origin
    sizes = {"n_sites": len(result.sites), "n": exact(sum(token.is_read for token in result.tokens))}
    if not origin:
        return msg("{n_sites} sites of the residual stream, {n} of the positions; measured", **sizes)
    return msg(
        "{n_sites} sites of the residual stream, {n} of the positions; measured; lens of {model}, made of {tokens:,} "
        "tokens",
        model=origin.get("model", "?"),
        tokens=origin.get("n_tokens", 0),
        **sizes,
    )


def position_title(result: LensPredictions, token: LensToken) -> Message:
    """Return the name of a position: a decoder predicts the token after it, an encoder the one at it."""
    values = {"position": token.position, "token": repr(token.token)}
    if result.family == "encoder":
        return msg("At position {position} ({token})", **values)
    return msg("After position {position} ({token})", **values)


def _positions(result: LensPredictions) -> Iterator[Table]:
    """Yield a table for each position; CSV has every position."""
    for token in result.tokens:
        rows = [row for row in result.readings if row.position == token.position]
        if rows:
            whole = table(position_title(result, token), rows, SiteReading, recorded=result.readings)
            yield structs.replace(whole, columns=tuple(_named(column, rows[0]) for column in whole.columns))


def _named(column: Column, row: SiteReading) -> Column:
    """Return a column with a heading that says of which token it has the ranks."""
    if column.heading not in row.ranks:
        return column
    return structs.replace(column, heading=msg("rank of {token}", token=column.heading))


def training_view(result: TrainedLens, options: None = None) -> Page:
    """Return the page of a lens that was just made."""
    rows = table(msg("On held-out tokens"), result.divergences, SiteDivergence)
    heading = msg("{model}: {lens}", model=result.label, lens=LENS_NAMES[result.lens_kind])
    origin = result.lens_origin
    under = msg(
        "{file}; made of {tokens:,} tokens of {text}",
        file=result.file,
        tokens=origin.get("n_tokens", 0),
        text=origin.get("text", "?"),
    )
    return Page(heading, under, [rows, Text("", [DEFINITIONS[result.lens_kind], EXPLANATIONS[1]])])
