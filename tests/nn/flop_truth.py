"""FLOPs as torch counts them on our modules on meta, module by module: what a ledger's figures are held against.

Names are the modules' own, without the root's; what a module computes itself stands under its name alone, what the
modules within it compute under theirs. Attention's two products are thus the attention's own (`layers.0.attn`), an
expert's bmm its matrix' own (`layers.0.ffn.experts.up`), the logits the head's (`head`). Layers that share weights
share a name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, flop_registry, shape_wrapper
from torch.utils.hooks import RemovableHandle

from archcalc.nn import build
from archcalc.spec import Spec


def conv_backward(grad_shape: Any, x_shape: Any, w_shape: Any, *args: Any, **how: Any) -> int:
    """A convolution's gradients: each has the products of the forward pass.

    (torch's formula leaves groups out: for the weight it counts as if each channel met each other.)
    """
    return 2 * conv_flop_count(x_shape, w_shape, grad_shape)


# Formulas that replace torch's.
CONVOLUTION = {torch.ops.aten.convolution_backward: conv_backward}
_FORMULAS = flop_registry | {operation: shape_wrapper(formula) for operation, formula in CONVOLUTION.items()}


@dataclass(frozen=True)
class Flops:
    """`total`, and the same by the module that spends it; modules that spend none are left out."""

    total: int
    by_module: dict[str, int]


def prefill(spec: Spec, batch: int, seq: int, source: int | None = None) -> Flops:
    """A forward pass over `seq` tokens, and over `source` (as many, if left out) of an encoder-decoder's source."""
    model, ids = build(spec), _inputs(spec, batch, seq, source)
    with torch.no_grad():
        return counted(model, lambda: model(*ids))


def decode(spec: Spec, batch: int, seq: int, past: int, source: int | None = None) -> Flops:
    """`seq` new tokens after `past` that a cache holds, the source read already (past + seq of it, if left out)."""
    model, crosses = build(spec), spec.family == "encoder-decoder"
    n_source = (past + seq if source is None else source) if crosses else None
    cache = model.new_cache(batch, past + seq, **({"source": n_source} if crosses else {}))
    cache.past, cache.n_source = past + cache.n_lead, n_source or 0
    ids = _ids(batch, seq)
    return counted(model, lambda: model(None, ids, cache=cache) if crosses else model(ids, cache=cache))


def backward(spec: Spec, batch: int, seq: int, source: int | None = None) -> Flops:
    """The backward pass alone of a sum over all that `prefill` gives."""
    model, ids = build(spec), _inputs(spec, batch, seq, source)
    with _Running(model) as running:
        loss = model(*ids).float().sum()
    return _counted(loss.backward, lambda: running.when(torch._C._current_autograd_node()))


def counted(model: nn.Module, call: Callable[[], object]) -> Flops:
    """What a call of the model spends, forward."""
    with _Running(model) as running:
        return _counted(call, lambda: running.now)


def _counted(call: Callable[[], object], running: Callable[[], str]) -> Flops:
    """The total as torch's counter has it, and every matmul by the module that is running."""
    with FlopCounterMode(display=False, custom_mapping=CONVOLUTION) as mode, _Counter(running) as found:
        call()
    assert found.by_module.total() == mode.get_total_flops()
    return Flops(mode.get_total_flops(), dict(found.by_module))


class _Running:
    """The innermost module that runs, or ran when a node of the graph was made: autograd numbers those in turn.

    (The counter's own names fail in a backward pass, and for a module that is called before the one that holds it.)
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.calls = model, [""]
        self.starts, self.names = [0], [""]

    def __enter__(self) -> Self:
        self.hooks = [hook for name, module in self.model.named_modules() for hook in self._hooks(name, module)]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    @property
    def now(self) -> str:
        return self.calls[-1]

    def when(self, node: torch.autograd.graph.Node) -> str:
        return self.names[bisect_right(self.starts, node._sequence_nr()) - 1]

    def _hooks(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        return [
            module.register_forward_pre_hook(lambda *_: self._moved([*self.calls, name])),
            module.register_forward_hook(lambda *_: self._moved(self.calls[:-1])),
        ]

    def _moved(self, calls: list[str]) -> None:
        """From the next node on, another module is the innermost that runs."""
        self.calls = calls
        self.starts.append(torch._C._autograd._get_sequence_nr())
        self.names.append(self.now)


class _Counter(TorchDispatchMode):
    """Counts by torch's formulas, under the name of what is running."""

    def __init__(self, running: Callable[[], str]) -> None:
        super().__init__()
        self.running, self.by_module = running, Counter[str]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := _FORMULAS.get(func._overloadpacket):
            self.by_module[self.running()] += count(*args, **(kwargs or {}), out_val=out)
        return out


def _inputs(spec: Spec, batch: int, seq: int, source: int | None) -> list[Tensor]:
    target = _ids(batch, seq)
    return [_ids(batch, source or seq), target] if spec.family == "encoder-decoder" else [target]


def _ids(batch: int, seq: int) -> Tensor:
    return torch.empty(batch, seq, dtype=torch.long, device="meta")
