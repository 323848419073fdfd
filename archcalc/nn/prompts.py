"""Learned keys and values of a whole stack: their tensors. They are counted and not run."""

from __future__ import annotations

from torch import nn

from archcalc.errors import InputError
from archcalc.nn.linear import EmbeddingTable, Linear
from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Prompts as PromptsPart
from archcalc.spec.layer import Stack
from archcalc.spec.prompts import prompted
from archcalc.words import msg


class ArmPrompts(nn.Module):
    """A table and two dense layers, which make the keys and values of one arm in every layer (Tang et al. 2022)."""

    def __init__(self, part: PromptsPart, attention: Attention, n_layers: int, model: Spec) -> None:
        super().__init__()
        assert attention.n_kv_heads is not None, "the spec is resolved"
        assert attention.d_head is not None, "the spec is resolved"
        self.table = EmbeddingTable(part.n_prompt, model.d_model)
        self.up = Linear(model.d_model, part.d_prompt)
        self.down = Linear(part.d_prompt, n_layers * 2 * attention.n_kv_heads * attention.d_head)


def prompts(stack: Stack, model: Spec) -> nn.ModuleDict | None:
    """Return the prompts of each arm that reads some; None for a stack without."""
    if stack.prompts is None:
        return None
    layers = layers_of(stack)
    arms = prompted(layers[0]).items()
    return nn.ModuleDict({name: ArmPrompts(stack.prompts, part, len(layers), model) for name, part in arms})


def refuse_prompts(modules: nn.ModuleDict | None, prefix: str) -> None:
    """Raise InputError for a stack with prompts."""
    if modules is not None:
        raise InputError(msg("learned prompts are counted, not run"), where=f"{prefix}prompts", allowed="null")
