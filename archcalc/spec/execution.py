"""Execution settings of a forward pass: which tensors it saves and which are recomputed."""

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
    """Execution settings of a training step.

    `dtype` is that of weights and activations, without autocast. `attention` is the kernel: `eager` writes out every
    product; `math` and `flash` are backends of PyTorch's scaled_dot_product_attention, and attention that these do not
    support (softcap, sinks) stays eager. Where the device's flash kernel does not support a call (on a GPU: float32, or
    a mask, as of a window or a decode step), `math` runs. `experts`: gather each choice's weights for one bmm, or sort
    and split the choices by expert. `recompute`: what a non-reentrant checkpoint recomputes in the backward pass:
    nothing, the core of every attention (`selective`), or whole layers (`full`). `meta` tensors run eager and math
    only; `cuda` is modeled.
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
                msg("the flash kernel does not support meta"),
                where="attention",
                allowed=msg("cpu or cuda as the device"),
            )
