"""Run a model once and return the value of every step, recorded from its forward pass or computed by its modules.

Axes: T tokens, D model.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_ids, check_position
from archcalc.interp.trace.expression import Call, Expression, Name, nodes
from archcalc.interp.trace.model_steps import steps
from archcalc.interp.trace.step import Step
from archcalc.nn import taps
from archcalc.spec import Spec
from archcalc.spec.sites import sites
from archcalc.words import msg


@dataclass(frozen=True)
class TracedStep:
    """A step and its value without the batch; `axes` names its axes as archcalc.spec.sites does.

    The first `n_lead` rows of tokens are those of a soft prompt; `n_learned` keys before the others are learned.
    """

    step: Step
    axes: str
    value: Tensor
    n_lead: int = 0
    n_learned: int = 0

    def row(self, position: int) -> int:
        """Return the row of a position of the text, at most the last row."""
        return min(position + self.n_lead, self.value.shape[self.axes.index("T") if "T" in self.axes else 0] - 1)

    def at(self, position: int) -> Tensor:
        """Return the value at one position (at most the last), or the whole value if it has no token axis."""
        return self.value.select(self.axes.index("T"), self.row(position)) if "T" in self.axes else self.value


@dataclass(frozen=True)
class Trace:
    """A forward pass over one text: its ids (of an encoder-decoder, source and target) and every step.

    `position` is the token position of interest, whose next token is predicted.
    """

    ids: dict[str, list[int]]
    position: int
    steps: tuple[TracedStep, ...]

    def __getitem__(self, name: str) -> Tensor:
        return next(traced.value for traced in self.steps if traced.step.name == name)


@torch.no_grad()
def trace(model: Any, ids: list[int], target: list[int] | None = None, *, position: int | None = None) -> Trace:
    """Return every step of a forward pass over one text, with its value.

    `model` comes from `archcalc.load_model` or `archcalc.random_model`. An encoder-decoder reads `ids` as its source
    and `target` as the tokens generated so far. `position` is the token position of interest (default: the last).

    `trace[name]` is the value of a step without the batch ([T, D] for the residual stream); `trace.steps` has each
    step with its expression. Raises InputError for invalid ids, a position out of range, and a packed model.
    """
    spec = model.spec
    texts = {"encoder.ids": ids, "decoder.ids": target or []} if target is not None else {"ids": ids}
    if len(texts) != len(spec.stacks):
        raise InputError(msg("reads a source and a target"), where=spec.name, allowed=msg("both"))
    for where, stack, text in zip(("ids", "target"), spec.stacks, texts.values(), strict=False):
        check_ids(stack, text, where)
    position = check_position(position, len(next(reversed(texts.values()))))
    tensors = {name: torch.tensor([text], device=model.embed.tokens.weight.device) for name, text in texts.items()}
    recorded = taps.record(model, *tensors.values())
    all_steps = steps(spec)
    values = _StepValues(model, recorded, tensors, all_steps)
    all_sites = list(sites(spec))
    axes = {site.name: site.axes.removeprefix("B") for site in all_sites}
    axes |= {"probabilities": axes["logits"], "choice": axes["logits"][:1]} if "logits" in axes else {}
    learned = {site.name: site.n_prompt for site in all_sites}
    traced = tuple(
        TracedStep(
            step,
            axes.get(step.name, _AXES.get(step.kind, "")),
            values.value_of(step),
            _n_lead(spec, step),
            learned.get(step.name, 0),
        )
        for step in all_steps
    )
    return Trace(texts, position, traced)


def _n_lead(spec: Spec, step: Step) -> int:
    """Return how many rows of a soft prompt a step has: those in layers have all."""
    return next((stack.stack.n_lead for stack in spec.stacks if step.layer.startswith(f"{stack.prefix}layers.")), 0)


_AXES = {
    "prompts": "PZ",
    "ids": "T",
    "tokens": "TD",
    "normalized": "TD",
    "positions": "TD",
    "up": "TF",
}


class _StepValues:
    """The value of each step: recorded if it is a site, else computed by the model's own modules."""

    def __init__(self, model: Any, recorded: taps.Recording, ids: dict[str, Tensor], steps: tuple[Step, ...]) -> None:
        self.model, self.recorded, self.ids = model, recorded, ids
        self.values: dict[str, Tensor] = {}
        # A norm's module stands in the expression of the step that scales the normalized values.
        self.norms = {names[0]: names[1] for names in (_names(step) for step in steps if step.kind == "norm")}

    def value_of(self, step: Step) -> Tensor:
        """Return the value of a step, without the batch."""
        is_site = step.name in self.recorded
        value = self.recorded[step.name] if is_site else _COMPUTE[step.kind](self, step)
        self.values[step.name] = value
        return value[0].detach().cpu()

    def _stack(self, step: Step) -> Any:
        prefix = step.name.rpartition(".")[0] if "." in step.name else ""
        return self.model.get_submodule(prefix) if prefix else self.model

    def text(self, step: Step) -> Tensor:
        return self.ids[step.name]

    def tokens(self, step: Step) -> Tensor:
        prefix = step.name.removesuffix("tokens")
        (embed,) = (stack.embed_prefix for stack in self.model.spec.stacks if stack.prefix == prefix)
        x: Tensor = self.model.get_submodule(embed.rstrip(".")).token_rows(self.ids[f"{prefix}ids"])
        return x

    def positions(self, step: Step) -> Tensor:
        prefix = step.name.removesuffix("positions")
        positions_T = torch.arange(self.ids[f"{prefix}ids"].shape[1], device=self.ids[f"{prefix}ids"].device)
        x: Tensor = self._stack(step).positions(positions_T)
        return x.unsqueeze(0) if x.dim() == 2 else x

    def prompts(self, step: Step) -> Tensor:
        """Return the keys and values that a module of learned prompts makes for all layers, in a row."""
        pairs = self.model.get_submodule(step.name)()
        return torch.cat([x_KPH.transpose(0, 1).flatten(1) for pair in pairs for x_KPH in pair], -1).unsqueeze(0)

    def up(self, step: Step) -> Tensor:
        """Return the values before the activation: the module applied to its recorded input."""
        module_input, module = _names(step)
        factor = next((x for node in nodes(step.expression) for x in _numbers(node)), 1.0)
        x: Tensor = self.model.get_submodule(module)(self.recorded[module_input] * factor)
        return x

    def normalized(self, step: Step) -> Tensor:
        """Return the output of the norm's module without its weights."""
        (norm_input,) = _names(step)
        module = self.model.get_submodule(self.norms[step.name])
        weightless = copy(module)
        weightless._parameters = dict.fromkeys(module._parameters)
        x: Tensor = weightless(self.recorded[norm_input])
        return x

    def probabilities(self, step: Step) -> Tensor:
        return self.recorded["logits"].float().softmax(-1)

    def choice(self, step: Step) -> Tensor:
        return self.values["probabilities"].argmax(-1)


def _names(step: Step) -> list[str]:
    """Return the names in a step's expression: its input, then its module."""
    return [node.name for node in nodes(step.expression) if isinstance(node, Name)]


def _numbers(node: Expression) -> list[float]:
    """Return the numbers among the arguments of a call."""
    return [x for x in node.arguments if not isinstance(x, Expression)] if isinstance(node, Call) else []


_COMPUTE = {
    "ids": _StepValues.text,
    "tokens": _StepValues.tokens,
    "positions": _StepValues.positions,
    "prompts": _StepValues.prompts,
    "up": _StepValues.up,
    "normalized": _StepValues.normalized,
    "probabilities": _StepValues.probabilities,
    "choice": _StepValues.choice,
}
