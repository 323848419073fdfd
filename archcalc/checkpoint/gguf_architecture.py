"""Read the architecture and the tensor names of a GGUF file."""

from __future__ import annotations

from pathlib import Path

from archcalc.errors import InputError
from archcalc.formats.gguf_file import Header
from archcalc.hf.gguf import document_of, read_header, tensors_of
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap
from archcalc.spec.document import Document, decode


def read_gguf(path: Path) -> tuple[Document, Header, Spelling, TensorMap]:
    """Return a file's spec document, header, spelling and tensor map. Raise InputError as these do."""
    header = read_header(path)
    try:
        document = document_of(header)
        tensors, spelling = tensors_of(header, decode(document))
        return document, header, spelling, tensors
    except InputError as error:
        raise error.within(str(path)) from None
