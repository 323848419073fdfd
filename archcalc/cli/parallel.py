"""`--tp`, `--fsdp`, `--timeout`: a command on several processes, started by torchrun, that speaks with one voice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import wraps
from typing import Any, cast

import click

from archcalc.cli.options import F
from archcalc.errors import ArchcalcError, InputError
from archcalc.extras import require_running
from archcalc.words import msg

GRACE_SECONDS = 3  # torchrun ends a job within a fraction of one after the first rank has ended


def engines(command: F) -> F:
    """`--tp`, `--fsdp`, told as an engine and its ranks: (engine, n), None without."""
    for option in (
        click.option("--fsdp", type=click.IntRange(1), metavar="N", help="Bytes on each of N ranks of FSDP."),
        click.option("--tp", type=click.IntRange(1), metavar="N", help="Bytes on each of N tensor-parallel ranks."),
    ):
        command = option(command)
    return command


def parallel(command: F) -> F:
    """The command runs on the processes that torchrun started, told as `ranks`; None where it is one.

    Rank 0 alone prints and writes. An error that all meet is told once: the others leave it to rank 0.
    """

    @wraps(command)
    def told(*args: Any, tp: int | None, fsdp: bool, timeout: int, **options: Any) -> Any:
        if tp is not None and fsdp:
            raise InputError(msg("both"), where="tp, fsdp", allowed=msg("one of them"))
        if tp is None and not fsdp:
            _check_alone()
            return command(*args, ranks=None, **options)
        require_running()
        from archcalc.run.distributed.launch import process_group

        with _told_once(), process_group("fsdp" if fsdp else "tp", tp, options["device"], timeout) as ranks:
            if ranks.rank:
                options["output"] = None
                with _silent():
                    return command(*args, ranks=ranks, **options)
            return command(*args, ranks=ranks, **options)

    wrapped = cast(F, told)
    for option in (
        click.option(
            "--timeout",
            type=click.IntRange(1),
            default=60,
            show_default=True,
            metavar="SECONDS",
            help="How long a rank waits for the others before the job ends.",
        ),
        click.option("--fsdp", is_flag=True, help="Under torchrun: every weight in shards, gathered when it is used."),
        click.option(
            "--tp", type=click.IntRange(1), metavar="N", help="Under torchrun: heads and widths shared by N ranks."
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _check_alone() -> None:
    """Without the options, each process that torchrun started would do the same."""
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        n = os.environ["WORLD_SIZE"]
        raise InputError(msg("torchrun started {n} processes for one job", n=n), allowed=msg("`tp` {n}, `fsdp`", n=n))


@contextmanager
def _told_once() -> Iterator[None]:
    """Errors of other ranks are told late: of what rank 0 meets too, torchrun has ended the job by then."""
    rank = int(os.environ.get("RANK", "0"))
    try:
        yield
    except ArchcalcError as error:
        if rank:
            time.sleep(GRACE_SECONDS)
            raise _OtherRankError(rank, error) from None
        raise


class _OtherRankError(ArchcalcError):
    def __init__(self, rank: int, error: ArchcalcError) -> None:
        super().__init__(msg("rank {rank}: {error}", rank=rank, error=error))
        self.error, self.exit_code = error, error.exit_code

    def rename_parameters(self, names: Mapping[str, str]) -> None:
        self.error.rename_parameters(names)


@contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
