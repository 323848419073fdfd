"""What only a real process shows: pipes, closed streams, signals, terminals, completion."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from archcalc.cli.main import main; main()"]
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ROOT)


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a bash script in which `archcalc` is this checkout's."""
    function = f"""archcalc() {{ "{sys.executable}" -c "from archcalc.cli.main import main; main()" "$@"; }}; """
    return subprocess.run(["bash", "-c", function + script], capture_output=True, text=True, timeout=600)  # noqa: S603, S607


def on_terminal(columns: int, *args: str) -> str:
    """What a call prints on a terminal of so many columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        # Told outright: libraries (readline) set COLUMNS behind Python's back.
        os.execve(PROGRAM[0], [*PROGRAM, *args], dict(os.environ))  # noqa: S606
    printed = b""
    while chunk := _chunk(terminal):
        printed += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return printed.decode().replace("\r\n", "\n")


def _chunk(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize(
    "call",
    [
        "report gpt3",
        "report gpt3 -f json",
        "report gpt3 --set n_layers=3000 --view layers",
        "report gpt3 --set n_layers=3000 --view layers -f csv",
        "--help",
    ],
)
def test_a_reader_that_has_enough(call: str) -> None:
    found = shell(f"set -o pipefail; archcalc {call} | head -1")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("archcalc report tiny > /dev/full", "standard output cannot be written (No space left on device)"),
        ("archcalc report tiny -f json > /dev/full", "standard output cannot be written (No space left on device)"),
        ("archcalc --help > /dev/full", "cannot be written or read (No space left on device)"),
        ("archcalc report tiny >&-", "standard output is closed; expected an open one, or --output FILE"),
        ("archcalc report - <&-", "-: standard input is closed; expected an open one"),
        ("archcalc report - < /dev/null", "-: empty; expected YAML or JSON"),
        ("archcalc report $'\\xff'", "no preset is called '\\udcff'; expected "),
        ("archcalc report tiny --set $'title=\\xff'", "--set title: not text in UTF-8; expected YAML or JSON"),
    ],
)
def test_streams_that_fail(script: str, told: str) -> None:
    found = shell(script)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert told in found.stderr


def test_closed_standard_error() -> None:
    assert shell("archcalc report gtp3 2>&-").returncode == 2


def test_standard_input() -> None:
    found = shell("echo 'base: tiny' | archcalc report - --set n_layers=2")
    assert (found.returncode, found.stderr) == (0, "")
    assert "2 layers" in found.stdout


def test_interrupted(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is begun deaf to it
    process = subprocess.Popen([*PROGRAM, "report", str(fifo)], stderr=subprocess.PIPE, text=True)  # noqa: S603
    signal.signal(signal.SIGINT, heard)
    with open(fifo, "wb", buffering=0) as held:  # opens once the other end is there, which then waits
        held.write(b"name: x\n")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert err.strip() == "archcalc: interrupted"


def test_bold_on_a_terminal_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(100, "report", "tiny").startswith("\x1b[1m")
    assert "\x1b" not in on_terminal(100, "report", "tiny", "--no-color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_terminal(100, "report", "tiny")
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in on_terminal(100, "report", "tiny")


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_keeps_to_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = on_terminal(
        columns, "compare", "gpt3", "llama-3-8b", "deepseek-v3", "mixtral-8x7b", "t5-small", "--no-color"
    )
    assert max(map(len, text.splitlines())) <= columns
    assert re.search(r"total .*46,702,792,704", text)


def test_columns_wins_over_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, on_terminal(200, "report", "gpt3", "--no-color").splitlines())) <= 60


def test_a_terminal_that_does_not_say_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert 40 < max(map(len, on_terminal(0, "report", "gpt3", "--no-color").splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["re"], {"report"}),
        (["report", "llama-3"], {"llama-3-405b", "llama-3-70b", "llama-3-8b"}),
        (["report", "gpt3", "--view", "la"], {"layers", "largest"}),
        (["report", "gpt3", "--fo"], {"--format"}),
        (["report", "arch"], {"archcalc"}),
    ],
)
def test_completion_in_bash(words: list[str], completed: set[str], shell_home: Callable[[], str]) -> None:
    call = " ".join(words)
    found = shell(
        f'cd "{shell_home()}"; PATH="$PWD:$PATH"; eval "$(archcalc completion bash)"; '
        f"COMP_WORDS=(archcalc {call}); COMP_CWORD={len(words)}; "
        "compopt() { files=$(ls); }; _archcalc_completion archcalc; "
        'printf "%s\\n" "${COMPREPLY[@]:-$files}"'
    )
    assert found.stderr == ""
    assert completed <= set(found.stdout.split())


@pytest.fixture
def shell_home(tmp_path: Path) -> Callable[[], str]:
    """A folder with an `archcalc` that `env` finds."""

    def made() -> str:
        program = tmp_path / "archcalc"
        program.write_text(f"#!{sys.executable}\nfrom archcalc.cli.main import main\nmain()\n")
        program.chmod(0o755)
        return str(tmp_path)

    return made
