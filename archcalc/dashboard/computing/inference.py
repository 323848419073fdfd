"""Views of a prefill or a decode step: FLOPs, memory, cache, ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from archcalc.analysis.context import Phase, context, longest_context
from archcalc.analysis.flops import summary
from archcalc.analysis.growth import growth
from archcalc.analysis.shards import sharded_memory
from archcalc.analysis.workload_flops import workload_flops
from archcalc.dashboard import blocks, charts, chooser, metrics, snippets
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.computing.workload_controls import (
    ROWS_OF_BYTES,
    ROWS_OF_FLOPS,
    InferenceControls,
    choose_rows,
    choose_view,
    draw_controls,
)
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.metrics import Metric
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.render import context as context_pages
from archcalc.render import flops, memory, shards
from archcalc.render import growth as growth_pages
from archcalc.results import plain
from archcalc.spec.execution import Execution
from archcalc.units import exact, human
from archcalc.words import Bytes, msg

_ENGINES: Final = {
    "tp": msg("Tensor parallelism"),
    "fsdp": msg("FSDP"),
}
_BYTES: Final = {
    "weights_bytes": msg("Bytes of the weights, {dtype}"),
    "kv_cache_bytes": msg("Bytes of the KV cache, {dtype}"),
    "next_token_bytes": msg("Bytes of one more token, {dtype}"),
}

# Above this number of ranks there is a table only.
MAX_BARS: Final = 16


def show(phase: Phase) -> None:
    """Draw the controls, the headline numbers and the chosen view."""
    controls = draw_controls(phase)
    metrics.show(_headlines(controls))
    view = choose_view(tuple(_VIEWS), "compute_view")
    with show_errors():
        _VIEWS[view](controls)


def _headlines(controls: InferenceControls) -> list[Metric]:
    say_ = say()
    counts, sized = summary(controls.ledger, controls.work), controls.memory
    sizes_in_bytes = (
        ("weights_bytes", sized.weights_bytes, sized.dtype),
        ("kv_cache_bytes", sized.kv_cache_bytes, sized.cache_dtype),
        ("next_token_bytes", sized.next_token_bytes, sized.cache_dtype),
    )
    return [
        *(
            Metric(say_(label), exact(count), human(count))
            for label, count in (
                (msg("Forward FLOPs, full attention"), counts["forward"]),
                (msg("Forward FLOPs, causal attention"), counts["forward_causal"]),
            )
        ),
        *(
            Metric(say_(_BYTES[name].fill(dtype=dtype)), exact(n_bytes), say_(Bytes(n_bytes)))
            for name, n_bytes, dtype in sizes_in_bytes
            if n_bytes
        ),
    ]


def _flops(controls: InferenceControls) -> None:
    from archcalc.render.charts.flops import components

    result, say_ = workload_flops(controls.spec, controls.work, Execution()), say()
    name = f"{controls.spec.name}.flops"
    charts.show(components(result, say_), name=name)
    view: Any = choose_rows(flops.VIEWS, ROWS_OF_FLOPS)
    blocks.show(flops.view(result, flops.FlopsOptions(view)), name=name, data=lambda: plain(result))
    selection = chooser.selection()
    snippets.show(
        f"archcalc flops {selection.arguments}{sizes.as_options(controls.sizes)}",
        f"import archcalc\n\nspec = {selection.load_call}\narchcalc.flops(spec{sizes.as_arguments(controls.sizes)})",
    )


def _context(controls: InferenceControls) -> None:
    from archcalc.render.charts.context import chart

    up_to = _context_limit(controls)
    result, selection = context(controls.spec, controls.phase, up_to), chooser.selection()
    name = f"{controls.spec.name}.context"
    charts.show(chart(result), name=name)
    blocks.show(context_pages.view(result), name=name, data=lambda: plain(result))
    options: dict[str, Any] = {"plot": f"{name}.html", "phase": controls.phase, **({"up_to": up_to} if up_to else {})}
    last = "" if up_to is None else f", up_to={up_to}"
    snippets.show(
        f"archcalc flops {selection.arguments}{sizes.as_options(options)}",
        f"import archcalc\n\nspec = {selection.load_call}\narchcalc.context(spec, {controls.phase!r}{last})",
    )


def _context_limit(controls: InferenceControls) -> int | None:
    """Return the largest context length of a chart, None for the default."""
    longest = longest_context(controls.spec)
    return sizes.draw_size(
        say()(msg("Longest context (tokens)")), "compute_up_to", default=longest, min_value=2, slider_max=longest
    )


def _memory(controls: InferenceControls) -> None:
    from archcalc.render.charts.memory import inference

    name, selection, options = (
        f"{controls.spec.name}.memory",
        chooser.selection(),
        {**controls.sizes, **controls.dtype_options},
    )
    result = controls.memory
    charts.show(inference(result, say()), name=name)
    view: Any = choose_rows(memory.VIEWS, ROWS_OF_BYTES)
    blocks.show(memory.view(result, memory.MemoryOptions(view)), name=name, data=lambda: plain(result))
    snippets.show(
        f"archcalc memory {selection.arguments}{sizes.as_options(options)}",
        f"import archcalc\n\nspec = {selection.load_call}\narchcalc.memory(spec{sizes.as_arguments(options)})",
    )


def _growth(controls: InferenceControls) -> None:
    from archcalc.analysis.weights import weights_bytes
    from archcalc.render.charts.growth import chart

    result = growth(controls.spec, controls.ledger, controls.work.batch, controls.dtypes[1], _context_limit(controls))
    name, selection = f"{controls.spec.name}.cache", chooser.selection()
    stored = controls.dtypes[0], weights_bytes(controls.ledger, controls.dtypes[0])
    charts.show(chart(result, stored, say()), name=name)
    blocks.show(growth_pages.view(result), name=name, data=lambda: plain(result))
    options = {"batch": controls.work.batch, "cache_dtype": controls.dtypes[1]}
    lengths = " ".join(str(point.tokens) for point in result.points)
    snippets.show(
        f"for n in {lengths}; do archcalc memory {selection.arguments} --seq $n{sizes.as_options(options)}; done",
        f"import archcalc\n\nspec = {selection.load_call}\n"
        f"archcalc.growth(spec{sizes.as_arguments(options)}, up_to={result.points[-1].tokens})",
    )


def _ranks(controls: InferenceControls) -> None:
    from archcalc.render.charts.memory import ranks

    say_, name, selection = say(), f"{controls.spec.name}.ranks", chooser.selection()
    left, right = st.columns(2)
    with left:
        engine: Any = choice(st.segmented_control, say_(msg("Sharded by")), _ENGINES, key="compute_engine")
    n = int(right.number_input(say_(msg("Ranks")), 1, 4096, 2, key="compute_ranks", **IN_URL))
    dtypes: Any = {"dtype": controls.dtypes[0], "cache_dtype": controls.dtypes[1]}
    result = sharded_memory(controls.spec, controls.ledger, controls.work, engine, n, **dtypes)
    if n <= MAX_BARS:
        charts.show(ranks(result, say_), name=name)
    blocks.show(shards.view(result), name=name, data=lambda: plain(result))
    options = {engine: n, **controls.sizes, **controls.dtype_options}
    snippets.show(
        f"archcalc memory {selection.arguments}{sizes.as_options(options)}",
        f"import archcalc\n\nspec = {selection.load_call}\n"
        f"archcalc.ranks(spec, {engine!r}, {n}{sizes.as_arguments({**controls.sizes, **controls.dtype_options})})",
    )


_VIEWS: Final[dict[str, Callable[[InferenceControls], None]]] = {
    "flops": _flops,
    "context": _context,
    "memory": _memory,
    "growth": _growth,
    "ranks": _ranks,
}
