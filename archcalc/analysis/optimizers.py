"""Bytes of optimizer states, tensor by tensor: exact.

A state is a tensor beside the tensor that the optimizer updates: in mixed precision the fp32 master copy, else the
weight. Frozen parameters and buffers have none. The step counters of torch, one for each tensor (fp32, on the host
unless `capturable` or `fused`), are counted apart and are in no total.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError, nearest, shown
from archcalc.formats.policy import Role
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.rows import WeightRow
from archcalc.words import Message, msg

# torch has a float32 scalar for the step count of each tensor.
STEP_BYTES = 4


class StateBytes(msgspec.Struct, frozen=True):
    """Bytes of a tensor's states: their values, the scales of their blocks, tables of levels; step counters."""

    values: int = 0
    scales: int = 0
    tables: int = 0
    steps: int = 0

    @property
    def total(self) -> int:
        """Return all bytes but the step counters."""
        return self.values + self.scales + self.tables

    def __add__(self, other: StateBytes) -> StateBytes:
        return StateBytes(
            self.values + other.values,
            self.scales + other.scales,
            self.tables + other.tables,
            self.steps + other.steps,
        )

    def times(self, n: int) -> StateBytes:
        """Return the bytes of n such tensors."""
        return StateBytes(self.values * n, self.scales * n, self.tables * n, self.steps * n)


class Like(msgspec.Struct, frozen=True, tag=True):
    """A state of the parameter's shape, of `element` bytes; of 0, as many as the updated tensor has."""

    element: int = 0


class Blocks(msgspec.Struct, frozen=True, tag=True):
    """A tensor of `bits` an element in blocks of the flattened parameter, an fp32 scale each, and fp32 `levels`.

    With fewer than `least` elements, or an incomplete block, it is as `Like`. 8 bits of [64, 64] in blocks of 256:
    4,096 + 16 · 4 + 256 · 4 = 5,184 bytes.
    """

    bits: int
    block: int
    levels: int
    least: int = 4096

    def takes(self, count: int) -> bool:
        """Return whether a tensor of `count` elements is stored in blocks."""
        return count >= self.least and count % self.block == 0


class Factors(msgspec.Struct, frozen=True, tag=True):
    """A row and a column for each matrix, its mean over the other axis; of a vector, as `Like`.

    In fp32 of [48, 512]: (48 + 512) · 4 = 2,240 bytes.
    """


State = Like | Blocks | Factors


class Hidden(msgspec.Struct, frozen=True):
    """Matrices with states of their own and no step counters: those of `roles`, stacks of them if `is_stacked`."""

    roles: tuple[Role, ...]
    states: tuple[State, ...]
    is_stacked: bool = False

    def takes(self, row: WeightRow) -> bool:
        """Return whether the tensors of a row are such matrices."""
        return role_of(row) in self.roles and (self.is_stacked or len(row.shape) == 2)


class Optimizer(msgspec.Struct, frozen=True, kw_only=True):
    """The states that an optimizer has for each tensor, and for hidden matrices where those differ."""

    name: str
    title: Message
    states: tuple[State, ...]
    has_step_counters: bool = True
    hidden: Hidden | None = None
    source: str
    checked_against: str

    def state_bytes(self, row: WeightRow, element: int) -> StateBytes:
        """Return the bytes of the states of a row's tensors, where the updated tensors have `element` bytes a number.

        llama-3-8b's attn.q.weight [4096, 4096] in 32 layers, AdamW on fp32: 2 · 4096² · 4 · 32 = 4,294,967,296.
        """
        states, has_step_counters = self._states(row)
        one = StateBytes(steps=STEP_BYTES if has_step_counters else 0)
        for state in states:
            one += _bytes_of(state, row.shape, element)
        return one.times(row.layers)

    def formula(self, row: WeightRow, element: int) -> Poly | None:
        """Return the total of `state_bytes` in symbols; None where blocks make it no polynomial."""
        parts = [_formula_of(state, row, element) for state in self._states(row)[0]]
        known = [part for part in parts if part is not None]
        return Poly.sum(known) if len(known) == len(parts) else None

    def _states(self, row: WeightRow) -> tuple[tuple[State, ...], bool]:
        if row.kind != "trainable":
            return (), False
        if self.hidden and self.hidden.takes(row):
            return self.hidden.states, False
        return self.states, self.has_step_counters


def _bytes_of(state: State, shape: Sequence[int], element: int) -> StateBytes:
    count = math.prod(shape)
    if isinstance(state, Blocks) and state.takes(count):
        return StateBytes(count * state.bits // 8, count // state.block * 4, state.levels * 4)
    if isinstance(state, Factors) and len(shape) > 1:
        *stacked, rows, columns = shape
        return StateBytes(math.prod(stacked) * (rows + columns) * element)
    return StateBytes(count * (state.element if isinstance(state, Like) and state.element else element))


def _formula_of(state: State, row: WeightRow, element: int) -> Poly | None:
    if isinstance(state, Blocks):
        return None
    if isinstance(state, Factors) and len(row.weight.axes) > 1:
        *stacked, rows, columns = row.weight.axes
        return element * product((*stacked, rows + columns, row.repeats))
    return (state.element if isinstance(state, Like) and state.element else element) * row.formula


_ADAM: tuple[State, ...] = (Like(), Like())
_MATRICES: tuple[Role, ...] = ("linear", "router", "gate", "experts")
_MUON = "torch.optim.Muon (2-D parameters alone); Jordan et al. 2024, kellerjordan.github.io/posts/muon"


_LEVELS = msg(
    "AdamW, two moments in {bits} bits with {levels} fp32 levels each (torchao), blocks of {block} with fp32 scales;"
    " below 4,096 elements, or with an incomplete block, AdamW"
)
_FP8 = msg(
    "AdamW, two moments in fp8 e4m3 (torchao), blocks of {block} with fp32 scales;"
    " below 4,096 elements, or with an incomplete block, AdamW"
)


def _torchao(name: str, blocks: Blocks, title: Message) -> Optimizer:
    return Optimizer(
        name=name,
        title=title.fill(bits=blocks.bits, levels=blocks.levels, block=blocks.block),
        states=(blocks,) * 2,
        source="torchao 0.18 optim/adam.py _new_buffer, optim/subclass_*.py",
        checked_against="torchao: inner tensors of its states after a step",
    )


OPTIMIZERS: dict[str, Optimizer] = {
    entry.name: entry
    for entry in (
        Optimizer(
            name="adamw",
            title=msg("AdamW, two moments in the dtype of the updated tensor"),
            states=_ADAM,
            source="Loshchilov and Hutter 2017, arXiv:1711.05101; torch.optim.AdamW",
            checked_against="torch: its states after a step",
        ),
        Optimizer(
            name="adamw-fp32",
            title=msg("AdamW, two moments in fp32 for every dtype (Apex's FusedAdam)"),
            states=(Like(4), Like(4)),
            has_step_counters=False,
            source="NVIDIA Apex optimizers/fused_adam.py: moments as float, one step count a group",
            checked_against="torch: AdamW's states of fp32 copies",
        ),
        _torchao("adamw8bit", Blocks(8, 256, 256), _LEVELS),
        _torchao("adamw4bit", Blocks(4, 128, 16), _LEVELS),
        _torchao("adamwfp8", Blocks(8, 256, 0), _FP8),
        Optimizer(
            name="adafactor",
            title=msg("Adafactor, a row and a column of the second moment for each matrix, no momentum"),
            states=(Factors(),),
            source="Shazeer and Stern 2018, arXiv:1804.04235; torch.optim.Adafactor",
            checked_against="torch: its states after a step",
        ),
        Optimizer(
            name="muon",
            title=msg("Muon, one momentum for each hidden matrix; AdamW for tables, head, vectors and stacked experts"),
            states=_ADAM,
            hidden=Hidden(_MATRICES, (Like(),)),
            source=_MUON,
            checked_against="torch: Muon's and AdamW's states after a step",
        ),
        Optimizer(
            name="muon-experts",
            title=msg(
                "Muon, one momentum for each hidden matrix and each expert's; AdamW for tables, head and vectors"
            ),
            states=_ADAM,
            hidden=Hidden(_MATRICES, (Like(),), is_stacked=True),
            source=f"{_MUON}; each expert's matrix as a parameter: Liu et al. 2025 (Moonlight), arXiv:2502.16982",
            checked_against="torch: Muon's and AdamW's states after a step, the experts taken apart",
        ),
        Optimizer(
            name="sgd",
            title=msg("SGD without momentum, without states"),
            states=(),
            has_step_counters=False,
            source="torch.optim.SGD",
            checked_against="torch: its states after a step",
        ),
        Optimizer(
            name="sgd-momentum",
            title=msg("SGD with momentum"),
            states=(Like(),),
            has_step_counters=False,
            source="torch.optim.SGD (momentum_buffer)",
            checked_against="torch: its states after a step",
        ),
    )
}


def find_optimizer(name: str) -> Optimizer:
    """Return the optimizer of a name. Raise InputError with the nearest name for an unknown one."""
    if name not in OPTIMIZERS:
        raise InputError(
            msg("no optimizer {name}{hint}", name=shown(name), hint=nearest(name, OPTIMIZERS)),
            allowed=", ".join(OPTIMIZERS),
        )
    return OPTIMIZERS[name]
