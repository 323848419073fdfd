"""What autograd keeps of a forward pass of our modules: what a ledger's saved activations are held against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from archcalc.nn import build
from archcalc.run.train.step_memory import to_fake_cpu
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Kept:
    """A storage that is kept: the module that ran when it was first kept, its first tensor's shape, its bytes."""

    module: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    nbytes: int


def kept(spec: Spec, work: Workload, execution: Execution, *, real: bool = False) -> list[Kept]:
    """Every storage once, weights left out: on meta, on fake CPU tensors, or (`real`) with numbers."""
    model = build(spec, "cpu" if real else "meta", DTYPES[execution.dtype], execution=execution).train()
    if real or execution.device == "meta":
        return _kept(model, _ids(spec, work, "cpu" if real else "meta"))
    with FakeTensorMode():
        to_fake_cpu(model)
        return _kept(model, _ids(spec, work, "cpu"))


def _ids(spec: Spec, work: Workload, device: str) -> list[Tensor]:
    target = torch.zeros(work.batch, work.seq, dtype=torch.long, device=device)
    if spec.family != "encoder-decoder":
        return [target]
    return [torch.zeros(work.batch, work.source_seq, dtype=torch.long, device=device), target]


def _kept(model: nn.Module, ids: list[Tensor]) -> list[Kept]:
    weights = {tensor.untyped_storage()._cdata for tensor in model.state_dict(keep_vars=True).values()}
    found: dict[int, Kept] = {}
    alive, running = [], [""]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        alive.append(tensor)  # or a later storage could take a dead one's place
        if storage._cdata not in weights and storage._cdata not in found:
            found[storage._cdata] = Kept(running[-1], tuple(tensor.shape), tensor.dtype, storage.nbytes())
        return tensor

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: running.pop() and None))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(*ids)
    return list(found.values())
