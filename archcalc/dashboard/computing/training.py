"""What training a model costs: the views of a training step."""

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
from archcalc.dashboard import blocks, charts, figures, same, subject
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.computing.asked import ROWS_OF_BYTES, ROWS_OF_FLOPS, rows, view_of
from archcalc.dashboard.errors import told
from archcalc.dashboard.figures import Figure
from archcalc.dashboard.session import KEPT, say
from archcalc.render import flops, memory, training
from archcalc.render.page import Page
from archcalc.results import plain
from archcalc.spec.execution import Device, Execution, Experts, Kernel, Recompute
from archcalc.spec.workload import workload
from archcalc.units import exact, human, human_bytes
from archcalc.words import msg

_HEADLINES: Final = {
    "train_step": msg("FLOPs of a training step"),
    "again": msg("FLOPs computed again"),
    "kept": msg("Bytes from step to step"),
    "saved": msg("Bytes of saved activations"),
    "step_bytes": msg("Bytes of both together"),
    "peak": msg("Bytes at the peak"),
}

USUAL: Final = {"recipe": "mixed", "optimizer": "adamw", "recompute": "none", "attention": "eager", "experts": "split"}


class Training(msgspec.Struct, frozen=True):
    """What is trained and how, and what the command line is told of it: sizes, what decides FLOPs, what memory too."""

    subject: TrainingSetup
    sizes: sizes.Sizes
    step: dict[str, Any]
    kept: dict[str, Any]

    def flops(self, *, conventions: bool) -> WorkloadFlops:
        """The FLOPs of the step."""
        about = self.subject
        how = Execution(recompute=about.execution.recompute, dropout=about.execution.dropout)
        return workload_flops(about.spec, about.work, how, conventions=conventions)


def show() -> None:
    """Controls, headlines, and the view that is chosen."""
    now = _asked()
    figures.show(_headlines(now))
    view = view_of(tuple(_VIEWS), "compute_training")
    with told():
        _VIEWS[view](now)


def _asked() -> Training:
    """Draw the controls, and what they say."""
    spec, say_ = subject.chosen().spec, say()
    given = sizes.asked(spec, "train", "compute")
    recipe, dtype, optimizer, recompute = _precision()
    with st.expander(say_(msg("How the step is carried out"))):
        way = _way()
    dropout = way.pop("dropout")
    step = {"recompute": recompute, "dropout": dropout}
    about = training_setup(
        spec, workload(spec, **given), recipe=recipe, dtype=dtype, optimizer=optimizer, **step, **way
    )
    asked = {"recipe": recipe, "dtype": dtype, "optimizer": optimizer, **way}
    usual = {**USUAL, "dtype": RECIPES[recipe].dtypes[0], "device": None}
    return Training(about, given, step, {name: value for name, value in asked.items() if value != usual[name]})


def _precision() -> tuple[str, str, str, str]:
    """The recipe, the weights' dtype in it, the optimizer, what is computed again."""
    say_, columns = say(), st.columns(4)
    recipe = columns[0].selectbox(
        say_(msg("Precision recipe")), list(RECIPES), key="compute_recipe", help=_titles(RECIPES), **KEPT
    )
    # Each recipe has dtypes of its own, and so a widget.
    dtypes = RECIPES[recipe].dtypes
    dtype = columns[1].selectbox(say_(msg("Weights in (dtype)")), dtypes, key=f"compute_dtype_{recipe}", **KEPT)
    optimizer = columns[2].selectbox(
        say_(msg("Optimizer")), list(OPTIMIZERS), key="compute_optimizer", help=_titles(OPTIMIZERS), **KEPT
    )
    recompute = columns[3].selectbox(say_(msg("Recompute")), get_args(Recompute), key="compute_recompute", **KEPT)
    return recipe, dtype, optimizer, recompute


def _titles(named: Any) -> str:
    return "\n".join(f"- **{name}**: {say()(one.title)}" for name, one in named.items())


def _way() -> dict[str, Any]:
    """How the step is carried out."""
    say_, columns = say(), st.columns(4, vertical_alignment="bottom")
    attention = columns[0].selectbox(say_(msg("Attention kernel")), get_args(Kernel), key="compute_attention", **KEPT)
    device = columns[1].selectbox(
        say_(msg("Kernels of")),
        get_args(Device),
        index=None,
        placeholder=say_(msg("as the kernel needs")),
        key="compute_device",
        **KEPT,
    )
    experts = columns[2].selectbox(
        say_(msg("A mixture's experts")), get_args(Experts), index=1, key="compute_experts", **KEPT
    )
    dropout = columns[3].toggle(say_(msg("Dropout as the spec says")), value=True, key="compute_dropout", **KEPT)
    return {"attention": attention, "device": device, "experts": experts, "dropout": dropout}


def _headlines(now: Training) -> list[Figure]:
    say_, result = say(), training_memory(now.subject)
    step_flops = now.flops(conventions=False)
    flops_ = {"train_step": step_flops.train_step, "again": step_flops.training_steps[0].recomputation}
    saved, peak = result.activations, result.peak
    bytes_ = [
        ("kept", result.total_bytes, "exact"),
        ("saved", saved.bytes, saved.kind),
        ("step_bytes", result.step_bytes, saved.kind),
        ("peak", peak.bytes, peak.kind),
    ]
    return [
        *(Figure(say_(_HEADLINES[name]), exact(count), human(count)) for name, count in flops_.items() if count),
        *(Figure(say_(_HEADLINES[name]), exact(size), human_bytes(size), kind) for name, size, kind in bytes_),
    ]


def _kept(now: Training) -> None:
    """By part and recompute policy; then as the command line has it."""
    from archcalc.render.charts.memory import peaks
    from archcalc.render.charts.memory import training as chart

    say_, name = say(), f"{now.subject.spec.name}.training"
    found = by_recompute(now.subject)
    charts.show(chart(now.subject, found, say_), name=name)
    charts.show(peaks(now.subject, found, say_), name=f"{name}.peak")
    view: Any = rows(memory.VIEWS, ROWS_OF_BYTES)
    about, papers = now.subject, {}
    if about.spec.family == "decoder":
        paper = st.toggle(say_(msg("Saved activations as a paper counts them, too")), key="compute_paper", **KEPT)
        about, papers = msgspec.structs.replace(about, has_conventions=paper), {"conventions": True} if paper else {}
    result = training_memory(about)
    blocks.show(training.view(result, training.Options(view)), name=name, data=lambda: plain(result))
    asked = {**now.sizes, **now.kept, **_not_usual(now.step)}
    same.lines(
        f"archcalc memory {subject.chosen().words} --train{_options({**asked, **papers})}", _python_of_memory(now)
    )


def _flops(now: Training) -> None:
    from archcalc.render.charts.flops import components

    result, say_ = now.flops(conventions=False), say()
    name = f"{now.subject.spec.name}.step"
    charts.show(components(result, say_), name=name)
    view: Any = rows(flops.VIEWS, ROWS_OF_FLOPS)
    blocks.show(flops.view(result, flops.Options(view)), name=name, data=lambda: plain(result))
    _same_flops(now, "")


def _conventions(now: Training) -> None:
    from archcalc.render.charts.flops import conventions

    result = now.flops(conventions=True)
    name = f"{now.subject.spec.name}.conventions"
    charts.show(conventions(result, say()), name=name)
    blocks.show(Page("", "", [flops.conventions_table(result.conventions)]), name=name)
    _same_flops(now, " --conventions")


def _same_flops(now: Training, more: str) -> None:
    chosen = subject.chosen()
    sized = sizes.in_python(now.sizes)
    if more:
        python = f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.conventions(spec{sized})"
    else:
        python = f'import archcalc\n\nspec = {chosen.load_line}\narchcalc.report(spec{sized})["flops"]'
    asked = {**now.sizes, **_not_usual(now.step)}
    same.lines(f"archcalc flops {chosen.words}{_options(asked)}{more}", python)


def _python_of_memory(now: Training) -> str:
    asked = sizes.in_python({**now.sizes, **now.kept, **_not_usual(now.step)})
    return f"import archcalc\n\nspec = {subject.chosen().load_line}\narchcalc.training_memory(spec{asked})"


def _not_usual(step: dict[str, Any]) -> dict[str, Any]:
    """What is not as it is without being told."""
    usual = {"recompute": "none", "dropout": True}
    return {name: value for name, value in step.items() if value != usual[name]}


def _options(asked: dict[str, Any]) -> str:
    """Options as a shell is told them, flags too."""
    flags = {True: "--{}", False: "--no-{}"}
    return "".join(
        " " + flags[value].format(name) if isinstance(value, bool) else sizes.in_words({name: value})
        for name, value in asked.items()
    )


_VIEWS: Final[dict[str, Callable[[Training], None]]] = {
    "training": _kept,
    "flops": _flops,
    "conventions": _conventions,
}
