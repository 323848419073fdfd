"""Set how a model's forward pass is executed; results do not depend on it."""

from __future__ import annotations

from itertools import islice

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archcalc.nn.attention_context import LayerContext, Lent
from archcalc.spec.execution import Execution


def set_execution(model: nn.Module, execution: Execution) -> None:
    """Set kernels and recomputation of every part of a model."""
    for module in model.modules():
        if hasattr(module, "execution"):
            module.execution = execution  # type: ignore[assignment]


def run_layer(block: nn.Module, x_BTD: Tensor, context: LayerContext, execution: Execution) -> Tensor:
    """Return a layer's states [B, T, D]; with full recomputation, training saves its inputs and recomputes the rest.

    Tensors that it reads from an earlier layer or a prompt are inputs, those that it lends are outputs.
    """
    y_BTD: Tensor
    if execution.recompute != "full" or not block.training:
        y_BTD = block(x_BTD, context)
        return y_BTD

    def run(
        x_BTD: Tensor,
        states_BSD: Tensor | None,
        table_RD: Tensor | None,
        per_layer_BTW: Tensor | None,
        embedded_BTD: Tensor | None,
        *flat: Tensor,
    ) -> tuple[Tensor, dict[str, Lent | None]]:
        inputs = iter(flat)
        borrowed = {name: tuple(islice(inputs, len(tensors))) for name, tensors in context.borrowed.items()}
        prompts = dict(zip(context.prompts, zip(inputs, inputs, strict=True), strict=True))
        fresh_context = context.without_memo(states_BSD, table_RD, borrowed, prompts, per_layer_BTW, embedded_BTD)
        return block(x_BTD, fresh_context), fresh_context.lent

    states_BSD, table_RD = context.source and context.source.states, context.own.distance_table
    flat = [x for tensors in (*context.borrowed.values(), *context.prompts.values()) for x in tensors]
    read = states_BSD, table_RD, context.per_layer, context.embedded
    y_BTD, lent = checkpoint(run, x_BTD, *read, *flat, use_reentrant=False)
    context.lent.update(lent)
    return y_BTD
