"""The tensors of each method: beside a module, or for a whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from archcalc.analysis.adapters.class_modules import ClassTensor, ModuleKind
from archcalc.analysis.adapters.config import MethodName
from archcalc.errors import InputError
from archcalc.ledger.algebra import ONE, Poly
from archcalc.words import Message, msg

RANK = Poly.symbol("rank")
Axes = tuple[Poly, ...]


class Target(msgspec.Struct, frozen=True):
    """A weight that is adapted.

    - `tensor`: the weight
    - `rank`: its rank in symbols, and `n_rank` in numbers
    - `has_bias`: the second matrix has a bias
    - `is_parameter`: the parameter itself is the target, not its module
    - `scales_inputs`: (IA)³ scales the inputs of its module
    """

    tensor: ClassTensor
    rank: Poly
    n_rank: int
    has_bias: bool = False
    is_parameter: bool = False
    scales_inputs: bool = False


class AdapterWeight(msgspec.Struct, frozen=True):
    """A trained tensor: the end of its name, and its axes."""

    name: str
    axes: Axes


class Method(msgspec.Struct, frozen=True):
    """A way to adapt modules.

    - `title`: its name where people read it
    - `kinds`: the kinds of modules that it adapts
    - `tensors`: what it trains beside one of them
    - `base`: the method whose defaults peft uses for its targets
    """

    title: str
    kinds: tuple[ModuleKind, ...]
    tensors: Callable[[Target], Iterator[AdapterWeight]]
    base: str


def _low_rank(target: Target) -> Iterator[AdapterWeight]:
    """Yield the two factors of a low-rank matrix, and the second's bias."""
    one, rank = target.tensor, target.rank
    if target.is_parameter:
        first, second = _factors_of_parameter(target)
    elif one.kind == "convolution":
        first, second = _factors_of_convolution(target)
    else:
        out, into = _out_and_in(one)
        first, second = (rank, into), (out, rank)
    is_table = one.kind == "embedding" and not target.is_parameter
    names = ("lora_embedding_A", "lora_embedding_B") if is_table else ("lora_A.weight", "lora_B.weight")
    yield AdapterWeight(names[0], first)
    yield AdapterWeight(names[1], second)
    if target.has_bias:
        yield AdapterWeight("lora_B.bias", second[:1])


def _out_and_in(tensor: ClassTensor) -> Axes:
    """Return the widths of a module's output and of its input; a table's input is its rows."""
    first, second = tensor.axes[:2]
    return (second, first) if tensor.kind in ("transposed", "embedding") else (first, second)


def _factors_of_parameter(target: Target) -> tuple[Axes, Axes]:
    """Return the factors of a matrix, or of stacked ones, each of which has factors of its own."""
    axes = target.tensor.axes
    if len(axes) == 2:
        return (target.rank, axes[1]), (axes[0], target.rank)
    stacked, out, into = axes if not target.tensor.has_inputs_first else (axes[0], axes[2], axes[1])
    rank = stacked * target.rank
    return (rank, into), (out, rank)


def _factors_of_convolution(target: Target) -> tuple[Axes, Axes]:
    """Return the factors of a filter. Raises InputError for a rank that its groups do not divide."""
    out, per_group, *kernel = target.tensor.axes
    groups = target.tensor.shape[0] if target.tensor.shape[1] == 1 else 1
    if target.n_rank % groups:
        raise InputError(
            msg("{module} has {groups:,} groups", module=target.tensor.module, groups=groups),
            where="rank",
            allowed=msg("a multiple of them, or to leave this module out"),
        )
    channels = out if groups > 1 else per_group
    in_group = target.rank if groups == 1 else Poly.constant(target.n_rank // groups)
    return (target.rank, channels, *kernel), (out, in_group, *[ONE] * len(kernel))


def _dora(target: Target) -> Iterator[AdapterWeight]:
    """Yield the factors and the magnitude of each output."""
    yield from _low_rank(target)
    tensor = target.tensor
    if tensor.kind == "convolution":
        yield AdapterWeight("lora_magnitude_vector.weight", (ONE, tensor.axes[0], *[ONE] * (len(tensor.axes) - 2)))
    else:
        yield AdapterWeight("lora_magnitude_vector.weight", _out_and_in(tensor)[:1])


def _vera(target: Target) -> Iterator[AdapterWeight]:
    """Yield the two vectors that scale the projections, which all modules share."""
    yield AdapterWeight("vera_lambda_b", _out_and_in(target.tensor)[:1])
    yield AdapterWeight("vera_lambda_d", (target.rank,))


def _ia3(target: Target) -> Iterator[AdapterWeight]:
    """Yield the vector that scales a module's outputs, or its inputs."""
    out, into = _out_and_in(target.tensor)
    yield AdapterWeight("ia3_l", (ONE, into) if target.scales_inputs else (out, ONE))


_MATRICES: tuple[ModuleKind, ...] = ("linear", "transposed")
_LOW_RANK: tuple[ModuleKind, ...] = (*_MATRICES, "embedding", "convolution")
METHODS: Mapping[MethodName, Method] = {
    "lora": Method("LoRA", _LOW_RANK, _low_rank, "lora"),
    "dora": Method("DoRA", _LOW_RANK, _dora, "lora"),
    "vera": Method("VeRA", _MATRICES, _vera, "vera"),
    "ia3": Method("(IA)³", _MATRICES, _ia3, "ia3"),
}
TITLES: Mapping[MethodName, str | Message] = {name: method.title for name, method in METHODS.items()} | {
    "prefix_tuning": msg("prefix tuning"),
    "prompt_tuning": msg("prompt tuning"),
}
