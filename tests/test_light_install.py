"""What the base install does without any optional package, and what the rest says that it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = {"pyyaml": "yaml"}
EXTRAS = PROJECT["project"]["optional-dependencies"]

# A process that finds the standard library, archcalc, and what `dependencies` installs.
ONLY = """
import sys
from importlib.machinery import PathFinder

class Only(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return super().find_spec(name, path, target) if name.partition(".")[0] in {names!r} else None

sys.meta_path = [Only if finder is PathFinder else finder for finder in sys.meta_path]
"""
RUN = "from archcalc.cli.main import run; sys.exit(run(sys.argv[1:]))"


def installed() -> set[str]:
    """Return the top-level modules of the base install."""
    names = (re.match(r"[\w-]+", dependency)[0] for dependency in PROJECT["project"]["dependencies"])
    own = {MODULES.get(name, name) for name in names} | {"archcalc", "markupsafe", "_yaml"}
    return own | set(sys.stdlib_module_names)


def python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of the base install."""
    command = [sys.executable, "-c", ONLY.replace("{names!r}", repr(installed())) + code, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)  # noqa: S603


BASE = [
    "report gpt3",
    "report gpt3 --format html",
    "report mixtral-8x7b --view layers",
    "explain gpt3 attention",
    "flops llama-3-8b --seq 1 --past 2047",
    "flops gpt3 --conventions",
    "memory gpt-oss-20b --dtype mxfp4",
    "memory gpt2 --train",
    "memory llama-3-8b --tp 4",
    "diff gpt2 gpt3",
    "compare gpt2 llama-3-8b",
    "structures",
    "structures gpt2 t5-small --format html",
    "claims gpt3",
    "presets",
    "taps gpt2",
    "new mine",
    "schema",
    "completion bash",
]


@pytest.mark.parametrize("command", BASE)
def test_base_commands_need_no_extra(command: str, tmp_path: Path) -> None:
    done = python(RUN, tmp_path, *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("sweep gpt3 --over n_layers=12,24", "frames"),
        ("verify gpt3", "model"),
        ("flops gpt2 --plot cost.html", "plot"),
        ("memory gpt2 --train --measure fake", "model"),
        ("generate tiny --prompt A", "run"),
        ("report hf-internal-testing/none", "hub"),
        ("app", "app"),
    ],
)
def test_other_commands_name_their_extra(command: str, extra: str, tmp_path: Path) -> None:
    done = python(RUN, tmp_path, *command.split())
    assert done.returncode == 2
    assert done.stderr.endswith(f"needs the extra '{extra}': pip install 'archcalc[{extra}]'\n")
    assert done.stderr.count("\n") == 1
    assert extra in EXTRAS


def test_an_extra_is_named_in_the_language_of_the_command(tmp_path: Path) -> None:
    done = python(RUN, tmp_path, "sweep", "gpt3", "--over", "n_layers=12,24", "--lang", "zh")
    assert done.stderr == "archcalc: 扫描需要附加组件 'frames'：pip install 'archcalc[frames]'\n"


NO_PANDAS = "making a DataFrame needs the extra 'frames': pip install 'archcalc[frames]'\n"


def error_of(call: str, folder: Path) -> str:
    """Return what a call of the Python API says that it needs."""
    before = "import archcalc\nspec = archcalc.load('gpt3')\narchcalc.report(spec)\n"
    code = f"{before}try:\n    {call}\nexcept archcalc.MissingExtraError as error:\n    print(error)"
    return python(code, folder).stdout


@pytest.mark.parametrize("call", ["params(spec)", "flops(spec)", "memory(spec)", "activations(spec)"])
def test_frames_name_their_extra(call: str, tmp_path: Path) -> None:
    assert error_of(f"archcalc.{call}", tmp_path) == NO_PANDAS


def test_a_sweep_names_its_extra(tmp_path: Path) -> None:
    assert error_of("archcalc.sweep(spec, {'n_layers': [1]})", tmp_path) == NO_PANDAS


def test_numpy_and_pandas_are_the_extra_frames() -> None:
    assert {re.match(r"\w+", name)[0] for name in EXTRAS["frames"]} == {"numpy", "pandas"}
    assert installed().isdisjoint({"numpy", "pandas"})
