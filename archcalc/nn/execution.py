"""Set how a model's forward pass is executed; results do not depend on it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archcalc.nn.arm_cache import Pair
from archcalc.nn.attention_context import LayerContext
from archcalc.spec.execution import Execution


def set_execution(model: nn.Module, execution: Execution) -> None:
    """Set kernels and recomputation of every part of a model."""
    for module in model.modules():
        if hasattr(module, "execution"):
            module.execution = execution  # type: ignore[assignment]


def run_layer(block: nn.Module, x_BTD: Tensor, context: LayerContext, execution: Execution) -> Tensor:
    """Return a layer's states [B, T, D]; with full recomputation, training saves its inputs and recomputes the rest.

    Keys and values that it reads from an earlier layer are inputs, those that it lends are outputs.
    """
    y_BTD: Tensor
    if execution.recompute != "full" or not block.training:
        y_BTD = block(x_BTD, context)
        return y_BTD

    def run(
        x_BTD: Tensor, states_BSD: Tensor | None, table_RD: Tensor | None, *flat: Tensor
    ) -> tuple[Tensor, dict[str, Pair | None]]:
        shared_pairs = dict(zip(context.shared_pairs, zip(flat[::2], flat[1::2], strict=True), strict=True))
        fresh_context = context.without_memo(states_BSD, table_RD, shared_pairs)
        return block(x_BTD, fresh_context), fresh_context.lent_pairs

    states_BSD, flat = (
        context.source and context.source.states,
        [x for pair in context.shared_pairs.values() for x in pair],
    )
    table_RD = context.own.distance_table
    y_BTD, lent_pairs = checkpoint(run, x_BTD, states_BSD, table_RD, *flat, use_reentrant=False)
    context.lent_pairs.update(lent_pairs)
    return y_BTD
