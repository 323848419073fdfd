"""Read a tokenizer from a Hugging Face folder: tokenizer.json, and the files that name its special tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError, shown
from archcalc.text.panics import PanicError, caught
from archcalc.text.tokenizer import SubwordTokenizer, make_subword_tokenizer
from archcalc.words import msg

TOKEN_FIELDS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Classes whose vocab.json and merges.txt define the whole tokenizer.
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")


def read(path: str | PathLike[str]) -> SubwordTokenizer:
    """Return the tokenizer of a folder, or of a tokenizer.json alone. InputError names the broken file."""
    location = Path(path)
    folder = location if location.is_dir() else location.parent
    config = _config(folder)
    json_file = location if location.is_file() else folder / "tokenizer.json"
    try:
        with caught():
            backend = _backend(json_file, folder, config)
            _add_tokens(backend, config, folder)
    except PanicError as error:
        raise InputError(msg("is no tokenizer ({error})", error=error), file=str(json_file)) from None
    ids = {name: backend.token_to_id(text) for name in TOKEN_FIELDS if (text := _content(config.get(name)))}
    if not json_file.is_file():
        _add_bos_eos(backend, config, ids)
    return make_subword_tokenizer(
        backend,
        label=str(path),
        eos_ids=eos_ids_of(folder, ids.get("eos_token")),
        bos_id=ids.get("bos_token"),
        pad_id=ids.get("pad_token"),
        mask_id=ids.get("mask_token"),
        chat_template=_chat_template(folder, config),
    )


def _config(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json, completed by special_tokens_map.json of older folders."""
    named = _json(folder / "special_tokens_map.json")
    return {name: named[name] for name in TOKEN_FIELDS if name in named} | {
        name: value for name, value in _json(folder / "tokenizer_config.json").items() if value is not None
    }


def _json(path: Path) -> dict[str, Any]:
    """Return a file's mapping, empty if there is no file."""
    if not path.is_file():
        return {}
    try:
        content = msgspec.json.decode(_bytes(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(msg("is no JSON ({error})", error=error), file=str(path)) from None
    if not isinstance(content, dict):
        raise InputError(msg("found {found}", found=shown(content)), file=str(path), allowed=msg("a mapping"))
    return content


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None


def _backend(file: Path, folder: Path, config: dict[str, Any]) -> Backend:
    if file.is_file():
        try:
            return Backend.from_str(_bytes(file).decode())
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(msg("is no tokenizer ({error})", error=error), file=str(file)) from None
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _gpt2(folder, config)
    raise InputError(
        msg("has no tokenizer"), file=str(folder), allowed=msg("tokenizer.json, or vocab.json and merges.txt")
    )


def _gpt2(folder: Path, config: dict[str, Any]) -> Backend:
    """Return GPT-2's tokenizer; for other classes, these two files do not say how a text is split first."""
    if (kind := config.get("tokenizer_class")) not in GPT2_CLASSES:
        problem = msg("vocab.json and merges.txt alone do not say how a {kind} splits", kind=shown(kind))
        raise InputError(problem, file=str(folder), allowed="tokenizer.json")
    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(
            msg("vocab.json and merges.txt are no tokenizer ({error})", error=error), file=str(folder)
        ) from None
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space", False)))
    backend.decoder = decoders.ByteLevel()
    return backend


def _add_tokens(backend: Backend, config: dict[str, Any], folder: Path) -> None:
    """Add the config's tokens in the order of their ids, then named tokens that the vocabulary lacks."""
    named = {_content(config.get(name)) for name in TOKEN_FIELDS} - {None}
    known = {str(token.content) for token in backend.get_added_tokens_decoder().values()}
    named_tokens = (_added_token(config[name]) for name in TOKEN_FIELDS if _content(config.get(name)))
    for token in [*_declared_tokens(config, folder), *named_tokens]:
        if token.content not in known:
            known.add(token.content)
            token.special = token.special or token.content in named
            add = backend.add_special_tokens if token.special else backend.add_tokens
            add([token])


def _declared_tokens(config: dict[str, Any], folder: Path) -> Iterator[AddedToken]:
    """Yield `added_tokens_decoder`, by ascending id. Raise InputError if it is malformed."""
    listed = config.get("added_tokens_decoder", {})
    try:
        tokens = [_added_token(listed[key]) for key in sorted(listed, key=int)]
    except (AttributeError, TypeError, ValueError, LookupError):
        file = str(folder / "tokenizer_config.json")
        raise InputError(msg("is no mapping of ids"), where="added_tokens_decoder", file=file) from None
    yield from tokens


def _added_token(entry: Any) -> AddedToken:
    """Return a token given as a string or a mapping. A named token is special unless it says otherwise."""
    if isinstance(entry, str):
        return AddedToken(entry, special=True, normalized=False)
    flags = {name: bool(entry[name]) for name in ("single_word", "lstrip", "rstrip", "normalized") if name in entry}
    return AddedToken(entry["content"], special=bool(entry.get("special", False)), **flags)


def _content(entry: Any) -> str | None:
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) and content else None


def _add_bos_eos(backend: Backend, config: dict[str, Any], ids: dict[str, int | None]) -> None:
    """Add BOS and EOS as the config says; a tokenizer.json does so itself."""
    sides = {
        side: (str(_content(config[f"{side}_token"])), token)
        for side in ("bos", "eos")
        if config.get(f"add_{side}_token") and (token := ids.get(f"{side}_token")) is not None
    }
    backend.post_processor = text_template(sides.get("bos"), sides.get("eos"))


def text_template(before: tuple[str, int] | None, after: tuple[str, int] | None) -> processors.TemplateProcessing:
    """Return a post-processor that puts a token (text, id) before and after every text; None for no token."""
    parts = [before[0] if before else None, "$A", after[0] if after else None]
    return processors.TemplateProcessing(
        single=[part for part in parts if part], special_tokens=[one for one in (before, after) if one]
    )


def eos_ids_of(folder: Path, tokenizer_eos_id: int | None) -> list[int]:
    """Return the end tokens of generation_config.json, else of config.json, else the tokenizer's EOS."""
    for file in ("generation_config.json", "config.json"):
        eos_token_id = _json(folder / file).get("eos_token_id")
        if eos_token_id is not None:
            eos_ids = eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]
            if not all(type(one) is int and one >= 0 for one in eos_ids):
                raise InputError(
                    msg("found {found}", found=shown(eos_token_id)),
                    where="eos_token_id",
                    file=str(folder / file),
                    allowed=msg("ids"),
                )
            return eos_ids
    return [] if tokenizer_eos_id is None else [tokenizer_eos_id]


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """Return chat_template.jinja, else the config's template, or its 'default' one among several."""
    if (file := folder / "chat_template.jinja").is_file():
        try:
            return _bytes(file).decode()
        except UnicodeDecodeError:
            raise InputError(msg("is not UTF-8"), file=str(file)) from None
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    if template is None or isinstance(template, str):
        return template
    file = folder / "tokenizer_config.json"
    raise InputError(
        msg("found {found}", found=shown(template)),
        where="chat_template",
        file=os.fspath(file),
        allowed=msg("a template"),
    )
