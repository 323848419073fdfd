"""Build the model of a Spec."""

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
    """Return the architecture as PyTorch modules, with weights named as in docs/architecture.md.

    The meta device allocates nothing, whatever the size. On a real device weights are initialized (matrices normal with
    deviation 0.02, norms to the identity, biases to zero). `dtype` defaults to torch's. `execution` chooses kernels and
    recomputation (its own dtype and device concern the ledger alone); by default all is eager, and experts are gathered
    on meta and split on a real device.

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
