"""Switch Transformers: T5 with a mixture of experts in every n-th layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import COUNT, TEXT, Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Choice, ConfigDraft, Constraint, ImpliedValue, Key
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Schedule
from archcalc.hf.templates.t5_like import SPELLING, T5Defaults, template
from archcalc.hf.tensors import TensorEntry, TensorMap, module, modules, table
from archcalc.hf.vocabulary import ACTIVATIONS, flag, keys, layers, size


@final
class SwitchSchedule(Schedule, msgspec.Struct, frozen=True):
    """Every `step`-th layer is a mixture, from the second on; by default the step follows from their number."""

    stack: str

    @property
    def step(self) -> Key:
        """Return the key of the step."""
        return Key(f"{self.stack}_sparse_step", COUNT, None)

    @property
    def n_sparse(self) -> Key:
        """Return the key of the number of mixtures."""
        return Key(f"num_sparse_{self.stack}_layers", COUNT, 3)

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from (self.step.name, self.n_sparse.name)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'moe' or 'dense' for each layer."""
        step, n_sparse = self.step.read(config), self.n_sparse.read(config)
        if step is None:
            step = n_layers // n_sparse if n_sparse else n_layers
        return ["moe" if step and (step == 1 or index % step == 1) else "dense" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the step between the first two mixtures. Reading back shows whether that is all."""
        sparse = [index for index, kind in enumerate(kinds) if kind == "moe"]
        draft.put(self.n_sparse.name, len(sparse))
        draft.put(self.step.name, sparse[1] - sparse[0] if len(sparse) > 1 else len(kinds) if sparse else 0)


D_FF = size("d_ff", 2048)
ACTIVATION = Choice(Key("dense_act_fn", TEXT, "relu"), ACTIVATIONS)
FEED_FORWARDS = {
    "dense": {"kind": "plain", "d_ff": D_FF, "activation": ACTIVATION},
    "moe": {
        "kind": "moe",
        "n_experts": size("num_experts", 8),
        "n_active": 1,
        "d_expert": D_FF,
        "gated": False,
        "activation": ACTIVATION,
        "router_bias": flag("router_bias", False),
        "capacity": size("expert_capacity", 64),
    },
}
WIDTH = size("d_model", 768, aliases=("hidden_size",))
TIE = flag("tie_word_embeddings", True)
# A tied head is scaled.
SCALE = ImpliedValue(lambda config: WIDTH.read(config) ** -0.5)
HEAD = Cases(TIE, {True: {"tied": True, "scale": SCALE}, False: {"tied": False, "scale": None}})
# Untied, each stack has a table of its own, and the shared table exists but is never read.
SHARED_TABLE = {"name": "shared.weight", "axes": ("vocab_size", "d_model"), "component": "embedding"}


def switch_template() -> dict[str, Any]:
    """Return T5's template with two kinds of layers."""
    found = template(T5Defaults(32128, 2048, 12, 12, "relu"), HEAD, "stack")
    for stack in ("encoder", "decoder"):
        lens = found[stack]
        kinds = {kind: lens.kinds["layer"] | {"ffn": ffn} for kind, ffn in FEED_FORWARDS.items()}
        found[stack] = replace(lens, kinds=kinds, schedule=SwitchSchedule(stack))
    depth = found["encoder"].count
    found["decoder"] = replace(found["decoder"], count=layers(12, "num_decoder_layers", null=depth.read))
    own_table = {"embedding": Cases(TIE, {True: None, False: {"scale": None}})}
    found["encoder"] = replace(found["encoder"], stack_fields={**found["encoder"].stack_fields, **own_table})
    return found | {
        "d_model": size("d_model", 768, aliases=("hidden_size",)),
        "extras": Cases(TIE, {True: (), False: (SHARED_TABLE,)}),
    }


def _stack(stack: str, parts: dict[str, str], ffn: int) -> tuple[TensorEntry, ...]:
    """Return a stack's tensors. The feed-forward is part number `ffn` of a layer."""
    layer, block = f"{stack}.layers.{{i}}.", f"{stack}.block.{{i}}.layer."
    attention = {
        f"{part}.{name}": f"{theirs}.{name[0]}" for part, theirs in parts.items() for name in ("q", "k", "v", "out")
    }
    norms = {f"{part}_norm": theirs.split(".")[0] + ".layer_norm" for part, theirs in parts.items()}
    experts, matrices = f"{block}{ffn}.mlp.experts.expert_", {"up": "wi", "down": "wo"}
    dense = {f"ffn.{ours}": f"{ffn}.mlp.{theirs}" for ours, theirs in matrices.items()}
    return (
        *modules(attention | norms | {"ffn_norm": f"{ffn}.layer_norm"}, layer, block),
        *modules(dense | {"ffn.router": f"{ffn}.mlp.router.classifier"}, layer, block),
        *(
            TensorEntry(f"{experts}{{e}}.{theirs}.weight", (f"{layer}ffn.experts.{ours}.weight",))
            for ours, theirs in matrices.items()
        ),
        *module(f"{stack}.relative_bias", f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"),
        *module(f"{stack}.final_norm", f"{stack}.final_layer_norm"),
    )


def switch_tensors() -> TensorMap:
    """Return the tensors."""
    own = "encoder.embed.tokens.weight"
    return table(
        TensorEntry("decoder.embed_tokens.weight", ("embed.tokens.weight",), requires=own),
        TensorEntry("encoder.embed_tokens.weight", (own,)),
        module("embed.tokens", "shared"),
        TensorEntry("shared.weight", ("extras.shared.weight",)),
        _stack("encoder", {"attn": "0.SelfAttention"}, ffn=1),
        _stack("decoder", {"attn": "0.SelfAttention", "cross": "1.EncDecAttention"}, ffn=2),
        module("head", "lm_head"),
    )


SWITCH = Family(
    "switch_transformers",
    ("SwitchTransformersForConditionalGeneration",),
    switch_template(),
    switch_tensors(),
    (Constraint("is_decoder", (False,)), Constraint("router_dtype", ("float32",))),
    # Noise and losses of training; the class reads none of the others.
    keys(
        "router_jitter_noise router_z_loss_coef router_aux_loss_coef add_router_probs router_ignore_padding_tokens "
        "add_cross_attention feed_forward_proj is_gated_act"
    ),
    is_encoder_decoder=True,
    spelling=Spelling(copies={name: table for name, table in SPELLING.copies.items() if name != "lm_head.weight"}),
)

FAMILIES = (SWITCH,)
