"""The page Inside: the tools that look into a running model, as views, and guided tours of them."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.dashboard import snippets
from archcalc.dashboard.error_box import show_error, show_errors
from archcalc.dashboard.inside import answers, files, tours
from archcalc.dashboard.inside.view import FIRST_MODEL, Subject, View
from archcalc.dashboard.inside.views import VIEWS
from archcalc.dashboard.running import model_choice
from archcalc.dashboard.session import IN_URL, choice, escape_markdown, say
from archcalc.errors import ArchcalcError
from archcalc.extras import require_running
from archcalc.words import msg

MAX_CHARACTERS: Final = 2000


def page() -> None:
    """Draw the tour, the model and its text, and the chosen view."""
    say_ = say()
    tours.show()
    names = {name: view.title for name, view in VIEWS.items()}
    label = say_(msg("View"))
    name = choice(st.segmented_control, label, names, key="inside_view", label_visibility="collapsed")
    view = VIEWS[name]
    st.markdown(escape_markdown(say_(view.about)))
    with show_errors():
        require_running()
        subject, options = _request(view)
        found = answers.answer_or_stop(name, view, subject, options)
        _show(name, view, subject, options, found)


def _request(view: View) -> tuple[Subject, Any]:
    """Draw the controls; return the model with its text, and the options of the view."""
    subject = Subject(model_choice.choose("inside", lambda name: name != FIRST_MODEL))
    try:
        # The example's text depends on the model, which an error may prevent from being opened.
        subject = _with_text(subject) if view.has_text else subject
        return subject, view.options(subject)
    except ArchcalcError as error:
        show_error(error)
        st.stop()


def _with_text(subject: Subject) -> Subject:
    say_, example = say(), subject.example.prompt
    left, right = st.columns([3, 2])
    prompt = left.text_input(
        say_(msg("Prompt")),
        key="inside_prompt",
        help=say_(msg("Left empty: an example.")),
        placeholder=example if subject.has_tokenizer else "",
        max_chars=MAX_CHARACTERS,
        **IN_URL,
    )
    ids = right.text_input(
        say_(msg("Or token ids")),
        key="inside_ids",
        help=say_(msg("As on the command line: 0,1,2")),
        placeholder="1,2,3",
        max_chars=MAX_CHARACTERS,
        **IN_URL,
    )
    return Subject(subject.choice, prompt, ids)


@st.fragment
def _show(name: str, view: View, subject: Subject, options: Any, found: Any) -> None:
    """Draw the view, its files and its code; as a fragment, it is redrawn without the rest of the page."""
    with show_errors():
        output = view.show(subject, options, found)
        st.divider()
        files.show(output, f"{subject.source.spec.name}.{name}")
        snippets.show(output.command, output.python)
