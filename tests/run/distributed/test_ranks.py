"""Real processes that share a model: the same logits, tokens and steps; and what becomes of a lost one's job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from click.testing import CliRunner

from archcalc.cli.main import cli
from archcalc.run.distributed.launch import LostRankError, process_group
from tests.run.distributed.ranks import check

FAILING = Path(__file__).with_name("failing.py")
CALL = ["generate", "tiny", "--random-weights", "--ids", "1,2,3", "--max-tokens", "6"]
LONGEST = 600  # seconds that a job may take


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4])
def test_ranks_compute_what_one_process_does(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    multiprocessing.set_forkserver_preload([check.__module__])  # torch is imported once, not by each
    mp.start_processes(check, (n, free_port(), tmp_path), n, start_method="forkserver")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "engine", "patience"), [("ends", ["--fsdp"], 2 * LONGEST), ("stalls", ["--tp", "2"], 30)]
)
def test_a_lost_rank_ends_the_job(fails: str, engine: list[str], patience: int) -> None:
    """One that ends is not waited for; one that stalls is, and so long may the other be late at the start."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(  # noqa: S603
        [*torchrun, f"--master-port={free_port()}", str(FAILING), *CALL, "--timeout", str(patience), *engine],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
        env=os.environ | {"OMP_NUM_THREADS": "1", "FAILS": fails},
    )
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("archcalc: another process has ended, or")]
    assert len(told) == 1, done.stderr
    if fails == "stalls":
        assert f"did not answer within {patience} s (--timeout)" in told[0]
    assert done.stdout.startswith("1 2 3 "), "rank 0 alone speaks"
    assert len(done.stdout.split()) in (3 + 2, 3 + 3), "the token that the other is lost at may or may not come"


def test_a_rank_that_torchrun_ends_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its SIGTERM may come before torch has noticed anything; a second one no longer cuts the line off."""
    here = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(LostRankError, match="it sent SIGTERM"), process_group("tp", 1, "cpu", 9):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("call", "environment", "line"),
    [
        (["--tp", "2"], {}, "--tp: asks for several processes, and this is one; expected torchrun --nproc-per-node 2"),
        (["--fsdp"], {}, "--fsdp: asks for several processes, and this is one; expected torchrun --nproc-per-node N"),
        (["--tp", "2", "--fsdp"], {}, "--tp, --fsdp: both; expected one of them"),
        (["--tp", "3"], {"RANK": "0", "WORLD_SIZE": "2"}, "--tp: found 3, and torchrun started 2; expected 2"),
        ([], {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}, "torchrun started 2 processes for one job"),
    ],
)
def test_a_job_of_another_size_is_refused(
    call: list[str], environment: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, [*CALL, *call])
    assert done.output.startswith(f"Error: {line}")
