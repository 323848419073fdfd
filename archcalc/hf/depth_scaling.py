"""Stacks whose attention scores are scaled by the depth of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.lens import ConfigDraft, ConfigLens, MismatchError
from archcalc.hf.stack import StackLens, layers_of

if TYPE_CHECKING:
    from archcalc.spec.document import Document


@final
class DepthScaledStackLens(ConfigLens, msgspec.Struct, frozen=True):
    """A stack that divides the scores of its n-th layer by n. `width` returns the width of a head."""

    stack: StackLens
    width: Callable[[Config], int]

    def names(self) -> Iterator[str]:
        """Yield the stack's keys."""
        yield from self.stack.names()

    def read(self, config: Config) -> Document:
        """Return the stack with a run for each layer."""
        document = self.stack.read(config)
        plain = max(1, self.width(config)) ** -0.5  # A spec with more heads than channels is refused later.
        runs = []
        for index, layer in enumerate(layers_of(document)):
            attention = layer["attention"]
            scale = (attention["scale"] or plain) / (index + 1) if index else attention["scale"]
            runs.append({"count": 1, "pattern": [layer | {"attention": attention | {"scale": scale}}]})
        return document | {"runs": runs}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the stack with the first layer's scale everywhere. Reading back shows whether the others follow."""
        layers = layers_of(value) if isinstance(value, dict) else []
        if any(layer["attention"] is None for layer in layers):
            raise MismatchError
        runs = []
        for layer in layers:
            attention = layer["attention"] | {"scale": layers[0]["attention"].get("scale")}
            runs.append({"count": 1, "pattern": [layer | {"attention": attention}]})
        self.stack.write({**value, "runs": runs} if isinstance(value, dict) else value, draft)
