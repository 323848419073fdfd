"""The input of a pass that is looked into, checked before weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass

from archcalc.interp.checks import check_ids
from archcalc.run.decoding.prompts import DecoderText, decoder_ids
from archcalc.run.loading.source import ModelSource
from archcalc.spec.workload import Workload


@dataclass(frozen=True)
class TextInput:
    """The ids of the text, those that the decoder of an encoder-decoder reads, and the workload of the pass."""

    ids: list[int]
    target: list[int] | None
    work: Workload

    @property
    def texts(self) -> list[list[int]]:
        """Return the ids of the text, and of the target if there is one."""
        return [self.ids] if self.target is None else [self.ids, self.target]


def text_input(source: ModelSource, ids: list[int], target: DecoderText | None = None) -> TextInput:
    """Return the input of a pass over these ids. For an encoder-decoder they are the source, and `target` the target.

    Raises InputError for no ids, too many, ids outside the vocabulary, and as `decoder_ids`.
    """
    target_ids = decoder_ids(source, target)
    check_ids(source.spec.stacks[0], ids, "prompt")
    if target_ids is None:
        return TextInput(ids, None, Workload(batch=1, seq=len(ids)))
    check_ids(source.spec.stacks[-1], target_ids, "target")
    return TextInput(ids, target_ids, Workload(batch=1, seq=len(target_ids), source_seq=len(ids)))
