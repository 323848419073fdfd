"""Forward passes that begin at any layer, over a batch of equal texts.

Axes: B batch, T tokens, S the source's tokens, D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.interp.readout import Readout
from archcalc.nn.taps import Edit, Recording
from archcalc.nn.taps.model_tap import ModelTap, attached
from archcalc.nn.taps.points import observed_pass, set_token_context


@dataclass(frozen=True)
class PassStart:
    """Where a pass begins: the states before a layer of a stack, and the states of the source if it has been read."""

    stack: int
    layer: int
    states_BTD: Tensor  # noqa: N815
    source_BSD: Tensor | None = None  # noqa: N815


@dataclass(frozen=True)
class PassResult:
    """The recorded values, the output of each stack that ran, and the logits at one position of the last stack."""

    recording: Recording
    source_BSD: Tensor | None  # noqa: N815
    logits_BV: Tensor  # noqa: N815


class PartialPass:
    """Runs a model on `n_rows` equal rows of a text, or of a source and a target.

    Only the logits at `position` of the last text are computed. Raises InputError as `Readout` does, and for a packed
    model.
    """

    def __init__(self, model: Any, texts: Sequence[Sequence[int]], position: int, n_rows: int) -> None:
        self.model, self.position, self.readout = model, position, Readout(model)
        spec, device = model.spec, model.embed.tokens.weight.device
        is_pair = len(spec.stacks) == 2
        self.stacks: list[Any] = [model.encoder, model.decoder] if is_pair else [model]
        self.embeds = [model.encoder.embed or model.embed, model.embed] if is_pair else [model.embed]
        self.ids = [torch.tensor([list(ids)] * n_rows, device=device) for ids in texts]

    def first_layer(self, stack: int, layer: int) -> int:
        """Return the layer at which a pass must begin for this one.

        0 if layers read keys of earlier ones or states of their routers, the first layer's input or per-layer
        embeddings, which follow from it, or run in cycles.
        """
        module = self.stacks[stack]
        reads_more = module.per_layer is not None or module.reads_embedding or module.cycles is not None
        links = (*module.lenders, *module.router_links)
        return 0 if reads_more or any(link is not None for link in links) else layer

    def __call__(
        self, edits: Sequence[Edit] = (), read: Collection[str] = (), start: PassStart | None = None
    ) -> PassResult:
        """Return the result of a pass with these edits; `read` are the names of the sites to record."""
        recording, source_BSD, x_BTD = Recording(), start.source_BSD if start else None, None
        tap = ModelTap(self.model, edits, frozenset(read), recording.add)
        with attached(tap), observed_pass(self.model):
            for index in range(start.stack if start else 0, len(self.stacks)):
                source_BSD = x_BTD if x_BTD is not None else source_BSD
                x_BTD = self._stack_output(index, source_BSD, start if start and start.stack == index else None)
        assert x_BTD is not None, "the last stack ran"
        logits_BV = self.readout(x_BTD[:, self.position : self.position + 1])[:, 0]
        recording.logits = logits_BV
        return PassResult(recording, source_BSD, logits_BV)

    def _stack_output(self, index: int, source_BSD: Tensor | None, start: PassStart | None) -> Tensor:
        """Return the states after the last layer of a stack; of the encoder, after its final norm."""
        stack, ids_BT = self.stacks[index], self.ids[index]
        positions_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        context = stack.layer_context(positions_T, source_BSD)
        set_token_context(context.own)
        if start is None:
            x_BTD = stack.input_states(self.embeds[index], ids_BT, None, context.own.token_positions)
        else:
            x_BTD = start.states_BTD
        if start is None or not start.layer:
            context = stack.with_tokens(context, ids_BT, x_BTD)
        y_BTD: Tensor = stack.run(x_BTD, context, first_layer=start.layer if start else 0)
        if index < len(self.stacks) - 1:
            y_BTD = stack.apply_final_norm(y_BTD)
        return y_BTD
