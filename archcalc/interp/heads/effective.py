"""The effective attention of recurrent mixers (Ali et al. 2024, "The Hidden Attention of Mamba Models").

With what a mixer selects held fixed, its state is linear in its values: token t reads Σ w[t, s] · value[s]. These
weights w are its effective attention, the derivative of what t reads by the value of s. They may be negative, and their
sum is not 1.

Axes: B batch, N heads, T tokens, S earlier tokens, I channels of all heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import torch
from torch import Tensor

from archcalc.nn.taps.edits import Edit
from archcalc.nn.taps.record import edit
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches
from archcalc.spec.groups import layers_of
from archcalc.spec.mixer import GatedDelta, Lightning, Mamba1, Mamba2, MLstm, RgLru, TimeMix


class LinearMixer(msgspec.Struct, frozen=True):
    """The sites of a mixer that is linear in its values: what it reads, and what else depends on the values.

    A weight is the mean over the channels of a head; those of one head share it, but for mixers that decay by channel.
    """

    values: str
    mixed: str
    selected: tuple[str, ...] = ()
    n_heads: Callable[[Any], int] = lambda part: part.n_heads


def _one_head(part: object) -> int:
    return 1


LINEAR_MIXERS: Final[dict[type, LinearMixer]] = {
    GatedDelta: LinearMixer("v", "mixed"),
    Lightning: LinearMixer("v", "mixed"),
    MLstm: LinearMixer("v", "mixed"),
    Mamba1: LinearMixer("conv", "scan", ("selection",), lambda part: part.n_heads or 1),
    Mamba2: LinearMixer("v", "scan"),
    RgLru: LinearMixer("conv", "scan", ("input_gate", "decay_gate"), _one_head),
    TimeMix: LinearMixer("v", "scan", (), _one_head),
}


class MixerArm(msgspec.Struct, frozen=True):
    """A mixer that has an effective attention; of its stack's text, like a causal attention."""

    path: str
    layer: int
    text: int
    n_heads: int
    sites: LinearMixer
    is_cross: bool = False
    n_more: int = 0
    n_lead: int = 0
    n_learned: int = 0

    @property
    def key_text(self) -> int:
        """Return the index of the text that its keys are of."""
        return self.text

    @property
    def has_summaries(self) -> bool:
        """Return that all keys are tokens."""
        return False

    def key_names(self, tokens: Sequence[str], n_keys: int) -> tuple[str, ...]:
        """Return the tokens."""
        return tuple(tokens)

    def query_names(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Return the tokens."""
        return tuple(tokens)

    @property
    def selected_names(self) -> tuple[str, ...]:
        """Return the sites that are held fixed."""
        return tuple(f"{self.path}.{name}" for name in self.sites.selected)

    @property
    def site_names(self) -> tuple[str, ...]:
        """Return the sites that are read."""
        return tuple(f"{self.path}.{name}" for name in (self.sites.values, self.sites.mixed))

    def kv_head(self, head: int) -> int:
        """Return the head itself: none are shared."""
        return head


def mixer_arms(spec: Spec) -> Iterator[MixerArm]:
    """Yield every mixer that has an effective attention, in the order of a forward pass."""
    for text, model_stack in enumerate(spec.stacks):
        for i, layer in enumerate(layers_of(model_stack.stack)):
            for arm in (arm for branch in active_branches(layer) for arm in branch.arms):
                sites = LINEAR_MIXERS.get(type(arm.part))
                if sites is not None:
                    path = f"{model_stack.prefix}layers.{i}.{arm.name}"
                    yield MixerArm(path, i, text, sites.n_heads(arm.part), sites)


def effective_attention(model: Any, arms: Sequence[MixerArm], texts: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the weights [N, T, S] of each mixer by path, over one text."""
    if not arms:
        return {}
    values: dict[str, Tensor] = {}
    mixed: dict[str, Tensor] = {}
    edits = [one for arm in arms for one in _edits(arm, values, mixed)]
    with torch.inference_mode(False), torch.enable_grad():
        with edit(model, *edits):
            model(*(text_BT.clone() for text_BT in texts))
        return {arm.path: _weights(values[arm.path], mixed[arm.path], arm.n_heads) for arm in arms}


def _edits(arm: MixerArm, values: dict[str, Tensor], mixed: dict[str, Tensor]) -> Iterator[Edit]:
    """Yield edits that change no number: they cut the graph around the way from a mixer's values to what it reads."""

    def keep_values(x_BTI: Tensor) -> Tensor:
        values[arm.path] = x_BTI.detach().requires_grad_()
        return values[arm.path]

    def keep_mixed(x_BTI: Tensor) -> Tensor:
        mixed[arm.path] = x_BTI
        return x_BTI.detach()

    values_name, mixed_name = arm.site_names
    yield Edit(values_name, None, keep_values)
    for name in arm.selected_names:
        yield Edit(name, None, Tensor.detach)
    yield Edit(mixed_name, None, keep_mixed)


def _weights(values_BTI: Tensor, mixed_BTI: Tensor, n_heads: int) -> Tensor:
    """Return the mean derivative over the channels of each head [N, T, S]: a value reaches its own channel alone."""
    rows = []
    for read_I in mixed_BTI[0]:
        (grad_BTI,) = torch.autograd.grad(read_I.sum(), values_BTI, retain_graph=True)
        rows.append(torch.unflatten(grad_BTI[0], -1, (n_heads, -1)).mean(-1).T)
    return torch.stack(rows, 1)
