"""What the visitor sets: the text to go on from, how long, and how the next token is drawn."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard.models import runnable
from archcalc.dashboard.session import KEPT, choice, say, text_in_link
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.sampling_options import Sampling
    from archcalc.run.loading.source import Quantize

PROMPT: Final = "In the beginning"
# The logits of so many tokens are kept for the page.
MOST_TOKENS: Final = 256
_QUANTIZE: Final = {
    "none": msg("fp32, as they are"),
    "int8": msg("8 bits"),
    "int4": msg("4 bits"),
}


class Asked(msgspec.Struct, frozen=True):
    """One text that is asked for; all that decides it."""

    model: str
    quantize: Quantize | None
    prompt: str
    max_tokens: int
    seed: int
    draw: dict[str, Any]

    @property
    def words(self) -> str:
        """The command line that writes the same."""
        told = ["archcalc generate", shlex.quote(source_of(self.model)), f"--prompt {shlex.quote(self.prompt)}"]
        told.append(f"--max-tokens {self.max_tokens} --seed {self.seed}")
        told += [f"--{name.replace('_', '-')} {value}" for name, value in self.draw.items()]
        return " ".join(told + ([f"--quantize {self.quantize}"] if self.quantize else []))

    @property
    def python(self) -> str:
        """The lines of Python that write the same."""
        more = {"max_tokens": self.max_tokens, "seed": self.seed, **self.draw}
        if self.quantize:
            more["quantize"] = self.quantize
        told = ", ".join(f"{name}={value!r}" for name, value in more.items())
        call = f"archcalc.generate({source_of(self.model)!r}, {self.prompt!r}, {told})"
        return f"import archcalc\n\nprint({call}.text)"


def model() -> str:
    """The model, of those that can be run."""
    return str(st.selectbox(say()(msg("Model")), list(runnable()), index=_first(), key="run_model", **KEPT))


def asked(name: str) -> Asked:
    """The text and its length; as `draw` the settings that `sampling` reads, but for those that change nothing."""
    say_ = say()
    prompt = text_in_link(say_(msg("Prompt")), "run_prompt", PROMPT, height=90)
    left, middle, right = st.columns(3)
    with left:
        n = st.slider(say_(msg("Tokens, at most")), 1, MOST_TOKENS, 64, key="run_max_tokens", **KEPT)
    with middle:
        seed = st.number_input(say_(msg("Seed")), 0, 2**31 - 1, 0, key="run_seed", **KEPT)
    with right:
        label = say_(msg("Matrices held in"))
        held: Any = choice(st.segmented_control, label, _QUANTIZE, key="run_quantize")
    return Asked(name, None if held == "none" else held, prompt, int(n), int(seed), _draw())


def sampling(asked: Asked) -> Sampling:
    """How the next token is drawn. Raises InputError for settings that contradict each other."""
    from archcalc.run.decoding.sampling_options import Sampling

    return Sampling(**asked.draw)


def _draw() -> dict[str, Any]:
    say_ = say()
    columns = st.columns(5)
    with columns[0]:
        found: dict[str, Any] = {
            "temperature": st.slider(
                say_(msg("Temperature")),
                0.0,
                2.0,
                0.8,
                0.05,
                key="run_temperature",
                help=say_(msg("Divides the logits; 0 takes the likeliest token.")),
                **KEPT,
            )
        }
    with columns[1]:
        found["top_k"] = st.number_input(
            say_(msg("Top-k: the likeliest k")), 1, None, None, key="run_top_k", placeholder=say_(msg("off")), **KEPT
        )
    with columns[2]:
        top_p = st.slider(say_(msg("Top-p: up to this sum")), 0.05, 1.0, 1.0, 0.05, key="run_top_p", **KEPT)
        found["top_p"] = top_p if top_p < 1 else None
    with columns[3]:
        found["min_p"] = (
            st.slider(say_(msg("Min-p: of the likeliest")), 0.0, 1.0, 0.0, 0.01, key="run_min_p", **KEPT) or None
        )
    with columns[4]:
        penalty = st.slider(say_(msg("Repetition penalty")), 1.0, 2.0, 1.0, 0.05, key="run_penalty", **KEPT)
        found["repetition_penalty"] = penalty if penalty > 1 else None
    return {name: value for name, value in found.items() if value is not None}


def source_of(name: str) -> str:
    """A model as other ways in are told it: what lies in the server's folder by its place there."""
    return name if runnable().get(name) == name else f"./{name}"


def _first() -> int:
    """A model that was trained, before those that were made for an example."""
    names = list(runnable())
    return names.index("tiny") if "tiny" in names else 0
