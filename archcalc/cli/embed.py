"""`archcalc embed`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import click
import msgspec

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.pictures import with_picture
from archcalc.cli.ranges import number_ranges
from archcalc.errors import InputError
from archcalc.interp.embed.result import TableName
from archcalc.render.output import Format, write
from archcalc.render.page import Page
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import LoadedModel, ModelSource
    from archcalc.spec.workload import Workload

View: TypeAlias = Callable[[Any, None], Page]
Load: TypeAlias = "Callable[[Workload], LoadedModel]"
# A result, its page and its chart.
Answer: TypeAlias = tuple[Any, View, Callable[[Any], dict[str, Any]] | None]


@click.command("embed")
@click.argument("source", type=SOURCE)
@click.option("--near", multiple=True, metavar="WORD", help="List the tokens nearest to a word; repeatable.")
@click.option("--analogy", nargs=4, metavar="A B C D", help="List the tokens nearest to A − B + C, and the rank of D.")
@click.option("--difference", nargs=2, metavar="A B", help="List the tokens nearest to the direction A − B.")
@click.option(
    "--direction", type=FILE, help="List the tokens nearest to a direction of this file (`archcalc steer --save`)."
)
@click.option("--contexts", nargs=2, metavar="TEXT TEXT", help="Compare --token in two contexts, layer by layer.")
@click.option("--token", metavar="WORD", help="With --contexts: the word that is in both.")
@click.option(
    "--project", multiple=True, metavar="WORDS", help="Project words, separated by spaces, on a plane; repeatable."
)
@click.option("--ids", is_flag=True, help="Words and contexts are token ids: 5, or 5,7.")
@click.option("--table", type=click.Choice(get_args(TableName)), help="Matrix of the vectors (default: input).")
@click.option("--layers", metavar="10-14,20|all", help="With --direction: its layers (default: the middle one).")
@click.option("--top", type=click.IntRange(1), help="Tokens to list (default: 10).")
@click.option("--with-inputs", is_flag=True, help="With --near or --difference: list the words' own tokens, too.")
@click.option("--plot", type=FILE, help="Chart of --contexts or --project (.html, .png or .svg).")
@model_options
@output
def command(
    source: str,
    near: tuple[str, ...],
    analogy: tuple[str, str, str, str] | None,
    difference: tuple[str, str] | None,
    direction: str | None,
    contexts: tuple[str, str] | None,
    token: str | None,
    project: tuple[str, ...],
    ids: bool,
    table: TableName | None,
    layers: str | None,
    top: int | None,
    with_inputs: bool,
    plot: str | None,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Compare the vectors of tokens and words: neighbors, analogies, directions, contexts, a plane.

    SOURCE is as for `archcalc generate`. A word is read as within a text, after a space, if that gives no more tokens
    than the word alone. Its vector is the mean of its tokens' vectors. Similarity is the cosine.

    \b
    Examples:
      archcalc embed ./SmolLM2-135M --near Paris --top 10
      archcalc embed ./SmolLM2-135M --analogy king man woman queen
      archcalc embed tiny --difference king man --top 5
      archcalc embed ./SmolLM2-135M --direction refusal.safetensors --layers 12-18
      archcalc embed ./SmolLM2-135M --contexts "a river bank" "an investment bank" --token bank
      archcalc embed tiny --project "king queen man woman" --plot plane.svg
    """
    given = {
        "near": near,
        "analogy": analogy,
        "difference": difference,
        "direction": direction,
        "contexts": contexts,
        "project": project,
    }
    mode = _mode({name: bool(value) for name, value in given.items()})
    options = {"token": token, "table": table, "layers": layers, "top": top, "with_inputs": with_inputs, "plot": plot}
    _check_options(mode, options | {"ids": ids})
    opened = model_options.open(source)

    from archcalc.interp.next_token import DisplayNames

    texts = near or analogy or difference or contexts or tuple(word for words in project for word in words.split())
    labels = DisplayNames(opened.spec.name, opened.label, texts, opened.piece)
    request = _EmbedRequest(
        labels=labels,
        are_ids=ids,
        word=token or "",
        file=direction or "",
        layers=layers,
        table=table or "input",
        top=top or 10,
        own=with_inputs,
    )
    result, view, draw = _MODES[mode](opened, partial(model_options.load, opened, packed=False), request)
    chart = partial(draw, result) if draw else None
    if plot and chart:
        from archcalc.render.charts.file import as_file

        write(plot, as_file(plot, chart, current()))
    shown = with_picture(view, chart) if form == "html" and chart else view
    emit_result(lambda: result, shown, None, form, output=output, color=not no_color)


class _EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the vectors; `word` is that of the contexts, `own`: list the words' own tokens, too;
    `file` and `layers` are those of a saved direction.
    """

    labels: Any
    are_ids: bool
    word: str
    file: str
    layers: str | None
    table: TableName
    top: int
    own: bool


def _mode(given: dict[str, bool]) -> str:
    """Return the one option that says what is compared."""
    modes = [name for name, is_given in given.items() if is_given]
    if len(modes) != 1:
        found = ", ".join(map(_flag, modes)) or msg("none of them")
        raise InputError(
            msg("found {found}", found=found),
            where=", ".join(given),
            allowed=msg("one of them"),
        )
    return modes[0]


def _flag(name: str) -> str:
    return f"--{name}"


# The modes that an option belongs to.
_USES: Final = {
    "token": ("contexts",),
    "table": ("near", "analogy", "difference", "direction", "project"),
    "layers": ("direction",),
    "top": ("near", "analogy", "difference", "direction"),
    "with_inputs": ("near", "difference"),
    "plot": ("contexts", "project"),
    "ids": ("near", "analogy", "difference", "contexts", "project"),
}


def _check_options(mode: str, options: dict[str, Any]) -> None:
    """Raise InputError for an option of another mode, and for contexts without a word."""
    for name, value in options.items():
        if value and mode not in _USES[name]:
            allowed = msg("with {names}", names=", ".join(map(_flag, _USES[name])))
            raise InputError(msg("found with {mode}", mode=_flag(mode)), where=name, allowed=allowed)
    if mode == "contexts" and not options["token"]:
        raise InputError(msg("found none"), where="token", allowed=msg("a word of both contexts"))


def _near(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.neighbors import neighbors
    from archcalc.render.embed import near_view

    words = _words(opened, request)
    model = load(_workload(opened)).model
    found = neighbors(
        model, words, top=request.top, table=request.table, with_inputs=request.own, labels=request.labels
    )
    return found, near_view, None


def _analogy(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.neighbors import analogy
    from archcalc.render.embed import analogy_view

    words = _words(opened, request)
    model = load(_workload(opened)).model
    return analogy(model, words, top=request.top, table=request.table, labels=request.labels), analogy_view, None


def _difference(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.neighbors import difference_neighbors
    from archcalc.render.embed import near_view

    words = _words(opened, request)
    model = load(_workload(opened)).model
    found = difference_neighbors(
        model, words, top=request.top, table=request.table, with_inputs=request.own, labels=request.labels
    )
    return found, near_view, None


def _direction(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.neighbors import direction_neighbors
    from archcalc.interp.steer.direction_file import load_direction
    from archcalc.interp.steer.layers import check_layers, site_name
    from archcalc.render.embed import near_view

    saved = load_direction(request.file, opened.spec)
    allowed = msg("layers and ranges with commas between, such as 10-14,20, or all")
    layers = [saved.layers[len(saved.layers) // 2]] if request.layers is None else None
    if request.layers not in (None, "all"):
        layers = number_ranges(str(request.layers), "layers", allowed)
    read = check_layers(layers, saved.layers)
    model = load(_workload(opened)).model
    vectors = {site_name(saved.stack, f"layers.{layer}.resid_post"): saved.vectors[layer] for layer in read}
    found = direction_neighbors(
        model, vectors, name=request.file, top=request.top, table=request.table, labels=request.labels
    )
    return found, near_view, None


def _contexts(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.contexts import contextual_similarity
    from archcalc.interp.embed.words import positions_in
    from archcalc.render.charts.embed import contexts_chart
    from archcalc.render.embed import contexts_view
    from archcalc.run.decoding.prompts import prompt_ids

    texts, are_ids = request.labels.texts, request.are_ids
    contexts = prompt_ids(opened, [], texts) if are_ids else prompt_ids(opened, texts, [])
    positions = [positions_in(opened, ids, request.word, are_ids=are_ids) for ids in contexts]
    model = load(_workload(opened, max(map(len, contexts)))).model
    found = contextual_similarity(model, contexts, positions, word=request.word, labels=request.labels)
    return found, contexts_view, contexts_chart


def _project(opened: ModelSource, load: Load, request: _EmbedRequest) -> Answer:
    from archcalc.interp.embed.projection import projection
    from archcalc.render.charts.embed import projection_chart
    from archcalc.render.embed import projection_view

    words = _words(opened, request)
    model = load(_workload(opened)).model
    found = projection(model, words, table=request.table, labels=request.labels)
    return found, projection_view, projection_chart


_MODES: Final = {
    "near": _near,
    "analogy": _analogy,
    "difference": _difference,
    "direction": _direction,
    "contexts": _contexts,
    "project": _project,
}


def _words(opened: ModelSource, request: _EmbedRequest) -> list[list[int]]:
    from archcalc.interp.embed.words import word_ids

    return word_ids(opened, request.labels.texts, are_ids=request.are_ids)


def _workload(opened: ModelSource, n_tokens: int = 1) -> Workload:
    from archcalc.spec.workload import Workload

    is_seq2seq = opened.spec.family == "encoder-decoder"
    return Workload(seq=1, source_seq=n_tokens) if is_seq2seq else Workload(seq=n_tokens)
