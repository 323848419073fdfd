"""`archcalc tokenize`: splits side by side, exact costs, and one line for what cannot be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archcalc.text.open import of_folder
from archcalc.text.tokenizer_training import KINDS, as_json, train
from tests.hub_cache import cached

TEXT = "The cat sat on the mat. The dog sat by the door, and the cat saw it.\nIt's raining cats and dogs: éè 😀!\n" * 4
SENTENCE = "The cats  ☃"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "a.txt").write_text(TEXT)
    return "a.txt"


@pytest.fixture
def sources(tmp_path: Path) -> tuple[str, str]:
    """A folder and a tokenizer.json, of two kinds."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text(as_json(train("bpe", TEXT, 280)))
    (tmp_path / "char.json").write_text(as_json(train("char", TEXT, 29)))
    return "model", "char.json"


def test_all_kinds_trained_on_one_text(good: Callable[..., str], file: str):
    told = ["tokenize", "--train", "bpe", file, "--vocab-size", "280", "--text", SENTENCE, "--d-model", "7"]
    found = json.loads(good(*told, "--format", "json"))
    assert (found["text"], found["measured_on"], found["n_characters"], found["d_model"]) == (
        SENTENCE,
        file,
        len(TEXT),
        7,
    )
    assert [one["name"] for one in found["tokenizers"]] == list(KINDS)
    for one in found["tokenizers"]:
        ours = train(one["name"], TEXT, 280, whole=False)
        n_tokens = len(ours.encode(TEXT))
        assert one["vocab_size"] == ours.n_vocab <= 280
        assert one["embedding_parameters"] == 7 * ours.n_vocab
        assert (one["n_tokens"], one["characters_per_token"]) == (n_tokens, len(TEXT) / n_tokens)
        assert [token["id"] for token in one["tokens"]] == ours.encode(SENTENCE)
        assert one["is_lossless"] == (one["name"] == "bpe") == (one["mismatch"] is None)
    assert found["tokenizers"][0]["vocab_size"] == 280


def test_a_repository_without_weights_splits(good: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = cached("some/model", tmp_path / "cache", monkeypatch)
    trained = train("bpe", TEXT, 280)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(as_json(trained))
    found = json.loads(good("tokenize", "some/model", SENTENCE, "--format", "json"))["tokenizers"][0]
    assert found["name"] == "some/model"
    assert [token["id"] for token in found["tokens"]] == trained.encode(SENTENCE)


def test_the_page_shows_splits_and_losses(cli: Callable[..., Any], file: str):
    found = cli("tokenize", "--train", "wordpiece", file, "--vocab-size", "66", "--text", SENTENCE, "-f", "md").out
    assert "│The│cats│☃→[UNK]│" in found
    assert r"| no | 1 character → [UNK]; 'The cats  ☃' → 'The cats [UNK]'" in found


def test_a_kind_with_no_room_is_left_out(cli: Callable[..., Any], file: str):
    ran = cli("tokenize", "--train", "wordpiece", file, "--vocab-size", "66", "--format", "json")
    assert ran.code == 0
    assert (
        ran.err
        == "archcalc: bpe is left out: a vocabulary of 66 has no room for 256 bytes (bpe); expected 256 or more\n"
    )
    assert [one["name"] for one in json.loads(ran.out)["tokenizers"]] == [kind for kind in KINDS if kind != "bpe"]


def test_without_a_text_the_first_line_is_split(good: Callable[..., str], file: str):
    found = json.loads(good("tokenize", "--train", "bpe", file, "--vocab-size", "280", "--format", "json"))
    assert found["text"] == TEXT.splitlines()[0]
    assert found["d_model"] == 192  # the preset tiny's


def test_the_trained_tokenizer_is_saved(good: Callable[..., str], file: str, tmp_path: Path):
    good("tokenize", "--train", "bpe", file, "--vocab-size", "280", "--save", "t.json", "-o", "page.md")
    assert (tmp_path / "t.json").read_text() == as_json(train("bpe", TEXT, 280))
    assert (tmp_path / "page.md").read_text().startswith("# Splits of ")
    assert of_folder("t.json").n_vocab == 280


def test_sources_side_by_side(good: Callable[..., str], sources: tuple[str, str]):
    found = json.loads(good("tokenize", *sources, "The cat", "--d-model", "10", "-f", "json"))
    for one, source in zip(found["tokenizers"], sources, strict=True):
        ours = of_folder(source)
        assert (one["name"], one["n_tokens"]) == (source, len(ours.encode("The cat")))
        assert one["embedding_parameters"] == 10 * ours.n_vocab
        assert "".join(token["text"] for token in one["tokens"]) == "The cat"
    assert good("tokenize", *sources, "--text", "The cat") == good("tokenize", *sources, "The cat")


def test_a_file_in_csv(good: Callable[..., str], sources: tuple[str, str]):
    rows = list(csv.DictReader(io.StringIO(good("tokenize", *sources, "The cat", "-f", "csv"))))
    assert [row["name"] for row in rows] == list(sources)
    assert rows[0]["embedding_parameters"] == str(280 * 192)
    assert rows[1]["n_tokens"] == "7"
    assert float(rows[1]["characters_per_token"]) == 1
    assert rows[1]["is_lossless"] == "True"
    assert "".join(token["text"] for token in json.loads(rows[1]["tokens"])) == "The cat"


@pytest.mark.parametrize("form", ["table", "md", "html"])
def test_a_text_cannot_drive_the_page(good: Callable[..., str], sources: tuple[str, str], form: str):
    found = good("tokenize", "model", "a\x1b[31m<b>\n|x", "-f", form)
    assert "\x1b" not in found
    assert ("<b>" in found) == (form == "table")


def test_nothing_splits_into_nothing(good: Callable[..., str], sources: tuple[str, str]):
    one = json.loads(good("tokenize", "model", "", "-f", "json"))["tokenizers"][0]
    assert (one["n_tokens"], one["characters_per_token"], one["is_lossless"], one["tokens"]) == (0, None, True, [])
    assert "nothing" in good("tokenize", "model", "")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([], 'a source and a text are needed; expected archcalc tokenize SOURCE "text", or --train KIND FILE'),
        (["model"], "a source and a text are needed"),
        (
            ["nowhere", "x"],
            "nowhere: no preset is called 'nowhere'; expected a preset ('archcalc presets' lists them), a path, or a",
        ),
        (["a.txt", "x"], "a.txt: has no tokenizer; expected a folder"),
        (["gpt2", "x"], "gpt2: has no tokenizer; expected a folder"),
        (["model", "model", "x"], "'model' stands twice; expected each source once"),
        (["broken.json", "x"], "broken.json: is no tokenizer ("),
        (["broken.gguf", "x"], "broken.gguf: is truncated"),
        (["model", "x", "--vocab-size", "300"], "--vocab-size has no effect without --train. Leave out"),
        (["model", "x", "--save", "t.json"], "--save has no effect without --train"),
        (["--train", "bpe"], "--train: no file to train on; expected one text file"),
        (["--train", "bpe", "a.txt", "b.txt"], "--train: found 2 files to train on"),
        (["--train", "bpe", "none.txt"], "none.txt: cannot be read (No such file or directory)"),
        (["--train", "bpe", "latin.txt"], "latin.txt: is not UTF-8 (byte 1); expected a text in UTF-8"),
        (
            ["--train", "bpe", "a.txt", "--vocab-size", "100"],
            "--vocab-size: a vocabulary of 100 has no room for 256 bytes",
        ),
        (["--train", "bpe", "a.txt"], "--vocab-size: the text is too small for 1,000 tokens (bpe); expected 303"),
        (["--train", "char", "a.txt"], "Invalid value for '--train'"),
    ],
)
def test_what_cannot_be_is_told(
    cli: Callable[..., Any], file: str, sources: tuple[str, str], tmp_path: Path, args: list[str], line: str
):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    (tmp_path / "latin.txt").write_bytes("aé".encode("latin-1"))
    ran = cli("tokenize", *args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"archcalc: {line}")
    assert ran.err.count("\n") == 1


def test_a_preset_that_comes_with_weights_has_a_tokenizer(good: Callable[..., str]):
    (one,) = json.loads(good("tokenize", "tiny", "The cat", "-f", "json"))["tokenizers"]
    assert one["name"] == "tiny"
    assert one["n_tokens"] >= 1
