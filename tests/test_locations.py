"""What the text of a source stands for, decided once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archcalc import presets
from archcalc.errors import InputError
from archcalc.locations import ConfigFile, Folder, Gguf, Location, Pickle, Preset, Repo, Safetensors, SpecFile, Stdin
from archcalc.run.loading.source import open_source
from archcalc.sources import load, locate

FILES = ("a.yaml", "a.json", "a.gguf", "B.GGUF", "a.safetensors", "a.bin", "a.txt", "in/b", "bare", "gpt2")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "model.d", "tiny", "own"):
        Path(folder).mkdir()
    Path("own/spec.yaml").write_text("base: tiny")
    for name in FILES:
        Path(name).write_text("base: tiny")


def preset(text: str, name: str) -> Preset:
    weights = presets.weights_path(name)
    return Preset(text, presets.path_of(name) or "", Folder(text, weights) if weights else None)


LOCATIONS: dict[str, Location] = {
    "-": Stdin(),
    "a.yaml": SpecFile("a.yaml", "a.yaml"),
    "a.txt": SpecFile("a.txt", "a.txt"),
    "in/b": SpecFile("in/b", "in/b"),
    "/dev/null": SpecFile("/dev/null", "/dev/null"),
    "a.json": ConfigFile("a.json", "a.json"),
    "a.gguf": Gguf("a.gguf", "a.gguf"),
    "B.GGUF": Gguf("B.GGUF", "B.GGUF"),
    "a.safetensors": Safetensors("a.safetensors", "a.safetensors"),
    "a.bin": Pickle("a.bin", "a.bin"),
    "./in": Folder("./in", "./in"),
    "in/": Folder("in/", "in/"),
    "model.d": Folder("model.d", "model.d"),
    "gpt3": preset("gpt3", "gpt3-175b"),
    "tiny": preset("tiny", "tiny"),
    "gpt2": preset("gpt2", "gpt2"),
    "./tiny": Folder("./tiny", "./tiny"),
    "some/model": Repo("some/model"),
    "Qwen/Qwen2.5-0.5B": Repo("Qwen/Qwen2.5-0.5B"),
}


@pytest.mark.parametrize("text", LOCATIONS)
def test_what_a_text_stands_for(text: str) -> None:
    assert locate(text) == locate(text, bare_paths=True) == LOCATIONS[text]


def test_a_preset_with_weights_knows_them() -> None:
    assert isinstance(found := locate("tiny"), Preset)
    assert found.weights is not None
    assert os.path.isfile(found.weights.file)


def test_a_folder_names_the_file_that_says_the_architecture() -> None:
    assert Folder("own", "own").file == "own/spec.yaml"
    assert Folder("in", "in").file == "in/config.json"


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert locate("~/a.yaml") == SpecFile("~/a.yaml", f"{Path.cwd()}/a.yaml")


def test_a_bare_name_is_a_path_where_that_is_asked_for() -> None:
    assert locate("in", bare_paths=True) == Folder("in", "in")
    assert locate("bare", bare_paths=True) == SpecFile("bare", "bare")
    with pytest.raises(InputError, match=r"no preset is called 'bare' \(did you mean './bare'\?\)"):
        locate("bare")


def test_a_dot_is_a_folder_with_an_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no preset is called"):
        locate(".")
    monkeypatch.chdir("own")
    assert locate(".") == Folder(".", ".")


@pytest.mark.parametrize(
    "text", ["no.yaml", "./no", "a/no.json", "a/no.safetensors", "a/b/c", "no/", "/no/no", "b.gguf"]
)
def test_no_such_file(text: str) -> None:
    with pytest.raises(InputError) as caught:
        locate(text)
    assert str(caught.value) == f"{text}: no such file; expected a path that exists, or a Hugging Face repo id"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.safetensors", "a.safetensors: has weights, and does not say their architecture; expected the folder"),
        ("a.bin", "a.bin: a pickle can run code when it is read; expected safetensors or .gguf"),
    ],
)
def test_files_that_say_no_architecture(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        load(text)
    assert str(caught.value).startswith(line)


def test_a_source_that_is_run_is_located_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def counted(text: str, *, bare_paths: bool = False) -> Location:
        texts.append(text)
        return locate(text, bare_paths=bare_paths)

    for module in ("sources", "locations", "text.open"):
        monkeypatch.setattr(f"archcalc.{module}.locate", counted)
    assert open_source("tiny").label == "tiny"
    assert texts == ["tiny"]


def test_a_missing_base_is_told_of_the_file_that_names_it() -> None:
    Path("c.yaml").write_text("base: ./no.yaml")
    with pytest.raises(InputError, match=r"^c\.yaml: base: .*: no such file"):
        load("c.yaml")
