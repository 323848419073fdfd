"""The modules of transformers' classes as the library peft adapts them: what the names of their tensors do not say.

`adapter_targets.json` is generated with peft (`python -m archcalc.hf`).
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

import msgspec

from archcalc.formats.policy import Role

LIBRARY = "peft 0.21"
FILE = os.path.join(os.path.dirname(__file__), "adapter_targets.json")

# Types whose router is a Linear although its module is called as those of others, which are modules of their own kind.
_LINEAR_ROUTERS = frozenset({"afmoe", "llama4_text", "phimoe"})
# Types whose base model has matrices in modules of their own kind, which no adapter fits, by its prefix.
_OWN_MODULES = {"ibert": "ibert."}
# Types with matrices that are stored [in, out] without saying so: their two factors are the other way round.
UNDECLARED_ORDER = frozenset({"llama4_text", "mobilebert"})
# Modules that peft refuses to adapt with low-rank matrices, because kernels of state-space models read their weights.
REFUSED_TYPES = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})
REFUSED_MODULES = frozenset({"conv1d", "out_proj"})

# The module that a class states as its output layer, where that is not the one with the head's matrix.
_STATED_OUTPUTS = {
    "lm_predictions.lm_head.decoder": "lm_predictions.lm_head.dense",
    "model.decoder.output_projection": "model.decoder.embed_tokens",
}
# Heads that read the token table without a module of their own.
NO_MODULES = frozenset({"lm_predictions.lm_head.decoder"})
# The other modules that hold a tied table, by the module whose name it has.
_COPIES = {
    "lm_head.decoder": ("roberta.embeddings.word_embeddings",),
    "luke.entity_embeddings.entity_embeddings": ("entity_predictions.decoder",),
    "model.encoder.embed_tokens": ("model.decoder.embed_tokens",),
}
# Types whose class has the configuration of another type.
_SAME_AS = {"gpt-sw3": "gpt2"}
# Types whose config calls the decoder's layers its own.
LAYERS_OF_DECODER = frozenset({"seamless_m4t", "seamless_m4t_v2"})
# Types whose config counts the two attentions of a layer as layers.
PAIRED_LAYERS = frozenset({"longcat_flash"})
# Types whose class states all layers that run, where the config has those of one module.
LAYERS_THAT_RUN = frozenset({"hrm_text"})
# Types with latent attention whose config states another width of keys for some of the layers.
MIXED_LATENTS = frozenset({"dots3_note_text"})
_TEXT_STACKS = frozenset({"seamless_m4t", "seamless_m4t_v2"})

_TABLE = re.compile(r"(?:.*_)?(?:embeddings?|shared|bias|embed_tokens.*|embed_global|(?:up|down)_embed|wte|wpe)")
_TABLES: tuple[Role, ...] = ("embedding", "tied", "position", "types", "table")


def has_linear(model_type: str, role: Role, module: str) -> bool:
    """Return whether the weight of a module, a matrix with this role, is that of a Linear."""
    if _is_own(model_type, module):
        return False
    last = module.rpartition(".")[2]
    if role == "router":
        return last not in ("gate", "router") or model_type in _LINEAR_ROUTERS
    if role == "table":
        return not _TABLE.fullmatch(last)
    return role in ("linear", "gate", "head", "experts") or (role in ("embedding", "tied") and last == "decoder")


def has_table(model_type: str, role: Role, module: str) -> bool:
    """Return whether the weight of a module that is no Linear is that of an embedding."""
    return role in _TABLES and not _is_own(model_type, module)


def _is_own(model_type: str, module: str) -> bool:
    return model_type in _OWN_MODULES and module.startswith(_OWN_MODULES[model_type])


def stated_output(module: str) -> str:
    """Return the module that a class states as its output layer, whose matrix is that of `module`."""
    return _STATED_OUTPUTS.get(module, module)


def copies_of(model_type: str, holder: str) -> tuple[str, ...]:
    """Return the other modules of a class that hold a tied table, besides `holder`."""
    if holder.rpartition(".")[2] != "shared":
        return _COPIES.get(holder, ())
    prefix = holder.removesuffix("shared") + ("text_" if model_type in _TEXT_STACKS else "")
    return (f"{prefix}encoder.embed_tokens", f"{prefix}decoder.embed_tokens")


def targets(method: str, model_type: str) -> str | tuple[str, ...] | None:
    """Return the modules that peft adapts in a type where none are named; None if they have to be."""
    return _found(f"targets.{method}", model_type)


def feedforward(model_type: str) -> str | tuple[str, ...] | None:
    """Return the modules whose inputs (IA)³ scales in a type where none are named."""
    return _found("feedforward.ia3", model_type)


def renamed(model_type: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the parameters that hold the matrices with former names, and the names that a parameter joins."""
    family = _data()["renamed.types"].get(model_type)
    return (_data()["renamed.names"].get(family, {}), _data()["renamed.fused"].get(family, {}))


def missing_size(model_type: str) -> str | None:
    """Return the size that the config of a type does not state by any name that peft knows; None if it states all."""
    key: str | None = _data()["prompts.missing"].get(model_type)
    return key


def divides_width(model_type: str) -> bool:
    """Return whether peft takes a key's width as that of the model divided by the heads, for a type of grouped keys."""
    return model_type in _data()["prompts.split"]


def _found(table: str, model_type: str) -> str | tuple[str, ...] | None:
    names = _data()[table].get(_SAME_AS.get(model_type, model_type))
    return tuple(names) if isinstance(names, list) else names


@cache
def _data() -> dict[str, Any]:
    with open(FILE, "rb") as file:
        data: dict[str, Any] = msgspec.json.decode(file.read())
    return data
