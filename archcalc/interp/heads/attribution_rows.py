"""Build the result of an attribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archcalc.interp.heads.attribution_result import ContributionRow, EdgeRow, LogitAttribution
from archcalc.interp.heads.contributions import Attribution
from archcalc.run.loading.source import ModelSource


def logit_attribution(
    source: ModelSource, found: Attribution, texts: Sequence[Sequence[int]], n_heads: int, n_edges: int
) -> LogitAttribution:
    """Return the result, with the `n_edges` strongest edges of each of the `n_heads` strongest heads."""
    pieces = tuple(tuple(_piece(source, token) for token in row) for row in texts)
    return LogitAttribution(
        name=source.spec.name,
        label=source.label,
        texts=pieces,
        position=found.position,
        id=found.token,
        token=_piece(source, found.token),
        against_id=found.against,
        against=None if found.against is None else _piece(source, found.against),
        logit=found.logit,
        contributions=tuple(_contributions(found)),
        edges=tuple(_edges(source, found, pieces, n_heads, n_edges)),
    )


def _piece(source: ModelSource, token: int) -> str:
    return source.piece(token) or str(token)


def _contributions(found: Attribution) -> Iterator[ContributionRow]:
    for one in found.contributions:
        yield ContributionRow(path=one.path, part=one.part, layer=one.layer, head=one.head, contribution=one.value)
    yield ContributionRow(path="remainder", part="remainder", layer=None, head=None, contribution=found.remainder)


def _edges(
    source: ModelSource, found: Attribution, pieces: Sequence[Sequence[str]], n_heads: int, n_edges: int
) -> Iterator[EdgeRow]:
    heads = [one for one in found.contributions if one.head is not None]
    for one in sorted(heads, key=lambda one: -abs(one.value))[:n_heads]:
        assert one.head is not None, "it is a head"
        edges_S = found.edges[one.path][one.head]
        arm = found.arms[one.path]
        keys = arm.key_names(pieces[arm.key_text], len(edges_S))
        for key in edges_S.abs().argsort(descending=True)[:n_edges].tolist():
            yield EdgeRow(
                path=one.path,
                head=one.head,
                head_contribution=one.value,
                key=key,
                token=keys[key],
                weight=float(found.patterns[one.path][one.head, key]),
                contribution=float(edges_S[key]),
                promotes=tuple(_piece(source, token) for token in found.promoted_ids.get((one.path, one.head), [])),
            )
