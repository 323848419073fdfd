"""A text while it is written, and what is kept of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from archcalc.dashboard.running import held
from archcalc.dashboard.running.controls import Asked, sampling
from archcalc.dashboard.session import say
from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from torch import Tensor

    from archcalc.run.decoding.completion import Completion
    from archcalc.run.decoding.generation import Generation

_KEY: Final = "_run_written"
# A page that is redrawn for every token of a fast model would be what takes the time.
_EVERY_SECONDS: Final = 0.04


@dataclass
class Written:
    """What was asked for and what has come: `made` is the run itself, `logits` [V] what each token was chosen from."""

    asked: Asked
    made: Generation
    logits: list[Tensor] = field(default_factory=list)
    is_done: bool = False

    @property
    def completion(self) -> Completion:
        """The text and ids so far."""
        return self.made.completions[0]


def written() -> Written | None:
    """The visitor's last text, if there is one."""
    found: Written | None = st.session_state.get(_KEY)
    return found


def write(asked: Asked) -> None:
    """Write the text, streaming. Stop, as any other change of the page, ends it where it is.

    Raises what loading and running raise; what was written before stays then.
    """
    begun = _begun(asked)
    st.session_state[_KEY] = begun
    st.button(say()(msg("Stop")), icon=":material/stop_circle:", key="run_stop")
    place, shown = st.empty(), 0.0
    for _ in begun.made:
        now = time.monotonic()
        if now - shown >= _EVERY_SECONDS:
            text(begun, place)
            shown = now
    begun.is_done = True
    st.rerun()


def text(found: Written, place: Any) -> None:
    """Prompt and continuation, as they are: nothing of it is read as Markdown or HTML."""
    place.code(found.asked.prompt + found.completion.text, language=None, wrap_lines=True)


def _begun(asked: Asked) -> Written:
    opened, drawn = held.opened(asked.model), sampling(asked)
    if opened.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=asked.model, allowed=msg("a model that has one"))
    from archcalc.run.decoding.generation import Generation, generation_workload

    ids = [opened.tokenizer.encode(asked.prompt)]
    ready = held.ready(asked.model, asked.quantize, generation_workload(opened.spec, ids, asked.max_tokens))
    logits: list[Tensor] = []
    made = Generation(
        ready,
        ids,
        max_tokens=asked.max_tokens,
        sampling=drawn,
        seed=asked.seed,
        on_logits=lambda logits_BV: logits.append(logits_BV[0].float().cpu().clone()),
    )
    return Written(asked, made, logits)
