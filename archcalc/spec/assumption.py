"""What a reader assumes about a file, as data that is printed in the language of the reader."""

from typing import Final, Literal

from archcalc.spec.base import Part
from archcalc.words import Message, msg

Assumed = Literal[
    "class", "default", "model_type", "twin", "text_model", "dtype", "method", "setting", "no_global_tokens"
]

_TEXTS: Final[dict[Assumed, Message]] = {
    "class": msg("the class {value}"),
    "default": msg("the default of {value}, which the file may mean by {of}"),
    "model_type": msg("model_type {value}, whose class is {of}"),
    "twin": msg("model_type {value}, which has the layers of {of}"),
    "text_model": msg("the text model alone; the engine transformers of report counts all of {of}"),
    "dtype": msg("weights in {value}, because of {of}"),
    "method": msg("bytes without quantization, because the quantization method {of} is not known"),
    "setting": msg("bytes without quantization, because {value} with {of} is not known"),
    "no_global_tokens": msg("no global tokens, which follow from the text's separators"),
}


class Assumption(Part, frozen=True, kw_only=True):
    """A value that a file does not state; `of` is what the file has instead.

    >>> str(Assumption(kind="class", value="GPT2LMHeadModel"))
    'the class GPT2LMHeadModel'
    """

    kind: Assumed
    value: str = ""
    of: str = ""

    @property
    def data(self) -> dict[str, str]:
        """Return the assumption as plain data, as documents have it."""
        return {"kind": self.kind, "value": self.value, "of": self.of}

    @property
    def message(self) -> Message:
        """Return the assumption as a message."""
        return _TEXTS[self.kind].fill(value=self.value, of=self.of)

    def __str__(self) -> str:
        return str(self.message)
