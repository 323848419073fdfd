"""`archcalc memory`: what a model keeps to be run, to be trained, or to be adapted."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource
from msgspec import structs

from archcalc.cli.language import current, emit
from archcalc.cli.options import F, load_source, output, recomputation, settings, sizes, source
from archcalc.cli.parallel import engines
from archcalc.errors import InputError, parameter
from archcalc.extras import require
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.ledger.build import build
from archcalc.render.memory import VIEWS, View
from archcalc.render.output import Format
from archcalc.render.peak import MEASURES, Measure
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Experts, Kernel
from archcalc.spec.workload import workload
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.analysis.shards import Engine
    from archcalc.analysis.training_setup import TrainingSetup

# What each of the three jobs has a use for, beside the source, its settings, --dtype and the output.
_RUNNING = {"batch", "seq", "past", "source_seq", "cache_dtype", "view"}
_STATIC = {"recipe", "optimiser"}
_CARRYING_OUT = {"attention", "device", "experts", "recompute", "dropout"}
_TRAINING = {"batch", "seq", "source_seq", "view", "conventions", "measure", *_STATIC, *_CARRYING_OUT}
_SHARING = {"batch", "seq", "past", "source_seq", "cache_dtype", "tp", "fsdp"}
_ADAPTING = {"targets", *_STATIC}


def training(command: F) -> F:
    """`--train` and what says how."""
    for option in (
        click.option(
            "--measure",
            type=click.Choice(MEASURES),
            help="Hold the modelled peak against PyTorch's tracker or a process on this CPU (with --recipe pure).",
        ),
        click.option("--conventions", is_flag=True, help="Saved activations as a paper counts them, beside the exact."),
        click.option(
            "--experts",
            type=click.Choice(get_args(Experts)),
            default="split",
            show_default=True,
            help="Of a mixture's choices: split by expert, or each with its expert's matrices gathered.",
        ),
        click.option(
            "--device",
            type=click.Choice(get_args(Device)),
            help="Whose kernels (default: meta, for flash cpu; cuda is modelled).",
        ),
        click.option(
            "--attention",
            type=click.Choice(get_args(Kernel)),
            default="eager",
            show_default=True,
            help="The kernel: every product written out, or PyTorch's fused attention by this backend.",
        ),
        click.option(
            "--optimizer", "--optimiser", "optimiser", help="adamw (default), adamw8bit, adafactor, muon, sgd …"
        ),
        click.option(
            "--recipe",
            help="mixed (default), megatron, pure, autocast (of adapters the default): which part is in which dtype.",
        ),
        click.option("--train", is_flag=True, help="A training step: weights, gradients, states, saved activations."),
    ):
        command = option(command)
    return command


def adapting(command: F) -> F:
    """`--lora`, `--targets`."""
    for option in (
        click.option(
            "--targets", metavar="NAMES", help="Of the adapters: all-linear (default), q,v or a pattern of whole names."
        ),
        click.option(
            "--lora", "rank", type=int, metavar="RANK", help="Instead of --train: adapters of this rank alone."
        ),
    ):
        command = option(command)
    return command


@click.command("memory")
@source()
@sizes
@click.option("--dtype", metavar="FORMAT", help="Of the weights: bf16 (default), fp32, int8, nf4, q4_k_m …")
@click.option(
    "--cache-dtype",
    type=click.Choice(list(CACHE_TYPES)),
    metavar="FORMAT",
    default="bf16",
    show_default=True,
    help=f"Of the cache: {', '.join(CACHE_TYPES)}.",
)
@click.option("--view", type=click.Choice(VIEWS), default="components", show_default=True, help="What a row is.")
@training
@recomputation
@adapting
@engines
@settings
@output
def command(
    source: str, settings: tuple[str, ...], form: Format, output: str | None, no_color: bool, **asked: Any
) -> None:
    """Bytes of the weights, and of what each layer caches after past + seq tokens, exact.

    With --train, what a training step keeps: weights, gradients, a master copy, optimiser states, and the activations
    that autograd saves, byte for byte. With --tp or --fsdp, what each rank holds of weights and cache. With --lora,
    what training adapters keeps. JSON is one object, whatever the view.
    """
    job = _job(asked)
    spec = load_source(source, settings)
    job(spec, asked, partial(emit, form=form, output=output, color=not no_color))


def _job(asked: dict[str, Any]) -> Any:
    """What is asked for. InputError for an option that it has no use for."""
    train, adapt = asked["train"], asked["rank"] is not None
    if train and adapt:
        raise InputError(msg("--train and --lora are two jobs"), allowed=msg("one of them"))
    shared = not (train or adapt) and (asked["tp"] is not None or asked["fsdp"] is not None)
    job, used = (_training, _TRAINING) if train else (_adapters, _ADAPTING) if adapt else (_running, _RUNNING)
    job, used = (_shared, _SHARING) if shared else (job, used)
    context = click.get_current_context()
    for name in asked.keys() - used - {"dtype", "train", "rank"}:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            mode = (
                "with --train"
                if train
                else "with --lora"
                if adapt
                else "with --tp or --fsdp"
                if shared
                else "without --train or --lora"
            )
            raise InputError(
                msg("{name} has no effect {mode}", name=parameter(name), mode=mode),
                allowed=msg("to leave out {name}", name=parameter(name)),
            )
    return job


def _running(spec: Spec, asked: dict[str, Any], show: partial[None]) -> None:
    from archcalc.render import memory

    sizes = {name: asked[name] for name in ("batch", "seq", "past", "source_seq")}
    found = build(spec), workload(spec, **sizes), asked["dtype"] or "bf16", asked["cache_dtype"]
    view: View = asked["view"]
    show(lambda: memory.page(spec, *found, view=view), lambda: memory.data(*found))


def _shared(spec: Spec, asked: dict[str, Any], show: partial[None]) -> None:
    from archcalc.render import shards

    if asked["tp"] is not None and asked["fsdp"] is not None:
        raise InputError(msg("both"), where="tp, fsdp", allowed=msg("one of them"))
    sizes = {name: asked[name] for name in ("batch", "seq", "past", "source_seq")}
    engine: Engine = "fsdp" if asked["tp"] is None else "tp"
    dtypes: Any = (asked["dtype"] or "bf16", asked["cache_dtype"])
    found = build(spec), workload(spec, **sizes), engine, asked[engine], dtypes
    show(lambda: shards.page(spec, *found), lambda: shards.data(*found))


def _training(spec: Spec, asked: dict[str, Any], show: partial[None]) -> None:
    from archcalc.analysis.training_setup import training_setup
    from archcalc.render import training as render

    way = {name: asked[name] for name in ("dtype", "conventions", *_CARRYING_OUT)}
    subject = training_setup(
        spec,
        workload(spec, batch=asked["batch"], seq=asked["seq"], source_seq=asked["source_seq"]),
        recipe=asked["recipe"] or ("pure" if asked["measure"] else None),
        optimiser=asked["optimiser"] or "adamw",
        **way,
    )
    if asked["measure"]:
        subject = _measured(subject, asked["measure"])
    view: View = asked["view"]
    show(lambda: render.page(subject, view), lambda: render.data(subject))


def _measured(subject: TrainingSetup, measure: Measure) -> TrainingSetup:
    """The same with the peak of a real step, whose optimiser steps on the weights themselves."""
    require("torch", does=msg("measuring a step"), extra="model")
    from archcalc.analysis.peak import moments, peak
    from archcalc.run.train.step_memory import process_peak, tracked_peak

    if subject.precision.master or subject.precision.gradients != subject.precision.weights:
        raise InputError(
            msg("a step with the recipe {name} is not measured", name=repr(subject.recipe.name)),
            allowed=msg("`recipe` pure"),
        )
    if subject.how.device == "cuda":
        raise InputError(msg("no GPU is measured"), where="device", allowed="meta, cpu")
    spec, work, name = subject.spec, subject.work, subject.optimiser.name
    if sys.stderr.isatty():
        click.echo(current()(msg("measuring two steps …")), err=True)
    if measure == "fake":
        how = structs.replace(subject.how, device="cpu", experts="gather")
        return structs.replace(subject, how=how, tracked=tracked_peak(spec, work, how, name))
    how = structs.replace(subject.how, device="cpu")
    needed = peak(moments(spec, work, how, subject.lines())).total
    return structs.replace(subject, how=how, grown_bytes=process_peak(spec, work, how, needed, name))


def _adapters(spec: Spec, asked: dict[str, Any], show: partial[None]) -> None:
    """peft keeps adapters in fp32 and leaves the rest to autocast, unless told otherwise."""
    from archcalc.analysis import optimisers
    from archcalc.analysis import training as recipes
    from archcalc.analysis.lora import AdapterSetup
    from archcalc.render import lora as render

    recipe = recipes.recipe(asked["recipe"] or "autocast")
    subject = AdapterSetup(
        spec,
        build(spec),
        asked["rank"],
        parsed(asked["targets"] or "all-linear"),
        asked["dtype"] or "bf16",
        recipe,
        recipe.precision(),
        optimisers.named(asked["optimiser"] or "adamw"),
    )
    show(lambda: render.page(subject), lambda: render.data(subject))


def parsed(targets: str) -> str | list[str]:
    """'q,v' as a list of names; 'all-linear' and patterns, which have signs that no name has, as they are."""
    is_pattern = targets == "all-linear" or not all(c.isalnum() or c in "_-.," for c in targets)
    return targets if is_pattern else targets.split(",")
