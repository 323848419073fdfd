"""The config.json of a repository, from the Hugging Face hub or its local cache."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.extras import require
from archcalc.formats.file_tensor import FileTensor
from archcalc.formats.safetensors_file import BYTES
from archcalc.formats.safetensors_folder import INDEX, SINGLE, read_headers
from archcalc.words import Message, msg

_FILE = "config.json"
# Files of a tokenizer and of a model. Pickles and code are never downloaded.
_TOKENIZER = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.spm",
    "chat_template*",
)
_MODEL = (*_TOKENIZER, "*.safetensors", "*.safetensors.index.json")


def config_path(repo_id: str) -> Path:
    """Return the local path of a repository's config.json, downloaded if needed. Nothing else is read or run.

    The cache is used if there is no network, or if HF_HUB_OFFLINE is set.

    Raises InputError if there is no config, MissingExtraError if huggingface_hub is not installed.
    """
    require("huggingface_hub", does=msg("reading a config from the Hugging Face hub"), extra="hub")
    try:
        return _download(repo_id)
    except Exception as error:
        # The hub raises its own errors and those of its HTTP library, which depends on the version.
        problem, allowed = _refusal(error, repo_id)
        raise InputError(problem, allowed=allowed) from None


def snapshot_path(repo_id: str, *, weights: bool = True) -> Path:
    """Return a folder with a repository's config, tokenizer and safetensors files, downloaded if needed.

    Without `weights`, no safetensors files are downloaded. Raises as `config_path` does, and InputError if the cache
    lacks a file.
    """
    config_path(repo_id)
    from huggingface_hub import constants, snapshot_download

    try:
        patterns = list(_MODEL if weights else _TOKENIZER)
        return Path(snapshot_download(repo_id, allow_patterns=patterns, local_files_only=constants.HF_HUB_OFFLINE))
    except Exception as error:
        raise InputError(_refusal(error, repo_id)[0]) from None


def tensors_of(repo_id: str) -> dict[str, FileTensor]:
    """Return the tensors of a repository's safetensors files: from the cache, else from their headers alone.

    Raises as `config_path` does, and InputError if it has no safetensors files.
    """
    require("huggingface_hub", does=msg("reading headers from the Hugging Face hub"), extra="hub")
    from huggingface_hub import get_safetensors_metadata, try_to_load_from_cache

    for name in (SINGLE, INDEX):
        cached = try_to_load_from_cache(repo_id, name)
        if isinstance(cached, str):
            return read_headers(Path(cached).parent)
    try:
        files = get_safetensors_metadata(repo_id).files_metadata
    except Exception as error:
        raise InputError(_refusal(error, repo_id)[0], allowed=msg("a repository with safetensors files")) from None
    return {name: _remote_tensor(name, file, info) for file, one in files.items() for name, info in one.tensors.items()}


def _remote_tensor(name: str, file: str, info: Any) -> FileTensor:
    """Return a tensor of a header that the hub sent; its bytes are those that its shape and type need."""
    start, end = info.data_offsets
    width = BYTES.get(info.dtype)
    if width is None or end - start != width * prod(info.shape):
        raise InputError(
            msg("has {n_bytes} bytes, but its shape needs {needs}", n_bytes=end - start, needs=shown(info.shape)),
            where=shown(name, 200),
            file=file,
        )
    return FileTensor(name, Path(file), info.dtype, tuple(info.shape), start, end - start)


def _download(repo_id: str) -> Path:
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    cached = isinstance(try_to_load_from_cache(repo_id, _FILE), str)
    if not cached and not constants.HF_HUB_OFFLINE:
        # Without a network this fails at once; a download would retry for half a minute.
        get_hf_file_metadata(hf_hub_url(repo_id, _FILE), timeout=constants.HF_HUB_ETAG_TIMEOUT)
    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        return Path(hf_hub_download(repo_id, _FILE))
    finally:
        if not were_disabled:
            enable_progress_bars()


def _refusal(error: Exception, repo_id: str) -> tuple[Message, Message]:
    """Return what is wrong, for the user, and what is expected."""
    from huggingface_hub import errors

    existing = msg("a repo id that exists, such as {example}", example="'openai-community/gpt2'")
    reachable = msg("a network, or a file, a folder or a preset")
    # Subclasses come before their base classes.
    cases: tuple[tuple[type[Exception], Message, Message], ...] = (
        (errors.HFValidationError, msg("not a Hugging Face repo id"), existing),
        (errors.GatedRepoError, msg("this repository asks for a log-in ('hf auth login')"), msg("a log-in")),
        (
            errors.LocalEntryNotFoundError,
            msg("the Hugging Face hub cannot be reached, and the cache has no config.json"),
            reachable,
        ),
        (errors.EntryNotFoundError, msg("this repository has no config.json"), existing),
        (errors.RepositoryNotFoundError, msg("there is no such Hugging Face repository, or it is private"), existing),
    )
    unreachable = msg("the Hugging Face hub cannot be reached"), reachable
    found = ((problem, allowed) for kind, problem, allowed in cases if isinstance(error, kind))
    problem, allowed = next(found, unreachable)
    return msg("{problem} ({repo})", problem=problem, repo=shown(repo_id)), allowed
