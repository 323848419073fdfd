"""Attention heads as a page: a table of all heads, one head, and one pair of its positions."""

from __future__ import annotations

from archcalc.errors import shown
from archcalc.interp.heads.result import (
    THRESHOLD,
    Attentions,
    AttentionWeight,
    HeadFigures,
    HeadPattern,
    NeuronProduct,
    PairProducts,
)
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg, plural

# The rows of a table of one head; JSON has all.
MOST_KEYS, MOST_DIMENSIONS = 10, 10


def view(result: Attentions, options: None = None) -> Page:
    """Return the page of all heads, and of the selected one."""
    lines = [
        plural("{text} ({n:,} token)", "{text} ({n:,} tokens)", text=shown("".join(tokens), 200), n=len(tokens))
        for tokens in result.texts
    ]
    without = set() if len({row.kv_head for row in result.heads}) > 1 else {"kv_head"}
    if result.n_repeated is None:
        without |= {"previous_token", "first_token", "induction", "duplicate_token", "head_kind"}
    blocks: list[Block] = [
        Text(msg("Texts"), lines),
        table(msg("Heads"), result.heads, HeadFigures, without=without),
        *(selected(result.selected) if result.selected else []),
        Text(msg("What the figures mean"), definitions(result)),
    ]
    return Page(title(result), subtitle(), blocks)


def title(result: Attentions) -> Message:
    """Return the title of the page."""
    return msg("{model}: attention heads", model=result.label)


def subtitle() -> Message:
    """Return where the figures come from."""
    return msg("the weights of the model's own forward pass")


def definitions(result: Attentions) -> list[Message]:
    """Return the definitions of the figures."""
    lines = [
        msg("entropy: of the attention weights of one query, mean over queries; a learned sink is one more outcome"),
        msg("distance: from query to key, by weight, mean over queries; none in cross-attention"),
    ]
    if result.has_summaries:
        lines.append(msg("Σ 0, Σ 1, …: keys that stand for whole blocks of tokens; the distance leaves them out"))
    if any(row.head_kind == "mixer" for row in result.heads):
        lines.append(
            msg(
                "recurrent mixer: its effective attention, the derivative of what a token reads by the value of an "
                "earlier one, with what the mixer selects held fixed; figures and maps are of shares of all sizes"
            )
        )
    if result.n_repeated is not None:
        lines += [
            msg(
                "kinds: mean weights in 4 texts of a first token and {n} random tokens, repeated once "
                "(Elhage et al. 2021; Olsson et al. 2022)",
                n=result.n_repeated,
            ),
            msg("previous token: key i − 1 of query i; first token: key 0 (an attention sink)"),
            msg(
                "in the repetition: duplicate token: the same token, {n} before; induction: the token after it",
                n=result.n_repeated,
            ),
            msg("kind of head: the largest of the four if it is at least {threshold}", threshold=f"{THRESHOLD:g}"),
        ]
    return lines


def selected(head: HeadPattern) -> list[Block]:
    """Return the tables of one head: the keys of a query, and the score of a pair by dimension if there is one."""
    query = head.pair.query if head.pair else max(row.query for row in head.weights)
    rows = [row for row in head.weights if row.query == query and row.weight is not None]
    rows = sorted(rows, key=lambda row: -(row.weight or 0.0))[:MOST_KEYS]
    name = msg("{path}, head {head}: keys of query {query}", path=head.path, head=head.head, query=query)
    blocks: list[Block] = [table(name, rows, AttentionWeight, recorded=head.weights)]
    return [*blocks, *(_pair(head.pair) if head.pair and head.pair.products else [])]


def _pair(pair: PairProducts) -> list[Block]:
    name = msg("Query {query} · key {key} by dimension, largest first", query=pair.query, key=pair.key)
    if pair.score is None or pair.rest is None:
        line = msg("the mask hides key {key} from query {query}", key=pair.key, query=pair.query)
    else:
        line = msg(
            "score {score} = the sum of all {n:,} products {total}, plus bias and softcap {rest}",
            score=f"{pair.score:.4f}",
            n=len(pair.products),
            total=f"{pair.score - pair.rest:.4f}",
            rest=f"{pair.rest:.4f}",
        )
    return [table(name, pair.products[:MOST_DIMENSIONS], NeuronProduct, recorded=pair.products), Text("", [line])]
