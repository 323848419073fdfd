"""What goes wrong is told in one line that names what was found and what is allowed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.cli.main import COMMANDS, run
from tests.cli.conftest import Cli
from tests.examples import examples

ERRORS = {
    "repot gpt3": "no command 'repot' (did you mean 'report'?); expected report, explain,",
    "report": "SOURCE: not given. archcalc report --help describes it",
    "report gtp3": "gtp3: no preset is called 'gtp3' (did you mean 'gpt3'?); expected a preset",
    "report gpt3 --formt json": "No such option '--formt'. Did you mean '--format'?",
    "report gpt3 --format xml": "'xml' is not one of 'table', 'json', 'csv', 'md', 'html'",
    "report gpt3 --view all": "'all' is not one of 'summary', 'weights', 'layers', 'largest'",
    "report gpt3 extra": "Got unexpected extra argument (extra)",
    "report nofile.yaml": "nofile.yaml: no such file",
    "report ./nofile": "./nofile: no such file",
    "report a/b/c": "a/b/c: no such file",
    "report folder/": "folder/: is a folder, whose config.json cannot be read (No such file or directory)",
    "report .": ".: no preset is called '.'",
    "report mine": "no preset is called 'mine' (did you mean './mine.yaml'?)",
    "report model": "no preset is called 'model' (did you mean './model'?)",
    "report words.yaml": "words.yaml: found 'just some words'; expected a mapping: a spec, or a Hugging Face config",
    "report broken.yaml": "broken.yaml: line ",
    "report empty.yaml": "empty.yaml: empty; expected YAML or JSON",
    "report typo.yaml": "typo.yaml: unknown key 'vocab' (did you mean 'vocab_size'?); expected ",
    "report binary.yaml": "binary.yaml: not text in UTF-8; expected YAML or JSON",
    "report loop.yaml": "loop.yaml: base: './loop.yaml' leads back to itself",
    "report gpt3 --set n_layers": "--set: found 'n_layers'; expected FIELD=VALUE",
    "report gpt3 --set =3": "--set: found '=3'; expected FIELD=VALUE",
    "report gpt3 --set n_layer=4": "there is no field 'n_layer' (did you mean 'n_layers'?)",
    "report gpt3 --set n_layers=": "gpt3: decoder.n_layers: found ''; expected an integer from 1 to 100000",
    "report gpt3 --set n_layers=0": "gpt3: decoder.n_layers: found 0; expected an integer from 1",
    "report gpt3 --set n_layers=4k": "gpt3: decoder.n_layers: found '4k'; expected an integer",
    "report gpt3 --set n_heads=7": "d_model 12288 is not divisible by n_heads 7; expected d_head stated",
    "report gpt3 --set n_layers=[1,2": "--set n_layers: not valid YAML or JSON",
    "report gpt3 --set title={}": "gpt3: about.title: found a mapping; expected text",
    "report gpt3 --set vocab_size=99999999999": "vocab_size: found 99999999999; expected an integer from 1 to 4294",
    "report gpt3 --set decoder=null": "expected at least one of them",
    "report gpt3 -o folder": "'folder' is a directory",
    "report gpt3 -o nowhere/x.md": "nowhere/x.md: cannot be written (No such file or directory)",
    "explain gpt3 atention": "no figure, weight, product or cache is called 'atention' (did you mean 'attention'?)",
    "diff gpt3": "B: not given. archcalc diff --help",
    "diff - -": "'-' stands twice; expected standard input once",
    "compare": "SOURCE...: not given",
    "compare gpt3 - tiny -": "'-' stands twice",
    "verify": "nothing to verify; expected SOURCE..., or --all",
    "verify gpt3 --all": "SOURCE and --all; expected SOURCE..., or --all",
    "verify gpt3 --against jax": "'jax' is not 'transformers'",
    "claims --set n_layers=4 gpt3": "No such option '--set'",
    "presets gpt3": "Got unexpected extra argument (gpt3)",
    "export gpt3": "--to: not given; expected hf-config, yaml. archcalc export --help",
    "export gpt3 --to hf-config --set softcap=2": "the nearest, gpt2, cannot express softcap; expected a model",
    "new": "NAME: not given",
    "completion powershell": "'powershell' is not one of 'bash', 'zsh', 'fish'",
    "--verison": "No such option '--verison'",
}


@pytest.fixture(autouse=True)
def _files(_empty_folder: None, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    texts = {
        "mine": "base: gpt3",
        "words": "just some words",
        "broken": "a: [1, 2\nb: }",
        "empty": "",
        "typo": "vocab: 3",
        "loop": "base: ./loop.yaml",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(("call", "told"), ERRORS.items(), ids=list(ERRORS))
def test_error(call: str, told: str, cli: Cli) -> None:
    found = cli(*call.split())
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert found.err.startswith("archcalc: ")
    assert told in found.err
    assert found.code == 2


def test_arguments_with_spaces_or_nothing(cli: Cli) -> None:
    assert cli("report", "").err.startswith("archcalc: no preset is called ''; expected ")
    assert cli("report", "a b").err.startswith("archcalc: a b: no preset is called 'a b'; expected ")
    assert cli("report", "gpt3", "-o", "").err == "archcalc: found ''; expected the name of a file\n"
    assert "expected FIELD=VALUE" in cli("report", "gpt3", "--set", "").err


def test_a_hostile_name_cannot_drive_the_terminal(cli: Cli) -> None:
    found = cli("report", "\x1b[31m\r\n\u202e\udcff")
    assert found.code == 2
    assert found.err.rstrip("\n").isprintable()


@examples(100)
@given(
    st.sampled_from(["report", "explain", "diff", "compare", "claims"]),
    st.lists(
        st.sampled_from(["tiny", "happy", "-x", "--set", "n_layers=2", "--format", "json", "--view", "total", "./x"])
        | st.text(st.characters(exclude_characters="\0/~", exclude_categories=["Cs"]), max_size=8),
        max_size=5,
    ),
)  # fmt: skip
def test_any_arguments_end_well_or_in_one_line(
    capsys: pytest.CaptureFixture[str], command: str, arguments: list[str]
) -> None:
    code = run([command, *arguments])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    assert (err == "") if code == 0 else (out == "" and err.count("\n") == 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, cli: Cli) -> None:
    found = cli(name, "--help")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith(f"Usage: archcalc {name}")
    assert cli(name, "-h").out == found.out
    assert name in cli().out
    assert cli("--help").out == cli().out


def test_version(cli: Cli) -> None:
    from archcalc import __version__

    assert cli("--version").out == f"archcalc, version {__version__}\n"


def test_input_that_cannot_be_read_is_one_line_even_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """Under capture, standard input refuses to be read and standard output is no file."""
    assert run(["report", "-"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("report gpt3 --seq 3000 --past 9", "archcalc: --seq: 3,009 tokens are more than"),
        ("memory gpt3 --tp 5", "--tp: found 5, which does not divide n_heads = 96"),
        ("memory bert-base --train --conventions", "--conventions: bert-base is an encoder"),
        ("generate tiny -p x --device abacus", "archcalc: --device: found 'abacus'"),
        ("generate tiny -p x --set n_layers=1", "archcalc: --set: found changes"),
        ("generate gpt2 -p x", "repo id; or --random-weights"),
        ("coverage nothing", "archcalc: PATTERN: no model type matches 'nothing'"),
        ("train tiny --task copy", "archcalc: --task: is for an encoder-decoder with a head; expected --text"),
    ],
)
def test_an_error_of_a_parameter_names_its_option(cli: Cli, args: str, line: str) -> None:
    assert line in cli(*args.split()).err


GPU_IS_FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.18 GiB of which …"
SHORT = {
    "CUDA out of memory. Tried to allocate 2.00 GiB.": RuntimeError(GPU_IS_FULL),
    "CUDA error: out of memory": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"),
    "DefaultCPUAllocator: can't allocate memory": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "of this process": MemoryError(),
}


@pytest.mark.parametrize("reason", SHORT)
def test_short_memory_is_one_line(cli: Cli, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.cli.presets.command.callback", _raises(SHORT[reason]))
    ran = cli("presets")
    assert (ran.code, ran.err) == (1, f"archcalc: memory is short ({reason})\n")


def test_other_errors_of_torch_are_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.cli.presets.command.callback", _raises(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli("presets")


def _raises(error: Exception) -> Callable[..., None]:
    def callback(**_: object) -> None:
        raise error

    return callback


@pytest.mark.parametrize(
    "name", ["lens", "attention", "attribute", "patch", "patchscope", "next", "generate", "fill-mask"]
)
def test_a_missing_prompt_is_found_before_the_model(name: str, cli: Cli) -> None:
    assert cli(name, "./nofile").err == "archcalc: --prompt, --ids: neither; expected one of them\n"


def test_missing_options_of_a_tool_are_found_before_the_model(cli: Cli) -> None:
    text = ("-p", "God")
    assert "--corrupted, --corrupted-ids, --noise: 0 are given" in cli("patch", "./nofile", *text).err
    assert "--positive, --direction: neither" in cli("steer", "./nofile", *text).err
    directed = ("steer", "./nofile", "--positive", "a", "--negative", "b")
    assert "--prompt, --ids: neither; expected one of them, or --save" in cli(*directed).err
    assert "--prompt, --ids: found with --train" in cli("lens", "./nofile", *text, "--train", "a.txt").err


def test_a_built_in_prompt_that_a_vocabulary_lacks_names_others(cli: Cli) -> None:
    error = cli("patchscope", "happy", "--ids", "0,1").err
    assert error.startswith("archcalc: --scope: 'cat -> cat")
    assert error.endswith("State another prompt by --into or --into-ids\n")


def test_a_position_of_a_pair_names_the_option(cli: Cli) -> None:
    call = ("attention", "happy", "--ids", "0,1", "--no-kinds", "--head", "0.0", "--pair", "9,0")
    assert cli(*call).err == "archcalc: --pair: found 9; expected 0 to 1\n"


def test_a_source_without_weights_is_refused_before_torch_is_imported() -> None:
    """An import of torch takes seconds."""
    names = ["generate", "next", "chat", "lens", "attention", "trace"]
    code = f"""
import sys
from archcalc.cli.main import run
assert [run([name, "gpt2", "-p", "A"]) for name in {names}] == [2] * {len(names)}
assert "torch" not in sys.modules
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    error = "archcalc: gpt2: has no weights; expected a folder with safetensors"
    assert (ran.returncode, ran.stderr.count(error)) == (0, len(names)), ran.stderr
