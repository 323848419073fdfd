"""The tokenizer that a GGUF file embeds: its kind by an explicit table, its vocabulary from the metadata.

Keys and meanings: the GGUF specification (ggml-org/ggml, docs/gguf.md, "Tokenizer"); what a kind leaves out of the file
is as llama.cpp has it (src/llama-vocab.cpp).
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
from archcalc.text.tokenizer import Subwords, subwords
from archcalc.text.tokenizer_folder import around_text
from archcalc.words import msg

KEY = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # of `token_type`
SPACE = "▁"


class Embedded(Struct, frozen=True):
    """A file's vocabulary, checked: every list as long as `tokens`, every id in it."""

    metadata: Mapping[str, Any]
    tokens: list[str]
    types: list[int]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of 'tokenizer.ggml.' + key."""
        return self.metadata.get(KEY + key, default)

    def flag(self, key: str, default: bool) -> bool:
        """A true or false."""
        found = self.get(key, default)
        if not isinstance(found, bool):
            raise InputError(msg("found {found}", found=shown(found)), where=KEY + key, allowed="true, false")
        return found

    def id(self, key: str) -> int | None:
        """A token's id. InputError for one that is not in the vocabulary."""
        found = self.get(f"{key}_token_id")
        if found is not None and not (type(found) is int and 0 <= found < len(self.tokens)):
            allowed = f"0 to {len(self.tokens) - 1}"
            raise InputError(msg("found {found}", found=shown(found)), where=f"{KEY}{key}_token_id", allowed=allowed)
        return found

    def named(self, key: str, default: str | None = None) -> tuple[str, int] | None:
        """A token with its id; without one in the file, the one that is called `default`."""
        found = self.id(key)
        if found is None:
            found = self.tokens.index(default) if default in self.tokens else None
        return None if found is None else (self.tokens[found], found)

    def list_of(self, key: str, kind: type, length: int | None = None) -> list[Any]:
        """A list of one kind of value, of this length."""
        found = self.get(key)
        if not isinstance(found, list | tuple) or not all(isinstance(one, kind) for one in found):
            problem = "is not there" if found is None else f"found {shown(found)}"
            raise InputError(problem, where=KEY + key, allowed=msg("a list of {name__}", name__=kind.__name__))
        if length is not None and len(found) != length:
            raise InputError(
                msg("has {n_found:,} entries", n_found=len(found)),
                where=KEY + key,
                allowed=msg("{length:,}, one for each token", length=length),
            )
        return list(found)

    def vocabulary(self) -> dict[str, int]:
        """Token → id."""
        return {token: i for i, token in enumerate(self.tokens)}


def read(metadata: Mapping[str, Any], label: str) -> Subwords:
    """The tokenizer of a file's metadata. InputError for a kind that is not in the tables, or what is broken."""
    kind = metadata.get(KEY + "model")
    if kind is None:
        raise InputError(
            msg("the file carries no tokenizer"),
            where=KEY + "model",
            allowed=msg("one of {kinds}", kinds=", ".join(KINDS)),
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(msg("{kind} is not known", kind=shown(kind)), where=KEY + "model", allowed=", ".join(KINDS))
    found = _embedded(metadata)
    try:
        backend = KINDS[kind](found)
    except InputError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(
            msg("the vocabulary is no {kind} ({error})", kind=kind, error=error), where=KEY + "tokens"
        ) from None
    for token in _added(found):
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    return _with_facts(backend, found, label)


def _embedded(metadata: Mapping[str, Any]) -> Embedded:
    bare = Embedded(metadata, [], [])
    tokens = bare.list_of("tokens", str)
    if not tokens:
        raise InputError(msg("is empty"), where=KEY + "tokens")
    if len(set(tokens)) < len(tokens):
        (twice, n), *_ = Counter(tokens).most_common(1)
        raise InputError(
            msg("{twice} stands there {n:,} times", twice=shown(twice), n=n),
            where=KEY + "tokens",
            allowed=msg("each token once"),
        )
    has_types = bare.get("token_type") is not None
    types = bare.list_of("token_type", int, len(tokens)) if has_types else [NORMAL] * len(tokens)
    return Embedded(metadata, tokens, types)


def _with_facts(backend: Backend, found: Embedded, label: str) -> Subwords:
    template = found.metadata.get("tokenizer.chat_template")
    if not (template is None or isinstance(template, str)):
        raise InputError(
            msg("found {template}", template=shown(template)),
            where="tokenizer.chat_template",
            allowed=msg("a template"),
        )
    ends = (found.id("eos"), found.id("eot"))
    return subwords(
        backend,
        label=label,
        eos_ids=[one for one in ends if one is not None],
        bos_id=found.id("bos"),
        pad_id=found.id("padding"),
        mask_id=found.id("mask"),
        chat_template=template,
    )


def _added(found: Embedded) -> Iterator[AddedToken]:
    """Control tokens, the unknown one and those that users add: no part of a merge, found in a text as they stand."""
    for token, kind in zip(found.tokens, found.types, strict=True):
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and token:
            yield AddedToken(token, special=kind != USER_DEFINED, normalized=False)


def _around(found: Embedded, *, bos: bool, eos: bool) -> processors.TemplateProcessing:
    """BOS before and EOS after, where the file says so, or else the kind."""
    before = found.named("bos") if found.flag("add_bos_token", bos) else None
    after = found.named("eos") if found.flag("add_eos_token", eos) else None
    return around_text(before, after)


def _byte_level_bpe(found: Embedded) -> Backend:
    """`gpt2`: merges over bytes written as printable characters, the text parted by one of PRE_TOKENIZERS first."""
    name = found.get("pre", "default")
    if not isinstance(name, str) or name not in PRE_TOKENIZERS:
        near = nearest(name, PRE_TOKENIZERS) if isinstance(name, str) else ""
        raise InputError(
            msg("{name} is not known{near}", name=shown(name), near=near),
            where=KEY + "pre",
            allowed=", ".join(PRE_TOKENIZERS),
        )
    pre = PRE_TOKENIZERS[name]
    model = models.BPE(found.vocabulary(), _merges(found), ignore_merges=pre.ignore_merges)
    backend = Backend(model)
    if pre.nfc:
        backend.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns]
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=found.flag("add_space_prefix", False), use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, as_bytes])
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = _around(found, bos=pre.adds_bos, eos=False)
    return backend


def _merges(found: Embedded) -> list[tuple[str, str]]:
    """'Ġ t' as a pair; a token may begin with a space."""
    listed = found.list_of("merges", str)
    merges = [(one[:cut], one[cut + 1 :]) for one in listed if (cut := one.find(" ", 1)) > 0]
    if len(merges) < len(listed):
        broken = next(one for one in listed if one.find(" ", 1) < 1)
        raise InputError(
            msg("found {broken}", broken=shown(broken)),
            where=KEY + "merges",
            allowed=msg("two tokens and a space between"),
        )
    return merges


def _sentencepiece_bpe(found: Embedded) -> Backend:
    """`llama`: SentencePiece's BPE, merges by score, bytes for what the vocabulary has not (Llama 1 and 2, Mistral)."""
    vocabulary = found.vocabulary()
    unknown = found.named("unknown", "<unk>")
    has_bytes = all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    merges = _merges(found) if found.get("merges") is not None else list(_merges_by_score(found, vocabulary))
    backend = Backend(
        models.BPE(
            vocabulary, merges, unk_token=unknown[0] if unknown else None, fuse_unk=True, byte_fallback=has_bytes
        )
    )
    prefix = found.flag("add_space_prefix", True)
    # Before each part of a text that no special token is in, as llama.cpp does.
    before: list[normalizers.Normalizer] = [normalizers.Prepend(SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", SPACE)])
    strip: list[decoders.Decoder] = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    backend.post_processor = _around(found, bos=True, eos=False)
    return backend


def _merges_by_score(found: Embedded, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Every way to put a token together from two others, the best token first.

    SentencePiece stores no merges: of all neighbours it joins those whose union has the best score.
    """
    scores = found.list_of("scores", float, len(found.tokens))
    joinable = {token for token, kind in zip(found.tokens, found.types, strict=True) if kind == NORMAL}
    for token in sorted(joinable, key=lambda token: (-scores[vocabulary[token]], vocabulary[token])):
        for cut in range(1, len(token)):
            if token[:cut] in joinable and token[cut:] in joinable:
                yield token[:cut], token[cut:]


def _word_piece(found: Embedded) -> Backend:
    """`bert`: GGUF writes the beginning of a word as '▁word' and what goes on as 'ing'; the library '##ing'."""
    rename = {
        token: token if kind != NORMAL else token[1:] if token.startswith(SPACE) else "##" + token
        for token, kind in zip(found.tokens, found.types, strict=True)
    }
    vocabulary = {rename[token]: i for i, token in enumerate(found.tokens)}
    unknown = found.named("unknown", "[UNK]")
    if unknown is None or unknown[0] not in vocabulary:
        raise InputError(msg("names no control token"), where=KEY + "unknown_token_id", allowed=msg("the id of [UNK]"))
    model = models.WordPiece(vocabulary, unk_token=unknown[0], max_input_chars_per_word=100)
    backend = Backend(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    begin, end = found.named("cls", "[CLS]") or found.named("bos"), found.named("seperator", "[SEP]")
    backend.post_processor = around_text(begin, end)
    return backend


def _unigram(found: Embedded) -> Backend:
    """`t5`: SentencePiece's Unigram, the likeliest split of all."""
    scores = found.list_of("scores", float, len(found.tokens))
    unknown = found.named("unknown", "<unk>")
    model = models.Unigram(list(zip(found.tokens, scores, strict=True)), unknown[1] if unknown else None, False)
    backend = Backend(model)
    steps: list[normalizers.Normalizer] = []
    if charsmap := found.get("precompiled_charsmap"):
        steps.append(normalizers.Precompiled(bytes(one & 255 for one in charsmap)))
    if found.flag("remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if found.flag("add_space_prefix", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(SPACE, prepend_scheme=scheme)
    backend.post_processor = _around(found, bos=False, eos=True)
    return backend


KINDS: dict[str, Callable[[Embedded], Backend]] = {
    "gpt2": _byte_level_bpe,
    "llama": _sentencepiece_bpe,
    "bert": _word_piece,
    "t5": _unigram,
}
