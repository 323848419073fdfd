"""`archcalc memory`: bytes for inference, for training and for adapters."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
from click.core import ParameterSource
from msgspec import structs

from archcalc.analysis.adapters.files import adapter_source, in_file
from archcalc.analysis.memory import AUTO
from archcalc.cli.adapters import CHOICES, AdaptedModel, adapters, adapting, chosen, exclusive
from archcalc.cli.language import byte_units, current, emit
from archcalc.cli.options import F, load_source, output, recomputation, settings, sizes, source
from archcalc.cli.parallel import engines
from archcalc.errors import InputError, parameter
from archcalc.extras import require
from archcalc.formats.cache_types import CACHE_TYPES, LLAMACPP_NAMES
from archcalc.ledger.build import build
from archcalc.render.memory import VIEWS
from archcalc.render.output import Format
from archcalc.results import plain
from archcalc.spec import Spec
from archcalc.spec.execution import Device, Experts, Kernel
from archcalc.spec.workload import workload
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.analysis.shards import Engine
    from archcalc.analysis.training_setup import TrainingSetup

Measure = Literal["fake", "process"]

# The options of each mode, besides the source, its settings, --dtype and the output.
_INFERENCE = {"batch", "seq", "past", "source_seq", "cache_dtype", "view"}
_OPTIMIZER = {"recipe", "optimizer"}
_EXECUTION = {"attention", "device", "experts", "recompute", "dropout"}
_TRAINING = {"batch", "seq", "source_seq", "view", "conventions", "measure", *_OPTIMIZER, *_EXECUTION}
_SHARDING = {"batch", "seq", "past", "source_seq", "cache_dtype", "tp", "fsdp"}
_ADAPTERS = {"targets", "names", *_OPTIMIZER}


def training(command: F) -> F:
    """Add `--train` and the options of a training step."""
    for option in (
        click.option(
            "--measure",
            type=click.Choice(get_args(Measure)),
            help="Compare the modeled peak with PyTorch's memory tracker or a real process (--recipe pure).",
        ),
        click.option("--conventions", is_flag=True, help="Add the saved activations as papers count them."),
        click.option(
            "--experts",
            type=click.Choice(get_args(Experts)),
            default="split",
            show_default=True,
            help="MoE implementation: tokens split by expert, or expert matrices gathered per token.",
        ),
        click.option(
            "--device",
            type=click.Choice(get_args(Device)),
            help="Device whose kernels are assumed (default: meta, or cpu with flash; cuda is modeled).",
        ),
        click.option(
            "--attention",
            type=click.Choice(get_args(Kernel)),
            default="eager",
            show_default=True,
            help="Attention kernel: eager, or this backend of PyTorch's fused attention.",
        ),
        click.option(
            "--optimizer",
            help="Optimizer: adamw (default), adamw8bit, adafactor, muon, sgd …",
        ),
        click.option(
            "--recipe",
            help="Mixed-precision recipe: mixed (default), megatron, pure, or autocast (default with --lora).",
        ),
        click.option(
            "--train",
            is_flag=True,
            help="Memory of a training step: weights, gradients, optimizer states, saved activations.",
        ),
    ):
        command = option(command)
    return command


@click.command("memory")
@source()
@sizes
@click.option(
    "--dtype",
    metavar="FORMAT",
    help="Format of the weights: auto (default: as the source states it), bf16, fp32, int8, nf4, q4_k_m …",
)
@click.option(
    "--cache-dtype",
    type=click.Choice([AUTO, *CACHE_TYPES, *LLAMACPP_NAMES]),
    metavar="FORMAT",
    default=AUTO,
    show_default=True,
    help=f"Format of the KV cache: auto (the dtype that the source states), {', '.join(CACHE_TYPES)}; or "
    f"llama.cpp's {', '.join(LLAMACPP_NAMES)}.",
)
@click.option("--view", type=click.Choice(VIEWS), default="components", show_default=True, help="What each row shows.")
@training
@recomputation
@adapting
@engines
@settings
@output
@byte_units
def command(
    source: str, settings: tuple[str, ...], form: Format, output: str | None, no_color: bool, **options: Any
) -> None:
    """Show the exact bytes of the weights and of the KV cache after past + seq tokens.

    With --train, those of a training step: weights, gradients, master weights, optimizer states, and the activations
    that autograd saves. With --tp or --fsdp, the weights and the cache of each rank. With --lora and its like, or
    an adapter as SOURCE, those of training adapters. The JSON object does not depend on --view.
    """
    show = partial(emit, form=form, output=output, color=not no_color)
    if chosen(options) or (not options["train"] and adapter_source(source)):
        _check_used(options, _adapter_mode(options), _ADAPTERS)
        _adapters(adapters(source, settings, options), options, show)
        return
    job = _job(options)
    job(load_source(source, settings), options, show)


def _adapter_mode(options: dict[str, Any]) -> Message:
    """Return what chose adapters. Raises InputError for a training step beside them."""
    name = chosen(options)
    if name is None:
        return msg("of an adapter")
    if options["train"]:
        raise exclusive("train", name)
    return msg("with {option}", option=parameter(name))


def _job(options: dict[str, Any]) -> Any:
    """Return the function for the mode. Raises InputError for an option without effect in this mode."""
    if options["train"]:
        _check_used(options, msg("with --train"), _TRAINING)
        return _training
    if options["tp"] is not None or options["fsdp"] is not None:
        _check_used(options, msg("with --tp or --fsdp"), _SHARDING)
        return _sharding
    _check_used(options, msg("without --train or --lora"), _INFERENCE)
    return _inference


def _check_used(options: dict[str, Any], mode: Message, used: set[str]) -> None:
    """Raise InputError for an option that was given and has no effect."""
    context = click.get_current_context()
    for name in options.keys() - used - {"dtype", "train", *CHOICES}:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise InputError(
                msg("{name} has no effect {mode}", name=parameter(name), mode=mode),
                advice=msg("Leave out {name}.", name=parameter(name)),
            )


def _inference(spec: Spec, options: dict[str, Any], show: partial[None]) -> None:
    from archcalc.analysis.inference_memory import inference_memory
    from archcalc.render import memory

    work = workload(spec, **{name: options[name] for name in ("batch", "seq", "past", "source_seq")})
    result = inference_memory(spec, build(spec), work, options["dtype"] or AUTO, options["cache_dtype"])
    show(lambda: memory.view(result, memory.MemoryOptions(options["view"])), lambda: plain(result))


def _sharding(spec: Spec, options: dict[str, Any], show: partial[None]) -> None:
    from archcalc.analysis.shards import sharded_memory
    from archcalc.render import shards

    if options["tp"] is not None and options["fsdp"] is not None:
        raise InputError(msg("both"), where="tp, fsdp", allowed=msg("one of them"))
    work = workload(spec, **{name: options[name] for name in ("batch", "seq", "past", "source_seq")})
    engine: Engine = "fsdp" if options["tp"] is None else "tp"
    dtypes: Any = {"dtype": options["dtype"] or "bf16", "cache_dtype": _plain(options["cache_dtype"])}
    result = sharded_memory(spec, build(spec), work, engine, options[engine], **dtypes)
    show(lambda: shards.view(result), lambda: plain(result))


def _plain(cache_dtype: str) -> str:
    """Return the format of a cache that is split between ranks, whose weights are in a plain format too."""
    return "bf16" if cache_dtype == AUTO else cache_dtype


def _training(spec: Spec, options: dict[str, Any], show: partial[None]) -> None:
    from archcalc.analysis.training_memory import training_memory
    from archcalc.analysis.training_setup import training_setup
    from archcalc.render import training

    execution = {name: options[name] for name in ("dtype", "conventions", *_EXECUTION)}
    setup = training_setup(
        spec,
        workload(spec, batch=options["batch"], seq=options["seq"], source_seq=options["source_seq"]),
        recipe=options["recipe"] or ("pure" if options["measure"] else None),
        optimizer=options["optimizer"] or "adamw",
        **execution,
    )
    if options["measure"]:
        setup = _with_measured_peak(setup, options["measure"])
    result = training_memory(setup)
    show(lambda: training.view(result, training.TrainingMemoryOptions(options["view"])), lambda: plain(result))


def _with_measured_peak(setup: TrainingSetup, measure: Measure) -> TrainingSetup:
    """Return the setup with the peak of a real step. Raises InputError for a recipe with master weights."""
    require("torch", does=msg("measuring a step"), extra="model")
    from archcalc.analysis.peak import moments, peak
    from archcalc.run.train.step_memory import process_peak, tracked_peak

    if setup.precision.master or setup.precision.gradients != setup.precision.weights:
        raise InputError(
            msg("a step with the recipe {name} is not measured", name=repr(setup.recipe.name)),
            allowed=msg("`recipe` pure"),
        )
    if setup.execution.device == "cuda":
        raise InputError(msg("no GPU is measured"), where="device", allowed="meta, cpu")
    spec, work, name = setup.spec, setup.work, setup.optimizer.name
    if sys.stderr.isatty():
        click.echo(current()(msg("measuring two steps …")), err=True)
    if measure == "fake":
        execution = structs.replace(setup.execution, device="cpu", experts="gather")
        return structs.replace(setup, execution=execution, tracked=tracked_peak(spec, work, execution, name))
    execution = structs.replace(setup.execution, device="cpu")
    needed = peak(moments(spec, work, execution, setup.tensors())).bytes
    process_bytes = process_peak(spec, work, execution, needed, name)
    return structs.replace(setup, execution=execution, process_bytes=process_bytes)


def _adapters(given: AdaptedModel, options: dict[str, Any], show: partial[None]) -> None:
    """Show the memory of training adapters; as in peft, the default is fp32 adapters with autocast."""
    from archcalc.analysis.lora import lora_memory
    from archcalc.analysis.optimizers import find_optimizer
    from archcalc.analysis.training import find_recipe
    from archcalc.render import lora

    recipe, optimizer = find_recipe(options["recipe"] or "autocast"), find_optimizer(options["optimizer"] or "adamw")
    try:
        result = lora_memory(
            given.spec,
            given.config,
            naming="library" if given.file else options["names"],
            stated=given.stated,
            is_strict=given.file is None,
            dtype=options["dtype"] or "bf16",
            recipe=recipe,
            optimizer=optimizer,
        )
    except InputError as error:
        raise in_file(error, given.file.path) if given.file else error from None
    show(lambda: lora.view(result), lambda: plain(result))
