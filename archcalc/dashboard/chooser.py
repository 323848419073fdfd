"""The architecture of the pages: chosen at the top, kept in the URL."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
import streamlit as st

from archcalc import presets
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.dashboard.error_box import show_error
from archcalc.dashboard.session import IN_URL, choice, escape_markdown, say, text_in_url
from archcalc.errors import ArchcalcError, InputError, shown
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.document import Document, override
from archcalc.spec.set_options import changes
from archcalc.spec.text_bounds import MAX_BYTES
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg

_ORIGINS: Final = {
    "preset": msg("Preset"),
    "text": msg("YAML or config.json"),
    "file": msg("Upload"),
}

DEFAULT: Final = "gpt3-175b"
_SELECTION: Final = "_selection"
_DRAFT: Final = "_draft"
_UPLOAD: Final = "_upload"
_FILE_TYPES: Final = ("yaml", "yml", "json")


class ModelSelection(msgspec.Struct, frozen=True):
    """The chosen architecture.

    `source` is the name of a preset, or of the file that the spec can be saved as. `settings` are the values of
    `--set`. `base` is the document without them.
    """

    spec: Spec
    source: str
    settings: tuple[str, ...]
    base: Document

    @property
    def arguments(self) -> str:
        """Return the arguments of the command line: 'gpt3-175b --set n_layers=48'."""
        parts = [shlex.quote(self.source), *(f"--set {shlex.quote(setting)}" for setting in self.settings)]
        return " ".join(parts)

    @property
    def load_call(self) -> str:
        """Return the Python call that loads the spec."""
        changed = changes(self.settings)
        return f"archcalc.load({self.source!r}" + (f", {changed!r})" if changed else ")")


class Draft(msgspec.Struct, frozen=True):
    """The input of the visitor, valid or not: the document before and after its settings."""

    source: str
    base: Document
    changed: Document


def selection() -> ModelSelection:
    """Return the chosen architecture. Ends the page if the input is invalid."""
    current: ModelSelection | None = st.session_state[_SELECTION]
    return current or st.stop()


def has_selection() -> bool:
    """Return whether the input is a valid architecture."""
    return st.session_state[_SELECTION] is not None


def draft() -> Draft:
    """Return the input, valid or not, for the form that edits it."""
    current: Draft = st.session_state[_DRAFT]
    return current


def draw() -> None:
    """Draw the chooser, read its input and show an error in place.

    Ends the page if the input cannot be edited in the form either.
    """
    say_ = say()
    row = st.container(horizontal=True, key="chooser")
    with row:
        origin = choice(st.segmented_control, say_(msg("Architecture from")), _ORIGINS, key="from")
        placeholder = st.container(key="source") if origin == "preset" else None
        # Drawn before the source is read, so that it is there even if that fails.
        st.text_input(
            say_(msg("Changed fields")),
            key="set",
            help=say_(
                msg("The values of --set on the command line: n_layers=48 ffn.bias=true. The view Edit fills them in.")
            ),
            placeholder="n_layers=48",
            **IN_URL,
        )
    with placeholder or st.container():
        source, document = _SOURCES[origin]()
    st.session_state[_SELECTION] = _read(source, document)


def apply_changes(changed: Document) -> None:
    """Set the changed fields so that they turn the source into this document; for callbacks."""
    from archcalc.spec.differences import differences
    from archcalc.spec.inline_yaml import as_settings

    st.session_state["set"] = shlex.join(as_settings(differences(draft().base, changed)))


def _read(source: str, document: Document) -> ModelSelection | None:
    try:
        settings = _settings(st.session_state["set"])
        changed = changes(settings)
        st.session_state[_DRAFT] = Draft(source, document, override(document, changed))
    except ArchcalcError as error:
        show_error(error)
        st.stop()
    try:
        return ModelSelection(load(document, changed), source, settings, document)
    except ArchcalcError as error:
        show_error(error)
        return None


def _settings(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(
            msg("found {value} ({error})", value=shown(text), error=error),
            where=say()(msg("Changed fields")),
            allowed="FIELD=VALUE …",
        ) from None


def _preset() -> tuple[str, Document]:
    names = presets.names()
    name = st.selectbox(say()(msg("Preset")), names, index=names.index(DEFAULT), key="model", **IN_URL)
    return name, document_of_preset(name)


@cache
def document_of_preset(name: str) -> Document:
    """Return the whole document of a preset. It is shared: do not change it."""
    from archcalc.sources import document_of

    return document_of(name)


def _text() -> tuple[str, Document]:
    say_ = say()
    text = text_in_url(
        say_(msg("A spec as YAML, or a Hugging Face config.json")),
        "yaml",
        help=say_(msg("Press Ctrl+Enter to apply. `base: gpt3` and the fields that differ are enough.")),
        height=220,
        max_chars=MAX_BYTES,
    )
    if not text.strip():
        st.info(say_(msg("Paste a spec above.")))
        st.stop()
    return _parse_input(text.encode("utf-8", "surrogateescape"), "text")


def _file() -> tuple[str, Document]:
    """Draw the upload. The session keeps the file, because the widget loses it on another page."""
    say_, limit = say(), MAX_BYTES >> 20
    label = say_(msg("A spec (.yaml) or a config.json, up to {limit} MB", limit=limit))
    st.file_uploader(label, type=_FILE_TYPES, max_upload_size=limit, key="file", on_change=_keep_upload)
    st.caption(say_(msg("An uploaded file is not part of the link. It stays in this session.")))
    upload: tuple[str, bytes] | None = st.session_state.get(_UPLOAD)
    if upload is None:
        st.info(say_(msg("Choose a file above.")))
        st.stop()
    name, data = upload
    st.caption(f":material/description: {escape_markdown(name)}")
    return _parse_input(data, name)


def _keep_upload() -> None:
    upload = st.session_state["file"]
    st.session_state[_UPLOAD] = (upload.name, upload.getvalue()) if upload else None


def _parse_input(data: bytes, label: str) -> tuple[str, Document]:
    """Return source and document of a text; an error is shown below it and ends the page."""
    try:
        document = _full_document(data)
        return f"./{load(document).name}.yaml", document
    except ArchcalcError as error:
        show_error(error.within(label) if isinstance(error, InputError) else error)
        st.stop()


def _full_document(data: bytes) -> Document:
    """Return the document of a text with its base resolved. A base must be a preset, not a file of the server."""
    from archcalc.sources import document_of

    document: Any = parse(data)
    if not isinstance(document, dict):
        raise InputError(
            msg("found {found}", found=shown(document)), allowed=msg("a mapping: a spec, or a Hugging Face config")
        )
    if isinstance(base := document.get("base"), str) and presets.path_of(base) is None:
        raise InputError(msg("found {found}", found=shown(base)), where="base", allowed=msg("the name of a preset"))
    return document_of(document)


_SOURCES: Final[dict[str, Callable[[], tuple[str, Document]]]] = {"preset": _preset, "text": _text, "file": _file}


def model_workload() -> ModelWorkload:
    """Return the chosen architecture with the workload and dtype of the report."""
    from archcalc.analysis import stored_weights
    from archcalc.analysis.memory import AUTO
    from archcalc.ledger.build import build
    from archcalc.spec.workload import workload

    spec = selection().spec
    return stored_weights.model_workload(spec, build(spec), workload(spec), AUTO)
