"""Which token comes next, as a page: one context, or two side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from archcalc.errors import shown
from archcalc.render.lang import ENGLISH, Words
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.units import exact

if TYPE_CHECKING:
    from archcalc.interp.next_token import Context, Next, Place

NAMES = ("A", "B")
KINDS = {
    "n_vocab": "exact",
    "contexts": "measured",
    "tokens": "measured",
    "apart": "measured",
}

Spelled = Callable[[int], str]


def page(label: str, found: Next, prompts: list[str], spelled: Spelled, say: Words = ENGLISH) -> Page:
    """The likeliest tokens with their probabilities and ranks, what each distribution is like, how far two are apart.

    `prompts` are the contexts as they were told, `spelled` gives a token's text.
    """
    named = zip(NAMES, found.contexts, prompts, strict=False)
    told = [say("next.context", name=name, text=shown(text, 200), n=exact(len(one.ids))) for name, one, text in named]
    blocks: list[Block] = [Text(say("next.contexts"), told), _tokens(found, spelled, say), _figures(found, say)]
    subtitle = say("next.subtitle", how=_how(found, say))
    return Page(say("next.title", model=label), subtitle, [*blocks, *_apart(found, say)], say.lang)


def data(label: str, found: Next, prompts: list[str], spelled: Spelled) -> dict[str, Any]:
    """The same as plain data, whatever the language."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for context, text in zip(plain["contexts"], prompts, strict=True):
        context["text"] = text
    for token in plain["tokens"]:
        token["text"] = spelled(token["id"])
    return {"model": label, **plain, "kinds": KINDS}


def is_plain(found: Next) -> bool:
    """Whether what is drawn by is the model's own distribution."""
    told = found.sampling
    return told.temperature == told.repetition_penalty == 1 and told.top_k is told.top_p is told.min_p is None


def _how(found: Next, say: Words) -> str:
    if is_plain(found):
        return say("next.plain")
    told = msgspec.structs.asdict(found.sampling)
    settings = [f"{name} = {value:g}" for name, value in told.items() if value is not None]
    return say("next.drawn", settings=", ".join(settings))


def _tokens(found: Next, spelled: Spelled, say: Words) -> Table:
    """A row a token: of each context its probability, as drawn and, where that differs, as the model has it."""
    own = () if is_plain(found) else (("next.own", "decimal"),)
    heads = (("common.probability", "decimal"), ("", "bar"), *own, ("next.rank", "count"))
    columns = [Column(say("common.token")), Column(say("common.id"), "words")]
    for name in NAMES[: len(found.contexts)]:
        columns += [Column(_head(key, name, found, say), kind) for key, kind in heads]
    rows = [
        (_quoted(spelled(token.id)), token.id, *(value for place in token.places for value in _cells(place, bool(own))))
        for token in found.tokens
    ]
    return Table(say("next.next"), tuple(columns), rows)


def _quoted(text: str) -> str:
    return shown(text) if text else ""


def _head(key: str, name: str, found: Next, say: Words) -> str:
    if not key or len(found.contexts) == 1:
        return say(key) if key else ""
    return say("next.of", what=say(key), name=name)


def _cells(place: Place, own: bool) -> tuple[float | int, ...]:
    more = (place.model_probability,) if own else ()
    return (place.probability, place.probability, *more, place.rank)


def _figures(found: Next, say: Words) -> Table:
    """What each distribution is like; what a cut keeps, where one may."""
    lines: list[tuple[str, Callable[[Context], str]]] = [
        (say("next.entropy_nats"), lambda one: f"{one.entropy_nats:.4f}"),
        (say("next.entropy_bits"), lambda one: f"{one.entropy_bits:.4f}"),
    ]
    if not is_plain(found):
        lines += [
            (say("next.model_entropy_nats"), lambda one: f"{one.model_entropy_nats:.4f}"),
            (say("next.n_kept", n=found.n_vocab), lambda one: exact(one.n_kept)),
            (say("next.kept"), lambda one: f"{one.kept:.4f}"),
        ]
    columns = [Column(say("next.figure")), *(Column(name, "words") for name in NAMES[: len(found.contexts)])]
    rows = [(label, *map(value, found.contexts)) for label, value in lines]
    return Table(say("next.figures"), tuple(columns), rows)


def _apart(found: Next, say: Words) -> list[Block]:
    if found.apart is None:
        return []
    (a, b), apart = NAMES, found.apart
    lines = [
        say("next.total_variation", value=f"{apart.total_variation:.4f}"),
        say("next.kl", a=a, b=b, value=_nats(apart.kl_nats, say)),
        say("next.kl", a=b, b=a, value=_nats(apart.kl_back_nats, say)),
    ]
    return [Text(say("next.apart", a=a, b=b), lines)]


def _nats(value: float | None, say: Words) -> str:
    return say("next.infinite") if value is None else f"{value:.4f}"
