"""NLLB-MoE: M2M-100 with a mixture of experts in every n-th layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import COUNT, Config
from archcalc.hf.families.bart import M2M, fairseq, fixed
from archcalc.hf.lens import ConfigDraft, Constraint, Conversion, Key
from archcalc.hf.stack import Schedule
from archcalc.hf.templates.bart_like import BartSwitches, PartNames, bart_like
from archcalc.hf.tensors import TensorEntry, module
from archcalc.hf.vocabulary import dropout, flag, keys, size


@final
class StepSchedule(Schedule, msgspec.Struct, frozen=True):
    """Every `step`-th layer is a mixture of experts; with a step of 0 none is."""

    step: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the step."""
        yield from self.step.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'moe' or 'dense' for each layer."""
        step = self.step.read(config)
        return ["dense" if not step or (index + 1) % step else "moe" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the place of the first mixture. Reading back shows whether that is all."""
        draft.put(self.step.name, kinds.index("moe") + 1 if "moe" in kinds else 0)


SWITCHES = BartSwitches(
    M2M,
    fairseq(1),
    "pre",
    embed_norm=False,
    final_norm=True,
    has_logits_bias=False,
    names=PartNames(cross="cross_attention", ffn="ffn.", ffn_norm="ff_layer_norm"),
)
STACKS = ("encoder", "decoder")


def mixture(ffn: dict[str, Any]) -> dict[str, Any]:
    """Return the mixture of a stack whose dense layers have this feed-forward.

    Outputs are scaled as by the dropout of whole outputs. No expert is full: its capacity is all tokens of the text.
    """
    return {
        "kind": "moe",
        "n_experts": size("num_experts", 128),
        "n_active": 2,
        "d_expert": ffn["d_ff"],
        "gated": False,
        "activation": ffn["activation"],
        "expert_bias": True,
        "router_bias": flag("router_bias", False),
        "normalize": True,
        "normalize_min": 2.0**-23,
        "scale": Conversion(dropout("moe_token_dropout", 0.2), lambda rate: 1 - rate, lambda scale: 1 - scale),
    }


def two_kinds(stack: str, lens: Any) -> Any:
    """Return the stack with dense layers and mixtures."""
    layer = lens.kinds["layer"]
    kinds = {"dense": layer, "moe": layer | {"ffn": mixture(layer["ffn"])}}
    return replace(lens, kinds=kinds, schedule=StepSchedule(Key(f"{stack}_sparse_step", COUNT, 4)))


def experts(stack: str) -> Iterator[TensorEntry]:
    """Yield the tensors of a stack's mixtures."""
    ours, theirs = f"{stack}.layers.{{i}}.ffn.", f"model.{stack}.layers.{{i}}.ffn."
    yield from module(f"{ours}router", f"{theirs}router.classifier")
    for part, name in {"up": "fc1", "down": "fc2"}.items():
        for kind in ("weight", "bias"):
            yield TensorEntry(f"{theirs}experts.expert_{{e}}.{name}.{kind}", (f"{ours}experts.{part}.{kind}",))


DENSE = bart_like(
    "nllb-moe",
    "NllbMoeForConditionalGeneration",
    None,
    SWITCHES,
    (
        *fixed(before=True, embedding=False, last=True),
        Constraint("moe_eval_capacity_token_fraction", (1.0,)),
        Constraint("second_expert_policy", ("all",)),
        Constraint("router_dtype", ("float32",)),
    ),
    # Losses of training, and what only matters to an expert that is full.
    irrelevant=keys(
        "expert_capacity batch_prioritized_routing normalize_router_prob_before_dropping router_ignore_padding_tokens"
        " router_z_loss_coef router_aux_loss_coef output_router_logits"
    ),
)
NLLB_MOE = replace(
    DENSE,
    template={**DENSE.template, **{stack: two_kinds(stack, DENSE.template[stack]) for stack in STACKS}},
    tensors=replace(DENSE.tensors, entries=(*(e for stack in STACKS for e in experts(stack)), *DENSE.tensors.entries)),
)

FAMILIES = (NLLB_MOE,)
