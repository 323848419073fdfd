"""Read the tokenizer that a GGUF file embeds: its kind from a table, its vocabulary from the metadata.

Keys: the GGUF specification (ggml-org/ggml, docs/gguf.md, "Tokenizer"). What a file leaves to its kind is as in
llama.cpp (src/llama-vocab.cpp).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError, nearest, shown
from archcalc.text.pretokenizers import PRE_TOKENIZERS
from archcalc.text.tokenizer import SubwordTokenizer, make_subword_tokenizer
from archcalc.text.tokenizer_folder import text_template
from archcalc.words import msg

KEY = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # of `token_type`
SPACE = "▁"


class GgufVocabulary(Struct, frozen=True):
    """A file's vocabulary, checked: every list is as long as `tokens`, every id is in it."""

    metadata: Mapping[str, Any]
    tokens: list[str]
    types: list[int]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of 'tokenizer.ggml.' + key."""
        return self.metadata.get(KEY + key, default)

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise InputError(msg("found {found}", found=shown(value)), where=KEY + key, allowed="true, false")
        return value

    def id(self, key: str) -> int | None:
        """Return a token's id. Raise InputError if it is not in the vocabulary."""
        token_id = self.get(f"{key}_token_id")
        if token_id is not None and not (type(token_id) is int and 0 <= token_id < len(self.tokens)):
            allowed = f"0 to {len(self.tokens) - 1}"
            raise InputError(msg("found {found}", found=shown(token_id)), where=f"{KEY}{key}_token_id", allowed=allowed)
        return token_id

    def named(self, key: str, default: str | None = None) -> tuple[str, int] | None:
        """Return a token with its id; if the file names none, the one called `default`."""
        token_id = self.id(key)
        if token_id is None:
            token_id = self.tokens.index(default) if default in self.tokens else None
        return None if token_id is None else (self.tokens[token_id], token_id)

    def list_of(self, key: str, kind: type, length: int | None = None) -> list[Any]:
        """Return a list of values of one type and, if given, of this length."""
        values = self.get(key)
        if not isinstance(values, list | tuple) or not all(isinstance(one, kind) for one in values):
            problem = msg("is not there") if values is None else msg("found {found}", found=shown(values))
            raise InputError(problem, where=KEY + key, allowed=msg("a list of {kind}", kind=kind.__name__))
        if length is not None and len(values) != length:
            raise InputError(
                msg("has {n_found:,} entries", n_found=len(values)),
                where=KEY + key,
                allowed=msg("{length:,}, one for each token", length=length),
            )
        return list(values)

    def vocabulary(self) -> dict[str, int]:
        """Return token → id."""
        return {token: i for i, token in enumerate(self.tokens)}


def read(metadata: Mapping[str, Any], label: str) -> SubwordTokenizer:
    """Return the tokenizer of a file's metadata. Raise InputError if its kind is unknown or it is malformed."""
    kind = metadata.get(KEY + "model")
    if kind is None:
        raise InputError(
            msg("the file carries no tokenizer"),
            where=KEY + "model",
            allowed=msg("one of {kinds}", kinds=", ".join(KINDS)),
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(msg("{kind} is not known", kind=shown(kind)), where=KEY + "model", allowed=", ".join(KINDS))
    vocab = _vocabulary(metadata)
    try:
        backend = KINDS[kind](vocab)
    except InputError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(
            msg("the vocabulary is no {kind} ({error})", kind=kind, error=error), where=KEY + "tokens"
        ) from None
    for token in _added_tokens(vocab):
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    return _with_special_ids(backend, vocab, label)


def _vocabulary(metadata: Mapping[str, Any]) -> GgufVocabulary:
    empty = GgufVocabulary(metadata, [], [])
    tokens = empty.list_of("tokens", str)
    if not tokens:
        raise InputError(msg("is empty"), where=KEY + "tokens")
    if len(set(tokens)) < len(tokens):
        (duplicate, n), *_ = Counter(tokens).most_common(1)
        raise InputError(
            msg("{twice} occurs {n:,} times", twice=shown(duplicate), n=n),
            where=KEY + "tokens",
            allowed=msg("each token once"),
        )
    has_types = empty.get("token_type") is not None
    types = empty.list_of("token_type", int, len(tokens)) if has_types else [NORMAL] * len(tokens)
    return GgufVocabulary(metadata, tokens, types)


def _with_special_ids(backend: Backend, vocab: GgufVocabulary, label: str) -> SubwordTokenizer:
    template = vocab.metadata.get("tokenizer.chat_template")
    if not (template is None or isinstance(template, str)):
        raise InputError(
            msg("found {found}", found=shown(template)),
            where="tokenizer.chat_template",
            allowed=msg("a template"),
        )
    end_ids = (vocab.id("eos"), vocab.id("eot"))
    return make_subword_tokenizer(
        backend,
        label=label,
        eos_ids=[one for one in end_ids if one is not None],
        bos_id=vocab.id("bos"),
        pad_id=vocab.id("padding"),
        mask_id=vocab.id("mask"),
        chat_template=template,
    )


def _added_tokens(vocab: GgufVocabulary) -> Iterator[AddedToken]:
    """Yield control, unknown and user-defined tokens, which are found in a text as they stand and never merged."""
    for token, kind in zip(vocab.tokens, vocab.types, strict=True):
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and token:
            yield AddedToken(token, special=kind != USER_DEFINED, normalized=False)


def _bos_eos(vocab: GgufVocabulary, *, bos: bool, eos: bool) -> processors.TemplateProcessing:
    """Return a post-processor that adds BOS and EOS as the file says, or else its kind."""
    before = vocab.named("bos") if vocab.flag("add_bos_token", bos) else None
    after = vocab.named("eos") if vocab.flag("add_eos_token", eos) else None
    return text_template(before, after)


def _byte_level_bpe(vocab: GgufVocabulary) -> Backend:
    """`gpt2`: merges over bytes written as printable characters, after one of PRE_TOKENIZERS has split the text."""
    name = vocab.get("pre", "default")
    if not isinstance(name, str) or name not in PRE_TOKENIZERS:
        near = nearest(name, PRE_TOKENIZERS) if isinstance(name, str) else ""
        raise InputError(
            msg("{name} is not known{near}", name=shown(name), near=near),
            where=KEY + "pre",
            allowed=", ".join(PRE_TOKENIZERS),
        )
    pre = PRE_TOKENIZERS[name]
    model = models.BPE(vocab.vocabulary(), _merges(vocab), ignore_merges=pre.ignore_merges)
    backend = Backend(model)
    if pre.nfc:
        backend.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns]
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=vocab.flag("add_space_prefix", False), use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, as_bytes])
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = _bos_eos(vocab, bos=pre.adds_bos, eos=False)
    return backend


def _merges(vocab: GgufVocabulary) -> list[tuple[str, str]]:
    """Return merges as pairs ('Ġ t'); a token may begin with a space."""
    listed = vocab.list_of("merges", str)
    merges = [(one[:cut], one[cut + 1 :]) for one in listed if (cut := one.find(" ", 1)) > 0]
    if len(merges) < len(listed):
        broken = next(one for one in listed if one.find(" ", 1) < 1)
        raise InputError(
            msg("found {found}", found=shown(broken)),
            where=KEY + "merges",
            allowed=msg("two tokens and a space between"),
        )
    return merges


def _sentencepiece_bpe(vocab: GgufVocabulary) -> Backend:
    """`llama`: SentencePiece's BPE with merges by score and bytes for unknown characters (Llama 1 and 2, Mistral)."""
    vocabulary = vocab.vocabulary()
    unknown = vocab.named("unknown", "<unk>")
    has_bytes = all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    merges = _merges(vocab) if vocab.get("merges") is not None else list(_merges_by_score(vocab, vocabulary))
    backend = Backend(
        models.BPE(
            vocabulary, merges, unk_token=unknown[0] if unknown else None, fuse_unk=True, byte_fallback=has_bytes
        )
    )
    prefix = vocab.flag("add_space_prefix", True)
    # Before each stretch of text between special tokens, as llama.cpp does.
    prepend: list[normalizers.Normalizer] = [normalizers.Prepend(SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", SPACE)])
    strip: list[decoders.Decoder] = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    backend.post_processor = _bos_eos(vocab, bos=True, eos=False)
    return backend


def _merges_by_score(vocab: GgufVocabulary, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield every pair that makes a token, best token first.

    SentencePiece stores no merges: it joins the neighbors whose union has the best score.
    """
    scores = vocab.list_of("scores", float, len(vocab.tokens))
    joinable = {token for token, kind in zip(vocab.tokens, vocab.types, strict=True) if kind == NORMAL}
    for token in sorted(joinable, key=lambda token: (-scores[vocabulary[token]], vocabulary[token])):
        for cut in range(1, len(token)):
            if token[:cut] in joinable and token[cut:] in joinable:
                yield token[:cut], token[cut:]


def _word_piece(vocab: GgufVocabulary) -> Backend:
    """`bert`: GGUF writes word starts as '▁word' and continuations as 'ing'; the library writes '##ing'."""
    rename = {
        token: token if kind != NORMAL else token[1:] if token.startswith(SPACE) else "##" + token
        for token, kind in zip(vocab.tokens, vocab.types, strict=True)
    }
    vocabulary = {rename[token]: i for i, token in enumerate(vocab.tokens)}
    unknown = vocab.named("unknown", "[UNK]")
    if unknown is None or unknown[0] not in vocabulary:
        raise InputError(msg("names no control token"), where=KEY + "unknown_token_id", allowed=msg("the id of [UNK]"))
    model = models.WordPiece(vocabulary, unk_token=unknown[0], max_input_chars_per_word=100)
    backend = Backend(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    begin, end = vocab.named("cls", "[CLS]") or vocab.named("bos"), vocab.named("seperator", "[SEP]")
    backend.post_processor = text_template(begin, end)
    return backend


def _unigram(vocab: GgufVocabulary) -> Backend:
    """`t5`: SentencePiece's Unigram, the likeliest split."""
    scores = vocab.list_of("scores", float, len(vocab.tokens))
    unknown = vocab.named("unknown", "<unk>")
    model = models.Unigram(list(zip(vocab.tokens, scores, strict=True)), unknown[1] if unknown else None, False)
    backend = Backend(model)
    steps: list[normalizers.Normalizer] = []
    if charsmap := vocab.get("precompiled_charsmap"):
        steps.append(normalizers.Precompiled(bytes(one & 255 for one in charsmap)))
    if vocab.flag("remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if vocab.flag("add_space_prefix", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(SPACE, prepend_scheme=scheme)
    backend.post_processor = _bos_eos(vocab, bos=False, eos=True)
    return backend


KINDS: dict[str, Callable[[GgufVocabulary], Backend]] = {
    "gpt2": _byte_level_bpe,
    "llama": _sentencepiece_bpe,
    "bert": _word_piece,
    "t5": _unigram,
}
