"""Generate a text for the page, streaming, and keep it with its logits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from archcalc.dashboard.running import loaded_models
from archcalc.dashboard.running.controls import GenerationRequest, sampling
from archcalc.dashboard.session import say
from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from torch import Tensor

    from archcalc.run.decoding.completion import Completion
    from archcalc.run.decoding.generation import Generation

_KEY: Final = "_run_text"
# Redrawing the page for every token would slow down a fast model.
_EVERY_SECONDS: Final = 0.04


@dataclass
class GeneratedText:
    """A generated text, or its start while it is generated; `logits` has a tensor [V] for each token."""

    request: GenerationRequest
    generation: Generation
    logits: list[Tensor] = field(default_factory=list)
    is_done: bool = False

    @property
    def completion(self) -> Completion:
        """Return the text and its ids so far."""
        return self.generation.completions[0]


def last_text() -> GeneratedText | None:
    """Return the last text of this visitor, if there is one."""
    text: GeneratedText | None = st.session_state.get(_KEY)
    return text


def generate(request: GenerationRequest) -> None:
    """Generate the text, streaming. The stop button, like any other change of the page, ends it.

    Raises as loading and running do; the previous text stays then.
    """
    text = _start(request)
    st.session_state[_KEY] = text
    st.button(say()(msg("Stop")), icon=":material/stop_circle:", key="run_stop")
    placeholder, last_update = st.empty(), 0.0
    for _ in text.generation:
        now = time.monotonic()
        if now - last_update >= _EVERY_SECONDS:
            show_text(text, placeholder)
            last_update = now
    text.is_done = True
    st.rerun()


def show_text(text: GeneratedText, placeholder: Any) -> None:
    """Show prompt and continuation as plain text, neither Markdown nor HTML."""
    placeholder.code(text.request.prompt + text.completion.text, language=None, wrap_lines=True)


def _start(request: GenerationRequest) -> GeneratedText:
    source, settings = loaded_models.open_model(request.model), sampling(request)
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=request.model, allowed=msg("a model that has one"))
    from archcalc.run.decoding.generation import Generation, generation_workload

    ids = [source.tokenizer.encode(request.prompt)]
    model = loaded_models.load_model(
        request.model, request.quantize, generation_workload(source.spec, ids, request.max_tokens)
    )
    logits: list[Tensor] = []
    generation = Generation(
        model,
        ids,
        max_tokens=request.max_tokens,
        sampling=settings,
        seed=request.seed,
        on_logits=lambda logits_BV: logits.append(logits_BV[0].float().cpu().clone()),
    )
    return GeneratedText(request, generation, logits)
