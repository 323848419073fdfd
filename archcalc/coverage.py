"""What is read of each model type, found by holding it against transformers."""

from __future__ import annotations

import math
import tempfile
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from archcalc.errors import InputError, RefusedError, shown
from archcalc.extras import require
from archcalc.hf.small_config import complete_config, small_config
from archcalc.words import Message, joined, msg

if TYPE_CHECKING:
    from archcalc.hf.family import Family

State = Literal["exact", "differs", "refused", "not checked", "not read", "none"]
# What is compared, in the order in which one presumes the other.
CHECKS = ("parameters", "flops", "logits", "cache")
LANGUAGE_MODELS = ("ForCausalLM", "ForMaskedLM", "LMHeadModel", "ForConditionalGeneration", "ModelWithLMHead")
TOLERANCE = 1e-4
N_TOKENS = 11


class Covered(msgspec.Struct, frozen=True):
    """A model type: its class, its stacks, the state of each check, and what is missing."""

    model_type: str
    class_name: str
    stacks: str
    parameters: State = "not read"
    flops: State = "not read"
    logits: State = "not read"
    cache: State = "not read"
    missing: str | Message = ""


def model_types(pattern: str = "*") -> list[str]:
    """Return the model types of transformers that read text, and that match a pattern or have it in their name.

    Raises InputError where there is none.
    """
    from archcalc.hf import upstream

    wanted = pattern if "*" in pattern else f"*{pattern}*"
    found = [name for name in upstream.model_types() if fnmatchcase(name, wanted)]
    if not found:
        raise InputError(
            msg("no model type matches {pattern}", pattern=shown(pattern)),
            where="pattern",
            allowed=msg("part of a name, such as 'qwen'"),
        )
    return found


def covered(model_type: str) -> Covered:
    """Return the state of a model type.

    Parameters: the tensors of the class's default config, by name and shape, and of a small one. The rest is of that
    small model with random weights: FLOPs as PyTorch counts them, logits to 1e-4 of their largest, and the same token
    by token through the cache. Raises MissingExtraError where transformers or torch is not installed.
    """
    require("transformers", does=msg("comparing with transformers"), extra="oracle")
    require("torch", does=msg("comparing with transformers"), extra="model")
    from archcalc.hf import registry, upstream

    family = registry.find(model_type)
    if family is None:
        named = [name for name, kind in upstream.classes(model_type).items() if kind in LANGUAGE_MODELS]
        return Covered(model_type, next(iter(named), ""), "", missing=msg("not read yet"))
    states: dict[str, Any] = {}
    missing: list[str | Message | InputError] = []
    for checks, compare in ((CHECKS[:1], _parameters), (CHECKS[1:], _run)):
        try:
            states |= compare(family)
        except RefusedError as error:
            states |= dict.fromkeys(checks, "not checked")
            missing.append(error.problem)
        except InputError as error:
            states |= dict.fromkeys(checks, "refused")
            missing.append(InputError(error.problem, allowed=error.allowed, where=error.where))
        except Exception as error:  # whatever a class of transformers raises on a small config
            states |= dict.fromkeys(checks, "not checked")
            missing.append(f"transformers: {' '.join(str(error).split())[:120]}")
    reasons = joined("; ", {str(one): one for one in missing}.values()) if missing else ""
    return Covered(model_type, family.classes[0], family.stacks, **states, missing=reasons)


def _parameters(family: Family) -> dict[str, State]:
    """Compare the tensors of the default config and of a small one."""
    same = all(_has_same_tensors(config) for config in (complete_config(family), small_config(family)))
    return {"parameters": "exact" if same else "differs"}


def _has_same_tensors(config: dict[str, Any]) -> bool:
    from archcalc.hf import from_config, tensor_map
    from archcalc.hf.reference import build_reference, reference_shapes
    from archcalc.ledger.build import build
    from archcalc.spec.document import decode

    theirs, _ = reference_shapes(build_reference(config))
    ledger = build(decode(from_config(config)))
    ours = {tensor.name: tensor.shape for tensor in ledger.tensors() if tensor.kind != "buffer"}
    return tensor_map(config).shapes(ours) == theirs


def _run(family: Family) -> dict[str, State]:
    """Compare FLOPs, logits and cached decoding of a small model with random weights."""
    import torch

    from archcalc.analysis.flops import summary
    from archcalc.checkpoint import open_checkpoint
    from archcalc.hf.reference import quiet
    from archcalc.ledger.build import build
    from archcalc.spec.workload import workload

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        theirs = _random(family)
        with quiet():
            theirs.save_pretrained(folder)
        opened = open_checkpoint(folder)
        ours = opened.load()
        ids = torch.randint(6, 96, (2, N_TOKENS))
        source = torch.randint(6, 96, (2, N_TOKENS)) if opened.spec.family == "encoder-decoder" else None
        wanted, flops = _counted(theirs, ids, source)
        counted = summary(build(opened.spec), workload(opened.spec, batch=2, seq=N_TOKENS))["forward"]
        found = ours(ids) if source is None else ours(source, ids)
        states: dict[str, State] = {
            "flops": "exact" if counted == flops else "differs",
            "logits": _close(found, wanted),
        }
        if opened.spec.decoder is None:
            return states | {"cache": "none"}
        return states | {"cache": _close(_stepwise(ours, ids, source), wanted)}


def _random(family: Family) -> Any:
    """Return transformers' small model of a family in fp32, its trained weights random and its kernels eager."""
    import torch
    import transformers

    from archcalc.hf.reference import quiet

    with quiet():
        settings = transformers.AutoConfig.for_model(**small_config(family))
        settings._attn_implementation = "eager"
        settings._experts_implementation = "eager"
        settings.use_cache = False  # FSMT masks nothing of a text that it reads into a cache
        torch.manual_seed(1)
        model = getattr(transformers, family.classes[0])(settings).eval()
    for weight in model.parameters():
        if weight.requires_grad:
            weight.normal_(std=0.3)
    return model


def _counted(model: Any, ids: Any, source: Any) -> tuple[Any, int]:
    """Return a model's logits, and the FLOPs that PyTorch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs = {"input_ids": ids} if source is None else {"input_ids": source, "decoder_input_ids": ids}
    with FlopCounterMode(display=False) as counter:
        logits = model(**inputs).logits
    return logits, counter.get_total_flops()


def _stepwise(model: Any, ids: Any, source: Any) -> Any:
    """Return the logits of a model that reads one token at a time."""
    import torch

    cache = model.new_cache(len(ids), N_TOKENS)
    if source is not None:
        model.encode(source, cache=cache)
    steps = [model(*([] if source is None else [None]), step, cache=cache) for step in ids.split(1, 1)]
    return torch.cat(steps, 1)


def _close(ours: Any, theirs: Any) -> State:
    scale = float(theirs.abs().max())
    return "exact" if math.isfinite(scale) and float((ours - theirs).abs().max()) <= TOLERANCE * scale else "differs"
