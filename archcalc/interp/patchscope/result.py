"""The result of `archcalc patchscope`. Reading it needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from archcalc.results import Field, Result, Row, Sureness, data, number, text
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.patchscope.run import PatchedText, Patchscope
    from archcalc.run.loading.source import ModelSource


class PatchscopeText(Row, frozen=True, kw_only=True):
    """What the model generates with the vectors of `layer` put into `target_layer`, both counted from the input, 0."""

    layer: Annotated[int, number(msg("source layer"), "words")]
    target_layer: Annotated[int, number(msg("target layer"), "words")]
    text: Annotated[str, text(msg("generated text"))]
    ids: Annotated[tuple[int, ...], data(msg("generated ids"))]
    probability: Annotated[float, number(msg("P(first token)"), "decimal")]
    answer_probability: Annotated[float | None, Field(heading=msg("P(answer)"), kind="decimal", shown="varied")]
    answer_rank: Annotated[int | None, Field(heading=msg("rank"), kind="words", shown="varied")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class PatchedToken(Row, frozen=True, kw_only=True):
    """A source token whose vector is read, and the placeholder's position that it is put at."""

    position: Annotated[int, number(msg("position"), "words")]
    id: Annotated[int, number(msg("id"), "words")]
    token: Annotated[str, number(msg("token"), "words")]
    target_position: Annotated[int, number(msg("target position"), "words")]


class PatchscopeResult(Result, frozen=True, kw_only=True):
    """Texts that a model generates after vectors of another prompt; `plain` is the text without them."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    n_layers: Annotated[int, data(msg("layers"))]
    prompt: Annotated[str, data(msg("target prompt"))]
    answer: Annotated[str | None, data(msg("answer"))]
    answer_id: Annotated[int | None, data(msg("id of the answer"))]
    plain: Annotated[PatchscopeText, data(msg("without a patch"))]
    tokens: Annotated[tuple[PatchedToken, ...], data(msg("source tokens"))]
    texts: Annotated[tuple[PatchscopeText, ...], data(msg("generated texts"))]


def patchscope_result(source: ModelSource, found: Patchscope) -> PatchscopeResult:
    """Return the result of a patchscope of a source's model."""
    from archcalc.interp.patchscope.run import n_stream_layers

    return PatchscopeResult(
        name=source.spec.name,
        label=source.label,
        n_layers=n_stream_layers(source.spec),
        prompt=_text(source, found.prompt_ids),
        answer=None if found.answer is None else source.piece(found.answer),
        answer_id=found.answer,
        plain=_row(source, found.plain),
        tokens=tuple(_tokens(source, found)),
        texts=tuple(_row(source, each) for each in found.texts),
    )


def _text(source: ModelSource, ids: tuple[int, ...]) -> str:
    return " ".join(map(str, ids)) if source.tokenizer is None else source.tokenizer.decode(ids, special=True)


def _row(source: ModelSource, each: PatchedText) -> PatchscopeText:
    return PatchscopeText(
        layer=each.layer,
        target_layer=each.target_layer,
        text=_text(source, each.ids),
        ids=each.ids,
        probability=each.first_probability,
        answer_probability=each.answer_probability,
        answer_rank=each.answer_rank,
    )


def _tokens(source: ModelSource, found: Patchscope) -> Iterator[PatchedToken]:
    for position, target in zip(found.source_positions, found.positions, strict=True):
        token = found.source_ids[position]
        yield PatchedToken(position=position, id=token, token=source.piece(token), target_position=target)
