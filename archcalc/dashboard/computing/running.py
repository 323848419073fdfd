"""What running a model costs: the views of a prefill or a decode step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from archcalc.analysis.context import Phase, context, longest_context
from archcalc.analysis.flops import summary
from archcalc.analysis.growth import growth
from archcalc.analysis.inference_memory import inference_memory
from archcalc.analysis.shards import sharded_memory
from archcalc.analysis.workload_flops import workload_flops
from archcalc.dashboard import blocks, charts, figures, same, subject
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.computing.asked import ROWS_OF_BYTES, ROWS_OF_FLOPS, Running, ask, rows, view_of
from archcalc.dashboard.errors import told
from archcalc.dashboard.figures import Figure
from archcalc.dashboard.session import KEPT, choice, say
from archcalc.render import context as context_pages
from archcalc.render import flops, memory, shards
from archcalc.render import growth as growth_pages
from archcalc.results import plain
from archcalc.spec.execution import Execution
from archcalc.units import exact, human, human_bytes
from archcalc.words import msg

# More ranks than these are told by the table alone.
_ENGINES: Final = {
    "tp": msg("Tensor parallelism"),
    "fsdp": msg("FSDP"),
}
_BYTES: Final = {
    "weights_bytes": msg("Bytes of the weights, {dtype}"),
    "kv_cache_bytes": msg("Bytes of the KV cache, {dtype}"),
    "next_token_bytes": msg("Bytes of one more token, {dtype}"),
}

MOST_BARS: Final = 16


def show(phase: Phase) -> None:
    """Controls, headlines, and the view that is chosen."""
    now = ask(phase)
    figures.show(_headlines(now))
    view = view_of(tuple(_VIEWS), "compute_view")
    with told():
        _VIEWS[view](now)


def _headlines(now: Running) -> list[Figure]:
    say_ = say()
    counts, sized = summary(now.ledger, now.work), plain(inference_memory(now.spec, now.ledger, now.work, *now.dtypes))
    bytes_ = (("weights_bytes", now.dtypes[0]), ("kv_cache_bytes", now.dtypes[1]), ("next_token_bytes", now.dtypes[1]))
    return [
        *(
            Figure(say_(label), exact(count), human(count))
            for label, count in (
                (msg("Forward FLOPs, all keys held"), counts["forward"]),
                (msg("Forward FLOPs, causal"), counts["forward_causal"]),
            )
        ),
        *(
            Figure(say_(_BYTES[name].fill(dtype=dtype)), exact(sized[name]), human_bytes(sized[name]))
            for name, dtype in bytes_
            if sized[name]
        ),
    ]


def _flops(now: Running) -> None:
    from archcalc.render.charts.flops import components

    result, say_ = workload_flops(now.spec, now.work, Execution()), say()
    name = f"{now.spec.name}.flops"
    charts.show(components(result, say_), name=name)
    view: Any = rows(flops.VIEWS, ROWS_OF_FLOPS)
    blocks.show(flops.view(result, flops.Options(view)), name=name, data=lambda: plain(result))
    chosen = subject.chosen()
    same.lines(
        f"archcalc flops {chosen.words}{sizes.in_words(now.sizes)}",
        f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.flops(spec{sizes.in_python(now.sizes)})",
    )


def _context(now: Running) -> None:
    from archcalc.render.charts.context import chart

    up_to = _up_to(now)
    result, chosen = context(now.spec, now.phase, up_to), subject.chosen()
    name = f"{now.spec.name}.context"
    charts.show(chart(result), name=name)
    blocks.show(context_pages.view(result), name=name, data=lambda: plain(result))
    asked: dict[str, Any] = {"plot": f"{name}.html", "phase": now.phase, **({"up_to": up_to} if up_to else {})}
    last = "" if up_to is None else f", up_to={up_to}"
    same.lines(
        f"archcalc flops {chosen.words}{sizes.in_words(asked)}",
        f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.context(spec, {now.phase!r}{last})",
    )


def _up_to(now: Running) -> int | None:
    """How far the context goes."""
    far = longest_context(now.spec)
    return sizes.size(say()(msg("Up to so many tokens")), "compute_up_to", default=far, least=2, most=far)


def _memory(now: Running) -> None:
    from archcalc.render.charts.memory import inference

    name, chosen, asked = f"{now.spec.name}.memory", subject.chosen(), {**now.sizes, **now.stored}
    result = inference_memory(now.spec, now.ledger, now.work, *now.dtypes)
    charts.show(inference(result, say()), name=name)
    view: Any = rows(memory.VIEWS, ROWS_OF_BYTES)
    blocks.show(memory.view(result, memory.Options(view)), name=name, data=lambda: plain(result))
    same.lines(
        f"archcalc memory {chosen.words}{sizes.in_words(asked)}",
        f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.memory(spec{sizes.in_python(asked)})",
    )


def _growth(now: Running) -> None:
    from archcalc.analysis.weights import weights_bytes
    from archcalc.render.charts.growth import chart

    result = growth(now.spec, now.ledger, now.work.batch, now.dtypes[1], _up_to(now))
    name, chosen = f"{now.spec.name}.cache", subject.chosen()
    stored = now.dtypes[0], weights_bytes(now.ledger, now.dtypes[0])
    charts.show(chart(result, stored, say()), name=name)
    blocks.show(growth_pages.view(result), name=name, data=lambda: plain(result))
    asked = {"batch": now.work.batch, "cache_dtype": now.dtypes[1]}
    lengths = " ".join(str(point.tokens) for point in result.points)
    same.lines(
        f"for n in {lengths}; do archcalc memory {chosen.words} --seq $n{sizes.in_words(asked)}; done",
        f"import archcalc\n\nspec = {chosen.load_line}\n"
        f"archcalc.growth(spec{sizes.in_python(asked)}, up_to={result.points[-1].tokens})",
    )


def _ranks(now: Running) -> None:
    from archcalc.render.charts.memory import ranks

    say_, name, chosen = say(), f"{now.spec.name}.ranks", subject.chosen()
    left, right = st.columns(2)
    with left:
        engine: Any = choice(st.segmented_control, say_(msg("Shared by")), _ENGINES, key="compute_engine")
    n = int(right.number_input(say_(msg("Ranks")), 1, 4096, 2, key="compute_ranks", **KEPT))
    dtypes: Any = {"dtype": now.dtypes[0], "cache_dtype": now.dtypes[1]}
    result = sharded_memory(now.spec, now.ledger, now.work, engine, n, **dtypes)
    if n <= MOST_BARS:
        charts.show(ranks(result, say_), name=name)
    blocks.show(shards.view(result), name=name, data=lambda: plain(result))
    asked = {engine: n, **now.sizes, **now.stored}
    same.lines(
        f"archcalc memory {chosen.words}{sizes.in_words(asked)}",
        f"import archcalc\n\nspec = {chosen.load_line}\n"
        f"archcalc.ranks(spec, {engine!r}, {n}{sizes.in_python({**now.sizes, **now.stored})})",
    )


_VIEWS: Final[dict[str, Callable[[Running], None]]] = {
    "flops": _flops,
    "context": _context,
    "memory": _memory,
    "growth": _growth,
    "ranks": _ranks,
}
