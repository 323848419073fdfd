"""Fill a model's weights from files, a chunk at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from archcalc.checkpoint.dequantize import dequantized, row_reader
from archcalc.checkpoint.load_plan import Move, Plan
from archcalc.checkpoint.memory_map import DTYPES, INTEGERS, FileMaps, chunks, stored_tensor
from archcalc.checkpoint.tensor_shard import TensorShard
from archcalc.checkpoint.tensor_views import WITHIN_HEADS, WITHIN_ONE, view_pairs
from archcalc.hf.tensors import HeadPiece
from archcalc.nn import build, position, rope
from archcalc.spec import Spec
from archcalc.spec.attention import stored_rope
from archcalc.spec.branches import parts
from archcalc.spec.groups import layers_of
from archcalc.spec.position import Sinusoidal

Progress = Callable[[int], None]


def load_module(
    spec: Spec, load_plan: Plan, maps: FileMaps, device: str, dtype: torch.dtype, progress: Progress | None
) -> nn.Module:
    """Return the module of a spec on a device, filled as planned. Only its own weights are allocated."""
    model = build(spec, dtype=dtype)
    _allocate(model, device)
    shards = {name: TensorShard.of(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    fill(spec, load_plan, maps, shards, progress)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def fill(
    spec: Spec, load_plan: Plan, maps: FileMaps, shards: Mapping[str, TensorShard], progress: Progress | None
) -> None:
    """Fill the given tensors or shards as planned, a chunk at a time."""
    for move in load_plan.moves:
        names = move.mapping.ours
        targets = [shards[name] if move.row is None else shards[name].row(move.row) for name in names]
        _copy(move, targets, _n_groups(spec, move), maps)
        if progress:
            progress(move.stored.n_bytes)
    for name in load_plan.computed:
        shards[name].put(0, 0, _computed_values(spec, name, shards[name].shape))


def _allocate(model: nn.Module, device: str) -> None:
    """Allocate every parameter and buffer, shared ones once."""
    # `to_empty` imports sympy on its first use: 35 MB.
    storages: dict[int, Tensor] = {}
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None and id(old) not in storages:
                    new = torch.empty(old.shape, dtype=old.dtype, device=device)
                    storages[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                if old is not None:
                    own[name] = storages[id(old)]  # type: ignore[assignment]


def _copy(move: Move, local_targets: Sequence[TensorShard | None], n_groups: int, maps: FileMaps) -> None:
    """Copy one stored tensor into the tensors that it holds."""
    targets = [target for target in local_targets if target is not None]
    if len(targets) < len(local_targets):
        return  # another process holds this expert's row
    if move.piece:
        _copy_piece(move, move.piece, targets[0], maps)
    elif move.stored.dtype in DTYPES or move.stored.dtype in INTEGERS:
        _copy_whole(stored_tensor(maps, move.stored), move, targets, n_groups, maps)
    elif len(targets) == 1 and move.mapping.order not in WITHIN_ONE and not move.mapping.transposed:
        _copy_blocks(move, targets[0], maps)
    else:
        _copy_whole(dequantized(maps, move.stored), move, targets, n_groups, maps)
    for target in targets:
        if move.mapping.plus:
            target.local.sub_(move.mapping.plus)
        if move.mapping.is_negative_exp:
            target.local.neg_().log_()


def _copy_whole(stored: Tensor, move: Move, targets: list[TensorShard], n_groups: int, maps: FileMaps) -> None:
    """Copy a stored tensor that is mapped or dequantized as a whole."""
    shapes = [torch.empty(target.shape, device="meta") for target in targets]
    for target, (_, numbers) in zip(targets, view_pairs(move.mapping, stored, shapes, n_groups), strict=True):
        if not target.shape:
            target.put(0, 0, numbers)
        elif numbers.dim() > len(target.shape):
            _copy_by_head(target, numbers, move.mapping.axis, n_groups)
        else:
            _copy_in_chunks(target, numbers, 1 if move.mapping.transposed and numbers.dim() == 2 else 0, move, maps)
    maps.release(move.stored)


def _copy_piece(move: Move, piece: HeadPiece, target: TensorShard, maps: FileMaps) -> None:
    """Copy a stored tensor that has some rows of each head, one head at a time."""
    is_plain = move.stored.dtype in DTYPES
    stored = stored_tensor(maps, move.stored) if is_plain else dequantized(maps, move.stored)
    n_rows = target.shape[0] // piece.n_heads
    for head, rows in enumerate(stored.transpose(1, 2) if piece.transposed else stored):
        target.put(0, head * n_rows + piece.first, rows)
    maps.release(move.stored)


def _copy_in_chunks(target: TensorShard, numbers: Tensor, axis: int, move: Move, maps: FileMaps) -> None:
    for part in chunks(target.shape[axis], numbers.numel() * numbers.element_size()):
        if target.holds(axis, part):
            target.put(axis, part.start, numbers.narrow(axis, part.start, part.stop - part.start))
            maps.release(move.stored)


def _copy_by_head(target: TensorShard, numbers: Tensor, axis: int, n_groups: int) -> None:
    """Copy values whose `axis` is split into heads, one head at a time."""
    width = target.shape[axis] // n_groups
    for group in range(n_groups):
        if target.holds(axis, slice(group * width, (group + 1) * width)):
            shape = (*target.shape[:axis], width, *target.shape[axis + 1 :])
            target.put(axis, group * width, numbers.select(axis, group).reshape(shape))


def _copy_blocks(move: Move, target: TensorShard, maps: FileMaps) -> None:
    """Dequantize and copy some rows at a time; leading axes are flattened if this process holds all of them."""
    width = target.shape[-1] if target.shape else 1
    if len(target.shape) > 2 and target.local.shape != target.shape:
        target.put(0, 0, dequantized(maps, move.stored).view(target.shape))
        maps.release(move.stored)
        return
    read = row_reader(maps, move.stored)
    rows = target if len(target.shape) == 2 else TensorShard.of(target.local.view(-1, width))
    for part in chunks(rows.shape[0], prod(rows.shape) * 4):
        if rows.holds(0, part):
            rows.put(0, part.start, read(part))
            maps.release(move.stored)


def _n_groups(spec: Spec, move: Move) -> int:
    """Return the number of heads by which rows are ordered: key heads, or the tensor's own."""
    if move.mapping.order == "tiled":
        return move.mapping.tile[0]
    if move.mapping.order not in ("by_head", "by_query_head", *WITHIN_HEADS):
        return {"in_four": 4, "halves": 2}.get(move.mapping.order, 1)
    match = re.search(r"layers\.(\d+)\.(\w+)\.", move.mapping.ours[0])
    stack = spec.decoder or spec.encoder
    assert match and stack, "only layers have heads"  # noqa: PT018
    part = parts(layers_of(stack)[int(match[1])])[match[2]]
    is_of_queries = move.mapping.order == "by_query_head" or (
        ".attn.q." in move.mapping.ours[0] and move.mapping.order in WITHIN_HEADS
    )
    key_heads = None if is_of_queries else getattr(part, "n_kv_heads", getattr(part, "n_key_heads", None))
    return int(key_heads or part.n_heads)


def _computed_values(spec: Spec, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor that follows from the spec: sinusoids, stored rotary angles, or a zero bias."""
    if name == "head.bias_buffer":
        return torch.zeros(shape)
    *prefix, table, _ = name.split(".")
    (stack,) = (each.stack for each in spec.stacks if each.prefix == "".join(f"{part}." for part in prefix))
    if table == "rotary":
        ropes = (stored_rope(part) for layer in layers_of(stack) for part in parts(layer).values())
        return rope.table_rows(next(filter(None, ropes)), shape[0])
    assert isinstance(stack.position, Sinusoidal), "only sinusoids follow from the spec"
    return position.table_rows(stack.position, shape[0], shape[1])
