"""From the residual stream to logits: the final norm and the head, applied to the states of any layer.

Axes: B batch, T tokens, D model, V vocab.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from archcalc.errors import InputError
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.nn.taps.points import taps_disabled
from archcalc.spec import Spec
from archcalc.spec.model import ModelStack
from archcalc.spec.sites import Site, sites
from archcalc.words import msg


def read_stack(spec: Spec) -> ModelStack:
    """Return the stack whose states the head reads: of an encoder-decoder, the decoder.

    Raises InputError for a model whose head does not score the vocabulary.
    """
    if not spec.predicts_tokens:
        raise InputError(msg("the model predicts no tokens"), where="head", allowed=msg("a head over the vocabulary"))
    return spec.stacks[-1]


def stream_sites(spec: Spec) -> tuple[Site, ...]:
    """Return the sites of the residual stream that ends in the logits, in the order of a forward pass.

    They are the first layer's input, and the stream after every branch of every layer: `resid_mid`…, `resid_post`. Of
    several streams they are all, before the first layer, and after each layer and between its steps.

    >>> from archcalc.sources import load
    >>> [site.name for site in stream_sites(load("happy"))]
    ['layers.0.resid_pre', 'layers.0.resid_mid', 'layers.0.resid_post']
    """
    stack = read_stack(spec)
    in_stack = [site for site in sites(spec) if site.name.startswith(stack.prefix) and not site.is_source]
    if stack.stack.streams is not None:
        return tuple(site for site in in_stack if "M" in site.axes)
    kinds = [(site, site.name.rpartition(".")[2]) for site in in_stack]
    return tuple(
        site
        for site, kind in kinds
        if kind.startswith("resid_mid") or kind == "resid_post" or (kind == "resid_pre" and site.layer == 0)
    )


class Readout:
    """The end of a model: its final norm and its head. Raises InputError as `read_stack` does."""

    def __init__(self, model: Any) -> None:
        spec = canonical_spec(model)
        read_stack(spec)
        self.model, self.stack = model, model.decoder if spec.encoder and spec.decoder else model

    def at(self, x: Tensor, positions: Any) -> Tensor:
        """Return states of a layer, or streams, at some positions of the text; a soft prompt's rows are before them."""
        return x[:, self.stack.n_lead :][:, positions]

    def states(self, x: Tensor) -> Tensor:
        """Return the states [B, T, D] that the final norm reads: several streams [B, T, M, D] are merged."""
        return x if self.stack.streams is None else self.stack.streams.states(x)

    def __call__(self, x_BTD: Tensor) -> Tensor:
        """Return the logits [B, T, V] of states of the residual stream [B, T, D]."""
        with taps_disabled():
            logits_BTV: Tensor = self.model.head(self.stack.apply_final_norm(x_BTD), self.model.embed.tokens.weight)
        return logits_BTV
