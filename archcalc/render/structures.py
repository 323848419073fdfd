"""The path of one token through several models, as a page."""

from __future__ import annotations

from archcalc.analysis.token_path import TokenPaths, TokenStep
from archcalc.render.page import Page, Table, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg

# How each family reads, in a sentence.
FAMILIES: dict[str, Message] = {
    "decoder": msg("A decoder reads from left to right: each token sees itself and the tokens before it."),
    "encoder": msg("An encoder reads the whole text at once: each token sees every token."),
    "encoder-decoder": msg(
        "An encoder reads the whole source; a decoder reads its own text from left to right, and the source through "
        "cross-attention."
    ),
}
NOTES = (
    msg("Shapes are those of one token, without the batch; S is the number of tokens that it reads."),
    msg("Layers of one kind are shown once, as the first of them."),
)


def view(result: TokenPaths, options: None = None) -> Page:
    """Return the page of a table of steps for each model."""
    outputs = [msg("{model}: {output}", model=model.label, output=model.output) for model in result.models]
    return Page(TITLE, subtitle(result), [*step_tables(result), Text(msg("What comes out"), outputs), Text("", NOTES)])


def step_tables(result: TokenPaths) -> list[Table]:
    """Return the table of steps of each model."""
    return [
        table(
            model.label,
            [step for step in result.steps if step.model == model.name],
            TokenStep,
            recorded=result.steps,
        )
        for model in result.models
    ]


TITLE = msg("The path of one token")


def subtitle(result: TokenPaths) -> Message:
    """Return which token is followed."""
    return msg("token {position} of {n}; shapes are exact", position=result.position, n=result.n_tokens)
