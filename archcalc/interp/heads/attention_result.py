"""Build the result of a reading of attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from archcalc.interp.heads.effective import MixerArm
from archcalc.interp.heads.patterns import AttentionReading
from archcalc.interp.heads.result import (
    PATTERN_KINDS,
    Attentions,
    AttentionWeight,
    HeadFigures,
    HeadKind,
    HeadPattern,
    NeuronProduct,
    PairProducts,
)
from archcalc.run.loading.source import ModelSource


def attentions(
    source: ModelSource,
    reading: AttentionReading,
    texts: Sequence[Sequence[int]],
    head: tuple[str, int] | None = None,
    pair: tuple[int, int] | None = None,
) -> Attentions:
    """Return the result: of all heads, of one `head` in full, and of one `pair` of its positions."""
    pieces = tuple(tuple(source.piece(token) or str(token) for token in row) for row in texts)
    return Attentions(
        name=source.spec.name,
        label=source.label,
        texts=pieces,
        n_repeated=reading.kinds.n_repeated if reading.kinds else None,
        has_summaries=any(arm.has_summaries for arm in reading.arms.values()),
        heads=tuple(_heads(reading)),
        selected=None if head is None else _selected(reading, pieces, *head, pair),
    )


def _heads(reading: AttentionReading) -> Iterator[HeadFigures]:
    for path, arm in reading.arms.items():
        entropy_N, distance_NT = reading.entropy_nats(path).mean(-1), reading.distance(path)
        scores = reading.kinds.scores.get(path) if reading.kinds else None
        for n in range(arm.n_heads):
            values = [None if scores is None else float(scores[n, i]) for i in range(len(PATTERN_KINDS))]
            yield HeadFigures(
                path=path,
                layer=arm.layer,
                head=n,
                kv_head=arm.kv_head(n),
                entropy_nats=float(entropy_N[n]),
                distance=None if distance_NT is None else float(distance_NT[n].mean()),
                previous_token=values[0],
                first_token=values[1],
                induction=values[2],
                duplicate_token=values[3],
                head_kind=_kind(reading, path, n),
            )


def _kind(reading: AttentionReading, path: str, head: int) -> HeadKind:
    if isinstance(reading.arms[path], MixerArm):
        return "mixer"
    return reading.kinds.kind(path, head) if reading.kinds else "other"


def _selected(
    reading: AttentionReading,
    pieces: Sequence[Sequence[str]],
    path: str,
    head: int,
    pair: tuple[int, int] | None,
) -> HeadPattern:
    arm, scores_TS = reading.arm(path, head), reading.scores[path][head]
    keys = arm.key_names(pieces[arm.key_text], scores_TS.shape[-1])
    scores, weights = scores_TS.tolist(), reading.patterns[path][head].tolist()
    rows = tuple(
        AttentionWeight(
            query=t,
            key=s,
            token=keys[s],
            score=_finite(score),
            weight=weight if _finite(score) is not None else None,
        )
        for t, (row, row_weights) in enumerate(zip(scores, weights, strict=True))
        for s, (score, weight) in enumerate(zip(row, row_weights, strict=True))
    )
    queries = arm.query_names(pieces[arm.text])
    return HeadPattern(
        path=path, head=head, queries=queries, weights=rows, pair=_pair(reading, path, head, pair) if pair else None
    )


def _pair(reading: AttentionReading, path: str, head: int, pair: tuple[int, int]) -> PairProducts:
    if isinstance(reading.arms[path], MixerArm):
        score = _finite(float(reading.scores[path][head][pair]))
        return PairProducts(query=pair[0], key=pair[1], score=score, rest=None, products=())
    found = reading.products(path, head, *pair)
    order = found.products.abs().argsort(descending=True).tolist()
    rows = tuple(
        NeuronProduct(
            dimension=i, query=float(found.query[i]), key=float(found.key[i]), product=float(found.products[i])
        )
        for i in order
    )
    score = _finite(found.score)
    return PairProducts(
        query=pair[0], key=pair[1], score=score, rest=found.rest if score is not None else None, products=rows
    )


def _finite(value: float) -> float | None:
    # A mask may be the lowest number of the dtype instead of −∞.
    return value if math.isfinite(value) and value > -1e30 else None
