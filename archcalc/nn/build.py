"""A Spec's model."""

from __future__ import annotations

import torch
from torch import nn

from archcalc.nn.execution import set_execution
from archcalc.nn.initialization import initialize
from archcalc.nn.model import EncoderDecoder, SingleStack
from archcalc.spec import Spec
from archcalc.spec.execution import Execution


def build(
    spec: Spec,
    device: str | torch.device = "meta",
    dtype: torch.dtype | None = None,
    *,
    execution: Execution | None = None,
) -> nn.Module:
    """The spec's architecture as PyTorch modules, their weights named as docs/architecture.md says.

    On the meta device nothing is allocated, whatever the size. On a real one the weights take their first values
    (matrices normal with deviation 0.02, norms the identity, biases zero). `dtype` is torch's default if left out.
    `how` chooses kernels and recomputation (its own dtype and device are the ledger's alone); left out, all is eager,
    and experts are gathered on meta and split on a real device.

    >>> from archcalc.sources import load
    >>> sum(p.numel() for p in build(load("gpt3-175b")).parameters())
    174604259328
    """
    with torch.device("meta"):
        model = EncoderDecoder(spec) if spec.family == "encoder-decoder" else SingleStack(spec)
    if execution is not None:
        set_execution(model, execution)
    if dtype is not None:
        model.to(dtype)
    if torch.device(device).type != "meta":
        model.to_empty(device=device)
        initialize(model)
    return model
