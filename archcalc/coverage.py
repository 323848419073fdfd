"""Compare every supported model type with transformers."""

from __future__ import annotations

import math
import tempfile
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from archcalc.errors import InputError, RefusedError, shown
from archcalc.extras import require
from archcalc.hf.small_config import complete_config, small_config
from archcalc.results import Row, text
from archcalc.words import Message, in_context, joined, msg

if TYPE_CHECKING:
    from archcalc.hf.family import Family
    from archcalc.spec import Spec

State = Literal["exact", "differs", "refused", "not checked", "not read", "none"]
# The comparisons, in the order in which each depends on the one before.
CHECKS = ("parameters", "flops", "logits", "cache")
LANGUAGE_MODELS = ("ForCausalLM", "ForMaskedLM", "LMHeadModel", "ForConditionalGeneration", "ModelWithLMHead")
TOLERANCE = 1e-4
N_TOKENS = 11


STATES: dict[State, Message] = {
    "exact": in_context("of a check", "exact"),
    "differs": msg("differs"),
    "refused": msg("refused"),
    "not checked": msg("not checked"),
    "not read": msg("not read"),
    "none": in_context("of a check", "none"),
}


class ModelTypeCoverage(Row, frozen=True):
    """A model type: its class, its stacks, the result of each check, and the reasons of checks that failed."""

    model_type: Annotated[str, text(msg("model type"))]
    class_name: Annotated[str, text(msg("class"))]
    stacks: Annotated[str, text(msg("stacks"))]
    parameters: Annotated[State, text(msg("parameters"), names=STATES)] = "not read"
    flops: Annotated[State, text(msg("FLOPs"), names=STATES)] = "not read"
    logits: Annotated[State, text("logits", names=STATES)] = "not read"
    cache: Annotated[State, text(msg("cached decoding"), names=STATES)] = "not read"
    missing: Annotated[str | Message, text(msg("missing"))] = ""


Coverage = list[ModelTypeCoverage]


def model_types(pattern: str = "*") -> list[str]:
    """Return the text model types of transformers that match a glob or contain it.

    Raises InputError for no match.
    """
    from archcalc.hf import upstream

    glob = pattern if "*" in pattern else f"*{pattern}*"
    names = [name for name in upstream.model_types() if fnmatchcase(name, glob)]
    if not names:
        raise InputError(
            msg("no model type matches {pattern}", pattern=shown(pattern)),
            where="pattern",
            allowed=msg("part of a name, such as 'qwen'"),
        )
    return names


def model_type_coverage(model_type: str) -> ModelTypeCoverage:
    """Return the results of all checks of a model type.

    Parameters: names and shapes of the tensors, for the default config of the class and a small one. The others use
    the small model with random weights. FLOPs are those that PyTorch counts, unless the class computes other products.
    Logits agree to 1e-4 of the largest, for the whole text and token by token with the KV cache. Raises
    MissingExtraError without transformers or torch.
    """
    require("transformers", does=msg("comparing with transformers"), extra="oracle")
    require("torch", does=msg("comparing with transformers"), extra="model")
    from archcalc.hf import registry, upstream

    family = registry.find(model_type)
    if family is None:
        classes = [name for name, kind in upstream.classes(model_type).items() if kind in LANGUAGE_MODELS]
        return ModelTypeCoverage(model_type, next(iter(classes), ""), "", missing=msg("not read yet"))
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
            missing.append(error.at(error.where))
        except Exception as error:  # transformers may raise anything on a small config
            states |= dict.fromkeys(checks, "not checked")
            missing.append(f"transformers: {' '.join(str(error).split())[:120]}")
    unlike = {check for check in ("flops", "logits") if states.get(check) == "differs"}
    if family.other_products is not None and "flops" in unlike:
        states |= dict.fromkeys(unlike if family.needs_kernel else {"flops"}, "not checked")
        missing.append(family.other_products)
    reasons = joined("; ", {str(reason): reason for reason in missing}.values()) if missing else ""
    return ModelTypeCoverage(model_type, family.classes[0], family.stacks, **states, missing=reasons)


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
    return tensor_map(config).named_shapes(ours, theirs) == theirs


def _run(family: Family) -> dict[str, State]:
    """Compare FLOPs, logits and cached decoding of a small model with random weights."""
    import torch

    from archcalc.analysis.flops import summary
    from archcalc.checkpoint import open_checkpoint
    from archcalc.hf.reference import quiet
    from archcalc.ledger.build import build
    from archcalc.spec.workload import workload

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        theirs = _random_reference(family)
        with quiet():
            theirs.save_pretrained(folder)
        checkpoint = open_checkpoint(folder)
        ours = checkpoint.load()
        ids = torch.randint(6, 96, (2, N_TOKENS))
        source = torch.randint(6, 96, (2, N_TOKENS)) if checkpoint.spec.family == "encoder-decoder" else None
        expected, flops = _logits_and_flops(theirs, ids, source)
        spec = all_experts(checkpoint.spec) if family.runs_all_experts else checkpoint.spec
        our_flops = summary(build(spec), workload(spec, batch=2, seq=N_TOKENS))["forward"]
        our_flops += 2 * pooler_flops(family, spec)
        logits = ours(ids) if source is None else ours(source, ids)
        states: dict[str, State] = {
            "flops": "exact" if our_flops == flops else "differs",
            "logits": _close(logits, expected),
        }
        if checkpoint.spec.decoder is None:
            return states | {"cache": "none"}
        if checkpoint.spec.decoder.reads_pass:
            expected = _class_steps(theirs, ids)
        return states | {"cache": _close(_cached_logits(ours, ids, source), expected)}


def all_experts(spec: Spec) -> Spec:
    """Return a decoder in which every token takes all experts."""
    from msgspec import structs

    from archcalc.spec.branches import with_parts
    from archcalc.spec.ffn import MoE

    def change(part: Any) -> Any:
        return structs.replace(part, n_active=part.n_experts) if isinstance(part, MoE) else part

    stack = spec.decoder
    assert stack is not None, "such a class is a decoder"
    runs = [
        structs.replace(run, pattern=tuple(with_parts(layer, change) for layer in run.pattern)) for run in stack.runs
    ]
    return structs.replace(spec, decoder=structs.replace(stack, runs=tuple(runs)))


def pooler_flops(family: Family, spec: Spec) -> int:
    """Return the FLOPs of the pooler that a class runs in vain, for one text."""
    return 2 * spec.d_model * spec.d_model if family.runs_pooler else 0


def _random_reference(family: Family) -> Any:
    """Return a small fp32 model of transformers with random trainable weights and eager kernels."""
    import torch
    import transformers

    from archcalc.hf.reference import quiet

    with quiet():
        settings = transformers.AutoConfig.for_model(**small_config(family))
        settings._attn_implementation = "eager"
        settings._experts_implementation = "eager"
        settings.use_cache = False  # FSMT applies no causal mask when it fills a cache
        torch.manual_seed(1)
        model = getattr(transformers, family.classes[0])(settings).eval()
    for weight in model.parameters():
        if weight.requires_grad:
            weight.normal_(std=0.3)
    return model.requires_grad_(False)  # PyTorch's counter follows what needs a gradient, and not all has one


def _logits_and_flops(model: Any, ids: Any, source: Any) -> tuple[Any, int]:
    """Return the logits of a model and the FLOPs that PyTorch counts."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    inputs = {"input_ids": ids} if source is None else {"input_ids": source, "decoder_input_ids": ids}
    # The counter does not know the CPU's fused kernel, which some classes call by themselves.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(**inputs).logits
    return logits, counter.get_total_flops()


def _cached_logits(model: Any, ids: Any, source: Any) -> Any:
    """Return the logits of a model that reads one token at a time with a KV cache."""
    import torch

    cache = model.new_cache(len(ids), N_TOKENS)
    if source is not None:
        model.encode(source, cache=cache)
    steps = [model(*([] if source is None else [None]), step, cache=cache) for step in ids.split(1, 1)]
    return torch.cat(steps, 1)


def _class_steps(model: Any, ids: Any) -> Any:
    """Return the logits of a class that takes the whole text in every step and leaves out what is cached."""
    import torch

    cache, steps = None, []
    for n in range(1, ids.shape[1] + 1):
        found = model(input_ids=ids[:, :n], past_key_values=cache, use_cache=True)
        cache = found.past_key_values
        steps.append(found.logits[:, -1:])
    return torch.cat(steps, 1)


def _close(ours: Any, theirs: Any) -> State:
    scale = float(theirs.abs().max())
    return "exact" if math.isfinite(scale) and float((ours - theirs).abs().max()) <= TOLERANCE * scale else "differs"
