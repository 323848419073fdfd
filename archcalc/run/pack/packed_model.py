"""A packed model: called like the canonical one, with fast paths for prefill and decoding."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.cache import Cache
from archcalc.nn.execution import set_execution
from archcalc.run.pack.decode_step import decode_step
from archcalc.run.pack.prefill import prefill_last_positions
from archcalc.run.pack.replacement import replace_parts
from archcalc.spec.execution import Execution
from archcalc.words import msg

_EXECUTION = Execution(dtype="fp32", attention="flash", experts="split", device="cpu")


class PackedModel(nn.Module):
    """A canonical model with packed parts: it runs in float32 on the CPU, without gradients.

    All other attributes (`spec`, `encode` …) are the canonical model's.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.step, self.prefill = decode_step(model), prefill_last_positions(model)

    def __getattr__(self, name: str) -> Any:
        """Return the canonical model's attribute."""
        model = super().__getattr__("model")
        return model if name == "model" else getattr(model, name)

    def forward(self, *ids: Tensor | None, cache: Cache | None = None, **kwargs: Any) -> Tensor:
        """Run as the canonical model; decode steps and prefills take the fast path, if there is one."""
        if self.step is not None and cache is not None and self.step.accepts(cast(Tensor, ids[0]), cache, kwargs):
            return self.step(cast(Tensor, ids[0]), cache)
        if self.prefill is not None and cache is not None and self.prefill.accepts(cast(Tensor, ids[0]), cache, kwargs):
            return self.prefill(cast(Tensor, ids[0]), cache, kwargs["n_logits"])
        with torch.no_grad():
            return cast(Tensor, self.model(*ids, cache=cache, **kwargs))

    def new_cache(self, batch: int, capacity: int, **kwargs: Any) -> Cache:
        """Return a cache as the canonical model does; in float32 by default."""
        default_dtype = {} if kwargs.get("format") else {"dtype": torch.float32}
        return cast(Cache, self.model.new_cache(batch, capacity, **{"device": "cpu"} | default_dtype | kwargs))


def pack(model: nn.Module, *, quantize: Literal["int8", "int4"] | None = None) -> PackedModel:
    """Return a canonical model in fast layouts, with matrices in float32, int8 or int4.

    The model is consumed: weights are packed and freed one after another, so that little more than one of them is in
    memory twice. int8 has a scale and a low for 64 weights of a column, 9 bits a weight; int4 has a scale and a middle
    for 32 weights of a row, 5 bits a weight, and keeps token tables and the head in int8. `packed_tensors` lists the
    format of each tensor. Raises InputError for a model that is not on the CPU.
    """
    devices = {str(parameter.device) for parameter in model.parameters()}
    if devices - {"cpu"}:
        raise InputError(
            msg("found weights on {devices}", devices=", ".join(sorted(devices))),
            where="pack",
            allowed=msg("a model on the CPU"),
        )
    model.requires_grad_(False).eval()
    with torch.no_grad():
        replace_parts(model, quantize)
        model.float()
    set_execution(model, _EXECUTION)
    return PackedModel(model)
