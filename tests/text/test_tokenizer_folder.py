"""Tokenizers of Hugging Face folders: the same ids as transformers gives, and one line for a broken file."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from archcalc.cli.main import run
from archcalc.errors import InputError
from archcalc.text.open import of_folder
from archcalc.text.tokenizer import ByteTokenizer, Tokenizer
from tests.text.sample_tokenizers import MADE, NAMED, SPECIAL, TEXT, saved

ODD = [*SPECIAL, "[MASK]", " ", "  ", "\n", "\r\n", "\t", "½", "'LL", "▁", "é", "👍🏽"]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*SPECIAL, "[MASK]", " ", "  ", "\n", "\t", *TEXT.split(), "▁", "é", "👍🏽"])).map(
        "".join
    ),
    st.lists(st.sampled_from(TEXT.split()), max_size=20).map(" ".join),
)


@cache
def both(kind: str) -> tuple[Tokenizer, Any]:
    folder = saved(kind, Path(mkdtemp()))
    return of_folder(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", MADE)
@given(text=TEXTS)
def test_ids_are_those_of_transformers(kind: str, text: str):
    ours, theirs = both(kind)
    assert ours.encode(text) == theirs(text)["input_ids"]
    bare = ours.encode(text, special=False)
    assert bare == theirs(text, add_special_tokens=False)["input_ids"]
    told = {"clean_up_tokenization_spaces": False}
    assert ours.decode(bare) == theirs.decode(bare, skip_special_tokens=True, **told)
    assert ours.decode(bare, special=True) == theirs.decode(bare, **told)


@pytest.mark.parametrize("kind", MADE)
@given(text=TEXTS)
def test_a_stream_joins_to_the_text(kind: str, text: str):
    ours, _ = both(kind)
    ids = ours.encode(text)
    stream = ours.stream()
    parts = [stream(one) for one in ids]
    assert "".join(parts) + stream.rest() == ours.decode(ids)
    assert stream.rest() == ""


@given(text=TEXTS.filter(lambda text: "�" not in text))
def test_bytes_of_a_character_never_come_out_alone(text: str):
    ours, _ = both("byte-level")
    stream = ours.stream()
    assert all("�" not in stream(one) for one in ours.encode(text))
    assert stream.rest() == ""


def test_a_stream_keeps_the_space_after_a_special_token():
    ours, _ = both("sentencepiece")
    ids = [*ours.encode("the cat"), 2, *ours.encode("sat", special=False)]
    stream = ours.stream()
    assert "".join(map(stream, ids)) == ours.decode(ids) == "the cat sat"


def test_a_character_cut_off_is_told_at_the_end():
    ours, _ = both("byte-level")
    ids = ours.encode("a🜚")[:-1]
    stream = ours.stream()
    assert "".join(map(stream, ids)) == "a"
    assert stream.rest() == "�" == ours.decode(ids)[1:]


@given(text=TEXTS)
def test_byte_level_gives_every_text_back(text: str):
    ours, _ = both("byte-level")
    assert ours.decode(ours.encode(text), special=True) == text


@pytest.mark.parametrize("kind", MADE)
def test_facts_of_a_folder(kind: str):
    ours, theirs = both(kind)
    assert ours.n_vocab == len(theirs)
    assert (ours.bos_id, ours.pad_id, ours.mask_id) == (theirs.bos_token_id, theirs.pad_token_id, theirs.mask_token_id)
    assert ours.eos_ids == (() if theirs.eos_token_id is None else (theirs.eos_token_id,))


def test_a_broken_surrogate_is_refused():
    ours, _ = both("byte-level")
    with pytest.raises(InputError, match=r"the text is no Unicode: U\+D800 stands alone"):
        ours.encode("a\ud800")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved("byte-level", tmp_path)


def rewrite(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({key: value for key, value in (found | changes).items() if value is not None}))


@pytest.mark.parametrize(
    ("generation", "config", "ids"),
    [([5, 7, 5], 9, (5, 7)), (3, [9], (3,)), (None, [9, 8], (9, 8)), (None, None, (2,))],
)
def test_where_the_end_is_told(folder: Path, generation: Any, config: Any, ids: tuple[int, ...]):
    rewrite(folder / "generation_config.json", eos_token_id=generation)
    rewrite(folder / "config.json", eos_token_id=config)
    assert of_folder(folder).eos_ids == ids


@pytest.mark.parametrize(("bos", "eos"), [(True, False), (False, True), (True, True), (False, False)])
def test_bos_and_eos_are_put_around_as_the_config_says_where_no_file_says_more(folder: Path, bos: bool, eos: bool):
    rewrite(folder / "tokenizer_config.json", add_bos_token=bos, add_eos_token=eos)
    ids = of_folder(folder).encode("the cat")
    assert ids == AutoTokenizer.from_pretrained(folder)("the cat")["input_ids"]
    in_two_files(folder)
    assert of_folder(folder).encode("the cat") == [1] * bos + ids + [2] * eos


def test_tokens_that_the_config_adds(folder: Path):
    n = of_folder(folder).n_vocab
    added = {"content": "<|new|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
    added |= {"single_word": False}
    rewrite(folder / "tokenizer_config.json", added_tokens_decoder={str(n): added}, mask_token="<mask>")  # noqa: S106
    ours, theirs = of_folder(folder), AutoTokenizer.from_pretrained(folder)
    text = "a<|new|>b<mask>"
    assert ours.encode(text) == theirs(text)["input_ids"]
    assert (ours.n_vocab, ours.mask_id) == (n + 2, n + 1)


def test_cutting_and_padding_are_left_to_others(folder: Path):
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))
    ours = of_folder(folder)
    assert ours.decode(ours.encode(TEXT)) == TEXT


def test_chat_templates(folder: Path):
    assert of_folder(folder).chat_template is None
    rewrite(folder / "tokenizer_config.json", chat_template="one")
    assert of_folder(folder).chat_template == "one"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    rewrite(folder / "tokenizer_config.json", chat_template=named)
    assert of_folder(folder).chat_template == "d"
    (folder / "chat_template.jinja").write_text("own")
    assert of_folder(folder).chat_template == "own"


def test_older_folders_name_tokens_in_a_map(folder: Path):
    rewrite(folder / "tokenizer_config.json", bos_token=None)
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": {"content": "<pad>"}, "eos_token": "<s>"}))
    ours = of_folder(folder)
    assert (ours.bos_id, ours.eos_ids) == (3, (2,))  # the config's own EOS stands


def in_two_files(folder: Path) -> None:
    """tokenizer.json as vocab.json and merges.txt, as GPT-2 was published."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"]) + "\n")
    (folder / "tokenizer.json").unlink()
    rewrite(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")


def test_vocab_and_merges_are_gpt2s(folder: Path):
    whole = of_folder(folder)
    in_two_files(folder)
    assert of_folder(folder).encode(TEXT) == whole.encode(TEXT)
    rewrite(folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    with pytest.raises(InputError, match=r"do not say how a 'Qwen2Tokenizer' splits; expected tokenizer.json"):
        of_folder(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_broken_file_is_told_in_one_line(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        of_folder(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_tokenizer_is_told(folder: Path, part: float):
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    with pytest.raises(InputError, match=r"tokenizer.json: is no tokenizer"):
        of_folder(folder)


@pytest.mark.parametrize("listed", [[1], {"x": {}}, {"1": 3}, {"1": {"special": True}}])
def test_added_tokens_of_another_shape_are_told(folder: Path, listed: Any):
    rewrite(folder / "tokenizer_config.json", added_tokens_decoder=listed)
    with pytest.raises(InputError, match=r"tokenizer_config.json: added_tokens_decoder: is no mapping of ids"):
        of_folder(folder)


@pytest.mark.parametrize("ids", ["2", [1, "2"], -1, True])
def test_an_end_that_is_no_id_is_told(folder: Path, ids: Any):
    rewrite(folder / "generation_config.json", eos_token_id=ids)
    with pytest.raises(InputError, match=r"generation_config.json: eos_token_id: found"):
        of_folder(folder)


def test_a_folder_without_a_tokenizer(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no tokenizer; expected tokenizer.json, or vocab.json and merges.txt"):
        of_folder(tmp_path)


@given(text=st.text())
def test_bytes_give_every_text_back(text: str):
    ours = ByteTokenizer(n_vocab=300)
    ids = ours.encode(text)
    assert ids == list(text.encode())
    stream = ours.stream()
    assert ours.decode(ids) == "".join(map(stream, ids)) == text
    assert [one for one, _ in ours.splits(text)] == ids


@given(ids=st.lists(st.integers(0, 400)))
def test_bytes_decode_any_ids(ids: list[int]):
    ours = ByteTokenizer(n_vocab=401)
    stream = ours.stream()
    found = "".join(map(stream, ids)) + stream.rest()
    assert found == ours.decode(ids)
    if max(ids, default=0) < 256:
        assert found == bytes(ids).decode(errors="replace")
    else:
        assert found.count("�") >= sum(one > 255 for one in ids)


def test_bytes_say_what_they_are_and_what_they_need():
    assert "stand-in" in ByteTokenizer(n_vocab=256).label
    with pytest.raises(InputError, match="a vocabulary of 255 has no room for bytes; expected 256 or more"):
        ByteTokenizer(n_vocab=255)


def test_named_tokens_are_those_saved():
    assert set(NAMED) == set(MADE)


def panicking(path: Path, charsmap: bytes, added: list[dict[str, Any]] | None = None) -> Path:
    """Write a tokenizer.json whose normalizer makes the library panic when it normalizes."""
    normalizer = {"type": "Precompiled", "precompiled_charsmap": b64encode(charsmap).decode()}
    model = {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    content = {"version": "1.0", "added_tokens": added or [], "normalizer": normalizer, "model": model}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("charsmap", [b"", b"abc", b"\xff" * 64, b"\x04\x00\x00\x00abcd"])
def test_a_panic_of_the_library_is_one_line(tmp_path: Path, charsmap: bytes, capfd: pytest.CaptureFixture[str]):
    file = panicking(tmp_path / "tokenizer.json", charsmap)
    assert run(["tokenize", str(file), "a b é ﬁ"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("archcalc: ")


def test_a_panic_over_an_added_token_names_the_file(tmp_path: Path):
    token = {"id": 2, "content": "é ﬁ", "single_word": False, "lstrip": False, "rstrip": False}
    file = panicking(
        tmp_path / "tokenizer.json", b"\x04\x00\x00\x00abcd", [{**token, "normalized": True, "special": False}]
    )
    with pytest.raises(InputError, match="is no tokenizer") as found:
        of_folder(file)
    assert str(file) in str(found.value)


def test_standard_error_comes_back_after_a_panic(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    tokenizer = of_folder(panicking(tmp_path / "tokenizer.json", b"\x04\x00\x00\x00abcd"))
    with pytest.raises(InputError, match="fails to encode"):
        tokenizer.encode("a é")
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"
