"""Options of the commands that run a model, and the model that they ask for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from archcalc.cli.language import current
from archcalc.cli.options import F
from archcalc.errors import InputError, printable
from archcalc.extras import require_running
from archcalc.spec.execution import ActivationDtype
from archcalc.spec.set_options import changes
from archcalc.units import human_bytes
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.decoding.timing import Timing
    from archcalc.run.devices import Ranks
    from archcalc.run.loading.source import Opened, Quantize, Ready
    from archcalc.spec.workload import Workload


@dataclass(frozen=True)
class Holding:
    """Which model is asked for, and how it is held; `seed` is that of random weights."""

    random_weights: bool
    settings: tuple[str, ...]
    dtype: ActivationDtype | None
    device: str
    quantize: Quantize | None
    threads: int | None
    seed: int

    def opened(self, source: str) -> Opened:
        """The source, before its weights are loaded."""
        require_running()
        from archcalc.checkpoint.opened import NoWeightsError
        from archcalc.run.loading.source import open_source

        if self.settings and not self.random_weights:
            problem = "found changes of an architecture whose weights are given"
            raise InputError(problem, where="settings", allowed=msg("with `random_weights`"))
        try:
            return open_source(source, random_weights=self.random_weights, changes=changes(self.settings))
        except NoWeightsError as error:
            allowed = msg("{places}; or `random_weights`", places=error.allowed)
            raise InputError(error.problem, file=error.file, allowed=allowed) from None

    def ready(self, found: Opened, work: Workload, ranks: Ranks | None = None, *, packed: bool = True) -> Ready:
        """The model in memory, or this rank's part of it, with a bar on a terminal while it loads.

        Not `packed`, it is one that can be looked into.
        """
        import torch

        from archcalc.nn.dtypes import torch_dtype

        if self.threads:
            torch.set_num_threads(self.threads)
        n_bytes = found.checkpoint.n_bytes if found.checkpoint else 0
        hidden = not n_bytes or not sys.stderr.isatty()
        with click.progressbar(length=n_bytes, label=current()(msg("loading")), file=sys.stderr, hidden=hidden) as bar:
            return found.load(
                work,
                device=self.device,
                dtype=torch_dtype(self.dtype) if self.dtype else None,
                quantize=self.quantize,
                seed=self.seed,
                progress=bar.update,
                packed=packed,
                ranks=ranks,
            )


def holding(command: F) -> F:
    """`--random-weights`, `--set`, `--dtype`, `--device`, `--quantize`, `--threads`, `--seed`, told as one Holding."""

    @wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        own = {name: options.pop(name) for name in Holding.__dataclass_fields__ if name != "seed"}
        return command(*args, holding=Holding(seed=options["seed"], **own), **options)

    wrapped = cast(F, told)
    for option in (
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn."),
        click.option("--threads", type=click.IntRange(1), help="Of the CPU (default: as many as torch takes)."),
        click.option("--quantize", type=click.Choice(["int8", "int4"]), help="Hold matrices in so many bits (cpu)."),
        click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1 …"),
        click.option(
            "--dtype",
            type=click.Choice(get_args(ActivationDtype)),
            help="Default: fp32 on the cpu, elsewhere as stored.",
        ),
        click.option("--set", "settings", metavar="FIELD=VALUE", multiple=True, help="Of random weights: a field."),
        click.option("--random-weights", is_flag=True, help="Weights drawn by --seed, of a preset or a spec."),
    ):
        wrapped = option(wrapped)
    return wrapped


def sampling(command: F) -> F:
    """`--temperature`, the cuts and `--repetition-penalty`, told as one Sampling: to ask for a cut is to draw."""
    return _sampled(command, 0.0, "0: the likeliest token (default; with a cut, 1).")


def drawing(command: F) -> F:
    """The same options where nothing is drawn but shown: what the model says itself, unless told otherwise."""
    return _sampled(command, 1.0, "Divides the logits; 0: the likeliest token has it all (default: 1).")


def _sampled(command: F, default: float, said: str) -> F:

    @wraps(command)
    def told(
        *args: Any,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        min_p: float | None,
        repetition_penalty: float,
        **options: Any,
    ) -> Any:
        require_running()
        from archcalc.run.decoding.sampling import Sampling

        if temperature is None:
            temperature = default if top_k is top_p is min_p is None else 1.0
        chosen = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
        )
        return command(*args, sampling=chosen, **options)

    wrapped = cast(F, told)
    for option in (
        click.option("--repetition-penalty", type=float, default=1.0, show_default=True, help="Of tokens seen before."),
        click.option("--min-p", type=float, help="Only tokens of this share of the likeliest one's probability."),
        click.option("--top-p", type=float, help="Only the fewest tokens whose probabilities sum to this."),
        click.option("--top-k", type=int, help="Only so many of the likeliest tokens."),
        click.option("--temperature", type=float, help=said),
    ):
        wrapped = option(wrapped)
    return wrapped


def harmless(text: str) -> str:
    """Text for a terminal: what a model writes may not drive it."""
    return "".join(c if c in "\n\t" or c.isprintable() or (c.isspace() and ord(c) > 31) else printable(c) for c in text)


def speed(timing: Timing, ready: Ready) -> Message:
    """Return how fast it was, as measured."""
    read = {"tokens": timing.n_prompt_tokens, "seconds": timing.first_seconds}
    rate, steps = timing.tokens_per_second, timing.steps_per_second
    if rate is None or steps is None:
        return msg("measured: {tokens:,} tokens read, the first written after {seconds:.3f} s", **read)
    from archcalc.run.loading.weight_traffic import step_bytes

    limit = ready.bandwidth
    if limit is None:
        return msg(
            "measured: {tokens:,} tokens read, the first written after {seconds:.3f} s; then {rate:,.1f} tokens/s",
            **read,
            rate=rate,
        )
    return msg(
        "measured: {tokens:,} tokens read, the first written after {seconds:.3f} s; then {rate:,.1f} tokens/s, "
        "{share:.0f} % of the {limit}/s that memory gives",
        **read,
        rate=rate,
        share=100 * steps * step_bytes(ready.model, timing.n_rows) / limit,
        limit=human_bytes(round(limit)),
    )
