"""The controls of the page Run: model, prompt, length, sampling."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard.models import runnable_models
from archcalc.dashboard.session import IN_URL, choice, say, text_in_url
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.sampling_options import Sampling
    from archcalc.run.loading.source import Quantize

PROMPT: Final = "In the beginning"
# The page keeps the logits of every token.
MAX_TOKENS: Final = 256
_QUANTIZE: Final = {
    "none": msg("fp32"),
    "int8": msg("8 bits"),
    "int4": msg("4 bits"),
}


class GenerationRequest(msgspec.Struct, frozen=True):
    """All settings of one generated text."""

    model: str
    quantize: Quantize | None
    prompt: str
    max_tokens: int
    seed: int
    sampling_options: dict[str, Any]

    @property
    def command(self) -> str:
        """Return the command that generates the same text."""
        words = ["archcalc generate", shlex.quote(source_argument(self.model)), f"--prompt {shlex.quote(self.prompt)}"]
        words.append(f"--max-tokens {self.max_tokens} --seed {self.seed}")
        words += [f"--{name.replace('_', '-')} {value}" for name, value in self.sampling_options.items()]
        return " ".join(words + ([f"--quantize {self.quantize}"] if self.quantize else []))

    @property
    def python(self) -> str:
        """Return the Python code that generates the same text."""
        more = {"max_tokens": self.max_tokens, "seed": self.seed, **self.sampling_options}
        if self.quantize:
            more["quantize"] = self.quantize
        arguments = ", ".join(f"{name}={value!r}" for name, value in more.items())
        call = f"archcalc.generate({source_argument(self.model)!r}, {self.prompt!r}, {arguments})"
        return f"import archcalc\n\nprint({call}.text)"


def choose_model() -> str:
    """Draw the choice of a model and return its name."""
    return str(
        st.selectbox(say()(msg("Model")), list(runnable_models()), index=_default_index(), key="run_model", **IN_URL)
    )


def draw_request(name: str) -> GenerationRequest:
    """Draw the controls and return their values; sampling options that change nothing are left out."""
    say_ = say()
    prompt = text_in_url(say_(msg("Prompt")), "run_prompt", PROMPT, height=90)
    left, middle, right = st.columns(3)
    with left:
        n = st.slider(say_(msg("Maximum tokens")), 1, MAX_TOKENS, 64, key="run_max_tokens", **IN_URL)
    with middle:
        seed = st.number_input(say_(msg("Seed")), 0, 2**31 - 1, 0, key="run_seed", **IN_URL)
    with right:
        label = say_(msg("Weights stored as"))
        dtype: Any = choice(st.segmented_control, label, _QUANTIZE, key="run_quantize")
    return GenerationRequest(name, None if dtype == "none" else dtype, prompt, int(n), int(seed), _sampling_options())


def sampling(request: GenerationRequest) -> Sampling:
    """Return the sampling of a request. Raise InputError if its options contradict each other."""
    from archcalc.run.decoding.sampling_options import Sampling

    return Sampling(**request.sampling_options)


def _sampling_options() -> dict[str, Any]:
    say_ = say()
    columns = st.columns(5)
    with columns[0]:
        options: dict[str, Any] = {
            "temperature": st.slider(
                say_(msg("Temperature")),
                0.0,
                2.0,
                0.8,
                0.05,
                key="run_temperature",
                help=say_(msg("Divides the logits; 0 takes the most probable token.")),
                **IN_URL,
            )
        }
    with columns[1]:
        options["top_k"] = st.number_input(
            say_(msg("Top-k")), 1, None, None, key="run_top_k", placeholder=say_(msg("off")), **IN_URL
        )
    with columns[2]:
        top_p = st.slider(say_(msg("Top-p")), 0.05, 1.0, 1.0, 0.05, key="run_top_p", **IN_URL)
        options["top_p"] = top_p if top_p < 1 else None
    with columns[3]:
        options["min_p"] = st.slider(say_(msg("Min-p")), 0.0, 1.0, 0.0, 0.01, key="run_min_p", **IN_URL) or None
    with columns[4]:
        penalty = st.slider(say_(msg("Repetition penalty")), 1.0, 2.0, 1.0, 0.05, key="run_penalty", **IN_URL)
        options["repetition_penalty"] = penalty if penalty > 1 else None
    return {name: value for name, value in options.items() if value is not None}


def source_argument(name: str) -> str:
    """Return the model as an argument of the command line: a path relative to the server's folder of models."""
    return name if runnable_models().get(name) == name else f"./{name}"


def _default_index() -> int:
    """Return the index of the preset tiny, which is trained; other presets with weights are worked examples."""
    names = list(runnable_models())
    return names.index("tiny") if "tiny" in names else 0
