"""What real optimizers keep after a step on a real model: bytes of every tensor of state, by parameter."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.analysis.optimizers import STEP_BYTES, StateBytes
from archcalc.nn.build import build as build_module
from archcalc.spec.model import Spec

DTYPES = {4: torch.float32, 2: torch.bfloat16}
LR = 1e-3


def torchao_optim() -> Any:
    """torchao's optimizers; what it warns of on import is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("torchao.optim")


Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

PLAIN: dict[str, Make] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, LR),
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, LR, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, LR),
    "adafactor": lambda parameters: torch.optim.Adafactor(parameters, LR),
    "adamw8bit": lambda parameters: torchao_optim().AdamW8bit(parameters, LR),
    "adamw4bit": lambda parameters: torchao_optim().AdamW4bit(parameters, LR),
    "adamwfp8": lambda parameters: torchao_optim().AdamWFp8(parameters, LR),
}
MUON: Make = lambda parameters: torch.optim.Muon(parameters, LR)  # noqa: E731


def stepped(make: Make, parameters: list[nn.Parameter]) -> list[StateBytes]:
    """What is kept of each parameter after one step with a gradient of its own dtype."""
    if not parameters:
        return []
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = make(parameters)
    # torchao compiles its step, and on a CPU that needs a C++ compiler.
    with torch.compiler.set_stance("force_eager"):
        optimizer.step()
    return [measured(optimizer.state[parameter]) for parameter in parameters]


def measured(state: dict[str, Any]) -> StateBytes:
    """The bytes of a parameter's state, each storage once."""
    found = StateBytes()
    for name, value in state.items():
        if name == "step":
            assert value.nbytes == STEP_BYTES
            found += StateBytes(steps=value.nbytes)
        elif isinstance(value, Tensor):
            found += _tensor(value)
    return found


def _tensor(value: Tensor) -> StateBytes:
    parts = {"values": value} if type(value) is Tensor else dict(_inner(value))
    sizes = {name: part.untyped_storage().nbytes() for name, part in parts.items()}
    return StateBytes(sizes.get("codes", sizes.get("values", 0)), sizes.get("scale", 0), sizes.get("qmap", 0))


def _inner(value: Any) -> Iterator[tuple[str, Tensor]]:
    names = value.__tensor_flatten__()[0]
    assert set(names) <= {"codes", "scale", "qmap"}
    return ((name, getattr(value, name)) for name in names)


def in_model(spec: Spec, name: str, element: int) -> dict[str, StateBytes]:
    """By parameter's name, what a real optimizer keeps of a real model of a spec."""
    model = build_module(spec, device="cpu", dtype=DTYPES[element])
    parameters = {path: p for path, p in model.named_parameters() if p.requires_grad}
    if not name.startswith("muon"):
        return dict(zip(parameters, stepped(PLAIN[name], list(parameters.values())), strict=True))
    by_muon = {path: parts for path, p in parameters.items() if (parts := matrices(path, p, name))}
    found = {path: sum_of(stepped(MUON, parts)) for path, parts in by_muon.items()}
    others = [path for path in parameters if path not in by_muon]
    return found | dict(zip(others, stepped(PLAIN["adamw"], [parameters[path] for path in others]), strict=True))


def matrices(path: str, parameter: nn.Parameter, name: str) -> list[nn.Parameter]:
    """The 2-D parameters that Muon is given for this one; none if it is not a hidden matrix."""
    tables = ("embed.tokens", "embed.types", "embed.tables", "per_layer.table", "positions", "head.weight")
    tables += ("relative_bias", "summary_bias", "distances", "up_rows", "down_rows")
    vectors = ("q_norm", "k_norm", "extras")
    if path.endswith("conv.weight"):  # a filter of each channel maps nothing
        return []
    if not path.endswith(".weight") or any(f".{part}" in f".{path}" for part in (*tables, *vectors)):
        return []
    if parameter.ndim == 3 and name == "muon-experts":
        return [nn.Parameter(expert.detach().clone()) for expert in parameter]
    return [parameter] if parameter.ndim == 2 else []


def sum_of(states: list[StateBytes]) -> StateBytes:
    total = StateBytes()
    for state in states:
        total += state
    return total
