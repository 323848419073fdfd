"""The functions that formulas are written in; what each computes is said in `archcalc.render.lang.trace`."""

from __future__ import annotations

from typing import Final, get_args

from archcalc.interp.trace.expression import Call, Expression, nodes
from archcalc.spec.base import Activation

# What is applied number by number and needs no numbers of its own.
_ACTIVATIONS = (*(name for name in get_args(Activation) if name != "clamped_swish"), "softplus")

# How functions are called, and their names; those of a line are explained together.
FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "rows(m, ids)": ("rows",),
    "linear(x, m)": ("linear",),
    "standardised(x, e)": ("standardised",),
    "over_rms(x, e)": ("over_rms",),
    "scaled(x, m)": ("scaled",),
    "norm(x, m)": ("norm",),
    "heads(x, n)": ("heads",),
    "clamped(x, c)": ("clamped",),
    "by_head(x)": ("by_head",),
    "log_tempered(x, p, a, n), power_tempered(x, p, a, n)": ("log_tempered", "power_tempered"),
    "sinusoids(p), sinusoid_halves(p), fairseq_sinusoids(p)": ("sinusoids", "sinusoid_halves", "fairseq_sinusoids"),
    "turned(x, r)": ("turned",),
    "first(x, n), last(x, n), beside(x, y)": ("first", "last", "beside"),
    "dot(q, k)": ("dot",),
    "softmax(x)": ("softmax",),
    "masked(x)": ("masked",),
    "capped(x, c)": ("capped",),
    "relu(x), silu(x), gelu(x) …": _ACTIVATIONS,
    "within(x, c)": ("within",),
    "clamped_swish(x, c, a)": ("clamped_swish",),
    "xielu(x, m)": ("xielu",),
    "mix(p, v)": ("mix",),
    "joined(x)": ("joined",),
    "top(x, n)": ("top",),
    "at(x, i)": ("at",),
    "place(x, n)": ("place",),
    "average(x)": ("average",),
    "rescaled(ids, m, s)": ("rescaled",),
    "shares(x), shares(x, e)": ("shares",),
    "summed(w, x)": ("summed",),
    "total(x)": ("total",),
    "experts(x, i, m), experts(x, i, m, w)": ("experts",),
    "best_groups(x, n, k, m)": ("best_groups",),
    "sparsemixer(x, i, e)": ("sparsemixer",),
}


def functions_of(formula: Expression) -> list[str]:
    """Return how the functions of a formula are called: keys of `FUNCTIONS`, in its order."""
    used = {node.function for node in nodes(formula) if isinstance(node, Call)}
    return [called for called, names in FUNCTIONS.items() if not used.isdisjoint(names)]
