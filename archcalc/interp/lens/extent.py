"""How much of a text a lens reads where nothing is asked for: no more than doubles the work of a plain pass."""

from __future__ import annotations

from typing import NamedTuple

from archcalc.analysis.flops import by_component, by_op, totals
from archcalc.interp.lens.maps import LensSites, lens_sites
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.workload import Workload

# Rows of logits may cost this share of a plain pass; reading figures off them costs about as much again.
SHARE = 0.5
# Shorter passes are fast enough to read as much as after this one.
N_TOKENS = 64


class LensExtent(NamedTuple):
    """The sites and positions that a lens reads; `is_cut`: positions are left out for their cost."""

    sites: LensSites
    positions: list[int]
    is_cut: bool = False


def affordable_rows(spec: Spec, n_tokens: int) -> int:
    """Return how many states may pass through the head for SHARE of a plain forward pass over a text."""
    n_tokens = max(n_tokens, min(N_TOKENS, spec.stacks[-1].model.n_ctx))
    ops = by_op(build(spec), Workload(batch=1, seq=n_tokens, source_seq=n_tokens))
    head = by_component(ops)["head"]["forward"]
    return int(SHARE * totals(ops)["forward"] * n_tokens / head)


def affordable_extent(spec: Spec, n_tokens: int, sites: LensSites | None = None) -> LensExtent:
    """Return the largest map that `affordable_rows` allows, of these sites if they are given.

    That is all positions at every branch, or all at the ends of layers, or the last ones, one at least.
    """
    n_rows = affordable_rows(spec, n_tokens)
    choices: tuple[LensSites, ...] = ("branches", "layers") if sites is None else (sites,)
    n_affordable = {choice: max(1, n_rows // (len(lens_sites(spec, choice)) - 1)) for choice in choices}
    chosen = next((choice for choice, n in n_affordable.items() if n >= n_tokens), choices[-1])
    n_read = min(n_tokens, n_affordable[chosen])
    return LensExtent(chosen, list(range(n_tokens - n_read, n_tokens)), n_read < n_tokens)
