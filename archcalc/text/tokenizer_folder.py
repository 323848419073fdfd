"""A tokenizer as a Hugging Face folder has it: tokenizer.json, and the files that say which of its tokens is which."""

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
from archcalc.text.tokenizer import Subwords, subwords
from archcalc.words import msg

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")  # whose vocab.json and merges.txt say all


def read(path: str | PathLike[str]) -> Subwords:
    """The tokenizer of a folder, or of a tokenizer.json alone. InputError names the file that is at fault."""
    given = Path(path)
    folder = given if given.is_dir() else given.parent
    config = _config(folder)
    whole = given if given.is_file() else folder / "tokenizer.json"
    backend = _backend(whole, folder, config)
    _add_tokens(backend, config, folder)
    ids = {name: backend.token_to_id(text) for name in NAMED if (text := _content(config.get(name)))}
    if not whole.is_file():
        _put_around(backend, config, ids)
    return subwords(
        backend,
        label=str(path),
        eos_ids=eos_ids_of(folder, ids.get("eos_token")),
        bos_id=ids.get("bos_token"),
        pad_id=ids.get("pad_token"),
        mask_id=ids.get("mask_token"),
        chat_template=_chat_template(folder, config),
    )


def _config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, with what older folders keep in special_tokens_map.json where it names no such token."""
    named = _json(folder / "special_tokens_map.json")
    return {name: named[name] for name in NAMED if name in named} | {
        name: value for name, value in _json(folder / "tokenizer_config.json").items() if value is not None
    }


def _json(path: Path) -> dict[str, Any]:
    """A file's mapping, empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        found = msgspec.json.decode(_bytes(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(msg("is no JSON ({error})", error=error), file=str(path)) from None
    if not isinstance(found, dict):
        raise InputError(msg("found {found}", found=shown(found)), file=str(path), allowed=msg("a mapping"))
    return found


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
    """GPT-2's, whose two files leave nothing open. Of other classes they do not say how a text is parted first."""
    if (kind := config.get("tokenizer_class")) not in GPT2_CLASSES:
        problem = f"vocab.json and merges.txt alone do not say how a {shown(kind)} splits"
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
    """What the config adds to the vocabulary, in the order of its ids, then the named tokens that are in none."""
    named = {_content(config.get(name)) for name in NAMED} - {None}
    known = {str(token.content) for token in backend.get_added_tokens_decoder().values()}
    for token in [*_listed(config, folder), *(_added(config[name]) for name in NAMED if _content(config.get(name)))]:
        if token.content not in known:
            known.add(token.content)
            token.special = token.special or token.content in named
            add = backend.add_special_tokens if token.special else backend.add_tokens
            add([token])


def _listed(config: dict[str, Any], folder: Path) -> Iterator[AddedToken]:
    """`added_tokens_decoder`, ascending. InputError for what is none."""
    listed = config.get("added_tokens_decoder", {})
    try:
        found = [_added(listed[key]) for key in sorted(listed, key=int)]
    except (AttributeError, TypeError, ValueError, LookupError):
        file = str(folder / "tokenizer_config.json")
        raise InputError(msg("is no mapping of ids"), where="added_tokens_decoder", file=file) from None
    yield from found


def _added(given: Any) -> AddedToken:
    """A token as a string or as a mapping. A named one is special unless it says otherwise."""
    if isinstance(given, str):
        return AddedToken(given, special=True, normalized=False)
    flags = {name: bool(given[name]) for name in ("single_word", "lstrip", "rstrip", "normalized") if name in given}
    return AddedToken(given["content"], special=bool(given.get("special", False)), **flags)


def _content(given: Any) -> str | None:
    found = given.get("content") if isinstance(given, dict) else given
    return found if isinstance(found, str) and found else None


def _put_around(backend: Backend, config: dict[str, Any], ids: dict[str, int | None]) -> None:
    """BOS and EOS as the config says. A tokenizer.json says so itself, whatever the config has."""
    around = {
        side: (str(_content(config[f"{side}_token"])), token)
        for side in ("bos", "eos")
        if config.get(f"add_{side}_token") and (token := ids.get(f"{side}_token")) is not None
    }
    backend.post_processor = around_text(around.get("bos"), around.get("eos"))


def around_text(before: tuple[str, int] | None, after: tuple[str, int] | None) -> processors.TemplateProcessing:
    """Puts a token before and one after every text; each with its id, None for none."""
    parts = [before[0] if before else None, "$A", after[0] if after else None]
    return processors.TemplateProcessing(
        single=[part for part in parts if part], special_tokens=[one for one in (before, after) if one]
    )


def eos_ids_of(folder: Path, named: int | None) -> list[int]:
    """Where generation ends: as generation_config.json says, else config.json, else the tokenizer's EOS."""
    for file in ("generation_config.json", "config.json"):
        found = _json(folder / file).get("eos_token_id")
        if found is not None:
            listed = found if isinstance(found, list) else [found]
            if not all(type(one) is int and one >= 0 for one in listed):
                raise InputError(
                    msg("found {found}", found=shown(found)),
                    where="eos_token_id",
                    file=str(folder / file),
                    allowed=msg("ids"),
                )
            return listed
    return [] if named is None else [named]


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """chat_template.jinja, else the config's: one, or the one called 'default' among many."""
    if (file := folder / "chat_template.jinja").is_file():
        try:
            return _bytes(file).decode()
        except UnicodeDecodeError:
            raise InputError(msg("is not UTF-8"), file=str(file)) from None
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if found is None or isinstance(found, str):
        return found
    file = folder / "tokenizer_config.json"
    raise InputError(
        msg("found {found}", found=shown(found)), where="chat_template", file=os.fspath(file), allowed=msg("a template")
    )
