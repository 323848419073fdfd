"""A canonical module made one rank of a tensor-parallel model: its weights are DTensors, its forward as it was.

A module's parameters become `RankParameters`, so `self.weight` is what its rank has of it. What enters a split part is
copied to it, what leaves it is summed over ranks; the token table is split by vocabulary, and the head's logits are
gathered.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from archcalc.nn.attention import Attention
from archcalc.nn.attention_context import AlibiBias
from archcalc.nn.bias import RelativeBias
from archcalc.nn.embedding import Embedding
from archcalc.nn.head import Head
from archcalc.nn.mla import LatentAttention
from archcalc.run.distributed import plan
from archcalc.run.distributed.boundary import Border, OwnPenalty, Vocabulary
from archcalc.run.distributed.collectives import copied, gathered
from archcalc.run.distributed.parameters import RankParameters, Reader

# Parts whose results are sums over ranks.
SUMMED = tuple(part for part in plan.SPLIT if part not in (Head, Embedding, RelativeBias))


def parallelise(model: Any, mesh: DeviceMesh) -> None:
    """Make a module, on the meta device, this rank's part of itself. Raises InputError as `plan.check` does."""
    plan.check(model.spec, mesh.size())
    for part in list(model.modules()):
        if isinstance(part, Embedding):
            part.tokens = Vocabulary(part.tokens, mesh)
    readers: dict[nn.Module, dict[str, Reader]] = {}
    for part in model.modules():
        if isinstance(part, Embedding):
            part.tokens = Vocabulary(part.tokens, mesh)
        if type(part) in plan.SPLIT and part not in readers:
            _split(part, mesh, readers)
    for module in model.modules():
        if module not in readers:
            _distribute(module, {}, mesh)
            readers[module] = dict.fromkeys(module._parameters, DTensor.to_local)
    for part in list(model.modules()):
        _adapt(part, mesh)
    for module, own in readers.items():
        module._parameters = RankParameters(module._parameters, own)
    model.spec = plan.of_rank(model.spec, mesh.size())


def _split(part: nn.Module, mesh: DeviceMesh, readers: dict[nn.Module, dict[str, Reader]]) -> None:
    """The tensors of one part, split as the plan says; how each is read."""
    axes = plan.split_of(part)
    whole_kv = isinstance(part, Attention) and part.n_kv_heads % mesh.size() != 0
    for prefix, module in part.named_modules():
        names = {name: f"{prefix}.{name}".lstrip(".") for name in module._parameters}
        if isinstance(part, Embedding) and prefix != "tokens":
            continue
        split = {name: axes[path] for name, path in names.items() if path in axes}
        if whole_kv:
            split = {name: axis for name, axis in split.items() if names[name] not in plan.KV}
        _distribute(module, split, mesh)
        readers[module] = {
            name: DTensor.to_local if name in split else _whole_reader(part, path, mesh) for name, path in names.items()
        }


def _whole_reader(part: nn.Module, path: str, mesh: DeviceMesh) -> Reader:
    """How a tensor that every rank has is read where each rank does its own part."""
    if isinstance(part, Attention) and path in plan.KV and path in plan.split_of(part):
        rows = plan.rows_of_head(part, path)
        head = mesh.get_local_rank() * part.n_kv_heads // mesh.size()
        return partial(_head, mesh=mesh, first=head * rows, width=rows)
    return partial(_once if path in plan.ONCE else _copied, mesh=mesh)


def _copied(whole: DTensor, mesh: DeviceMesh) -> Tensor:
    return copied(whole.to_local(), mesh)


def _once(whole: DTensor, mesh: DeviceMesh) -> Tensor:
    """What is to be added to a sum over ranks: nothing but on the first."""
    return copied(whole.to_local(), mesh) * float(mesh.get_local_rank() == 0)


def _head(whole: DTensor, mesh: DeviceMesh, first: int, width: int) -> Tensor:
    """One head's rows."""
    return copied(whole.to_local(), mesh).narrow(0, first, width)


def _distribute(module: nn.Module, split: dict[str, int], mesh: DeviceMesh) -> None:
    """Make a module's own parameters DTensors."""
    for name, old in module._parameters.items():
        if old is not None:
            place = Shard(split[name]) if name in split else Replicate()
            here = _part(old.detach(), split[name], mesh) if name in split else old.detach()
            new = DTensor.from_local(here, mesh, [place], run_check=False, shape=old.shape, stride=old.stride())
            module._parameters[name] = nn.Parameter(new, old.requires_grad)


def _part(whole: Tensor, axis: int, mesh: DeviceMesh) -> Tensor:
    """This rank's ⌈size / ranks⌉ of an axis, or what is left of it."""
    each = -(-whole.shape[axis] // mesh.size())
    first = min(each * mesh.get_local_rank(), whole.shape[axis])
    return whole.narrow(axis, first, min(each, whole.shape[axis] - first))


def _adapt(part: Any, mesh: DeviceMesh) -> None:
    """What a part does otherwise on one rank of several."""
    if isinstance(part, Attention | LatentAttention):
        _own_heads(part, mesh)
    if isinstance(part, Head):
        part.first_row = mesh.get_local_rank() * -(-part.n_out // mesh.size())
        part.register_forward_pre_hook(lambda _, args: (copied(args[0], mesh), *args[1:]))
        part.register_forward_hook(lambda _, args, logits: gathered(logits, part.n_out, mesh))
    if type(part) in SUMMED:
        border = Border(mesh)
        part.register_forward_pre_hook(border.enter)
        part.register_forward_hook(border.leave)


def _own_heads(part: Any, mesh: DeviceMesh) -> None:
    n, whole = mesh.size(), part.softmax
    bias = whole.bias
    if isinstance(bias, AlibiBias):
        bias = OwnPenalty(bias, whole.n_heads, mesh.get_local_rank())
    part.part = plan.part_of_rank(part.part, n)
    part.softmax = dataclasses.replace(whole, n_heads=part.part.n_heads, bias=bias)
    if isinstance(part, Attention):
        part.n_heads, part.n_kv_heads = part.part.n_heads, part.part.n_kv_heads
