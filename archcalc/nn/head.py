"""Logits of the last states.

Axes: B batch, T tokens, D model, W the width that the matrix reads, O logits: V of the vocabulary, or labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.activation import ACTIVATIONS
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.pooler import PICKS, Pick, all_tokens
from archcalc.nn.softmax import softcap
from archcalc.spec import Spec
from archcalc.spec import model as spec


class Head(nn.Module):
    """A matrix [O, W], its own or the token table; before it a transform (BERT) or a projection (OPT-350m).

    Further `columns` [O, D − W] of its own may complete it (MobileBERT). The logits of padding rows are left out.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    bias_buffer: Tensor | None
    project: Linear | None
    transform: Linear | None
    transform_out: Linear | None
    columns: Linear | None

    def __init__(self, part: spec.Head, model: Spec) -> None:
        super().__init__()
        self.part, self.first_row = part, 0  # first_row: of this process's part of the matrix
        self.n_out = part.labels.n_labels if part.labels else model.vocab_size
        factor = model.embedding.factor if part.tied else None
        narrow_width = factor.d_embed if factor else part.d_in
        self.width = narrow_width or model.d_model
        self.columns = None
        if part.own_columns:
            self.columns = Linear(model.d_model - self.width, self.n_out, bias=False)
            narrow_width = None  # no projection comes before the matrix
        width = narrow_width or model.d_model
        self.project = Linear(model.d_model, width, bias=False) if narrow_width and not part.transform else None
        transform = part.transform
        self.transform = Linear(model.d_model, transform.d_hidden or width, bias=transform.bias) if transform else None
        self.transform_out = (
            Linear(transform.d_hidden, width, transform.bias) if transform and transform.d_hidden else None
        )
        self.norm = norm(transform.norm, width) if transform and transform.norm else None
        self.weight = None if part.tied else nn.Parameter(torch.empty(self.n_out, self.width))
        self.bias = nn.Parameter(torch.empty(self.n_out)) if part.bias else None
        self.register_buffer("bias_buffer", torch.empty(1, self.n_out) if part.bias_buffer else None)
        pick = PICKS[part.labels.reads] if part.labels else all_tokens
        picks_logits = part.labels is not None and part.labels.picks == "after"
        self.pick_before: Pick = all_tokens if picks_logits else pick
        self.pick_after: Pick = pick if picks_logits else all_tokens

    def forward(self, x_BTD: Tensor, tokens_VW: Tensor, padding_BT: Tensor | None = None) -> Tensor:
        """Return logits [B, T, O] of states [B, T, D], or [B, 1, O] if the text has one state.

        `tokens_VW` is the token table, used if the head is tied.
        """
        x_BTD = self.pick_before(x_BTD, padding_BT)
        x_BTD = x_BTD if self.part.scale is None else x_BTD * self.part.scale
        x_BTW = self._project_down(x_BTD)
        logits_BTO = self.scores(x_BTW[..., : self.width], tokens_VW)
        logits_BTO = logits_BTO if self.columns is None else logits_BTO + self.columns(x_BTW[..., self.width :])
        if self.bias_buffer is not None:
            last = self.first_row + logits_BTO.shape[-1]
            logits_BTO = logits_BTO + self.bias_buffer[:, self.first_row : last]
        logits_BTO = logits_BTO if self.part.softcap is None else softcap(logits_BTO, self.part.softcap)
        logits_BTO = logits_BTO if self.part.n_scored is None else logits_BTO[..., : self.part.n_scored]
        return self.pick_after(logits_BTO, padding_BT)

    def scores(self, x_BTW: Tensor, tokens_VW: Tensor) -> Tensor:
        """Return the matrix's product [B, T, O] with projected states, plus its bias."""
        return F.linear(x_BTW, tokens_VW if self.weight is None else self.weight, self.bias)

    def _project_down(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, W]: transformed, projected, or unchanged."""
        if self.project is not None:
            x_BTW: Tensor = self.project(x_BTD)
            return x_BTW
        if self.part.transform is None or self.transform is None:
            return x_BTD
        act = ACTIVATIONS[self.part.transform.activation]
        y_BTW: Tensor = act(self.transform(x_BTD))
        y_BTW = y_BTW if self.transform_out is None else act(self.transform_out(y_BTW))
        return y_BTW if self.norm is None else self.norm(y_BTW)
