"""Which token comes next, as a page: one context, or two side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.errors import shown
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.units import exact
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import ContextDistribution, NextTokens, TokenProbability

# What two contexts are called.
NAMES = ("A", "B")
KINDS = {
    "n_vocab": "exact",
    "contexts": "measured",
    "tokens": "measured",
    "apart": "measured",
}

Spelled = Callable[[int], str]


def page(label: str, found: NextTokens, prompts: list[str], spelled: Spelled, say: Translator = ENGLISH) -> Page:
    """The likeliest tokens with their probabilities and ranks, what each distribution is like, how far two are apart.

    `prompts` are the contexts as they were told, `spelled` gives a token's text.
    """
    named = zip(NAMES, found.contexts, prompts, strict=False)
    told = [
        say(msg("{name}: {text} ({n} tokens)", name=name, text=shown(text, 200), n=exact(len(one.ids))))
        for name, one, text in named
    ]
    blocks: list[Block] = [Text(say(msg("Contexts")), told), _tokens(found, spelled, say), _figures(found, say)]
    subtitle = say(msg("{how}; measured, the softmax in float64", how=how(found, say)))
    return Page(
        say(msg("{model}: which token comes next", model=label)), subtitle, [*blocks, *_apart(found, say)], say.lang
    )


def data(label: str, found: NextTokens, prompts: list[str], spelled: Spelled) -> dict[str, Any]:
    """The same as plain data, whatever the language."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for context, text in zip(plain["contexts"], prompts, strict=True):
        context["text"] = text
    for token in plain["tokens"]:
        token["text"] = spelled(token["id"])
    return {"model": label, **plain, "kinds": KINDS}


def is_plain(found: NextTokens) -> bool:
    """Whether what is drawn by is the model's own distribution."""
    told = found.sampling
    return told.temperature == told.repetition_penalty == 1 and told.top_k is told.top_p is told.min_p is None


def how(found: NextTokens, say: Translator) -> str:
    """What is drawn by, in words."""
    if is_plain(found):
        return say(msg("the model's own distribution"))
    told = msgspec.structs.asdict(found.sampling)
    neutral = {"repetition_penalty": 1}
    settings = [f"{name} = {value:g}" for name, value in told.items() if value not in (None, neutral.get(name))]
    return say(msg("drawn with {settings}", settings=", ".join(settings)))


def _tokens(found: NextTokens, spelled: Spelled, say: Translator) -> Table:
    """A row a token: of each context its probability, as drawn and, where that differs, as the model has it."""
    own = not is_plain(found)
    columns = [Column(say(msg("token"))), Column(say(msg("id")), "words")]
    for name in NAMES[: len(found.contexts)]:
        columns += _columns(name if len(found.contexts) > 1 else "", own, say)
    rows = [
        (_quoted(spelled(token.id)), token.id, *(value for place in token.places for value in _cells(place, own)))
        for token in found.tokens
    ]
    return Table(say(msg("The next token")), tuple(columns), rows)


def _columns(name: str, own: bool, say: Translator) -> list[Column]:
    """Those of one context; of the only one, without its name."""
    probability = say(msg("p in {name}", name=name)) if name else say(msg("probability"))
    models = say(msg("model's own in {name}", name=name)) if name else say(msg("model's own"))
    rank = say(msg("rank in {name}", name=name)) if name else say(in_context("place", "rank"))
    more = [Column(models, "decimal")] if own else []
    return [Column(probability, "decimal"), Column("", "bar"), *more, Column(rank, "count")]


def _quoted(text: str) -> str:
    return str(shown(text)) if text else ""


def _cells(place: TokenProbability, own: bool) -> tuple[float | int, ...]:
    more = (place.model_probability,) if own else ()
    return (place.probability, place.probability, *more, place.rank)


def _figures(found: NextTokens, say: Translator) -> Table:
    """What each distribution is like; what a cut keeps, where one may."""
    lines: list[tuple[str, Callable[[ContextDistribution], str]]] = [
        (say(msg("entropy, nats")), lambda one: f"{one.entropy_nats:.4f}"),
        (say(msg("entropy, bits")), lambda one: f"{one.entropy_bits:.4f}"),
    ]
    if not is_plain(found):
        lines += [
            (say(msg("entropy of the model's own, nats")), lambda one: f"{one.model_entropy_nats:.4f}"),
            (say(msg("tokens that may be drawn, of {n:,}", n=found.n_vocab)), lambda one: exact(one.n_kept)),
            (say(msg("their probability before the cut")), lambda one: f"{one.kept:.4f}"),
        ]
    columns = [Column(say(msg("figure"))), *(Column(name, "words") for name in NAMES[: len(found.contexts)])]
    rows = [(label, *map(value, found.contexts)) for label, value in lines]
    return Table(say(msg("The distributions")), tuple(columns), rows)


def _apart(found: NextTokens, say: Translator) -> list[Block]:
    if found.apart is None:
        return []
    (a, b), apart = NAMES, found.apart
    lines = [
        say(
            msg(
                "total variation {value}: 0 where they are alike, 1 where they share no token",
                value=f"{apart.total_variation:.4f}",
            )
        ),
        say(msg("KL({a}‖{b}) = {value} nats", a=a, b=b, value=_nats(apart.kl_nats))),
        say(msg("KL({a}‖{b}) = {value} nats", a=b, b=a, value=_nats(apart.kl_back_nats))),
    ]
    return [Text(say(msg("Between {a} and {b}", a=a, b=b)), lines)]


def _nats(value: float | None) -> str:
    return "∞" if value is None else f"{value:.4f}"
