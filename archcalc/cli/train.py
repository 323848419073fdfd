"""`archcalc train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcalc.cli.language import current, emit_result, note
from archcalc.cli.options import FILE, output, settings, source
from archcalc.cli.parallel import parallel
from archcalc.errors import InputError
from archcalc.extras import require_running
from archcalc.render.output import Format, write
from archcalc.spec.set_options import changes
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.devices import Ranks
    from archcalc.run.train.dataset import Dataset
    from archcalc.run.train.loop import TrainingStep, ValidationResult
    from archcalc.run.train.result import TrainingRun
    from archcalc.run.train.session import Session
    from archcalc.run.train.settings import Settings
    from archcalc.spec import Spec

MAX_DEFAULT_SEQ = 128


@click.command("train")
@source()
@click.option("--text", type=FILE, help="Training text: language modeling for a decoder, masked tokens for an encoder.")
@click.option(
    "--task", type=click.Choice(["reverse", "copy"]), help="Task of random sequences, for an encoder-decoder."
)
@click.option("--tokenizer", default="bpe", show_default=True, help="Tokenizer: bpe, char, or a tokenizer.json.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for checkpoints (default: runs/NAME).")
@click.option("--resume", is_flag=True, help="Resume from the last checkpoint, with the same options otherwise.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Optimizer steps.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Batch size.")
@click.option("--seq", type=click.IntRange(1), help=f"Sequence length (default: n_ctx, at most {MAX_DEFAULT_SEQ}).")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Peak learning rate.")
@click.option("--warmup", type=click.IntRange(0), help="Warmup steps (default: a tenth of --steps, at most 100).")
@click.option("--weight-decay", type=float, default=0.1, show_default=True, help="Weight decay of matrices.")
@click.option("--clip", type=float, default=1.0, show_default=True, help="Maximum gradient norm.")
@click.option(
    "--every", type=click.IntRange(1), default=200, show_default=True, help="Steps between checkpoints and validations."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights, batches and dropout."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads (default: torch's).")
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="Device: cpu, cuda, cuda:1 …")
@click.option("--plot", type=FILE, help="Plot the loss curve (.html, .png or .svg).")
@click.option("-q", "--quiet", is_flag=True, help="Do not print progress on standard error.")
@settings
@parallel
@output
def command(
    source: str,
    text: str | None,
    task: str | None,
    tokenizer: str,
    out: str | None,
    resume: bool,
    threads: int | None,
    device: str,
    plot: str | None,
    quiet: bool,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
    ranks: Ranks | None,
    **numbers: Any,
) -> None:
    """Train a model from scratch; --resume continues an interrupted run.

    Uses AdamW, linear warmup, cosine decay and gradient clipping. The last twentieth of the text is the validation set.
    The last two checkpoints are kept, each a folder that `archcalc generate` reads; losses are written to loss.csv.

    \b
    Examples:
      archcalc train tiny --text book.txt --steps 2000
      archcalc train tiny --text book.txt --tokenizer char --set n_layers=2 --seq 64
      archcalc train tiny-encoder --text book.txt
      torchrun --nproc-per-node 2 -m archcalc train tiny --text book.txt --fsdp
      archcalc train tiny-seq2seq --task reverse --seq 12 --batch 64 --steps 400 --lr 3e-3
    """
    if (text is None) == (task is None):
        raise InputError(
            msg("neither") if text is None else msg("both"), where="text, task", allowed=msg("one of them")
        )
    require_running()
    import torch

    from archcalc.render.training_run import view
    from archcalc.run.devices import device_of
    from archcalc.run.train.result import training_run
    from archcalc.run.train.session import open_session
    from archcalc.sources import load

    if threads:
        torch.set_num_threads(threads)
    spec = load(source, changes(settings))
    train_settings = _settings(spec, numbers)
    dataset = _dataset(spec, text, task, tokenizer, train_settings)
    folder = Path(out or f"runs/{spec.name}")
    session = open_session(
        dataset, train_settings, folder, device=ranks.device if ranks else device_of(device), resume=resume, ranks=ranks
    )
    for message in session.notes:
        note(message)
    _train(session, quiet)
    result = training_run(session)
    if session.is_writer:
        _write_losses(session, result, plot)
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)


def _settings(spec: Spec, numbers: dict[str, Any]) -> Settings:
    from archcalc.run.train.settings import Settings

    steps = numbers["steps"]
    defaults = {"seq": min(spec.n_ctx, MAX_DEFAULT_SEQ), "warmup": min(100, steps // 10)}
    return Settings(**defaults | {name: value for name, value in numbers.items() if value is not None})


def _dataset(spec: Spec, text: str | None, task: Any, tokenizer: str, train_settings: Settings) -> Dataset:
    from archcalc.run.train.dataset import of_task, of_text
    from archcalc.text.tokenizer_training import read_text

    return (
        of_task(spec, task, train_settings)
        if text is None
        else of_text(spec, read_text(text), tokenizer, train_settings)
    )


def _train(session: Session, quiet: bool) -> None:
    """Run the training, with a progress bar on a terminal and a line at every checkpoint."""
    first, last = session.run.step, session.run.settings.steps
    rate = _Rate(session)
    has_bar = sys.stderr.isatty() and not quiet
    with click.progressbar(length=last, file=sys.stderr, hidden=not has_bar, show_pos=True) as bar:
        bar.update(first)
        for step, validation in session:
            bar.label = current()(rate.line(step))
            bar.update(1)
            if validation is not None and not quiet:
                click.echo("\r" * has_bar + current()(_validation_line(rate.line(step), validation)), err=True)


class _Rate:
    """Measure the speed of a run, also as a share of the machine's matmul FLOPs (MFU)."""

    def __init__(self, session: Session) -> None:
        from archcalc.run.train.matmul_speed import matmul_flops
        from archcalc.run.train.result import step_flops

        self.settings, self.flops = session.run.settings, step_flops(session.dataset.spec, session.run.settings)
        self.peak = matmul_flops(next(session.model.parameters()).device)
        self.seconds: list[float] = []

    def line(self, step: TrainingStep) -> Message:
        """Return the loss, tokens per second and MFU, measured over the last 20 steps."""
        self.seconds = [*self.seconds[-19:], step.seconds]
        seconds = sum(self.seconds) / len(self.seconds)
        return msg(
            "measured at step {step:,}: loss {loss:.3f}, {rate:,.0f} tokens/s, MFU {share:.0f} %",
            step=step.number,
            loss=step.loss,
            rate=self.settings.batch * self.settings.seq / seconds,
            share=100 * self.flops / seconds / self.peak,
        )


def _validation_line(line: Message, result: ValidationResult) -> Message:
    """Return the line with the results on the validation set."""
    values = {"line": line, "nats": result.nats, "accuracy": 100 * result.accuracy}
    if result.nats_per_character is None:
        return msg("{line}; validation loss {nats:.3f} nats, accuracy {accuracy:.1f} %", **values)
    return msg(
        "{line}; validation loss {nats:.3f} nats, {per_character:.3f} per character, accuracy {accuracy:.1f} %",
        **values,
        per_character=result.nats_per_character,
    )


def _write_losses(session: Session, result: TrainingRun, plot: str | None) -> None:
    """Write loss.csv beside the checkpoints, and the plot."""
    losses, nats = session.run.losses, {one.step: one.nats for one in result.validations}
    rows = [f"{step},{loss!r},{nats.get(step, '')}" for step, loss in enumerate(losses, 1)]
    write(str(session.folder / "loss.csv"), "\n".join(["step,loss,nats", *rows]) + "\n")
    if plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.loss import loss_curve

        write(plot, as_file(plot, lambda: loss_curve(result, losses), current()))
