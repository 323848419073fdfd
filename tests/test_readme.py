"""Every example of the README, CONTRIBUTING, docs/ and `--help` runs, and every path that they name exists."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

import archcalc
from archcalc.cli.main import COMMANDS as NAMES
from archcalc.cli.main import cli, run
from archcalc.presets import weights_path
from archcalc.sources import load
from archcalc.spec.branches import PLACEMENTS
from archcalc.spec.yaml_reader import parse

# A command keeps the help option of its first context: without this parent it would lose `-h` for all tests after.
GROUP = click.Context(cli, info_name="archcalc", **cli.context_settings)
ROOT = Path(__file__).parent.parent
FILES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
PAGES = {path.name: path.read_text(encoding="utf-8") for path in FILES}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_COMMENT = re.compile(r"# (\S+\.(?:yaml|py))\n")
SECONDS = re.compile(r"\s*\d+\.\d\d s")

# What is not run here, and why. Of a command of ours, the options are still checked.
FOREIGN = "weights that do not come with archcalc"
SERVER = "it serves until it is interrupted; tests/browser starts it"
TORCHRUN = "several processes; tests/cli/test_cli_ranks.py starts them"
CI = ".ci/run runs it"
INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install 'pip>=25.1'"
    " && .venv/bin/pip install -c constraints.txt -e '.[all]' --group dev"
)
NOT_RUN = {
    "archcalc generate model.gguf --prompt 'The capital of France is'": FOREIGN,
    "archcalc generate ./SmolLM2-135M --prompt 'The capital of France is'": FOREIGN,
    "archcalc generate model.gguf --prompt 'Once upon a time' --temperature 0.8 --top-p 0.9 --seed 1": FOREIGN,
    "archcalc generate model.gguf --prompt '2, 3, 5,' --prompt 'a, b, c,' --quantize int8": FOREIGN,
    "archcalc next ./SmolLM2-135M --prompt 'The capital of France is'": FOREIGN,
    "archcalc next model.gguf --prompt 'a river bank' --prompt 'an investment bank' --top 5": FOREIGN,
    "archcalc next model.gguf --prompt 'Once upon a' --temperature 0.7 --top-p 0.9": FOREIGN,
    "archcalc trace ./SmolLM2-135M --prompt 'The capital of France is' --format json": FOREIGN,
    "archcalc lens ./SmolLM2-135M --prompt 'The capital of France is' --token Paris": FOREIGN,
    "archcalc embed ./SmolLM2-135M --near Paris --top 10": FOREIGN,
    "archcalc embed ./SmolLM2-135M --analogy king man woman queen": FOREIGN,
    "archcalc embed ./SmolLM2-135M --contexts 'a river bank' 'an investment bank' --token bank": FOREIGN,
    "archcalc embed ./SmolLM2-135M --direction refusal.safetensors --layers 12-18": FOREIGN,
    "archcalc embed SmolLM2-135M-Instruct.gguf --near Paris --top 6": FOREIGN,
    "archcalc patch SmolLM2-135M-Instruct.gguf --prompt 'The capital of France is'"
    " --corrupted 'The capital of Italy is' --answer Paris --wrong Rome"
    " --component attention --component head": FOREIGN,
    "archcalc patchscope SmolLM2-135M-Instruct.gguf --prompt 'Diana, Princess of Wales'"
    " --scope few-shot -n 12": FOREIGN,
    "archcalc patch model.gguf --prompt 'Paris is in' --corrupted 'Rome is in' --answer France --wrong Italy": FOREIGN,
    "archcalc patchscope model.gguf --prompt 'Diana, Princess of Wales' --scope few-shot --layer 6"
    " --target-layer 3": FOREIGN,
    "archcalc steer SmolLM2-135M-Instruct.gguf --chat --pairs refusal.tsv -p 'How do I plant a tree?' --layers 18"
    " --strength 0.2,0.4,0.8 -n 40 --save refusal.safetensors": FOREIGN,
    "archcalc steer SmolLM2-135M-Instruct.gguf --chat --direction refusal.safetensors"
    " -p 'What did you eat for breakfast?' --project-out --layers all --from-layer 18 -n 40": FOREIGN,
    "archcalc steer model.gguf --chat -p 'How do I plant a tree?' --pairs refusal.tsv --layers 18"
    " --strength 0.2": FOREIGN,
    "archcalc fill-mask ./bert-base-uncased --prompt 'Paris is the [MASK] of France.'": FOREIGN,
    "archcalc fill-mask ./bert-base-uncased --prompt 'The capital of France is [MASK].'": FOREIGN,
    "archcalc fill-mask bert-base-uncased --random-weights --ids 101,103,102 --mask-id 103 --top 3": FOREIGN,
    "archcalc chat model.gguf": FOREIGN,
    "archcalc app": SERVER,
    "archcalc app --host 0.0.0.0 --port 8080 --models ./checkpoints": SERVER,
    "streamlit run app.py": SERVER,
    "torchrun --nproc-per-node 2 -m archcalc generate tiny --prompt 'In the beginning' --tp 2": TORCHRUN,
    "torchrun --nproc-per-node 2 -m archcalc generate ./Llama --prompt Once --tp 2": TORCHRUN,
    "torchrun --nproc-per-node 2 -m archcalc train tiny --text book.txt --fsdp": TORCHRUN,
    "archcalc train tiny --text book.txt --steps 2000": "minutes; the guide trains for two steps",
    "archcalc train tiny --text book.txt --tokenizer char --set n_layers=2 --seq 64": "minutes; as above",
    "archcalc train tiny-encoder --text book.txt": "minutes; as above",
    "archcalc train tiny-seq2seq --task reverse --seq 12 --batch 64 --steps 400 --lr 3e-3": "minutes; as above",
    "archcalc sweep gpt3 --over d_model=128:12800:128 --over n_layers=1:100 --over d_ff=512:51200:512 -o grid.csv": (
        "a million rows of CSV; tests/analysis/sweep counts them"
    ),
    "archcalc coverage -o docs/models.md": "minutes; tests/test_coverage.py compares the page",
    "python -m archcalc.hf": "it writes into the package; tests/hf/test_registry.py compares the result",
    "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/archcalc report gpt3": CI,
    f"{INSTALL.replace('install', 'install -q')} && .venv/bin/pytest -n 2": CI,
    INSTALL: CI,
    "pip install -q --group docs": CI,
    "mkdocs build --strict": CI,
    "mkdocs serve": SERVER,
    "pre-commit install": "it changes the repository's own hooks",
}
# Programs that check the repository, and that .ci/run runs: here the files that they are given must exist.
TOOLS = ("pytest", "ruff", "mypy")


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGES[page]) if kind == language]


def named(page: str, language: str) -> Iterator[tuple[str, str]]:
    """A block's first comment, a file's name ('' without one), and the text."""
    for text in blocks(page, language):
        first = FIRST_COMMENT.match(text)
        yield (first[1], text[first.end() :]) if first else ("", text)


COMMANDS = [
    (page, *text.removeprefix("$ archcalc ").split("\n", 1))
    for page in PAGES
    for text in blocks(page, "")
    if text.startswith("$ archcalc ")
]
SPECS = [(page, name, text) for page in PAGES for name, text in named(page, "yaml")]
EXCERPTS = [(page, name, text) for page in PAGES for name, text in named(page, "python") if name]


def lines(text: str) -> list[str]:
    """The lines that say something, without what a clock decides."""
    kept = (SECONDS.sub("", line).rstrip() for line in text.splitlines())
    return [line for line in kept if line.strip() and not set(line) <= set(" ─…")]


def plain(line: str) -> str:
    """A line of shell without comment, path of the program and needless quotes."""
    if line.startswith("python3 -m venv"):
        return line
    return shlex.join(word.removeprefix(".venv/bin/") for word in shlex.split(line, comments=True))


def help_lines() -> Iterator[tuple[str, str]]:
    """(command, line) of every example that a `--help` shows."""
    texts = {"": cli.epilog or ""}
    for name in NAMES:
        command = cli.get_command(GROUP, name)
        assert command is not None
        texts[f"{name} "] = f"{command.help or ''}\n{command.epilog or ''}"
    for name, text in texts.items():
        yield from ((f"{name}--help", line) for line in re.findall(r"^ *((?:archcalc|torchrun) .*)$", text, re.M))


def page_lines() -> Iterator[tuple[str, str]]:
    """(page, line) of every command in a block of `sh`, and in backticks in the text."""
    for page, text in PAGES.items():
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                parts = [line] if line.startswith("python3 -m venv") else line.split(" && ")
                yield from ((page, part) for part in parts if part.strip())
        for span in re.findall(r"`archcalc ([^`]*)`", BLOCK.sub("", text)):
            # A command's name by itself and a placeholder (SOURCE) are no examples.
            if not re.search(r"\b[A-Z]{4,}\b", span) and (" " in span or span in ("demo", "app", "presets")):
                yield page, f"archcalc {span}"


EXAMPLES: dict[str, list[str]] = {}
for _where, _line in (*help_lines(), *page_lines()):
    EXAMPLES.setdefault(_where, []).append(plain(_line))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the pages name: their specs, a config, a text, a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for _, name, text in SPECS:
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    (tmp_path / "book.txt").write_text(BLOCK.sub("", "\n".join(PAGES.values())), encoding="utf-8")
    (tmp_path / "checkpoints").mkdir()
    weights = weights_path("tiny")
    assert weights
    (tmp_path / "my-model").symlink_to(weights, target_is_directory=True)


def test_there_are_blocks() -> None:
    assert {page for page, *_ in COMMANDS} >= {"README.md", "tutorial.md", "writing-a-spec.md"}
    assert {page for page, *_ in SPECS} >= {"tutorial.md", "writing-a-spec.md"}
    assert {page for page, *_ in EXCERPTS} >= {"CONTRIBUTING.md"}
    assert EXAMPLES.keys() >= {"README.md", "tutorial.md", "running-models.md", "--help", "next --help"}


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    kinds = {(page, kind) for page in PAGES for kind, _ in BLOCK.findall(PAGES[page])}
    assert {kind for _, kind in kinds} <= {"", "sh", "yaml", "python", "text"}
    assert [text for page in PAGES for text in blocks(page, "") if not text.startswith("$ archcalc ")] == []


@pytest.mark.parametrize(("page", "command", "shown"), COMMANDS, ids=[command for _, command, _ in COMMANDS])
def test_a_page_shows_what_is_printed(page: str, command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 0
    printed, expected = lines(capsys.readouterr().out), lines(shown)
    assert expected, "a command that shows nothing belongs into a block of sh"
    start = printed.index(expected[0])
    assert printed[start : start + len(expected)] == expected


def test_only_what_is_shown_is_excused() -> None:
    assert set(NOT_RUN) <= {line for lines_ in EXAMPLES.values() for line in lines_}


@pytest.mark.parametrize("line", [line for line in NOT_RUN if "archcalc " in line and "&&" not in line])
def test_an_example_that_is_not_run_has_valid_options(line: str) -> None:
    name, *args = shlex.split(line[line.index("archcalc ") :])[1:]
    command = cli.get_command(GROUP, name)
    assert command is not None
    assert command.make_context(name, args, parent=GROUP)


@pytest.mark.parametrize("where", EXAMPLES)
def test_the_commands_of_a_page_run(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One after another, in one folder: `train` before `train --resume`."""
    for line in dict.fromkeys(EXAMPLES[where]):
        program, *args = shlex.split(line)
        if program in TOOLS:
            assert all((ROOT / word).exists() for word in args if "/" in word), line
        elif line not in NOT_RUN:
            assert program == "archcalc", f"{line}: run it here, or say in NOT_RUN why not"
            assert run(args) == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_name_exists(page: str) -> None:
    text = BLOCK.sub("", PAGES[page])
    assert set(re.findall(r"`archcalc ([a-z-]+)", text)) <= set(NAMES)
    names = set(re.findall(r"`archcalc\.(\w+)", text)) - {"__all__"}
    assert {name for name in names if name not in archcalc.__all__ and not find_spec(f"archcalc.{name}")} == set()


@pytest.mark.parametrize(("page", "name", "text"), SPECS)
def test_a_spec_is_valid(page: str, name: str, text: str) -> None:
    assert load(f"./{name}" if name else parse(text.encode()))


def test_the_scaled_spec_scales_the_branches_alone() -> None:
    small, scaled = load("./small.yaml"), load("./scaled.yaml")
    layer = scaled.decoder.runs[0].pattern[0]
    assert (layer.scale, layer.skip, layer.attention.scale) == (0.22, 0.5, None)
    assert scaled.embedding == small.embedding


def test_every_placement_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGES["writing-a-spec.md"], re.MULTILINE)
    assert rows == list(PLACEMENTS)


def test_formats_are_those_of_the_commands() -> None:
    """The table of `cli.md` is true of every command."""
    found: dict[tuple[str, ...], set[str]] = {}
    for name in NAMES:
        command = cli.get_command(GROUP, name)
        assert command is not None
        options = {str(param.name): param for param in command.params}
        kind = options["form"].type if "form" in options else None
        choices = tuple(map(str, kind.choices)) if isinstance(kind, click.Choice) else ()
        found.setdefault(choices, set()).add(name)
        assert ("output" in options) == (name not in ("chat", "app", "completion"))
    rows = re.findall(r"^\| (`[^|]*|all others) \| (`[^|]*|none) \|$", PAGES["cli.md"], re.MULTILINE)
    told = {tuple(re.findall(r"`(\w+)`", forms)): set(re.findall(r"`([\w-]+)`", names)) for names, forms in rows}
    assert found.keys() == told.keys()
    others = set(NAMES).difference(*told.values())
    assert found == {forms: names or others for forms, names in told.items()}


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 120


@pytest.mark.parametrize("name", ["", *archcalc.__all__])
def test_the_examples_of_the_python_reference_run(name: str) -> None:
    found = getattr(archcalc, name) if name else archcalc
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(recurse=False).find(found, name or "archcalc", extraglobs={"archcalc": archcalc}):
        assert runner.run(test).failed == 0


@pytest.mark.parametrize(("page", "name", "text"), EXCERPTS)
def test_an_excerpt_is_in_its_file(page: str, name: str, text: str) -> None:
    assert text.strip("\n") in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if any(not name for name, _ in named(page, "python"))])
def test_python_runs(page: str) -> None:
    """A page's blocks one after another, in one namespace; results in comments are compared."""
    names: dict[str, Any] = {}
    for name, text in named(page, "python"):
        if not name:
            exec(text, names)  # noqa: S102 - our own pages
            for code, result in re.findall(r"^([^\n]*?)  # (\d+)$", text, re.MULTILINE):
                assert eval(code, names) == int(result)  # noqa: S307


# In backticks, with a folder: a path from the root, from the package, or from a folder that a table is about.
PATH = re.compile(r"`([a-z_][\w./-]*/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_is_there(page: str) -> None:
    paths = {path for path in PATH.findall(BLOCK.sub("", PAGES[page])) if path.endswith(("/", ".py", ".md", ".json"))}
    paths |= set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]))
    folder = ROOT if (ROOT / page).exists() else ROOT / "docs"
    missing = {path for path in paths if not any((base / path).exists() for base in (folder, ROOT, ROOT / "archcalc"))}
    assert not missing
