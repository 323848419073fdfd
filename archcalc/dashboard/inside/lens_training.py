"""Train a tuned lens on the page; its visitor keeps it until the session ends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakValueDictionary

import msgspec
import streamlit as st

from archcalc.dashboard import job
from archcalc.dashboard.downloads import download_button, download_row
from archcalc.dashboard.error_box import show_error
from archcalc.dashboard.inside.view import Subject
from archcalc.dashboard.running import canonical_models
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.dashboard.session import IN_SESSION, escape_markdown, say
from archcalc.errors import ArchcalcError, InputError
from archcalc.words import Bytes, msg

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import Lens

Sites = Literal["branches", "layers"]

# At most so many characters of a typed text, bytes of an uploaded one and of a lens, steps, and tokens of a row.
MAX_CHARACTERS: Final = 100_000
MAX_TEXT_BYTES: Final = 1 << 20
MAX_LENS_BYTES: Final = 128 << 20
MAX_STEPS, MAX_SEQ = 500, 128
# The visitor's lens and uploaded text, in the session.
KEPT, UPLOAD = "_lens_trained", "_lens_upload"

_SEED: Final = 0
# One visitor trains at a time; others wait.
_TURN: Final = Lock()
_TURN_SECONDS: Final = 0.2


class TrainingText(msgspec.Struct, frozen=True):
    """A text to train on: the name of its file, empty if it was typed, and how it is read."""

    name: str
    content: bytes
    steps: int
    seq: int


@dataclass(frozen=True, eq=False)
class VisitorLens:
    """A tuned lens of a model; `before` and `after` are KL(output‖site) on held-out text, averaged over sites."""

    lens: Lens
    choice: ModelChoice
    sites: Sites
    digest: str
    before: float
    after: float

    def reads(self, subject: Subject, sites: Sites) -> bool:
        """Return whether it is of this model and has maps for these sites."""
        return self.choice == subject.choice and self.sites in (sites, "branches")


# By their digests, which stand for lenses in the options of the view; visitors hold the lenses.
_LENSES: Final[WeakValueDictionary[str, VisitorLens]] = WeakValueDictionary()


def panel(subject: Subject, sites: Sites) -> VisitorLens | None:
    """Draw the controls of the training, and return the visitor's lens of this model and these sites, if any."""
    say_ = say()
    with st.expander(say_(msg("Train a tuned lens")), icon=":material/model_training:"):
        request = _controls(subject)
        if st.button(say_(msg("Train")), icon=":material/play_arrow:", key="lens_train"):
            _train_or_stop(subject, sites, request)
        elif st.session_state.get("stop_lens_train"):
            st.info(say_(msg("Stopped.")))
        kept: VisitorLens | None = st.session_state.get(KEPT)
        if kept is None or not kept.reads(subject, sites):
            return None
        _show(kept, subject)
    return kept


def lens_of(digest: str) -> Lens:
    """Return a lens by its digest. Raises InputError if the session that had it has ended."""
    found = _LENSES.get(digest)
    if found is None:
        raise InputError(
            msg("the trained lens is no longer kept"), where="lens", allowed=msg("one that is trained now")
        )
    return found.lens


def file_name(subject: Subject) -> str:
    """Return the name of the file that is downloaded."""
    return f"{subject.source.spec.name.replace('/', '_')}.tuned-lens.safetensors"


def _controls(subject: Subject) -> TrainingText:
    say_, n_ctx = say(), min(stack.model.n_ctx for stack in subject.source.spec.stacks)
    is_pair = subject.source.spec.family == "encoder-decoder"
    label = msg("A source, a tab and a target on each line") if is_pair else msg("Text to train on")
    text = st.text_area(
        say_(label),
        key="lens_train_text",
        height=120,
        max_chars=MAX_CHARACTERS,
        disabled=not subject.has_tokenizer,
        **IN_SESSION,
    )
    limit = MAX_TEXT_BYTES >> 20
    st.file_uploader(
        say_(msg("Or a file in UTF-8, up to {limit} MB", limit=limit)),
        type=["txt", "md", "tsv"],
        max_upload_size=limit,
        key="lens_train_file",
        on_change=_keep_upload,
    )
    name, content = st.session_state.get(UPLOAD) or ("", text.encode("utf-8", "surrogatepass"))
    if name:
        st.caption(f":material/description: {escape_markdown(name)}")
    left, right = st.columns(2)
    steps = left.slider(say_(msg("Steps")), 1, MAX_STEPS, 100, key="lens_train_steps", **IN_SESSION)
    longest = min(MAX_SEQ, n_ctx)
    label = msg("Tokens in a row")
    seq = right.slider(say_(label), 2, longest, min(64, longest), key="lens_train_seq") if longest > 2 else longest
    st.caption(say_(msg("The lens stays in this session. Any other control on this page ends the training.")))
    return TrainingText(name, content, int(steps), int(seq))


def _keep_upload() -> None:
    upload = st.session_state["lens_train_file"]
    st.session_state[UPLOAD] = (upload.name, upload.getvalue()) if upload else None


def _train_or_stop(subject: Subject, sites: Sites, request: TrainingText) -> None:
    """Train the lens that the visitor keeps, with a stop button; after an error the page ends."""
    progress = job.Progress()
    try:
        st.session_state[KEPT] = job.run(
            say()(msg("Training…")),
            lambda: train(subject, sites, request, progress),
            key="lens_train",
            progress=progress,
            ends=True,
        )
    except ArchcalcError as error:
        show_error(error)
        st.stop()


def train(subject: Subject, sites: Sites, request: TrainingText, progress: job.Progress) -> VisitorLens:
    """Return a lens trained on a text. Raises InputError for a text or a model beyond the limits, and as training does.

    It runs in a thread, draws nothing, and begins when no other lens is being trained.
    """
    while not _TURN.acquire(timeout=_TURN_SECONDS):
        progress(0)  # ends the work once it is stopped
    try:
        return _train(subject, sites, request, progress)
    finally:
        _TURN.release()


def _train(subject: Subject, sites: Sites, request: TrainingText, progress: job.Progress) -> VisitorLens:
    from archcalc.interp.lens.divergence import divergences
    from archcalc.interp.lens.lens_file import lens_bytes
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.texts import text_rows, with_origin
    from archcalc.interp.lens.training import train_lens
    from archcalc.text.tokenizer_training import decoded_text

    source, seq = subject.source, request.seq
    names = [site.name for site in lens_sites(source.spec, sites)]
    _check_sizes(request, source.spec.stacks[-1].model.d_model, names)
    text = decoded_text(request.content, request.name)
    rows = text_rows(source, text, seq, _SEED, request.name)
    seen, held_out = rows.split()
    model = canonical_models.load_model(subject.choice, rows.workload(seq))
    progress.start(request.steps)
    made = train_lens(model, seen.texts, seen.targets, sites=sites, steps=request.steps, seed=_SEED, progress=progress)
    lens = with_origin(made, source, request.name, text)
    before, after = (
        fmean(divergences(model, held_out.texts, names, one, targets=held_out.targets).tolist()) for one in (None, lens)
    )
    digest = hashlib.sha256(lens_bytes(lens)).hexdigest()
    return _LENSES.setdefault(digest, VisitorLens(lens, subject.choice, sites, digest, before, after))


def _check_sizes(request: TrainingText, width: int, names: Sequence[str]) -> None:
    if len(request.content) > MAX_TEXT_BYTES:
        raise InputError(
            msg("has {size}", size=Bytes(len(request.content))),
            file=request.name,
            allowed=msg("up to {size} on this page", size=Bytes(MAX_TEXT_BYTES)),
        )
    n_bytes = 4 * (len(names) - 1) * (width + 1) * width
    if n_bytes > MAX_LENS_BYTES:
        raise InputError(
            msg("the lens has {size}", size=Bytes(n_bytes)),
            where="sites",
            allowed=msg("up to {size} on this page", size=Bytes(MAX_LENS_BYTES)),
        )


def _show(kept: VisitorLens, subject: Subject) -> None:
    """Draw what the lens was trained on, how near it is, and its download."""
    from archcalc.interp.lens.lens_file import lens_bytes

    origin = kept.lens.origin
    text = msg(
        "Trained for {steps:,} steps on {n_tokens:,} tokens. KL to the output on held-out text, averaged over sites: "
        "{before} nats before, {after} nats now.",
        steps=origin["steps"],
        n_tokens=origin["n_tokens"],
        before=f"{kept.before:.4f}",
        after=f"{kept.after:.4f}",
    )
    st.markdown(escape_markdown(say()(text)))
    with download_row(say()(msg("Save the lens, for `archcalc lens --lens FILE`"))):
        download_button("safetensors", lambda: lens_bytes(kept.lens), file_name(subject), "application/octet-stream")
