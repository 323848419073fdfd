"""`--tp`, `--fsdp`, `--timeout`: commands on several processes under torchrun, of which rank 0 prints."""

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

GRACE_SECONDS = 3  # torchrun ends the job well within this time after the first rank has failed


def engines(command: F) -> F:
    """Add `--tp` and `--fsdp` with a number of ranks, for commands that compute their memory."""
    for option in (
        click.option("--fsdp", type=click.IntRange(1), metavar="N", help="Memory of each of N FSDP ranks."),
        click.option("--tp", type=click.IntRange(1), metavar="N", help="Memory of each of N tensor-parallel ranks."),
    ):
        command = option(command)
    return command


def parallel(command: F) -> F:
    """Run the command on the processes that torchrun started, passed as `ranks`; None for a single process.

    Only rank 0 prints and writes. An error that all ranks raise is reported once, by rank 0.
    """

    @wraps(command)
    def wrapper(*args: Any, tp: int | None, fsdp: bool, timeout: int, **options: Any) -> Any:
        if tp is not None and fsdp:
            raise InputError(msg("both"), where="tp, fsdp", allowed=msg("one of them"))
        if tp is None and not fsdp:
            _check_single_process()
            return command(*args, ranks=None, **options)
        require_running()
        from archcalc.run.distributed.launch import process_group

        with _report_errors_once(), process_group("fsdp" if fsdp else "tp", tp, options["device"], timeout) as ranks:
            if ranks.rank:
                options["output"] = None
                with _discard_output():
                    return command(*args, ranks=ranks, **options)
            return command(*args, ranks=ranks, **options)

    wrapped = cast(F, wrapper)
    for option in (
        click.option(
            "--timeout",
            type=click.IntRange(1),
            default=60,
            show_default=True,
            metavar="SECONDS",
            help="How long a rank waits for the others before the job fails.",
        ),
        click.option("--fsdp", is_flag=True, help="Under torchrun: shard all weights (FSDP)."),
        click.option(
            "--tp", type=click.IntRange(1), metavar="N", help="Under torchrun: tensor parallelism over N ranks."
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _check_single_process() -> None:
    """Raise InputError under torchrun without these options, where every process would do the same work."""
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        n = os.environ["WORLD_SIZE"]
        raise InputError(msg("torchrun started {n} processes for one job", n=n), allowed=msg("`tp` {n}, `fsdp`", n=n))


@contextmanager
def _report_errors_once() -> Iterator[None]:
    """Delay the errors of other ranks, so that torchrun ends the job first if rank 0 raises the same error."""
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
def _discard_output() -> Iterator[None]:
    with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
        yield
