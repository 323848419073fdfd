"""The steps of a real pass with their values: of the model's own forward, or of its own modules.

Axes: T tokens, D model.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.trace.expression import Name, nodes
from archcalc.interp.trace.stages import Step, steps
from archcalc.nn import taps
from archcalc.spec.model import ModelStack
from archcalc.spec.sites import sites
from archcalc.words import msg


@dataclass(frozen=True)
class Traced:
    """A step and what came of it: the axes are the site's without the batch, tokens first where nothing else is said.

    `axes` names them, as archcalc.spec.sites does.
    """

    step: Step
    axes: str
    value: Tensor

    def at(self, position: int) -> Tensor:
        """The value at one place, or at the last of a shorter text; whole where it has no axis of tokens."""
        if "T" not in self.axes:
            return self.value
        axis = self.axes.index("T")
        return self.value.select(axis, min(position, self.value.shape[axis] - 1))


@dataclass(frozen=True)
class Trace:
    """A pass over one text: its ids (of an encoder-decoder the source's and the target's), and every step.

    `position` is the place that is looked at: what comes next is said there.
    """

    ids: dict[str, list[int]]
    position: int
    steps: tuple[Traced, ...]

    def __getitem__(self, name: str) -> Tensor:
        return next(one.value for one in self.steps if one.step.name == name)


def check_ids(stack: ModelStack, ids: list[int], where: str) -> None:
    """Raise InputError for ids that are not of the vocabulary, too many or none."""
    model = stack.model
    wrong = [token for token in ids if not 0 <= token < model.vocab_size]
    if wrong or not 0 < len(ids) <= model.n_ctx:
        problem = f"found id {wrong[0]}" if wrong else f"has {len(ids):,} tokens"
        allowed = f"ids from 0 to {model.vocab_size - 1:,}, 1 to {model.n_ctx:,} of them"
        raise InputError(problem, where=where, allowed=allowed)


@torch.no_grad()
def trace(model: Any, ids: list[int], target: list[int] | None = None, *, position: int | None = None) -> Trace:
    """Return every step of a pass over one text, with its value.

    `model` is one of `archcalc.load_model` or `archcalc.random_model`. An encoder-decoder reads `ids` as its source and
    `target` as far as it is written. `position` is the place that is looked at, the last if left out.

    `found[name]` is a step's value without the batch ([T, D] of the residual stream), `found.steps` has each with its
    formula. Raises InputError for ids and a place that are not there, and a model that is packed.
    """
    spec = model.spec
    texts = {"encoder.ids": ids, "decoder.ids": target or []} if target is not None else {"ids": ids}
    if len(texts) != len(spec.stacks):
        raise InputError(msg("reads a source and a target"), where=spec.name, allowed=msg("both"))
    for where, each, text in zip(("ids", "target"), spec.stacks, texts.values(), strict=False):
        check_ids(each, text, where)
    n_places = len(next(reversed(texts.values())))
    position = n_places - 1 if position is None else position
    if not 0 <= position < n_places:
        raise InputError(
            msg("found {position}", position=position),
            where="position",
            allowed=msg("0 to {n_places}", n_places=n_places - 1),
        )
    tensors = {name: torch.tensor([text], device=model.embed.tokens.weight.device) for name, text in texts.items()}
    recorded = taps.record(model, *tensors.values())
    every = steps(spec)
    found = _Values(model, recorded, tensors, every)
    axes = {site.name: site.axes.removeprefix("B") for site in sites(spec)}
    axes |= {"probabilities": axes["logits"], "choice": axes["logits"][:1]} if "logits" in axes else {}
    traced = tuple(Traced(step, axes.get(step.name, _AXES.get(step.kind, "")), found.of(step)) for step in every)
    return Trace(texts, position, traced)


_AXES = {
    "ids": "T",
    "tokens": "TD",
    "normalised": "TD",
    "positions": "TD",
    "up": "TF",
}


class _Values:
    """What each step made: recorded, or of the model's own modules where it is no site."""

    def __init__(self, model: Any, recorded: taps.Recording, ids: dict[str, Tensor], every: tuple[Step, ...]) -> None:
        self.model, self.recorded, self.ids = model, recorded, ids
        self.made: dict[str, Tensor] = {}
        # The module that scales what is normalized is named by the step after it.
        self.norms = dict(_names(step) for step in every if step.kind == "norm")

    def of(self, step: Step) -> Tensor:
        """The value of a step, without the batch."""
        is_site = step.name in self.recorded
        value = self.recorded[step.name] if is_site else _OTHERS[step.kind](self, step)
        self.made[step.name] = value
        return value[0].detach().cpu()

    def _stack(self, step: Step) -> Any:
        prefix = step.name.rpartition(".")[0] if "." in step.name else ""
        return self.model.get_submodule(prefix) if prefix else self.model

    def text(self, step: Step) -> Tensor:
        return self.ids[step.name]

    def tokens(self, step: Step) -> Tensor:
        prefix = step.name.removesuffix("tokens")
        (embed,) = (each.embed_prefix for each in self.model.spec.stacks if each.prefix == prefix)
        x: Tensor = self.model.get_submodule(embed.rstrip(".")).token_rows(self.ids[f"{prefix}ids"])
        return x

    def positions(self, step: Step) -> Tensor:
        prefix = step.name.removesuffix("positions")
        places = torch.arange(self.ids[f"{prefix}ids"].shape[1], device=self.ids[f"{prefix}ids"].device)
        x: Tensor = self._stack(step).positions(places)
        return x.unsqueeze(0) if x.dim() == 2 else x

    def up(self, step: Step) -> Tensor:
        """Before the activation: of the module itself, on what it read."""
        read, module = _names(step)
        x: Tensor = self.model.get_submodule(module)(self.recorded[read])
        return x

    def normalised(self, step: Step) -> Tensor:
        """What the norm's own module gives without its weights."""
        (read,) = _names(step)
        module = self.model.get_submodule(self.norms[step.name])
        bare = copy(module)
        bare._parameters = dict.fromkeys(module._parameters)
        x: Tensor = bare(self.recorded[read])
        return x

    def probabilities(self, step: Step) -> Tensor:
        return self.recorded["logits"].float().softmax(-1)

    def choice(self, step: Step) -> Tensor:
        return self.made["probabilities"].argmax(-1)


def _names(step: Step) -> list[str]:
    """Return the names in a step's formula: what it reads, then what it reads that by."""
    return [node.name for node in nodes(step.formula) if isinstance(node, Name)]


_OTHERS = {
    "ids": _Values.text,
    "tokens": _Values.tokens,
    "positions": _Values.positions,
    "up": _Values.up,
    "normalised": _Values.normalised,
    "probabilities": _Values.probabilities,
    "choice": _Values.choice,
}
