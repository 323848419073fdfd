"""Views of a training step: memory, FLOPs, the papers' FLOPs conventions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec
import streamlit as st

from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.training import RECIPES
from archcalc.analysis.training_memory import training_memory
from archcalc.analysis.training_setup import TrainingSetup, by_recompute, training_setup
from archcalc.analysis.workload_flops import WorkloadFlops, workload_flops
from archcalc.dashboard import blocks, charts, chooser, metrics, snippets
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.computing.workload_controls import ROWS_OF_BYTES, ROWS_OF_FLOPS, choose_rows, choose_view
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.metrics import Metric
from archcalc.dashboard.session import IN_URL, say
from archcalc.render import flops, memory, training
from archcalc.render.page import Page
from archcalc.results import plain
from archcalc.spec.execution import Device, Execution, Experts, Kernel, Recompute
from archcalc.spec.workload import workload
from archcalc.units import exact, human
from archcalc.words import Bytes, msg

_HEADLINES: Final = {
    "train_step": msg("FLOPs of a training step"),
    "recomputed": msg("Recomputed FLOPs"),
    "state": msg("Bytes kept between steps"),
    "saved": msg("Bytes of saved activations"),
    "step_bytes": msg("Bytes of a step, in total"),
    "peak": msg("Bytes at the peak"),
}

DEFAULTS: Final = {
    "recipe": "mixed",
    "optimizer": "adamw",
    "recompute": "none",
    "attention": "eager",
    "experts": "split",
}


class TrainingControls(msgspec.Struct, frozen=True):
    """The values of the controls. `step_options` change FLOPs and memory, `memory_options` memory only."""

    setup: TrainingSetup
    sizes: sizes.Sizes
    step_options: dict[str, Any]
    memory_options: dict[str, Any]

    def flops(self, *, conventions: bool) -> WorkloadFlops:
        """Return the FLOPs of the step."""
        setup = self.setup
        how = Execution(recompute=setup.execution.recompute, dropout=setup.execution.dropout)
        return workload_flops(setup.spec, setup.work, how, conventions=conventions)


def show() -> None:
    """Draw the controls, the headline numbers and the chosen view."""
    controls = _draw_controls()
    metrics.show(_headlines(controls))
    view = choose_view(tuple(_VIEWS), "compute_training")
    with show_errors():
        _VIEWS[view](controls)


def _draw_controls() -> TrainingControls:
    """Draw the controls and return their values."""
    spec, say_ = chooser.selection().spec, say()
    size_options = sizes.draw_sizes(spec, "train", "compute")
    recipe, dtype, optimizer, recompute = _precision()
    with st.expander(say_(msg("Execution of the step"))):
        execution = _execution_options()
    dropout = execution.pop("dropout")
    step = {"recompute": recompute, "dropout": dropout}
    setup = training_setup(
        spec, workload(spec, **size_options), recipe=recipe, dtype=dtype, optimizer=optimizer, **step, **execution
    )
    options = {"recipe": recipe, "dtype": dtype, "optimizer": optimizer, **execution}
    defaults = {**DEFAULTS, "dtype": RECIPES[recipe].dtypes[0], "device": None}
    return TrainingControls(
        setup, size_options, step, {name: value for name, value in options.items() if value != defaults[name]}
    )


def _precision() -> tuple[str, str, str, str]:
    """Draw and return recipe, dtype of the weights, optimizer and recompute policy."""
    say_, columns = say(), st.columns(4)
    recipe = columns[0].selectbox(
        say_(msg("Precision recipe")), list(RECIPES), key="compute_recipe", help=_titles(RECIPES), **IN_URL
    )
    # Each recipe has its own dtypes, so it needs its own widget.
    dtypes = RECIPES[recipe].dtypes
    dtype = columns[1].selectbox(say_(msg("Weights in (dtype)")), dtypes, key=f"compute_dtype_{recipe}", **IN_URL)
    optimizer = columns[2].selectbox(
        say_(msg("Optimizer")), list(OPTIMIZERS), key="compute_optimizer", help=_titles(OPTIMIZERS), **IN_URL
    )
    recompute = columns[3].selectbox(say_(msg("Recompute")), get_args(Recompute), key="compute_recompute", **IN_URL)
    return recipe, dtype, optimizer, recompute


def _titles(named: Any) -> str:
    return "\n".join(f"- **{name}**: {say()(one.title)}" for name, one in named.items())


def _execution_options() -> dict[str, Any]:
    """Draw and return how the step is executed."""
    say_, columns = say(), st.columns(4, vertical_alignment="bottom")
    attention = columns[0].selectbox(say_(msg("Attention kernel")), get_args(Kernel), key="compute_attention", **IN_URL)
    device = columns[1].selectbox(
        say_(msg("Device of the kernels")),
        get_args(Device),
        index=None,
        placeholder=say_(msg("the kernel's default")),
        key="compute_device",
        **IN_URL,
    )
    experts = columns[2].selectbox(
        say_(msg("Experts of a mixture")), get_args(Experts), index=1, key="compute_experts", **IN_URL
    )
    dropout = columns[3].toggle(say_(msg("Dropout")), value=True, key="compute_dropout", **IN_URL)
    return {"attention": attention, "device": device, "experts": experts, "dropout": dropout}


def _headlines(controls: TrainingControls) -> list[Metric]:
    say_, result = say(), training_memory(controls.setup)
    step_flops = controls.flops(conventions=False)
    flops_ = {"train_step": step_flops.train_step, "recomputed": step_flops.training_steps[0].recomputation}
    saved, peak = result.activations, result.peak
    bytes_ = [
        ("state", result.total_bytes, "exact"),
        ("saved", saved.bytes, saved.kind),
        ("step_bytes", result.step_bytes, saved.kind),
        ("peak", peak.bytes, peak.kind),
    ]
    return [
        *(Metric(say_(_HEADLINES[name]), exact(count), human(count)) for name, count in flops_.items() if count),
        *(Metric(say_(_HEADLINES[name]), exact(size), say_(Bytes(size)), kind) for name, size, kind in bytes_),
    ]


def _training_memory(controls: TrainingControls) -> None:
    """Draw memory by part and by recompute policy, then the table of the command line."""
    from archcalc.render.charts.memory import peaks
    from archcalc.render.charts.memory import training as chart

    say_, name = say(), f"{controls.setup.spec.name}.training"
    found = by_recompute(controls.setup)
    charts.show(chart(controls.setup, found, say_), name=name)
    charts.show(peaks(controls.setup, found, say_), name=f"{name}.peak")
    view: Any = choose_rows(memory.VIEWS, ROWS_OF_BYTES)
    setup, papers = controls.setup, {}
    if setup.spec.family == "decoder":
        paper = st.toggle(say_(msg("Saved activations by the formula of a paper, too")), key="compute_paper", **IN_URL)
        setup, papers = msgspec.structs.replace(setup, has_conventions=paper), {"conventions": True} if paper else {}
    result = training_memory(setup)
    blocks.show(training.view(result, training.TrainingMemoryOptions(view)), name=name, data=lambda: plain(result))
    options = {**controls.sizes, **controls.memory_options, **_non_default(controls.step_options)}
    snippets.show(
        f"archcalc memory {chooser.selection().arguments} --train{_as_options({**options, **papers})}",
        _memory_python(controls),
    )


def _flops(controls: TrainingControls) -> None:
    from archcalc.render.charts.flops import components

    result, say_ = controls.flops(conventions=False), say()
    name = f"{controls.setup.spec.name}.step"
    charts.show(components(result, say_), name=name)
    view: Any = choose_rows(flops.VIEWS, ROWS_OF_FLOPS)
    blocks.show(flops.view(result, flops.FlopsOptions(view)), name=name, data=lambda: plain(result))
    _show_flops_snippets(controls, "")


def _conventions(controls: TrainingControls) -> None:
    from archcalc.render.charts.flops import conventions

    result = controls.flops(conventions=True)
    name = f"{controls.setup.spec.name}.conventions"
    charts.show(conventions(result, say()), name=name)
    blocks.show(Page("", "", [flops.conventions_table(result.conventions)]), name=name)
    _show_flops_snippets(controls, " --conventions")


def _show_flops_snippets(controls: TrainingControls, more: str) -> None:
    selection = chooser.selection()
    sized = sizes.as_arguments(controls.sizes)
    if more:
        python = f"import archcalc\n\nspec = {selection.load_call}\narchcalc.conventions(spec{sized})"
    else:
        python = f'import archcalc\n\nspec = {selection.load_call}\narchcalc.report(spec{sized})["flops"]'
    options = {**controls.sizes, **_non_default(controls.step_options)}
    snippets.show(f"archcalc flops {selection.arguments}{_as_options(options)}{more}", python)


def _memory_python(controls: TrainingControls) -> str:
    options = sizes.as_arguments({**controls.sizes, **controls.memory_options, **_non_default(controls.step_options)})
    return f"import archcalc\n\nspec = {chooser.selection().load_call}\narchcalc.training_memory(spec{options})"


def _non_default(step: dict[str, Any]) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    defaults = {"recompute": "none", "dropout": True}
    return {name: value for name, value in step.items() if value != defaults[name]}


def _as_options(options: dict[str, Any]) -> str:
    """Return options of the command line, flags too."""
    flags = {True: "--{}", False: "--no-{}"}
    return "".join(
        " " + flags[value].format(name) if isinstance(value, bool) else sizes.as_options({name: value})
        for name, value in options.items()
    )


_VIEWS: Final[dict[str, Callable[[TrainingControls], None]]] = {
    "training": _training_memory,
    "flops": _flops,
    "conventions": _conventions,
}
