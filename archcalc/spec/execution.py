"""How a forward pass is carried out: what decides which of its tensors autograd keeps, and what is computed again."""

from __future__ import annotations

from typing import Literal

from archcalc.errors import InputError
from archcalc.spec.base import Part
from archcalc.words import msg

ActivationDtype = Literal["fp32", "bf16", "fp16"]
Device = Literal["meta", "cpu", "cuda"]
Kernel = Literal["eager", "math", "flash"]
Experts = Literal["gather", "split"]
Recompute = Literal["none", "selective", "full"]


class Execution(Part, frozen=True, kw_only=True):
    """One way to carry out a model's forward pass in training.

    `dtype` is the weights' and the activations', without autocast. `attention` names the kernel: `eager` writes every
    product out; `math` and `flash` are PyTorch's scaled_dot_product_attention by that backend, and what it cannot do
    (a softcap, sinks) stays eager. What the device's flash kernel cannot do (on a GPU: float32, or a mask, as of a
    window or a decode step) math does. `experts`: each choice's weights gathered for one bmm, or the choices sorted and
    split by expert. `recompute`: which results are dropped and made again in the backward pass by a non-reentrant
    checkpoint, none, those of every attention's core (`selective`), or all of a layer's (`full`).
    On `meta` tensors only eager and math run; `cuda` is modelled.
    """

    dtype: ActivationDtype = "bf16"
    attention: Kernel = "eager"
    experts: Experts = "gather"
    recompute: Recompute = "none"
    dropout: bool = True
    device: Device = "meta"

    def __post_init__(self) -> None:
        """Raise InputError for a kernel that the device does not have."""
        if self.attention == "flash" and self.device == "meta":
            raise InputError(
                msg("there is no flash kernel on meta"), where="attention", allowed=msg("cpu or cuda as the device")
            )
