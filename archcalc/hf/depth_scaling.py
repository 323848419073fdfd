"""Scores whose scale depends on the layer's depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.lens import ConfigDraft, Lens, MismatchError
from archcalc.hf.stack import StackLens, layers_of

if TYPE_CHECKING:
    from archcalc.spec.document import Document


@final
class DepthScaledStackLens(Lens, msgspec.Struct, frozen=True):
    """A stack whose scores are divided by 1, 2, 3 … from its first layer on; `width` gives the width of a head."""

    stack: StackLens
    width: Callable[[Config], int]

    def names(self) -> Iterator[str]:
        """Yield the stack's."""
        yield from self.stack.names()

    def read(self, config: Config) -> Document:
        """Return the stack with a run for each layer."""
        document = self.stack.read(config)
        plain = max(1, self.width(config)) ** -0.5  # more heads than channels are refused with the spec
        runs = []
        for index, layer in enumerate(layers_of(document)):
            attention = layer["attention"]
            scale = (attention["scale"] or plain) / (index + 1) if index else attention["scale"]
            runs.append({"count": 1, "pattern": [layer | {"attention": attention | {"scale": scale}}]})
        return document | {"runs": runs}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the stack with every layer scaled as the first; reading back shows whether the others follow."""
        layers = layers_of(value) if isinstance(value, dict) else []
        if any(layer["attention"] is None for layer in layers):
            raise MismatchError
        runs = []
        for layer in layers:
            attention = layer["attention"] | {"scale": layers[0]["attention"].get("scale")}
            runs.append({"count": 1, "pattern": [layer | {"attention": attention}]})
        self.stack.write({**value, "runs": runs} if isinstance(value, dict) else value, draft)
