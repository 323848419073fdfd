"""Tokenizers trained here, of every kind, and the folders and GGUF metadata that hold them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from archcalc.text.pretokenizers import PRE_TOKENIZERS

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
TEXT = (
    """The cat sat on the mat, and the dog sat by the door. It's 2026; they've seen 1234 cats!
Déjà vu, naïve façade: Ελληνικά, русский язык, 中文字符, 日本語のテキスト, 한국어 and 😀 emoji 👍🏽.
def add(a, b):\n    return a + b  # the sum of both\n\tWE'LL see ½ of it, and the others of the others.
"""
    * 3
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(pre: str = "gpt-2") -> Tokenizer:
    found = PRE_TOKENIZERS[pre]
    backend = Tokenizer(models.BPE(ignore_merges=found.ignore_merges))
    splits = [pre_tokenizers.Split(Regex(one), "isolated") for one in found.patterns]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    if found.nfc:
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return backend


def sentencepiece() -> Tokenizer:
    """Llama 2's kind: '▁' for spaces, bytes for what is not in the vocabulary."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ascii_text = "".join(c for c in TEXT if c.isascii())
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*SPECIAL, *BYTES], max_token_length=8, show_progress=False
    )
    backend.train_from_iterator(ascii_text.split(" "), trainer)
    # Bytes are entries of the vocabulary, not found as they are written.
    bare = Tokenizer(backend.model)
    bare.normalizer, bare.decoder = backend.normalizer, backend.decoder
    bare.add_special_tokens(SPECIAL)
    around = [("<s>", 1)]
    bare.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=around)
    return bare


def wordpiece() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    backend.train_from_iterator([TEXT], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=["[CLS]", "$A", "[SEP]"], special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return backend


def unigram() -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",  # noqa: S106
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    backend.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])
    return backend


MADE: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": cache(byte_level),
    "sentencepiece": cache(sentencepiece),
    "wordpiece": cache(wordpiece),
    "unigram": cache(unigram),
}
NAMED: dict[str, dict[str, str]] = {
    "byte-level": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "sentencepiece": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "wordpiece": {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]"},
    "unigram": {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
}


def saved(kind: str, folder: Path, **more: Any) -> Path:
    """A folder as transformers writes it."""
    PreTrainedTokenizerFast(tokenizer_object=MADE[kind](), **NAMED[kind], **more).save_pretrained(folder)
    return folder


def by_id(backend: Tokenizer) -> list[str]:
    vocabulary = backend.get_vocab(with_added_tokens=True)
    return sorted(vocabulary, key=vocabulary.__getitem__)


def types(backend: Tokenizer) -> list[int]:
    special = {str(token.content) for token in backend.get_added_tokens_decoder().values()}
    return [2 if one == "<unk>" else 3 if one in special else 6 if one in BYTES else 1 for one in by_id(backend)]
