"""A repository's config.json, from the Hugging Face hub or from its cache."""

from __future__ import annotations

from pathlib import Path

from archcalc.errors import InputError, shown
from archcalc.extras import require
from archcalc.words import msg

_FILE = "config.json"
# What a tokenizer and a model are made of: no pickle, no code.
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
    """Where the config.json of a repository lies on disk, fetched if need be. Nothing else of it is read or run.

    The cache serves where there is no network, or where HF_HUB_OFFLINE is set.

    Raises InputError if it cannot be had, MissingExtraError where huggingface_hub is not installed.
    """
    require("huggingface_hub", does=msg("reading a config from the Hugging Face hub"), extra="hub")
    try:
        return _fetched(repo_id)
    except Exception as error:
        # Besides the hub's own errors there are those of whatever HTTP library its version uses.
        allowed = "a repo id that exists, such as 'openai-community/gpt2'"
        raise InputError(f"{_problem(error)} ({shown(repo_id)})", allowed=allowed) from None


def snapshot_path(repo_id: str, *, weights: bool = True) -> Path:
    """The folder with a repository's config, tokenizer and safetensors files, fetched if need be; no other file of it.

    Without `weights`, these are not fetched. Raises as `config_path` does, and InputError where the cache lacks what is
    needed.
    """
    config_path(repo_id)
    from huggingface_hub import constants, snapshot_download

    try:
        wanted = list(_MODEL if weights else _TOKENIZER)
        return Path(snapshot_download(repo_id, allow_patterns=wanted, local_files_only=constants.HF_HUB_OFFLINE))
    except Exception as error:
        raise InputError(f"{_problem(error)} ({shown(repo_id)})") from None


def _fetched(repo_id: str) -> Path:
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
        # Where there is no network this fails at once; a download would try again for half a minute.
        get_hf_file_metadata(hf_hub_url(repo_id, _FILE), timeout=constants.HF_HUB_ETAG_TIMEOUT)
    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        return Path(hf_hub_download(repo_id, _FILE))
    finally:
        if not were_off:
            enable_progress_bars()


def _problem(error: Exception) -> str:
    """What went wrong, in the user's words."""
    from huggingface_hub import errors

    # From the narrowest to the widest: these are subclasses of one another.
    cases: tuple[tuple[type[Exception], str], ...] = (
        (errors.HFValidationError, "not a Hugging Face repo id"),
        (errors.GatedRepoError, "this repository asks for a log-in ('hf auth login')"),
        (errors.LocalEntryNotFoundError, "the Hugging Face hub cannot be reached, and the cache has no config.json"),
        (errors.EntryNotFoundError, "this repository has no config.json"),
        (errors.RepositoryNotFoundError, "there is no such Hugging Face repository, or it is private"),
    )
    return next((text for kind, text in cases if isinstance(error, kind)), "the Hugging Face hub cannot be reached")
