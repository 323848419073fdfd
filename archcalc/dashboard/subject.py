"""The architecture that the pages are about: chosen on top of them, kept in the URL, read by the one door."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
import streamlit as st

from archcalc import presets
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.dashboard.errors import tell
from archcalc.dashboard.session import KEPT, choice, plain, say, text_in_link
from archcalc.errors import ArchcalcError, InputError, shown
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.document import Document, override
from archcalc.spec.set_options import changes
from archcalc.spec.yaml_reader import MAX_BYTES, parse
from archcalc.words import msg

_FROM: Final = {
    "preset": msg("Preset"),
    "text": msg("YAML or config.json"),
    "file": msg("Upload"),
}

DEFAULT: Final = "gpt3-175b"
_CHOSEN: Final = "_chosen"
_DRAFT: Final = "_draft"
_UPLOADED: Final = "_uploaded"
_WAYS: Final = ("preset", "text", "file")
_FILE_TYPES: Final = ("yaml", "yml", "json")


class Chosen(msgspec.Struct, frozen=True):
    """The architecture of the moment, and what the command line would be told of it.

    `source` is a preset's name, or the name of the file that the spec can be saved as; `settings` are what stands
    after each `--set`; `base` is the document that they change.
    """

    spec: Spec
    source: str
    settings: tuple[str, ...]
    base: Document

    @property
    def words(self) -> str:
        """Source and settings as a shell is told them: 'gpt3-175b --set n_layers=48'."""
        told = [shlex.quote(self.source), *(f"--set {shlex.quote(setting)}" for setting in self.settings)]
        return " ".join(told)

    @property
    def load_line(self) -> str:
        """Source and settings as Python is told them."""
        changed = changes(self.settings)
        return f"archcalc.load({self.source!r}" + (f", {changed!r})" if changed else ")")


class Draft(msgspec.Struct, frozen=True):
    """What is asked for, be it an architecture or not: the document that the settings change, and as changed."""

    source: str
    base: Document
    changed: Document


def chosen() -> Chosen:
    """What `choose` found; a page asks for it as often as it likes. Ends the page where it is no architecture."""
    found: Chosen | None = st.session_state[_CHOSEN]
    return found or st.stop()


def is_valid() -> bool:
    """Whether what is asked for is an architecture."""
    return st.session_state[_CHOSEN] is not None


def draft() -> Draft:
    """What is asked for, valid or not, for the form that mends it."""
    found: Draft = st.session_state[_DRAFT]
    return found


def choose() -> None:
    """Draw the chooser and keep what is chosen; where it is no architecture, say so in place.

    Ends the page where there is nothing that could be mended in a form.
    """
    say_ = say()
    row = st.container(horizontal=True, key="chooser")
    with row:
        way = choice(st.segmented_control, say_(msg("Architecture from")), _FROM, key="from")
        place = st.container(key="source") if way == "preset" else None
        # Drawn before the source is read, so that it is there where that fails.
        st.text_input(
            say_(msg("Changed fields")),
            key="set",
            help=say_(
                msg("As on the command line after --set: n_layers=48 ffn.bias=true. The form below writes them here.")
            ),
            placeholder="n_layers=48",
            **KEPT,
        )
    with place or st.container():
        source, document = _SOURCES[way]()
    st.session_state[_CHOSEN] = _read(source, document)


def write(changed: Document) -> None:
    """Make the changed fields those that make this of the source; for a callback, before the page is drawn anew."""
    from archcalc.spec.differences import differences
    from archcalc.spec.set_options import as_settings

    st.session_state["set"] = shlex.join(as_settings(differences(draft().base, changed)))


def _read(source: str, document: Document) -> Chosen | None:
    try:
        settings = _settings(st.session_state["set"])
        changed = changes(settings)
        st.session_state[_DRAFT] = Draft(source, document, override(document, changed))
    except ArchcalcError as error:
        tell(error)
        st.stop()
    try:
        return Chosen(load(document, changed), source, settings, document)
    except ArchcalcError as error:
        tell(error)
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
    name = st.selectbox(say()(msg("Preset")), names, index=names.index(DEFAULT), key="model", **KEPT)
    return name, document_of_preset(name)


@cache
def document_of_preset(name: str) -> Document:
    """A preset's whole document, shared: it is read and never written."""
    from archcalc.sources import document_of

    return document_of(name)


def _text() -> tuple[str, Document]:
    say_ = say()
    text = text_in_link(
        say_(msg("A spec as YAML, or a Hugging Face config.json")),
        "yaml",
        help=say_(msg("Ctrl+Enter reads it. `base: gpt3` with the fields that differ will do.")),
        height=220,
        max_chars=MAX_BYTES,
    )
    if not text.strip():
        st.info(say_(msg("Paste a spec above.")))
        st.stop()
    return _understood(text.encode("utf-8", "surrogateescape"), "text")


def _file() -> tuple[str, Document]:
    """The uploaded file. It is kept in memory, in this session, where the widget would lose it with the page."""
    say_, limit = say(), MAX_BYTES >> 20
    label = say_(msg("A spec (.yaml) or a config.json, up to {limit} MB", limit=limit))
    st.file_uploader(label, type=_FILE_TYPES, max_upload_size=limit, key="file", on_change=_uploaded)
    st.caption(say_(msg("A file that you upload is no part of the link: it stays in this session.")))
    held: tuple[str, bytes] | None = st.session_state.get(_UPLOADED)
    if held is None:
        st.info(say_(msg("Choose a file above.")))
        st.stop()
    name, data = held
    st.caption(f":material/description: {plain(name)}")
    return _understood(data, name)


def _uploaded() -> None:
    found = st.session_state["file"]
    st.session_state[_UPLOADED] = (found.name, found.getvalue()) if found else None


def _understood(data: bytes, called: str) -> tuple[str, Document]:
    """A visitor's text as a whole document; what is wrong with it stands right below it."""
    try:
        document = _whole(data)
        return f"./{load(document).name}.yaml", document
    except ArchcalcError as error:
        tell(error.within(called) if isinstance(error, InputError) else error)
        st.stop()


def _whole(data: bytes) -> Document:
    """The document of a text, its base followed: to a preset alone, for the server's files are not the visitor's."""
    from archcalc.sources import document_of

    found: Any = parse(data)
    if not isinstance(found, dict):
        raise InputError(
            msg("found {found}", found=shown(found)), allowed=msg("a mapping: a spec, or a Hugging Face config")
        )
    if isinstance(base := found.get("base"), str) and presets.path_of(base) is None:
        raise InputError(msg("found {found}", found=shown(base)), where="base", allowed=msg("the name of a preset"))
    return document_of(found)


_SOURCES: Final[dict[str, Callable[[], tuple[str, Document]]]] = {"preset": _preset, "text": _text, "file": _file}


def report_subject() -> ModelWorkload:
    """The chosen architecture as the report has it: its ledger, a workload and dtype at their defaults."""
    from archcalc.ledger.build import build
    from archcalc.spec.workload import workload

    spec = chosen().spec
    return ModelWorkload(spec, build(spec), workload(spec), "bf16")
