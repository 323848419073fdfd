"""`archcalc memory`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from archcalc.analysis.memory import BYTES, Dtype
from archcalc.cli.options import F, load_source, output, settings, sizes, source
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.output import Format, emit
from archcalc.spec import Spec
from archcalc.spec.workload import workload

# What only a training asks for, and what it has no use for.
OF_TRAINING = {"recipe": "--recipe", "optimiser": "--optimizer"}
OF_A_WORKLOAD = {
    "batch": "--batch",
    "seq": "--seq",
    "past": "--past",
    "source_seq": "--source-seq",
    "cache_dtype": "--cache-dtype",
}


def training(command: F) -> F:
    """`--train`, `--recipe`, `--optimizer`."""
    for option in (
        click.option(
            "--optimizer", "--optimiser", "optimiser", help="adamw (default), adamw8bit, adafactor, muon, sgd …"
        ),
        click.option("--recipe", help="mixed (default), megatron, pure, autocast: which part is in which dtype."),
        click.option("--train", is_flag=True, help="What training keeps: weights, gradients, copy, optimiser states."),
    ):
        command = option(command)
    return command


@click.command("memory")
@source()
@sizes
@click.option("--dtype", metavar="FORMAT", help="Of the weights: bf16 (default), fp32, int8, nf4, q4_k_m …")
@click.option("--cache-dtype", type=click.Choice(list(BYTES)), default="bf16", show_default=True, help="Of the cache.")
@training
@settings
@output
def command(
    source: str,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: str | None,
    cache_dtype: Dtype,
    train: bool,
    recipe: str | None,
    optimiser: str | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Bytes of the weights, and of what each layer caches after past + seq tokens; or of what training keeps. Exact."""
    refuse(OF_A_WORKLOAD if train else OF_TRAINING, "with --train" if train else "without --train")
    spec = load_source(source, settings)
    how: dict[str, Any] = {"form": form, "output": output, "color": not no_color}
    if train:
        _training(spec, recipe, dtype, optimiser, how)
    else:
        _inference(spec, dtype or "bf16", cache_dtype, (batch, seq, past, source_seq), how)


def _inference(spec: Spec, dtype: str, cache_dtype: Dtype, asked: tuple[Any, ...], how: dict[str, Any]) -> None:
    from archcalc.render import memory

    batch, seq, past, source_seq = asked
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    emit(
        lambda: memory.page(spec, ledger, work, dtype, cache_dtype),
        lambda: memory.data(ledger, work, dtype, cache_dtype),
        **how,
    )


def _training(spec: Spec, name: str | None, dtype: str | None, optimiser: str | None, how: dict[str, Any]) -> None:
    from archcalc.analysis import optimisers, training
    from archcalc.render import training as render

    chosen = training.recipe(name, dtype)
    subject = render.Subject(spec, build(spec), chosen, chosen.precision(dtype), optimisers.named(optimiser or "adamw"))
    emit(lambda: render.page(subject), lambda: render.data(subject), **how)


def refuse(options: dict[str, str], why: str) -> None:
    """InputError for the first of these options that was given, for it would be without effect."""
    context = click.get_current_context()
    for name, option in options.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise InputError(f"{option} has no effect {why}", allowed=f"to leave out {option}")
