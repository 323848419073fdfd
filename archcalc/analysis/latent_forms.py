"""FLOPs of latent attention in both forms: keys and values expanded from the latents, or absorbed into the queries.

Engines run the absorbed form when they decode (DeepSeek-V2, section 2.1.2): kv_up's part for keys multiplies the
queries, scores and sums are over latents, and kv_up's part for values multiplies the sums. So kv_up runs for the new
tokens alone, and not for every token held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from archcalc.analysis.flops import OpFlops
from archcalc.results import Row, Sureness, count, data, text
from archcalc.spec import Spec
from archcalc.spec.attention import LatentAttention
from archcalc.spec.branches import arms
from archcalc.spec.groups import layers_of
from archcalc.spec.workload import Workload
from archcalc.words import msg

Form = Literal["expanded", "absorbed"]
_NAMES: Final = {
    "expanded": msg("expanded: keys and values of all tokens"),
    "absorbed": msg("absorbed: queries and sums of latents"),
}


class LatentFlops(Row, frozen=True, kw_only=True):
    """Forward FLOPs of the whole model with latent attention in one form; `attention` is its kv_up, scores and sums."""

    form: Annotated[Form, text(msg("form"), names=_NAMES)]
    attention: Annotated[int, count(msg("kv_up, scores and sums"), rounded="count")]
    forward: Annotated[int, count(msg("forward"), rounded="count")]
    forward_causal: Annotated[int, count(msg("causal"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


def latent_forms(spec: Spec, ops: Sequence[OpFlops], work: Workload) -> tuple[LatentFlops, ...]:
    """Return both forms of a workload; none for a model without latent attention, or with several sizes of it."""
    layers = [layer for each in spec.stacks for layer in layers_of(each.stack)]
    parts = {_sizes(arm.part) for layer in layers for arm in arms(layer) if isinstance(arm.part, LatentAttention)}
    own = {op.row.path.removesuffix(".kv_up") for op in ops if op.row.path.endswith(".kv_up")}
    rows = [op for op in ops if op.row.path.rpartition(".")[0] in own]
    if len(parts) != 1 or not rows:
        return ()
    ups = [op for op in rows if op.row.path.endswith(".kv_up")]
    scores = [op for op in rows if op.row.path.endswith(".scores")]
    sums = [op for op in rows if op.row.path.endswith(".values")]
    n_heads, d_nope, d_rope, d_v, kv_rank = parts.pop()
    up = sum(2 * work.batch * work.seq * kv_rank * n_heads * (d_nope + d_v) * op.row.layers for op in ups)
    expanded = _of((*ups, *scores, *sums), "forward"), _of((*ups, *scores, *sums), "forward_causal")
    absorbed = [
        up + _of(scores, key) // (d_nope + d_rope) * (kv_rank + d_rope) + _of(sums, key) // d_v * kv_rank
        for key in ("forward", "forward_causal")
    ]
    totals = _of(ops, "forward"), _of(ops, "forward_causal")
    forms: dict[Form, Sequence[int]] = {"expanded": expanded, "absorbed": absorbed}
    return tuple(
        LatentFlops(
            form=form,
            attention=attention,
            forward=totals[0] - expanded[0] + attention,
            forward_causal=totals[1] - expanded[1] + causal,
        )
        for form, (attention, causal) in forms.items()
    )


def _sizes(part: LatentAttention) -> tuple[int, int, int, int, int]:
    return part.n_heads, part.d_nope, part.d_rope, part.d_v, part.kv_rank


def _of(ops: Sequence[OpFlops], key: Literal["forward", "forward_causal"]) -> int:
    return sum(getattr(op, key) for op in ops)
