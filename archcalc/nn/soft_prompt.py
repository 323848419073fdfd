"""The soft prompt of a stack: learned states before those of the text.

Axes: B batch, T tokens of the text, R rows of the prompt and tokens of the text, D model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.nn.embedding import Embedding
from archcalc.nn.linear import EmbeddingTable
from archcalc.spec import Spec
from archcalc.spec.embedding import Embedding as EmbeddingPart
from archcalc.spec.layer import SoftPrompt as SoftPromptPart
from archcalc.spec.soft_prompt import SEGMENTS, segment_table


class SoftPrompt(EmbeddingTable):
    """The table of the rows of soft prompts [rows, D], of which a text reads some."""

    def __init__(self, part: SoftPromptPart, model: Spec) -> None:
        super().__init__(part.n_rows, model.d_model)
        self.part, self.n_tokens = part, part.n_tokens
        self.has_segments = _has_segments(model.embedding)

    def before(self, x_BTD: Tensor, embed: Embedding) -> Tensor:
        """Return the states of the prompt, then those of the text's tokens: [B, R, D]."""
        first, last = self.part.first, self.part.first + self.n_tokens
        rows_PD = self.weight[first:last].to(x_BTD.dtype)
        if self.has_segments:
            rows_PD = rows_PD + embed.tables[SEGMENTS].weight[self.part.segment].to(x_BTD.dtype)  # type: ignore[index]
        return torch.cat((rows_PD.expand(len(x_BTD), -1, -1), x_BTD), 1)

    def text(self, x_BRD: Tensor) -> Tensor:
        """Return a copy of the states of the text's tokens [B, T, D]."""
        return x_BRD[:, self.n_tokens :].clone(memory_format=torch.contiguous_format)

    def with_padding(self, padding_BT: Tensor | None) -> Tensor | None:
        """Return the padding of the prompt, which is none, and of the text."""
        return None if padding_BT is None else F.pad(padding_BT, (self.n_tokens, 0), value=False)


def _has_segments(part: EmbeddingPart) -> bool:
    return segment_table(part) is not None
