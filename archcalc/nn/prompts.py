"""Learned keys and values of a whole stack, which its attentions read before all others.

Axes: P prompts, D model, L layers, K kv heads, H head width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from archcalc.nn.activation import ACTIVATIONS
from archcalc.nn.arm_cache import Pair
from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.execution import Execution
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Prompts as PromptsPart
from archcalc.spec.layer import Stack
from archcalc.spec.prompts import prompted


class ArmPrompts(nn.Module):
    """A table and two dense layers, which make the keys and values of one arm in every layer (Tang et al. 2022)."""

    def __init__(self, part: PromptsPart, attention: Attention, n_layers: int, model: Spec) -> None:
        super().__init__()
        assert attention.n_kv_heads is not None, "the spec is resolved"
        assert attention.d_head is not None, "the spec is resolved"
        self.table = EmbeddingTable(part.n_prompt, model.d_model)
        self.up = Linear(model.d_model, part.d_prompt)
        self.down = Linear(part.d_prompt, n_layers * 2 * attention.n_kv_heads * attention.d_head)
        self.n_layers, self.d_head, self.dropout = n_layers, attention.d_head, model.dropout.residual
        self.execution = Execution()

    def forward(self) -> list[Pair]:
        """Return keys and values [K, P, H] of each layer."""
        rows_P = torch.arange(self.table.num_embeddings, device=self.table.weight.device)
        x_PZ = self.down(ACTIVATIONS["gelu"](self.up(self.table(rows_P))))
        x_PZ = F.dropout(x_PZ, self.dropout, self.training and self.execution.dropout)
        x_LPKH = x_PZ.view(len(x_PZ), 2 * self.n_layers, -1, self.d_head).permute(1, 2, 0, 3)
        return list(zip(x_LPKH[::2], x_LPKH[1::2], strict=True))


def prompts(stack: Stack, model: Spec) -> nn.ModuleDict | None:
    """Return the prompts of each arm that reads some; None for a stack without."""
    if stack.prompts is None:
        return None
    layers = layers_of(stack)
    arms = prompted(layers[0]).items()
    return nn.ModuleDict({name: ArmPrompts(stack.prompts, part, len(layers), model) for name, part in arms})


def prompts_by_layer(modules: nn.ModuleDict | None, n_layers: int) -> list[Mapping[str, Pair]]:
    """Return the keys and values of each layer by arm; nothing without prompts."""
    if modules is None:
        return [{}] * n_layers
    by_arm: dict[str, list[Pair]] = {name: arm() for name, arm in modules.items()}
    return [dict(zip(by_arm, pairs, strict=True)) for pairs in zip(*by_arm.values(), strict=True)]
