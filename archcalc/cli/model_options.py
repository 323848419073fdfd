"""Options of the commands that run a model, and the model they select."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from archcalc.cli.options import F
from archcalc.cli.progress import progress_bar
from archcalc.errors import InputError, printable
from archcalc.extras import require_running
from archcalc.locations import NoWeightsError, weights_location
from archcalc.spec.execution import ActivationDtype
from archcalc.spec.set_options import changes
from archcalc.units import bytes_text
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.decoding.timing import Timing
    from archcalc.run.devices import Ranks
    from archcalc.run.loading.source import LoadedModel, ModelSource, Quantize
    from archcalc.spec.workload import Workload


@dataclass(frozen=True)
class ModelOptions:
    """How a source becomes a model in memory; `seed` is that of random weights."""

    random_weights: bool
    settings: tuple[str, ...]
    dtype: ActivationDtype | None
    device: str
    quantize: Quantize | None
    threads: int | None
    seed: int

    def open(self, source: str) -> ModelSource:
        """Return the source, before its weights are loaded."""
        if self.settings and not self.random_weights:
            problem = msg("found changes of an architecture whose weights are given")
            raise InputError(problem, where="settings", allowed=msg("with `random_weights`"))
        try:
            if not self.random_weights:
                weights_location(source)  # before torch is imported, which takes seconds
        except NoWeightsError as error:
            allowed = msg("{places}; or `random_weights`", places=error.allowed)
            raise InputError(error.problem, file=error.file, allowed=allowed) from None
        require_running()
        from archcalc.run.loading.source import open_source

        return open_source(source, random_weights=self.random_weights, changes=changes(self.settings))

    def load(
        self, opened: ModelSource, work: Workload, ranks: Ranks | None = None, *, packed: bool = True
    ) -> LoadedModel:
        """Return the model in memory, or this rank's shard, with a progress bar on a terminal.

        A `packed` model is faster but cannot be traced or edited.
        """
        import torch

        from archcalc.nn.dtypes import torch_dtype

        if self.threads:
            torch.set_num_threads(self.threads)
        n_bytes = opened.checkpoint.n_bytes if opened.checkpoint else 0
        with progress_bar(n_bytes, msg("loading")) as bar:
            return opened.load(
                work,
                device=self.device,
                dtype=torch_dtype(self.dtype) if self.dtype else None,
                quantize=self.quantize,
                seed=self.seed,
                progress=bar.update,
                packed=packed,
                ranks=ranks,
            )


def model_options(command: F) -> F:
    """Add the options that select and load a model, passed as one ModelOptions, and `--seed`."""

    @wraps(command)
    def wrapper(*args: Any, **options: Any) -> Any:
        values = {name: options.pop(name) for name in ModelOptions.__dataclass_fields__ if name != "seed"}
        return command(*args, model_options=ModelOptions(seed=options["seed"], **values), **options)

    wrapped = cast(F, wrapper)
    for option in (
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed."),
        click.option("--threads", type=click.IntRange(1), help="CPU threads (default: torch's)."),
        click.option("--quantize", type=click.Choice(["int8", "int4"]), help="Quantize matrices (CPU only)."),
        click.option(
            "--device", default="cpu", show_default=True, metavar="DEVICE", help="Device: cpu, cuda, cuda:1 …"
        ),
        click.option(
            "--dtype",
            type=click.Choice(get_args(ActivationDtype)),
            help="Dtype (default: fp32 on the CPU, elsewhere as stored).",
        ),
        click.option(
            "--set",
            "settings",
            metavar="FIELD=VALUE",
            multiple=True,
            help="With --random-weights: override a field; repeatable.",
        ),
        click.option("--random-weights", is_flag=True, help="Use random weights (from --seed) for any architecture."),
    ):
        wrapped = option(wrapped)
    return wrapped


def text_options(command: F) -> F:
    """Add the options of the text that a model reads: `--prompt` or `--ids`."""
    command = click.option("--ids", metavar="1,2,3", help="Input as token ids, instead of --prompt.")(command)
    return click.option("-p", "--prompt", metavar="TEXT", help="Input text (of an encoder-decoder, the source).")(
        command
    )


def target_option(command: F) -> F:
    """Add `--target` and `--target-ids`, passed as one target: a text or ids."""

    @wraps(command)
    def wrapper(*args: Any, target: str | None, target_ids: str | None, **options: Any) -> Any:
        from archcalc.run.decoding.prompts import ids_of

        if target is not None and target_ids is not None:
            raise InputError(msg("both"), where="target, target_ids", allowed=msg("one of them"))
        return command(*args, target=target if target_ids is None else ids_of(target_ids, "target_ids"), **options)

    wrapped = cast(F, wrapper)
    for option in (
        click.option("--target-ids", metavar="1,2,3", help="The same as token ids, the start token included."),
        click.option("--target", metavar="TEXT", help="Of an encoder-decoder: the decoder's text so far."),
    ):
        wrapped = option(wrapped)
    return wrapped


def sampling(command: F) -> F:
    """Add the options of sampling, passed as one Sampling: greedy by default, temperature 1 with a cut."""
    return _sampling_options(
        command, 0.0, "Sampling temperature; 0 is greedy (default: 0, or 1 with a top-k, top-p or min-p)."
    )


def distribution_options(command: F) -> F:
    """Add the same options for showing a distribution: by default the model's own, at temperature 1."""
    return _sampling_options(command, 1.0, "Sampling temperature; 0 is greedy (default: 1).")


def _sampling_options(command: F, default: float, temperature_help: str) -> F:

    @wraps(command)
    def wrapper(
        *args: Any,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        min_p: float | None,
        repetition_penalty: float,
        **options: Any,
    ) -> Any:
        require_running()
        from archcalc.run.decoding.sampling_options import Sampling

        if temperature is None:
            temperature = default if top_k is top_p is min_p is None else 1.0
        settings = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
        )
        return command(*args, sampling=settings, **options)

    wrapped = cast(F, wrapper)
    for option in (
        click.option(
            "--repetition-penalty",
            type=float,
            default=1.0,
            show_default=True,
            help="Penalty for tokens already in the text; 1 is none.",
        ),
        click.option(
            "--min-p", type=float, help="Keep tokens with at least this share of the top token's probability."
        ),
        click.option("--top-p", type=float, help="Keep the fewest tokens whose probabilities sum to this."),
        click.option("--top-k", type=int, help="Keep this many of the likeliest tokens."),
        click.option("--temperature", type=float, help=temperature_help),
    ):
        wrapped = option(wrapped)
    return wrapped


def escape_controls(text: str) -> str:
    """Return generated text with control characters escaped, as they would control the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() or (c.isspace() and ord(c) > 31) else printable(c) for c in text)


def speed_message(timing: Timing, ready: LoadedModel) -> Message:
    """Return the measured speed as a message."""
    prefill = {"tokens": timing.n_prompt_tokens, "seconds": timing.first_seconds}
    rate, steps = timing.tokens_per_second, timing.steps_per_second
    if rate is None or steps is None:
        return msg("measured: {tokens:,} tokens read, first token after {seconds:.3f} s", **prefill)
    from archcalc.run.loading.weight_traffic import step_bytes

    limit = ready.bandwidth
    if limit is None:
        return msg(
            "measured: {tokens:,} tokens read, first token after {seconds:.3f} s; then {rate:,.1f} tokens/s",
            **prefill,
            rate=rate,
        )
    return msg(
        "measured: {tokens:,} tokens read, first token after {seconds:.3f} s; then {rate:,.1f} tokens/s, "
        "{share:.0f} % of the memory bandwidth of {limit}/s",
        **prefill,
        rate=rate,
        share=100 * steps * step_bytes(ready.model, timing.n_rows) / limit,
        limit=bytes_text(round(limit), "GB"),
    )
