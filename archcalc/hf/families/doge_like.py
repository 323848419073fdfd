"""Doge: keys with a bias that the values decide, a learned vector on every skip, and experts of one unit each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.families.llama_like import LLAMA, window
from archcalc.hf.family import derive
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint
from archcalc.hf.templates.decoder import BIASED, MLP_BIAS
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import LLAMA_DENSE, QK_NORMS, activation, dropout, flag, keys, size

HAS_EXPERTS = flag("is_moe", False)
N_EXPERTS = size("num_experts", 16384)


@final
class ActiveExperts(ConfigLens, msgspec.Struct, frozen=True):
    """The experts of each token: all that the keys can name, if those are fewer than the config says."""

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield "num_experts_per_tok"

    def read(self, config: Config) -> int:
        """Return the smaller of both numbers."""
        return min(int(size("num_experts_per_tok", 64).read(config)), isqrt(N_EXPERTS.read(config)) ** 2)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key."""
        draft.put("num_experts_per_tok", value)


EXPERTS = {
    "kind": "product_keys",
    "n_experts": N_EXPERTS,
    "n_active": ActiveExperts(),
    "activation": activation("silu"),
}


def with_experts(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer whose feed-forward has experts beside it."""
    first, second = (
        {"norm_in": layer["norm"], "skip_weight": True, "arms": arms}
        for arms in (
            ({"name": "attn", "part": layer["attention"]},),
            ({"name": "ffn", "part": layer["ffn"]}, {"name": "experts", "part": EXPERTS}),
        )
    )
    return {"branches": (first, second)}


TENSORS = (
    LLAMA_DENSE,
    QK_NORMS,
    module("layers.{i}.attn.key_bias.steps", "model.layers.{i}.self_attn.dt_proj"),
    tuple(
        TensorEntry(f"model.layers.{{i}}.{theirs}", (f"layers.{{i}}.{ours}",))
        for theirs, ours in {
            "self_attn.A": "attn.key_bias.rate",
            "input_residual": "attn_skip.weight",
            "post_attention_residual": "ffn_skip.weight",
        }.items()
    ),
)
DENSE = derive(
    LLAMA,
    "doge",
    "DogeForCausalLM",
    vocab=32768,
    width=1024,
    d_ff=2048,
    heads=8,
    attention=BIASED
    | {
        "qk_norm": "head",
        "window": window(None),
        "key_bias": {"bias": BIASED["q_bias"], "n_kept": size("keep_window_size", 2048)},
    },
    ffn={"bias": MLP_BIAS},
    layer={"skip_weight": True},
    dropouts={"attention": dropout("attention_dropout", 0.0, null=0.0), "residual": dropout("hidden_dropout", 0.0)},
    tensors=TENSORS,
    constraints=(Constraint("is_moe", (False,)),),
    irrelevant=keys("num_experts num_experts_per_tok norm_topk_prob"),
)
# The class cuts the router's scores of all tokens of a pass into two lists, so its logits of a text depend on later
# tokens. Ours are those of one token after the other, where its lists are the token's own.
MIXED = derive(
    DENSE,
    "doge",
    layer={},
    to_branches=with_experts,
    tensors=(
        *TENSORS,
        module("layers.{i}.experts.router", "model.layers.{i}.mlp.router_gate"),
        modules({"up_rows": "down_embed", "down_rows": "up_embed"}, "layers.{i}.experts.", "model.layers.{i}.mlp."),
    ),
    constraints=(Constraint("is_moe", (True,)),),
    fixed_keys={"is_moe": True},
    irrelevant=keys("norm_topk_prob"),
    when=lambda data: data.get("is_moe") is True,
)
DOGE = derive(DENSE, "doge", forms=(MIXED,))

FAMILIES = (DOGE,)
