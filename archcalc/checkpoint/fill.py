"""A model's weights filled from files, a chunk at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from archcalc.checkpoint import quantised
from archcalc.checkpoint.parts import Pair, pairs
from archcalc.checkpoint.plan import Move, Plan
from archcalc.checkpoint.read import DTYPES, Files, chunks, whole
from archcalc.nn import build
from archcalc.nn.position import sinusoids
from archcalc.spec import Spec
from archcalc.spec.groups import layers_of

Progress = Callable[[int], None]


@torch.no_grad()
def filled(
    spec: Spec, moves: Plan, opened: Files, device: str, dtype: torch.dtype, progress: Progress | None
) -> nn.Module:
    """The spec's module with the numbers that `moves` brings; of the target dtype, and nothing else allocated."""
    model = build(spec, dtype=dtype)
    _allocate(model, device)
    ours = model.state_dict(keep_vars=True)
    for move in moves.moves:
        targets = [ours[name] if move.row is None else ours[name][move.row] for name in move.held.ours]
        _copy(move, targets, _groups(spec, move), opened)
        if progress:
            progress(move.stored.n_bytes)
    for name in moves.computed:
        _halves(ours[name])
    return model.eval().requires_grad_(False)


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


def _copy(move: Move, ours: list[Tensor], n_groups: int, opened: Files) -> None:
    """One stored tensor into what it holds."""
    if move.stored.dtype in DTYPES:
        split = pairs(move.held, whole(opened, move.stored), ours, n_groups)
        for pair in split:
            _in_chunks(pair, 1 if move.held.transposed and len(move.stored.shape) == 2 else 0, move, opened)
    elif len(ours) == 1 and move.held.order != "turned" and not move.held.transposed:
        target = ours[0].view(-1, ours[0].shape[-1])
        for part in chunks(target.shape[0], target.numel() * 4):
            target[part] = quantised.rows(opened, move.stored, part)
            opened.forget(move.stored)
    else:
        every_row = slice(0, prod(move.stored.shape[:-1]))
        stored = quantised.rows(opened, move.stored, every_row).view(move.stored.shape)
        for to, numbers in pairs(move.held, stored, ours, n_groups):
            to.copy_(numbers)
        opened.forget(move.stored)
    if move.held.plus:
        for part_of in ours:
            part_of -= move.held.plus


def _in_chunks(pair: Pair, axis: int, move: Move, opened: Files) -> None:
    ours, stored = pair
    if not ours.dim():
        ours.copy_(stored)
        return
    for part in chunks(ours.shape[axis], stored.numel() * stored.element_size()):
        length = part.stop - part.start
        ours.narrow(axis, part.start, length).copy_(stored.narrow(axis, part.start, length))
        opened.forget(move.stored)


def _groups(spec: Spec, move: Move) -> int:
    """The heads by which a row's order tells its parts apart: of keys, or its own where it is turned."""
    if move.held.order not in ("by_head", "turned"):
        return 1
    index = re.search(r"layers\.(\d+)\.", move.held.ours[0])
    stack = spec.decoder or spec.encoder
    assert index and stack, "only layers have heads"  # noqa: PT018
    attention = layers_of(stack)[int(index[1])].attention
    assert attention, "only attentions have heads"
    heads = attention.n_heads if ".attn.q." in move.held.ours[0] and move.held.order == "turned" else None
    return int(heads or getattr(attention, "n_kv_heads", None) or attention.n_heads)


def _halves(table: Tensor) -> None:
    """Sinusoids as Marian's port lays them out: all sines, then all cosines (transformers, modeling_marian.py)."""
    turned = sinusoids(torch.arange(table.shape[0]), table.shape[1])
    table.copy_(torch.cat((turned[:, ::2], turned[:, 1::2]), -1))
