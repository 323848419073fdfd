"""What a view of the page Inside is: controls, a computation, a drawing, and what can be saved and copied."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from archcalc.dashboard.inside.examples import Example, example
from archcalc.dashboard.job import Progress
from archcalc.dashboard.running import canonical_models
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.render.page import Page
from archcalc.results import Result
from archcalc.run.decoding.prompts import one_prompt
from archcalc.words import Message, Translator

if TYPE_CHECKING:
    from archcalc.interp.text_input import TextInput
    from archcalc.run.loading.source import ModelSource
    from archcalc.spec.workload import Workload

# The trained model that the page begins with.
FIRST_MODEL: Final = "tiny"


class Subject(msgspec.Struct, frozen=True, dict=True):
    """The model, and the prompt or the ids as they were typed; without either, the prompt is that of the example."""

    choice: ModelChoice
    prompt: str = ""
    ids: str = ""

    @cached_property
    def source(self) -> ModelSource:
        """Return the model without its weights."""
        return canonical_models.open_model(self.choice)

    @property
    def has_tokenizer(self) -> bool:
        """Return whether texts are texts; else they are token ids."""
        return self.source.tokenizer is not None

    @property
    def example(self) -> Example:
        """Return the texts of fields that are left empty."""
        name = "" if self.choice.is_random else self.choice.name
        return example(name, has_tokenizer=self.has_tokenizer)

    @property
    def is_example(self) -> bool:
        """Return whether neither a prompt nor ids were typed."""
        return not self.prompt and not self.ids

    @property
    def text(self) -> tuple[str | None, str | None]:
        """Return the prompt and the ids as on the command line."""
        if not self.is_example:
            return self.prompt or None, self.ids or None
        return (self.example.prompt, None) if self.has_tokenizer else (None, self.example.prompt)

    @cached_property
    def inputs(self) -> TextInput:
        """Return the ids of the text and its workload. Raises InputError for a text that the model cannot read."""
        from archcalc.interp.text_input import text_input

        return text_input(self.source, one_prompt(self.source, *self.text))

    def model(self, work: Workload | None = None) -> Any:
        """Return the module in memory. Raises TooLargeError, before it is loaded, if weights and work do not fit."""
        return canonical_models.load_model(self.choice, work or self.inputs.work)

    def ids_of(self, text: str) -> list[int]:
        """Return the token ids of a text; of a model without a tokenizer, the ids that it lists."""
        return one_prompt(self.source, *((text, None) if self.has_tokenizer else (None, text)))

    def command(self, tool: str, *options: str, has_text: bool = True) -> str:
        """Return the command line of a tool with these options."""
        prompt, ids = self.text
        text = f"--prompt {shlex.quote(prompt)}" if prompt is not None else f"--ids {shlex.quote(ids or '')}"
        words = ["archcalc", tool, *self.choice.arguments, *([text] if has_text else []), *options]
        return " ".join(word for word in words if word)

    def option(self, name: str, text: str) -> str:
        """Return an option whose value is a text; of a model without a tokenizer, its variant that takes ids."""
        return f"--{name}{'' if self.has_tokenizer else '-ids'} {shlex.quote(text)}"

    def python(self, *lines: str) -> str:
        """Return lines of Python, after those that load the model."""
        return "\n".join(["import archcalc", "", f"model = {self.choice.python}", *lines])


@dataclass(frozen=True)
class Output:
    """What a view has drawn: the result as on the command line, and the lines that give it.

    `html` returns the page of the command line in a language; None for one that is made of tables and texts alone.
    """

    result: Result
    page: Callable[[], Page]
    command: str
    python: str
    html: Callable[[Translator], str] | None = None


@dataclass(frozen=True)
class View:
    """A view: `options` draws its controls, `compute` returns what it shows, and `show` draws that.

    What `options` returns is hashable. `compute` runs in a thread and draws nothing.
    """

    title: Message
    about: Message
    options: Callable[[Subject], Any]
    compute: Callable[[Subject, Any, Progress], Any]
    show: Callable[[Subject, Any, Any], Output]
    has_text: bool = True
