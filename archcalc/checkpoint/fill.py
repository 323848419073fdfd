"""A model's weights filled from files, a chunk at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from archcalc.checkpoint import quantised
from archcalc.checkpoint.parts import OF_HEADS, pairs
from archcalc.checkpoint.plan import Move, Plan
from archcalc.checkpoint.read import DTYPES, Files, chunks, whole
from archcalc.checkpoint.target import Target
from archcalc.nn import build, position, rope
from archcalc.spec import Spec
from archcalc.spec.attention import stored_rope
from archcalc.spec.branches import parts
from archcalc.spec.groups import layers_of
from archcalc.spec.position import Sinusoidal

Progress = Callable[[int], None]


def filled(
    spec: Spec, moves: Plan, opened: Files, device: str, dtype: torch.dtype, progress: Progress | None
) -> nn.Module:
    """The spec's module with the numbers that `moves` brings; of the target dtype, and nothing else allocated."""
    model = build(spec, dtype=dtype)
    _allocate(model, device)
    targets = {name: Target.of(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    fill(spec, moves, opened, targets, progress)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def fill(spec: Spec, moves: Plan, opened: Files, ours: Mapping[str, Target], progress: Progress | None) -> None:
    """Bring the numbers of `moves` into what there is of ours, a chunk at a time."""
    for move in moves.moves:
        targets = [ours[name] if move.row is None else ours[name].row(move.row) for name in move.held.ours]
        _copy(move, targets, _groups(spec, move), opened)
        if progress:
            progress(move.stored.n_bytes)
    for name in moves.computed:
        ours[name].put(0, 0, _computed(spec, name, ours[name].shape))


def _allocate(model: nn.Module, device: str) -> None:
    """Room for every weight, what is shared once. `to_empty` would, on its first use, import 35 MB of sympy."""
    room: dict[int, Tensor] = {}
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None and id(old) not in room:
                    new = torch.empty(old.shape, dtype=old.dtype, device=device)
                    room[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                if old is not None:
                    own[name] = room[id(old)]  # type: ignore[assignment]


def _copy(move: Move, ours: Sequence[Target | None], n_groups: int, opened: Files) -> None:
    """One stored tensor into what it holds."""
    targets = [target for target in ours if target is not None]
    if len(targets) < len(ours):
        return  # an expert's row, which another process has
    if move.stored.dtype in DTYPES:
        _from(whole(opened, move.stored), move, targets, n_groups, opened)
    elif len(targets) == 1 and move.held.order not in OF_HEADS and not move.held.transposed:
        _rows(move, targets[0], opened)
    else:
        every_row = slice(0, prod(move.stored.shape[:-1]))
        stored = quantised.rows(opened, move.stored, every_row).view(move.stored.shape)
        _from(stored, move, targets, n_groups, opened)
    for target in targets:
        if move.held.plus:
            target.local.sub_(move.held.plus)


def _from(stored: Tensor, move: Move, targets: list[Target], n_groups: int, opened: Files) -> None:
    """Out of a tensor, as it stands in its file, into what it holds."""
    shapes = [torch.empty(target.shape, device="meta") for target in targets]
    for target, (_, numbers) in zip(targets, pairs(move.held, stored, shapes, n_groups), strict=True):
        if not target.shape:
            target.put(0, 0, numbers)
        elif numbers.dim() > len(target.shape):
            _by_group(target, numbers, move.held.axis, n_groups)
        else:
            _in_chunks(target, numbers, 1 if move.held.transposed and numbers.dim() == 2 else 0, move, opened)
    opened.forget(move.stored)


def _in_chunks(target: Target, numbers: Tensor, axis: int, move: Move, opened: Files) -> None:
    for part in chunks(target.shape[axis], numbers.numel() * numbers.element_size()):
        if target.holds(axis, part):
            target.put(axis, part.start, numbers.narrow(axis, part.start, part.stop - part.start))
            opened.forget(move.stored)


def _by_group(target: Target, numbers: Tensor, axis: int, n_groups: int) -> None:
    """Numbers whose `axis` is taken apart by heads, a head at a time."""
    each = target.shape[axis] // n_groups
    for group in range(n_groups):
        if target.holds(axis, slice(group * each, (group + 1) * each)):
            shape = (*target.shape[:axis], each, *target.shape[axis + 1 :])
            target.put(axis, group * each, numbers.select(axis, group).reshape(shape))


def _rows(move: Move, target: Target, opened: Files) -> None:
    """Out of blocks, some rows at a time (all axes but the last taken as one, if that is all here)."""
    width = target.shape[-1] if target.shape else 1
    if len(target.shape) > 2 and target.local.shape != target.shape:
        every_row = slice(0, prod(target.shape[:-1]))
        target.put(0, 0, quantised.rows(opened, move.stored, every_row).view(target.shape))
        opened.forget(move.stored)
        return
    rows = target if len(target.shape) == 2 else Target.of(target.local.view(-1, width))
    for part in chunks(rows.shape[0], prod(rows.shape) * 4):
        if rows.holds(0, part):
            rows.put(0, part.start, quantised.rows(opened, move.stored, part))
            opened.forget(move.stored)


def _groups(spec: Spec, move: Move) -> int:
    """The heads by which a row's order tells its parts apart: of keys, or its own where it is within each head."""
    if move.held.order not in ("by_head", *OF_HEADS):
        return 4 if move.held.order == "in_four" else 1
    place = re.search(r"layers\.(\d+)\.(\w+)\.", move.held.ours[0])
    stack = spec.decoder or spec.encoder
    assert place and stack, "only layers have heads"  # noqa: PT018
    attention = parts(layers_of(stack)[int(place[1])])[place[2]]
    heads = attention.n_heads if ".attn.q." in move.held.ours[0] and move.held.order in OF_HEADS else None
    return int(heads or getattr(attention, "n_kv_heads", None) or attention.n_heads)


def _computed(spec: Spec, name: str, shape: tuple[int, ...]) -> Tensor:
    """What follows from the spec: a table of positions, or of a stack's rotary angles; a bias of logits that is 0."""
    if name == "head.bias_buffer":
        return torch.zeros(shape)
    *role, table, _ = name.split(".")
    (stack,) = (each.stack for each in spec.stacks if each.prefix == "".join(f"{part}." for part in role))
    if table == "rotary":
        found = (stored_rope(part) for layer in layers_of(stack) for part in parts(layer).values())
        return rope.table_rows(next(filter(None, found)), shape[0])
    assert isinstance(stack.position, Sinusoidal), "only sinusoids follow from the spec"
    return position.table_rows(stack.position, shape[0], shape[1])
