"""The results of `archcalc lens`: predictions by site and position, or a trained lens. Reading them needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from archcalc.results import Result, Row, Sureness, count, data, number, probability, text
from archcalc.words import Message, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import Lens
    from archcalc.interp.lens.reading import LensReading
    from archcalc.run.loading.source import ModelSource

LensName = Literal["logit", "tuned", "jacobian"]
LENS_NAMES: dict[str, Message] = {
    "logit": msg("logit lens"),
    "tuned": msg("tuned lens"),
    "jacobian": msg("Jacobian lens"),
}
# Of the likeliest tokens, so many are named beside the first.
N_OTHERS = 3


class LensToken(Row, frozen=True, kw_only=True):
    """A token of the text whose layers are read; `is_read`: its position is."""

    position: Annotated[int, number(in_context("of a trace", "position"), "words")]
    id: Annotated[int, number(msg("id"), "words")]
    token: Annotated[str, number(msg("token"), "quoted")]
    is_read: Annotated[bool, data(msg("whether its position is read"))]


class SiteReading(Row, frozen=True, kw_only=True):
    """What one site of the residual stream predicts at one position.

    `ids`, `tokens` and `probabilities` are of the likeliest tokens, best first. `ranks` has the named tokens.
    """

    path: Annotated[str, text(in_context("of a model", "site"))]
    layer: Annotated[int, data(msg("layer"))]
    position: Annotated[int, data(in_context("of a trace", "position"))]
    token: Annotated[str, number(msg("likeliest token"), "quoted")]
    id: Annotated[int, data(msg("id"))]
    probability: Annotated[float, probability(msg("probability"))]
    others: Annotated[str, text(msg("next likeliest"))]
    entropy_nats: Annotated[float, number(msg("entropy, nats"), "decimal")]
    kl_nats: Annotated[float, number(msg("KL to the output, nats"), "decimal")]
    ranks: Annotated[Mapping[str, int], count(in_context("of a token", "rank"), is_summed=False)]
    ids: Annotated[tuple[int, ...], data(msg("ids of the likeliest tokens"))]
    tokens: Annotated[tuple[str, ...], data(msg("likeliest tokens"))]
    probabilities: Annotated[tuple[float, ...], data(msg("probabilities of the likeliest tokens"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class TokenTrajectory(Row, frozen=True, kw_only=True):
    """The rank of one token after one position, by site in the order of the pass.

    `first_path` is the first site at which it has rank 1, `steady_path` the first from which on it keeps it; empty if
    there is none. `is_named`: it was asked for; others are the likeliest of the output.
    """

    position: Annotated[int, number(in_context("of a trace", "position"), "words")]
    token: Annotated[str, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    is_named: Annotated[bool, data(msg("whether it was asked for"))]
    first_path: Annotated[str, text(msg("first at rank 1"), names={"": msg("never")})]
    steady_path: Annotated[str, text(msg("at rank 1 from here on"), names={"": msg("never")})]
    best_rank: Annotated[int, count(msg("best rank"), is_summed=False)]
    output_rank: Annotated[int, count(msg("rank in the output"), is_summed=False)]
    ranks: Annotated[tuple[int, ...], data(msg("ranks by site"))]
    probabilities: Annotated[tuple[float, ...], data(msg("probabilities by site"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class LensPredictions(Result, frozen=True, kw_only=True):
    """What the residual stream predicts, by site and position. `lens_origin` says what the lens was made of."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    family: Annotated[str, data(msg("family of the model"))]
    lens_kind: Annotated[LensName, data(msg("kind of lens"))]
    lens_origin: Annotated[dict[str, Any], data(msg("what the lens was made of"))]
    sites: Annotated[tuple[str, ...], data(msg("sites in the order of the pass"))]
    tokens: Annotated[tuple[LensToken, ...], data(msg("input tokens"))]
    readings: Annotated[tuple[SiteReading, ...], data(msg("predictions by site and position"))]
    trajectories: Annotated[tuple[TokenTrajectory, ...], data(msg("ranks of tokens by site"))]


class SiteDivergence(Row, frozen=True, kw_only=True):
    """KL(output‖site) on held-out tokens: of the states as they are, and mapped by the lens."""

    path: Annotated[str, text(in_context("of a model", "site"))]
    logit_kl_nats: Annotated[float, number(msg("KL of the logit lens, nats"), "decimal")]
    lens_kl_nats: Annotated[float, number(msg("KL of this lens, nats"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class TrainedLens(Result, frozen=True, kw_only=True):
    """A lens that was made of a text, its file, and how near it is to the output."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    lens_kind: Annotated[LensName, data(msg("kind of lens"))]
    lens_origin: Annotated[dict[str, Any], data(msg("what the lens was made of"))]
    file: Annotated[str, data(msg("file of the lens"))]
    divergences: Annotated[tuple[SiteDivergence, ...], data(msg("divergences by site"))]


def lens_predictions(source: ModelSource, reading: LensReading, n_named: int) -> LensPredictions:
    """Return the result of a reading; the first `n_named` of its followed tokens were asked for."""
    spell = _speller(source)
    return LensPredictions(
        name=source.spec.name,
        label=source.label,
        family=source.spec.family,
        lens_kind=reading.lens.kind,
        lens_origin=dict(reading.lens.origin),
        sites=reading.sites,
        tokens=tuple(
            LensToken(position=i, id=token, token=spell(token), is_read=i in reading.positions)
            for i, token in enumerate(reading.ids[-1])
        ),
        readings=tuple(_readings(reading, spell, n_named)),
        trajectories=tuple(_trajectories(reading, spell, n_named)),
    )


def trained_lens(
    source: ModelSource,
    lens: Lens,
    file: str,
    sites: Sequence[str],
    divergences: tuple[Sequence[float], Sequence[float]],
) -> TrainedLens:
    """Return the result of a training; `divergences` are those of the logit lens and of the lens by site."""
    return TrainedLens(
        name=source.spec.name,
        label=source.label,
        lens_kind=lens.kind,
        lens_origin=dict(lens.origin),
        file=file,
        divergences=tuple(
            SiteDivergence(path=path, logit_kl_nats=before, lens_kl_nats=after)
            for path, before, after in zip(sites, *divergences, strict=True)
        ),
    )


def _speller(source: ModelSource) -> Callable[[int], str]:
    """Return what gives a token's text, or its id if there is no tokenizer."""
    return lambda token: source.piece(token) or str(token)


def _layer(path: str) -> int:
    """Return the layer of a site; 0 for what is before the layers."""
    number = path.rpartition("layers.")[2].split(".")[0]
    return int(number) if number.isdecimal() else 0


def _readings(reading: LensReading, spell: Callable[[int], str], n_named: int) -> Iterator[SiteReading]:
    ids, probabilities = reading.top_ids.tolist(), reading.top_probabilities.tolist()
    entropies, divergences = reading.entropy_nats.tolist(), reading.kl_nats.tolist()
    ranks, followed = reading.ranks.tolist(), reading.followed.tolist()
    for i, path in enumerate(reading.sites):
        for j, position in enumerate(reading.positions):
            tokens = [spell(token) for token in ids[i][j]]
            named = zip(followed[j][:n_named], ranks[i][j], strict=False)
            yield SiteReading(
                path=path,
                layer=_layer(path),
                position=position,
                token=tokens[0],
                id=ids[i][j][0],
                probability=probabilities[i][j][0],
                others=", ".join(map(repr, tokens[1 : 1 + N_OTHERS])),
                entropy_nats=entropies[i][j],
                kl_nats=divergences[i][j],
                ranks={repr(spell(token)): rank for token, rank in named},
                ids=tuple(ids[i][j]),
                tokens=tuple(tokens),
                probabilities=tuple(probabilities[i][j]),
            )


def _trajectories(reading: LensReading, spell: Callable[[int], str], n_named: int) -> Iterator[TokenTrajectory]:
    followed = reading.followed.tolist()
    ranks = reading.ranks.permute(1, 2, 0).tolist()
    probabilities = reading.probabilities.permute(1, 2, 0).tolist()
    for j, position in enumerate(reading.positions):
        for n, token in enumerate(followed[j]):
            if token in followed[j][:n]:
                continue
            yield TokenTrajectory(
                position=position,
                token=spell(token),
                id=token,
                is_named=n < n_named,
                first_path=_first(reading.sites, ranks[j][n]),
                steady_path=_steady(reading.sites, ranks[j][n]),
                best_rank=min(ranks[j][n]),
                output_rank=ranks[j][n][-1],
                ranks=tuple(ranks[j][n]),
                probabilities=tuple(probabilities[j][n]),
            )


def _first(sites: Sequence[str], ranks: Sequence[int]) -> str:
    return next((site for site, rank in zip(sites, ranks, strict=True) if rank == 1), "")


def _steady(sites: Sequence[str], ranks: Sequence[int]) -> str:
    """Return the first site from which on every rank is 1, '' if the last is not."""
    n_steady = next((i for i, rank in enumerate(reversed(ranks)) if rank != 1), len(ranks))
    return sites[len(sites) - n_steady] if n_steady else ""
