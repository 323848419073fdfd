"""`archcalc train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcalc.cli.language import current, emit, note
from archcalc.cli.options import FILE, output, settings, source
from archcalc.cli.parallel import parallel
from archcalc.errors import InputError
from archcalc.extras import require_running
from archcalc.render.output import Format, write
from archcalc.spec.set_options import changes
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.devices import Ranks
    from archcalc.run.train.dataset import Lesson
    from archcalc.run.train.loop import HeldOut, Step
    from archcalc.run.train.session import Session
    from archcalc.run.train.settings import Settings
    from archcalc.spec import Spec

LONGEST = 128


@click.command("train")
@source()
@click.option(
    "--text", type=FILE, help="Learn from this text: to go on with it (a decoder), to fill gaps (an encoder)."
)
@click.option("--task", type=click.Choice(["reverse", "copy"]), help="Of an encoder-decoder: random sequences.")
@click.option("--tokenizer", default="bpe", show_default=True, help="bpe, char, or a tokenizer.json.")
@click.option("--out", type=click.Path(file_okay=False), help="Checkpoints go here (default: runs/NAME).")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint, told the same otherwise.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Of the optimiser.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Sequences of a step.")
@click.option("--seq", type=click.IntRange(1), help=f"Tokens of a sequence (default: n_ctx, at most {LONGEST}).")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--warmup", type=click.IntRange(0), help="Steps up to it (default: a tenth, at most 100).")
@click.option("--weight-decay", type=float, default=0.1, show_default=True, help="Of matrices.")
@click.option("--clip", type=float, default=1.0, show_default=True, help="Largest norm of the gradients.")
@click.option("--every", type=click.IntRange(1), default=200, show_default=True, help="Save and validate.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, batches and dropout.")
@click.option("--threads", type=click.IntRange(1), help="Of the CPU (default: as many as torch takes).")
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1 …")
@click.option("--plot", type=FILE, help="The loss curve, as .html, .png or .svg.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing about progress on standard error.")
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
    """Train a model from nothing; it can be killed at any moment, and goes on with --resume.

    AdamW, a linear warm-up and a cosine, clipped gradients. The end of the text, a twentieth, is held out. The last two
    checkpoints are kept, each a folder that `archcalc generate` reads; losses go to loss.csv beside them.

    \b
    Examples:
      archcalc train tiny --text book.txt --steps 2000
      archcalc train tiny --text book.txt --tokenizer char --set n_layers=2 --seq 64
      archcalc train tiny-encoder --text book.txt
      torchrun --nproc-per-node 2 -m archcalc train tiny --text book.txt --fsdp
      archcalc train tiny-seq2seq --task reverse --seq 12 --batch 64 --steps 400 --lr 3e-3
    """
    require_running()
    import torch

    from archcalc.run.devices import device_of
    from archcalc.run.train.session import begin
    from archcalc.sources import load

    if threads:
        torch.set_num_threads(threads)
    spec = load(source, changes(settings))
    told = _settings(spec, numbers)
    lesson = _lesson(spec, text, task, tokenizer, told)
    folder = Path(out or f"runs/{spec.name}")
    session = begin(
        lesson, told, folder, device=ranks.device if ranks else device_of(device), resume=resume, ranks=ranks
    )
    for passed_over in session.notes:
        note(passed_over)
    _train(session, quiet)
    if session.writes:
        _write_losses(session, plot)
    from archcalc.render.training_run import data, page

    found = _figures(session)
    emit(lambda: page(found), lambda: data(found), form, output=output, color=not no_color)


def _settings(spec: Spec, numbers: dict[str, Any]) -> Settings:
    from archcalc.run.train.settings import Settings

    steps = numbers["steps"]
    defaults = {"seq": min(spec.n_ctx, LONGEST), "warmup": min(100, steps // 10)}
    return Settings(**defaults | {name: value for name, value in numbers.items() if value is not None})


def _lesson(spec: Spec, text: str | None, task: Any, tokenizer: str, told: Settings) -> Lesson:
    from archcalc.run.train.dataset import of_task, of_text
    from archcalc.text.tokenizer_training import read_text

    if (text is None) == (task is None):
        raise InputError(
            msg("neither") if text is None else msg("both"), where="text, task", allowed=msg("one of them")
        )
    return of_task(spec, task, told) if text is None else of_text(spec, read_text(text), tokenizer, told)


def _train(session: Session, quiet: bool) -> None:
    """To the end, with a bar on a terminal and a line wherever the model is saved."""
    first, last = session.run.step, session.run.settings.steps
    rate = _Rate(session)
    is_seen = sys.stderr.isatty() and not quiet
    with click.progressbar(length=last, file=sys.stderr, hidden=not is_seen, show_pos=True) as bar:
        bar.update(first)
        for step, found in session:
            bar.label = current()(rate.line(step))
            bar.update(1)
            if found is not None and not quiet:
                click.echo("\r" * is_seen + current()(_held_out(rate.line(step), found)), err=True)


class _Rate:
    """What a run's speed is told by: its FLOPs, and those that the machine could do."""

    def __init__(self, session: Session) -> None:
        from archcalc.run.train.matmul_speed import matmul_flops

        self.settings, self.flops = session.run.settings, _step_flops(session)
        self.peak = matmul_flops(next(session.model.parameters()).device)
        self.seconds: list[float] = []

    def line(self, step: Step) -> Message:
        """Loss, tokens a second and the share of the machine's speed over the last steps, as measured."""
        self.seconds = [*self.seconds[-19:], step.seconds]
        seconds = sum(self.seconds) / len(self.seconds)
        return msg(
            "measured at step {step:,}: loss {loss:.3f}, {rate:,.0f} tokens/s, MFU {share:.0f} %",
            step=step.number,
            loss=step.loss,
            rate=self.settings.batch * self.settings.seq / seconds,
            share=100 * self.flops / seconds / self.peak,
        )


def _held_out(line: Message, found: HeldOut) -> Message:
    """The line with what was found of the text that is held out."""
    right = 100 * found.right
    if found.nats_a_character is None:
        return msg("{line}; held out {nats:.3f} nats, {right:.1f} % right", line=line, nats=found.nats, right=right)
    return msg(
        "{line}; held out {nats:.3f} nats, {per_character:.3f} a character, {right:.1f} % right",
        line=line,
        nats=found.nats,
        per_character=found.nats_a_character,
        right=right,
    )


def _step_flops(session: Session) -> int:
    """What the calculator says a step computes, exactly."""
    from archcalc.contract import report

    told = session.run.settings
    return int(report(session.lesson.spec, batch=told.batch, seq=told.seq)["flops"]["train_step"])


def _write_losses(session: Session, plot: str | None) -> None:
    """loss.csv beside the checkpoints, and the plot that is asked for."""
    run = session.run
    held = {line[0]: line[1] for line in run.held_out}
    rows = [f"{step},{loss!r},{held.get(step, '')}" for step, loss in enumerate(run.losses, 1)]
    write(str(session.folder / "loss.csv"), "\n".join(["step,loss,held_out", *rows]) + "\n")
    if plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.loss import loss_curve

        name = session.lesson.spec.name
        write(plot, as_file(plot, lambda: loss_curve(name, run.losses, [line[:2] for line in run.held_out]), current()))


def _figures(session: Session) -> dict[str, Any]:
    """What has come of it: steps and FLOPs exact, losses and times measured."""
    run, told = session.run, session.run.settings
    tokens = run.step * told.batch * told.seq
    step, nats, per_character, right = run.held_out[-1]
    return {
        "model": session.lesson.spec.name,
        "checkpoint": str(session.newest),
        "steps": run.step,
        "tokens": tokens,
        "flops": _step_flops(session) * run.step,
        "seconds": run.seconds,
        "tokens_per_second": tokens / run.seconds,
        "loss": run.losses[-1],
        "held_out": {"step": step, "nats": nats, "nats_per_character": per_character, "right": right},
    }
