"""The distribution of the next token as a page: after one context, or two side by side."""

from __future__ import annotations

from msgspec import structs

from archcalc.errors import shown
from archcalc.interp.next_token_result import ContextDistribution, NextTokenDistributions, TokenProbability
from archcalc.render.page import Block, Page, Table, Text
from archcalc.render.tables import side_by_side, table
from archcalc.words import Message, msg, plural

# What a table leaves out where tokens are drawn by the model's own distribution.
_OF_SAMPLING = {"model_probability", "model_entropy_nats", "n_kept", "kept_probability"}


def view(result: NextTokenDistributions, options: None = None) -> Page:
    """Return the page of the likeliest tokens, of each distribution, and of the distance of two."""
    texts = [
        plural("{name}: {text} ({n:,} token)", "{name}: {text} ({n:,} tokens)", name=one.context, text=text, n=n)
        for one in result.contexts
        for text, n in [(shown(one.text, 200), len(one.ids))]
    ]
    without = _OF_SAMPLING if result.is_model_distribution else set()
    blocks: list[Block] = [
        Text(msg("Contexts"), texts),
        _tokens(result, {"context", *without}),
        table(msg("The distributions"), result.contexts, ContextDistribution, without=without),
    ]
    subtitle = msg("{how}; measured, the softmax in float64", how=distribution_name(result))
    return Page(msg("{model}: which token comes next", model=result.label), subtitle, [*blocks, *_distance(result)])


def distribution_name(result: NextTokenDistributions) -> Message:
    """Return what tokens are drawn by."""
    if result.is_model_distribution:
        return msg("the model's own distribution")
    values = structs.asdict(result.sampling)
    is_default = {"repetition_penalty": 1}
    settings = [f"{name} = {value:g}" for name, value in values.items() if value not in (None, is_default.get(name))]
    return msg("drawn with {settings}", settings=", ".join(settings))


def _tokens(result: NextTokenDistributions, without: set[str]) -> Table:
    title = msg("The next token")
    if len(result.contexts) == 1:
        return table(title, result.tokens, TokenProbability, without=without)
    groups: dict[str, list[TokenProbability]] = {}
    for row in result.tokens:
        groups.setdefault(row.context, []).append(row)
    return side_by_side(title, groups, TokenProbability, keys={"text", "id"}, without=without)


def _distance(result: NextTokenDistributions) -> list[Block]:
    if result.distance is None:
        return []
    (a, b), distance = (one.context for one in result.contexts), result.distance
    lines = [
        msg(
            "total variation {value}: 0 where they are alike, 1 where they share no token",
            value=f"{distance.total_variation:.4f}",
        ),
        msg("KL({a}‖{b}) = {value} nats", a=a, b=b, value=_nats(distance.kl_nats)),
        msg("KL({a}‖{b}) = {value} nats", a=b, b=a, value=_nats(distance.reverse_kl_nats)),
    ]
    return [Text(msg("Between {a} and {b}", a=a, b=b), lines)]


def _nats(value: float | None) -> str:
    return "∞" if value is None else f"{value:.4f}"
