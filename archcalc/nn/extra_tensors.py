"""Tensors that a model has and no logits use."""

from __future__ import annotations

import torch
from torch import nn

from archcalc.spec import Spec
from archcalc.spec import model as spec
from archcalc.spec.branches import parts
from archcalc.spec.groups import layers_of


class ExtraTensors(nn.Module):
    """Tensors by name; a dot in a name is a submodule."""

    def __init__(self, parts: tuple[spec.Extra, ...], model: Spec) -> None:
        super().__init__()
        for part in parts:
            *path, name = part.name.split(".")
            parent = self._parent(path)
            tensor = torch.empty([_size(axis, model) for axis in part.axes])
            if part.storage == "buffer":
                parent.register_buffer(name, tensor)
            else:
                parent.register_parameter(name, nn.Parameter(tensor, requires_grad=part.storage == "trainable"))

    def _parent(self, path: list[str]) -> nn.Module:
        parent: nn.Module = self
        for name in path:
            if not hasattr(parent, name):
                parent.add_module(name, nn.Module())
            parent = parent.get_submodule(name)
        return parent


def _size(axis: int | spec.Axis, model: Spec) -> int:
    if not isinstance(axis, str):
        return axis
    if axis == "twice_d_model":
        return 2 * model.d_model
    if axis == "n_layers":
        return sum(len(layers_of(model_stack.stack)) for model_stack in model.stacks)
    if axis == "all_heads":
        found = (parts(layer).get("attn") for model_stack in model.stacks for layer in layers_of(model_stack.stack))
        return sum(part.n_heads for part in found if part is not None and "n_heads" in part.__struct_fields__)
    size: int = getattr(model, axis)
    return size
