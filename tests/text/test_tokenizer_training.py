"""Training tokenizers: the same every time, of the size asked for, and what each does not give back."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.text.open import of_folder
from archcalc.text.tokenizer import SubwordTokenizer
from archcalc.text.tokenizer_training import KINDS, TokenizerKind, as_json, read_text, round_trip_mismatch, train
from tests.text.sample_tokenizers import TEXT

SIZES: dict[TokenizerKind, int] = {"bpe": 320, "wordpiece": 225, "unigram": 97, "char": 100, "word": 50}


@cache
def trained(kind: TokenizerKind) -> SubwordTokenizer:
    return train(kind, TEXT, SIZES[kind], whole=False)


TRAIN_ALL = """
import hashlib
from archcalc.text.tokenizer_training import KINDS, as_json, train
from tests.text.test_tokenizer_training import SIZES, TEXT
print(*(hashlib.sha256(as_json(train(kind, TEXT, SIZES[kind], whole=False)).encode()).hexdigest() for kind in KINDS))
"""


def test_the_same_text_gives_the_same_tokenizer_in_every_process():
    here = [hashlib.sha256(as_json(trained(kind)).encode()).hexdigest() for kind in KINDS]
    root = Path(__file__).parents[2]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", TRAIN_ALL], capture_output=True, text=True, cwd=root, check=True)  # noqa: S603
        assert done.stdout.split() == here


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "word"])
def test_the_vocabulary_is_as_large_as_asked(kind: TokenizerKind):
    ours = train(kind, TEXT, SIZES[kind])
    assert ours.n_vocab == SIZES[kind]
    assert set(ours.encode(TEXT)) <= set(range(ours.n_vocab))


@given(text=st.text())
def test_bytes_give_every_text_back(text: str):
    assert round_trip_mismatch(trained("bpe"), text) is None
    assert trained("bpe").decode(trained("bpe").encode(text)) == text


@given(text=st.text(alphabet=sorted(set(TEXT))))
def test_characters_give_every_text_of_theirs_back(text: str):
    ours = train_all_characters()
    assert ours.n_vocab == len(set(TEXT)) + 1
    assert round_trip_mismatch(ours, text) is None


@cache
def train_all_characters() -> SubwordTokenizer:
    return train("char", TEXT, len(set(TEXT)) + 1)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(st.text(max_size=30), st.lists(st.sampled_from(TEXT.split())).map("  ".join)))
def test_what_is_lost_is_what_does_not_come_back(kind: TokenizerKind, text: str):
    ours = trained(kind)
    back = ours.decode(ours.encode(text, special=False), special=True)
    found = round_trip_mismatch(ours, text)
    assert (found is None) == (back == text)
    if found is not None:
        assert found.given in text
        assert found.back in back
        assert found.given != found.back


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("wordpiece", "the ☃", "1 character → [UNK]; 'the ☃' → 'the [UNK]'"),
        ("wordpiece", "the  cat", "'the  cat' → 'the cat'"),
        ("unigram", "the ☃☃ cat", "2 characters → [UNK]; 'the ☃☃ cat' → 'the [UNK] cat'"),
        ("unigram", " the", "' the' → 'the'"),
        ("unigram", "☃", "1 character → [UNK]; '☃' → '[UNK]'"),
        ("char", "a☃b☃", "2 characters → [UNK]; 'a☃b☃' → 'a[UNK]b[UNK]'"),
        ("word", "zebra cat", "5 characters → [UNK]; 'zebra cat' → '[UNK] cat'"),
    ],
)
def test_a_loss_in_words(kind: TokenizerKind, text: str, line: str):
    assert str(round_trip_mismatch(trained(kind), text)) == line


def test_the_file_is_a_tokenizer(tmp_path: Path):
    from transformers import PreTrainedTokenizerFast

    for kind in KINDS:
        file = tmp_path / "tokenizer.json"
        file.write_text(as_json(trained(kind)))
        ids = trained(kind).encode(TEXT)
        assert of_folder(file).encode(TEXT) == ids
        assert PreTrainedTokenizerFast(tokenizer_file=str(file))(TEXT)["input_ids"] == ids


def test_more_merges_make_shorter_texts():
    lengths = [len(train("bpe", TEXT, size).encode(TEXT)) for size in (256, 280, 320)]
    assert lengths[0] == len(TEXT.encode())
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 3


@pytest.mark.parametrize(
    ("kind", "size", "line"),
    [
        ("bpe", 255, r"a vocabulary of 255 has no room for 256 bytes \(bpe\); expected 256 or more"),
        ("wordpiece", 20, r"^vocab_size: a vocabulary of 20 has no room for this text's characters \(wordpiece\); "),
        ("unigram", 20, r"^vocab_size: a vocabulary of 20 has no room for this text's characters \(unigram\); "),
        *((kind, 50_000, rf"^vocab_size: the text is too small for 50,000 tokens \({kind}\); ") for kind in KINDS),
    ],
)
def test_a_size_that_cannot_be(kind: TokenizerKind, size: int, line: str):
    with pytest.raises(InputError, match=line):
        train(kind, TEXT, size)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_the_least_size_that_is_told_is_enough(kind: TokenizerKind):
    with pytest.raises(InputError) as caught:
        train(kind, TEXT, 3)
    least = int(str(caught.value.allowed).split()[0])
    ours = train(kind, TEXT, least)
    assert ours.n_vocab == least
    with pytest.raises(InputError, match="has no room"):
        train(kind, TEXT, least - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_that_is_told_is_what_the_text_gives(kind: TokenizerKind):
    with pytest.raises(InputError) as caught:
        train(kind, TEXT, 50_000)
    most = int(str(caught.value.allowed).split()[0].replace(",", ""))
    assert train(kind, TEXT, most).n_vocab == most


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"", "has no text"), (b" \n", "has no text"), (b"abc\xff", r"is not UTF-8 \(byte 3\); expected a text in UTF-8")],
)
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes, line: str):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"a.txt: {line}"):
        read_text(str(file))


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"a.txt: cannot be read \(No such file"):
        read_text(str(tmp_path / "a.txt"))


def test_line_ends_stay(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"a\r\nb\n")
    assert read_text(str(file)) == "a\r\nb\n"


@pytest.mark.parametrize(
    ("kind", "text", "parts"),
    [
        ("bpe", "the☃☃", None),
        ("unigram", "☃", ["▁", "☃"]),
        ("wordpiece", "the ☃", ["the", "☃"]),
        ("char", "a ☃", ["a", " ", "☃"]),
    ],
)
def test_parts_that_share_a_character_have_their_own_names(kind: TokenizerKind, text: str, parts: list[str] | None):
    found = trained(kind).splits(text)
    assert [one for one, _ in found] == trained(kind).encode(text, special=False)
    if parts is None:  # a character of several bytes
        assert [part for _, part in found][:1] == ["the"]
        assert all(part == trained(kind).piece(one) for one, part in found[1:])
    else:
        assert [part for _, part in found] == parts
