"""Turn a canonical module into one rank of a tensor-parallel model: DTensor weights, the same forward.

A module's parameters become `RankParameters`, so `self.weight` is the rank's own part. Inputs of a split part are
copied to it, its outputs summed over ranks; the token table is split by vocabulary, and the head's logits are gathered.
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
from archcalc.run.distributed import split_plan
from archcalc.run.distributed.boundary import LocalPenalty, PartBoundary, VocabularyShard
from archcalc.run.distributed.collectives import copy_to_ranks, gather_over_ranks
from archcalc.run.distributed.parameters import RankParameters, Reader

# Parts whose outputs are summed over ranks.
SUMMED_PARTS = tuple(part for part in split_plan.SPLIT_AXES if part not in (Head, Embedding, RelativeBias))


def parallelize(model: Any, mesh: DeviceMesh) -> None:
    """Turn a module on the meta device into this rank's part of it. Raise InputError as `split_plan.check` does."""
    split_plan.check(model.spec, mesh.size())
    for part in list(model.modules()):
        if isinstance(part, Embedding):
            part.tokens = VocabularyShard(part.tokens, mesh)
    readers: dict[nn.Module, dict[str, Reader]] = {}
    for part in model.modules():
        if isinstance(part, Embedding):
            part.tokens = VocabularyShard(part.tokens, mesh)
        if type(part) in split_plan.SPLIT_AXES and part not in readers:
            _split(part, mesh, readers)
    for module in model.modules():
        if module not in readers:
            _distribute(module, {}, mesh)
            readers[module] = dict.fromkeys(module._parameters, DTensor.to_local)
    for part in list(model.modules()):
        _adapt(part, mesh)
    for module, own in readers.items():
        module._parameters = RankParameters(module._parameters, own)
    model.spec = split_plan.spec_of_rank(model.spec, mesh.size())


def _split(part: nn.Module, mesh: DeviceMesh, readers: dict[nn.Module, dict[str, Reader]]) -> None:
    """Split the tensors of one part as planned, and record how each is read."""
    axes = split_plan.split_axes(part)
    whole_kv = isinstance(part, Attention) and part.n_kv_heads % mesh.size() != 0
    for prefix, module in part.named_modules():
        names = {name: f"{prefix}.{name}".lstrip(".") for name in module._parameters}
        if isinstance(part, Embedding) and prefix != "tokens":
            continue
        split = {name: axes[path] for name, path in names.items() if path in axes}
        if whole_kv:
            split = {name: axis for name, axis in split.items() if names[name] not in split_plan.KV_TENSORS}
        _distribute(module, split, mesh)
        readers[module] = {
            name: DTensor.to_local if name in split else _whole_reader(part, path, mesh) for name, path in names.items()
        }


def _whole_reader(part: nn.Module, path: str, mesh: DeviceMesh) -> Reader:
    """Return how a replicated tensor is read where each rank computes its own part."""
    if isinstance(part, Attention) and path in split_plan.KV_TENSORS and path in split_plan.split_axes(part):
        rows = split_plan.rows_per_head(part, path)
        head = mesh.get_local_rank() * part.n_kv_heads // mesh.size()
        return partial(_head_rows, mesh=mesh, first=head * rows, width=rows)
    return partial(_on_first_rank if path in split_plan.ADDED_ONCE else _copy, mesh=mesh)


def _copy(whole: DTensor, mesh: DeviceMesh) -> Tensor:
    return copy_to_ranks(whole.to_local(), mesh)


def _on_first_rank(whole: DTensor, mesh: DeviceMesh) -> Tensor:
    """Return a bias that is added to a sum over ranks: zero except on the first."""
    return copy_to_ranks(whole.to_local(), mesh) * float(mesh.get_local_rank() == 0)


def _head_rows(whole: DTensor, mesh: DeviceMesh, first: int, width: int) -> Tensor:
    """Return one head's rows."""
    return copy_to_ranks(whole.to_local(), mesh).narrow(0, first, width)


def _distribute(module: nn.Module, split: dict[str, int], mesh: DeviceMesh) -> None:
    """Turn a module's own parameters into DTensors."""
    for name, old in module._parameters.items():
        if old is not None:
            placement = Shard(split[name]) if name in split else Replicate()
            local = _part(old.detach(), split[name], mesh) if name in split else old.detach()
            new = DTensor.from_local(local, mesh, [placement], run_check=False, shape=old.shape, stride=old.stride())
            module._parameters[name] = nn.Parameter(new, old.requires_grad)


def _part(whole: Tensor, axis: int, mesh: DeviceMesh) -> Tensor:
    """Return this rank's ⌈size / ranks⌉ of an axis, or what is left of it."""
    n_each = -(-whole.shape[axis] // mesh.size())
    first = min(n_each * mesh.get_local_rank(), whole.shape[axis])
    return whole.narrow(axis, first, min(n_each, whole.shape[axis] - first))


def _adapt(part: Any, mesh: DeviceMesh) -> None:
    """Change what a part computes on one of several ranks."""
    if isinstance(part, Attention | LatentAttention):
        _keep_local_heads(part, mesh)
    if isinstance(part, Head):
        part.first_row = mesh.get_local_rank() * -(-part.n_out // mesh.size())
        part.register_forward_pre_hook(lambda _, args: (copy_to_ranks(args[0], mesh), *args[1:]))
        part.register_forward_hook(lambda _, args, logits: gather_over_ranks(logits, part.n_out, mesh))
    if type(part) in SUMMED_PARTS:
        boundary = PartBoundary(mesh)
        part.register_forward_pre_hook(boundary.enter)
        part.register_forward_hook(boundary.leave)


def _keep_local_heads(part: Any, mesh: DeviceMesh) -> None:
    n, softmax = mesh.size(), part.softmax
    bias = softmax.bias
    if isinstance(bias, AlibiBias):
        bias = LocalPenalty(bias, softmax.n_heads, mesh.get_local_rank())
    part.part = split_plan.part_of_rank(part.part, n)
    part.softmax = dataclasses.replace(softmax, n_heads=part.part.n_heads, bias=bias)
    if isinstance(part, Attention):
        part.n_heads, part.n_kv_heads = part.part.n_heads, part.part.n_kv_heads
