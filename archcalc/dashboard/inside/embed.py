"""The view Word vectors: nearest tokens, an analogy, one word in two contexts, words on a plane."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.errors import InputError
from archcalc.render import embed as pages
from archcalc.render.charts import embed as embed_charts
from archcalc.render.page import Page
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import DisplayNames

_MODES: Final = {
    "near": msg("Nearest tokens"),
    "analogy": msg("Analogy"),
    "contexts": msg("Two contexts"),
    "project": msg("Plane"),
}
# Nearest tokens of each word.
TOP: Final = 10
_N_ANALOGY: Final = 4


class EmbedOptions(msgspec.Struct, frozen=True):
    """What is compared; `texts` are words, or two contexts, in which `word` is compared."""

    mode: str
    texts: tuple[str, ...]
    word: str = ""


def _options(subject: Subject) -> EmbedOptions:
    mode = choice(st.segmented_control, say()(msg("Compare")), _MODES, key="embed_mode")
    if mode == "contexts":
        return _contexts_options(subject)
    example, label = subject.example, msg("Words, separated by spaces")
    if mode == "analogy":
        label = msg("A, B, C and D: the tokens nearest to A − B + C, and the rank of D")
    default = example.analogy if mode == "analogy" else example.words
    text = st.text_input(say()(label), key=f"embed_{mode}", placeholder=default, **IN_URL)
    return EmbedOptions(mode, tuple((text.strip() or default).split()))


def _contexts_options(subject: Subject) -> EmbedOptions:
    say_, example = say(), subject.example
    columns = st.columns([3, 3, 2])
    labels = (msg("First context"), msg("Second context"), msg("Word of both"))
    defaults = (*example.contexts, example.word)
    values = [
        column.text_input(say_(label), key=f"embed_context_{i}", placeholder=default, **IN_URL).strip() or default
        for i, (column, label, default) in enumerate(zip(columns, labels, defaults, strict=True))
    ]
    return EmbedOptions("contexts", tuple(values[:2]), values[2])


def _compute(subject: Subject, options: EmbedOptions, progress: Progress) -> Any:
    from archcalc.interp.embed.words import word_ids
    from archcalc.interp.next_token import DisplayNames

    source, are_ids = subject.source, not subject.has_tokenizer
    labels = DisplayNames(source.spec.name, source.label, options.texts, source.piece)
    if options.mode == "contexts":
        return _contexts(subject, options, labels)
    if options.mode == "analogy" and len(options.texts) != _N_ANALOGY:
        raise InputError(msg("{n} are given", n=len(options.texts)), where="analogy", allowed=msg("four words"))
    words = word_ids(source, options.texts, are_ids=are_ids)
    return _COMPUTATIONS[options.mode](subject.model(_workload(subject)), words, labels)


def _near(model: Any, words: Sequence[Sequence[int]], labels: DisplayNames) -> Any:
    from archcalc.interp.embed.neighbors import neighbors

    return neighbors(model, words, top=TOP, labels=labels)


def _analogy(model: Any, words: Sequence[Sequence[int]], labels: DisplayNames) -> Any:
    from archcalc.interp.embed.neighbors import analogy

    return analogy(model, words, top=TOP, labels=labels)


def _project(model: Any, words: Sequence[Sequence[int]], labels: DisplayNames) -> Any:
    from archcalc.interp.embed.projection import projection

    return projection(model, words, labels=labels)


_COMPUTATIONS: Final[dict[str, Callable[[Any, Any, DisplayNames], Any]]] = {
    "near": _near,
    "analogy": _analogy,
    "project": _project,
}


def _contexts(subject: Subject, options: EmbedOptions, labels: DisplayNames) -> Any:
    from archcalc.interp.embed.contexts import contextual_similarity

    contexts, positions = _context_ids(subject, options)
    model = subject.model(_workload(subject, max(map(len, contexts))))
    return contextual_similarity(model, contexts, positions, word=options.word, labels=labels)


def _context_ids(subject: Subject, options: EmbedOptions) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ids of both contexts, and the positions of the word in each."""
    from archcalc.interp.embed.words import positions_in

    source, are_ids = subject.source, not subject.has_tokenizer
    contexts = [subject.ids_of(text) for text in options.texts]
    return contexts, [positions_in(source, ids, options.word, are_ids=are_ids) for ids in contexts]


def _workload(subject: Subject, n_tokens: int = 1) -> Workload:
    is_pair = subject.source.spec.family == "encoder-decoder"
    return Workload(seq=1, source_seq=n_tokens) if is_pair else Workload(seq=n_tokens)


_PAGES: Final[dict[str, Callable[[Any], Page]]] = {
    "near": pages.near_view,
    "analogy": pages.analogy_view,
    "contexts": pages.contexts_view,
    "project": pages.projection_view,
}
_CHARTS: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "contexts": embed_charts.contexts_chart,
    "project": embed_charts.projection_chart,
}


def _show(subject: Subject, options: EmbedOptions, result: Any) -> Output:
    page = _PAGES[options.mode](result)
    if options.mode in _CHARTS:
        charts.show(_CHARTS[options.mode](result), name=f"embed.{options.mode}")
    blocks.show(page, name="embed")
    return Output(result, lambda: page, _command(subject, options), _python(subject, options))


def _command(subject: Subject, options: EmbedOptions) -> str:
    texts = list(map(shlex.quote, options.texts))
    given = {
        "near": " ".join(f"--near {text}" for text in texts),
        "analogy": f"--analogy {' '.join(texts)}",
        "contexts": f"--contexts {' '.join(texts)} --token {shlex.quote(options.word)}",
        "project": " ".join(f"--project {text}" for text in texts),
    }[options.mode]
    return subject.command("embed", given, "" if subject.has_tokenizer else "--ids", has_text=False)


def _python(subject: Subject, options: EmbedOptions) -> str:
    from archcalc.interp.embed.words import word_ids

    if options.mode == "contexts":
        contexts, positions = _context_ids(subject, options)
        return subject.python(
            f"archcalc.inside.contextual_similarity(model, {contexts!r}, {positions!r}, word={options.word!r}).layers"
        )
    words = word_ids(subject.source, options.texts, are_ids=not subject.has_tokenizer)
    calls = {
        "near": f"neighbors(model, {words!r}, top={TOP}).neighbors",
        "analogy": f"analogy(model, {words!r}, top={TOP}).tokens",
        "project": f"projection(model, {words!r}).points",
    }
    return subject.python(f"archcalc.inside.{calls[options.mode]}")


_ABOUT: Final[Message] = msg(
    "How near the vectors of tokens and words are, by cosine: in the token table, or layer by layer in a text."
)
VIEW: Final = View(msg("Word vectors"), _ABOUT, _options, _compute, _show, has_text=False)
