"""A model that is packed: the same calls as the canonical one, with a short way for one token."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.cache import Cache
from archcalc.nn.execution import carry_out
from archcalc.run.pack.prefill import prefill_of
from archcalc.run.pack.replace import replace
from archcalc.run.pack.step import step_of
from archcalc.spec.execution import Execution
from archcalc.words import msg

_HOW = Execution(dtype="fp32", attention="flash", experts="split", device="cpu")


class PackedModel(nn.Module):
    """A canonical model whose parts are packed: it runs in float32 on the CPU, without gradients.

    All else that the canonical model offers (`spec`, `encode` …) is still there by the same name.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.step, self.prefill = step_of(model), prefill_of(model)

    def __getattr__(self, name: str) -> Any:
        """What is not this module's own is the model's."""
        model = super().__getattr__("model")
        return model if name == "model" else getattr(model, name)

    def forward(self, *ids: Tensor | None, cache: Cache | None = None, **more: Any) -> Tensor:
        """As the canonical model; one token more of each text in a cache goes the short way, if there is one."""
        if self.step is not None and cache is not None and self.step.takes(cast(Tensor, ids[0]), cache, more):
            return self.step(cast(Tensor, ids[0]), cache)
        if self.prefill is not None and cache is not None and self.prefill.takes(cast(Tensor, ids[0]), cache, more):
            return self.prefill(cast(Tensor, ids[0]), cache, more["n_logits"])
        with torch.no_grad():
            return cast(Tensor, self.model(*ids, cache=cache, **more))

    def new_cache(self, batch: int, capacity: int, **more: Any) -> Cache:
        """As the canonical model: in float32, if nothing else is said."""
        kind = {} if more.get("format") else {"dtype": torch.float32}
        return cast(Cache, self.model.new_cache(batch, capacity, **{"device": "cpu"} | kind | more))


def pack(model: nn.Module, *, quantize: Literal["int8", "int4"] | None = None) -> PackedModel:
    """A canonical model in layouts that run fast, its matrices in float32, int8 or int4.

    The model is used up: its weights are packed and let go one after the other, so that little more than one of them
    is held twice. int8 has a scale and a low for 64 weights of a column, 9 bits a weight; int4 a scale and a middle
    for 32 weights of a row, 5 bits a weight, and leaves token tables and the head in int8. `stored` tells what each
    tensor became. Raises InputError for a model that is not on the CPU.
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
        replace(model, quantize)
        model.float()
    carry_out(model, _HOW)
    return PackedModel(model)
