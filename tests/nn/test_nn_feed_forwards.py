"""Feed-forwards, activations and norms against transformers' own modules, the weights copied.

Sizes and switches are stated by hand for both sides: nothing here passes through archcalc.hf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from archcalc.nn import build
from archcalc.nn.activation import ACTIVATIONS, Xielu
from archcalc.sources import load

D_MODEL, N_EXPERTS, N_ACTIVE, D_EXPERT = 12, 8, 3, 7
X = torch.randn(5, 9, D_MODEL, generator=torch.Generator().manual_seed(1))


def ours_of(ffn: dict[str, Any]) -> nn.Module:
    """The feed-forward of a model of one layer."""
    stack = {"n_layers": 1, "runs": [{"pattern": [{"norm": {"kind": "rmsnorm"}, "ffn": ffn}]}]}
    spec = {"name": "x", "vocab_size": 3, "n_ctx": 9, "d_model": D_MODEL, "decoder": stack}
    return build(load(spec), "cpu").eval().get_submodule("layers.0.ffn")


def theirs_of(kind: str, name: str, config: str, fields: dict[str, Any]) -> nn.Module:
    """A module of transformers with random weights."""
    package = f"transformers.models.{kind}"
    configured = getattr(import_module(f"{package}.configuration_{kind}"), config)(num_attention_heads=2, **fields)
    configured._experts_implementation = "eager"
    torch.manual_seed(0)
    module: nn.Module = getattr(import_module(f"{package}.modeling_{kind}"), name)(configured).eval()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.normal_(std=0.6)
    return module


def copied(ours: nn.Module, weights: dict[str, Tensor]) -> None:
    """Fill every tensor of ours."""
    ours.load_state_dict({name: weights[name].view(old.shape) for name, old in ours.state_dict().items()})


@dataclass(frozen=True)
class Mixture:
    """A mixture twice: their block and config, our switches, and what their router and correction are called."""

    kind: str
    block: str
    config: str
    fields: dict[str, Any]
    ours: dict[str, Any]
    router: str = "gate.weight"
    correction: str | None = None
    transposed: bool = False
    experts: dict[str, int] = field(
        default_factory=lambda: {
            "num_experts": N_EXPERTS, "num_experts_per_tok": N_ACTIVE, "moe_intermediate_size": D_EXPERT
        }
    )  # fmt: skip


LAGUNA = {"choose": "sigmoid", "normalize": True, "correction": "parameter"}
GROUPS = {"n_groups": 4, "n_active_groups": 2}
MIXTURES = {
    "ernie4_5_moe": Mixture(
        "ernie4_5_moe",
        "Ernie4_5_MoeSparseMoeBlock",
        "Ernie4_5_MoeConfig",
        {"moe_num_experts": N_EXPERTS, "moe_k": N_ACTIVE, "moe_num_shared_experts": 2, "moe_norm_min": 0.8},
        {"correction": "parameter", "normalize": True, "normalize_min": 0.8, "n_shared": 2},
        correction="gate.moe_statics.e_score_correction_bias",
    ),
    "kolibri1": Mixture(
        "kolibri1",
        "Kolibri1SparseMoeBlock",
        "Kolibri1Config",
        {"shared_expert_intermediate_size": 5, "norm_topk_prob": False},
        {"choose": "logits", "weigh": "sigmoid", "correction": "buffer", "n_shared": 1, "d_shared": 5},
        correction="gate.e_score_correction_bias",
    ),
    "kolibri1, normalized": Mixture(
        "kolibri1",
        "Kolibri1SparseMoeBlock",
        "Kolibri1Config",
        {"shared_expert_intermediate_size": 5, "norm_topk_prob": True},
        {"choose": "logits", "weigh": "sigmoid", "correction": "buffer", "n_shared": 1, "d_shared": 5}
        | {"normalize": True},
        correction="gate.e_score_correction_bias",
    ),
    "phimoe": Mixture(
        "phimoe",
        "PhimoeSparseMoeBlock",
        "PhimoeConfig",
        {"router_jitter_noise": 0.3},
        {"n_active": 2, "choose": "logits", "weigh": "sparsemixer", "jitter": 0.3},
        router="router.weight",
        experts={"num_local_experts": N_EXPERTS, "num_experts_per_tok": 2, "intermediate_size": D_EXPERT},
    ),
    "cohere2_moe": Mixture(
        "cohere2_moe",
        "Cohere2MoeSparseMoeBlock",
        "Cohere2MoeConfig",
        {"num_shared_experts": 2, "shared_expert_combination_strategy": "average", "expert_selection_fn": "softmax"},
        {"choose": "logits", "weigh": "softmax", "n_shared": 2, "shared_combine": "average"},
        experts={"num_experts": N_EXPERTS, "num_experts_per_tok": N_ACTIVE, "intermediate_size": D_EXPERT},
    ),
    "cohere2_moe, sigmoid": Mixture(
        "cohere2_moe",
        "Cohere2MoeSparseMoeBlock",
        "Cohere2MoeConfig",
        {"num_shared_experts": 0, "expert_selection_fn": "sigmoid", "norm_topk_prob": True},
        {"choose": "sigmoid", "normalize": True},
        experts={"num_experts": N_EXPERTS, "num_experts_per_tok": N_ACTIVE, "intermediate_size": D_EXPERT},
    ),
    "laguna": Mixture(
        "laguna",
        "LagunaSparseMoeBlock",
        "LagunaConfig",
        {"shared_expert_intermediate_size": 5, "moe_routed_scaling_factor": 2.5, "moe_router_logit_softcapping": 0.7},
        LAGUNA | {"n_shared": 1, "d_shared": 5, "scale": 2.5, "router_softcap": 0.7},
        correction="gate.e_score_correction_bias",
    ),
    "afmoe": Mixture(
        "afmoe",
        "AfmoeSparseMoeBlock",
        "AfmoeConfig",
        {"num_shared_experts": 2, "route_scale": 1.7},
        LAGUNA | {"n_shared": 2, "scale": 1.7},
        router="router.gate.weight",
        correction="expert_bias",
    ),
    "deepseek_v2": Mixture(
        "deepseek_v2",
        "DeepseekV2Moe",
        "DeepseekV2Config",
        {"n_shared_experts": 2, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
        | {"routed_scaling_factor": 1.5, "n_routed_experts": N_EXPERTS},
        GROUPS | {"n_shared": 2, "scale": 1.5},
    ),
    "aria": Mixture(
        "aria",
        "AriaTextMoELayer",
        "AriaTextConfig",
        {"moe_num_shared_experts": 2, "hidden_act": "gelu"},
        {"choose": "logits", "weigh": "softmax", "n_shared": 2, "shared_activation": "gelu"},
        router="router.weight",
        transposed=True,
        experts={"moe_num_experts": N_EXPERTS, "moe_topk": N_ACTIVE, "intermediate_size": D_EXPERT},
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
@torch.no_grad()
def test_a_mixture_is_transformers_own(name: str) -> None:
    case = MIXTURES[name]
    sizes = {"n_experts": N_EXPERTS, "n_active": N_ACTIVE, "d_expert": D_EXPERT}
    ours = ours_of({"kind": "moe"} | sizes | case.ours)
    theirs = theirs_of(case.kind, case.block, case.config, {"hidden_size": D_MODEL} | case.experts | case.fields)
    weights = theirs.state_dict()
    gate_up, down = weights["experts.gate_up_proj"], weights["experts.down_proj"]
    if case.transposed:
        gate_up, down = gate_up.mT, down.mT
    gate, up = gate_up.chunk(2, 1)
    found = {"router.weight": weights[case.router], "correction_bias": weights.get(case.correction)}
    found |= {f"experts.{part}.weight": tensor for part, tensor in {"gate": gate, "up": up, "down": down}.items()}
    found |= {
        f"shared.{part}.weight": weights.get(f"shared_experts.{part}_proj.weight") for part in ("gate", "up", "down")
    }
    copied(ours, found)
    torch.testing.assert_close(ours(X), theirs(X), rtol=1e-5, atol=1e-5)
    # A correction of the choice tells: without it, some token takes other experts.
    if case.correction:
        ours.correction_bias.zero_()
        assert not torch.allclose(ours(X), theirs(X), rtol=1e-5, atol=1e-5)


@dataclass(frozen=True)
class Dense:
    """A dense feed-forward twice; their names of our tensors where they are not `gate_proj` and the like."""

    kind: str
    block: str
    config: str
    fields: dict[str, Any]
    ours: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)


XIELU = {f"activation.{name}": f"act_fn.{name}" for name in ("alpha_p", "alpha_n", "beta", "eps")}
SWIGLU = {"kind": "clamped_swish", "limit": 0.5, "alpha": 1.0, "up_offset": 0.0}
DENSE = {
    "apertus": Dense(
        "apertus",
        "ApertusMLP",
        "ApertusConfig",
        {"hidden_act": "xielu", "dtype": "float32"},
        {"kind": "plain", "activation": "xielu"},
        XIELU,
    ),
    "bitnet": Dense(
        "bitnet",
        "BitNetMLP",
        "BitNetConfig",
        {"hidden_act": "relu2", "rms_norm_eps": 1e-3},
        {"kind": "gated", "activation": "relu2", "down_norm": {"kind": "rmsnorm", "eps": 1e-3}},
        {"down_norm.weight": "ffn_sub_norm.weight"},
    ),
    "deepseek_v4": Dense(
        "deepseek_v4",
        "DeepseekV4MLP",
        "DeepseekV4Config",
        {"swiglu_limit": 0.5, "mlp_bias": False},
        {"kind": "gated", "activation": SWIGLU},
    ),
}


@pytest.mark.parametrize("name", DENSE)
@torch.no_grad()
def test_a_dense_feed_forward_is_transformers_own(name: str) -> None:
    case, width = DENSE[name], {"hidden_size": D_MODEL, "intermediate_size": 7, "moe_intermediate_size": 7}
    ours = ours_of({"d_ff": 7} | case.ours)
    theirs = theirs_of(case.kind, case.block, case.config, width | case.fields)
    weights = theirs.state_dict()
    names = {name: case.names.get(name, name.replace(".", "_proj.")) for name in ours.state_dict()}
    assert set(names.values()) == set(weights)
    copied(ours, {name: weights[theirs_name] for name, theirs_name in names.items()})
    torch.testing.assert_close(ours(X), theirs(X), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_mixture_with_clamped_gates() -> None:
    fields = {"hidden_size": D_MODEL, "intermediate_size": D_EXPERT, "num_local_experts": N_EXPERTS}
    numbers = {"swiglu_limit": 0.5, "swiglu_alpha": 1.1}
    theirs = theirs_of("gpt_oss", "GptOssMLP", "GptOssConfig", fields | numbers | {"num_experts_per_tok": N_ACTIVE})
    activation = {"kind": "clamped_swish", "limit": 0.5, "alpha": 1.1}
    sizes = {"n_experts": N_EXPERTS, "n_active": N_ACTIVE, "d_expert": D_EXPERT}
    router = {"choose": "logits", "weigh": "softmax", "expert_bias": True, "router_bias": True}
    ours, weights = ours_of({"kind": "moe", "activation": activation} | sizes | router), theirs.state_dict()
    gate_up, gate_up_bias = weights["experts.gate_up_proj"].mT, weights["experts.gate_up_proj_bias"]
    experts = {
        "gate.weight": gate_up[:, ::2],
        "up.weight": gate_up[:, 1::2],
        "gate.bias": gate_up_bias[:, ::2],
        "up.bias": gate_up_bias[:, 1::2],
        "down.weight": weights["experts.down_proj"].mT,
        "down.bias": weights["experts.down_proj_bias"],
    }
    found = {name: weights[name] for name in ("router.weight", "router.bias")}
    copied(ours, found | {f"experts.{name}": tensor.contiguous() for name, tensor in experts.items()})
    torch.testing.assert_close(ours(X), theirs(X)[0], rtol=1e-5, atol=1e-5)


# Our word for each of theirs that has another.
WORDS = {"identity": "linear", "gelu_tanh": "gelu_pytorch_tanh", "sqrt_softplus": "sqrtsoftplus"}


# Those with limits are compared in the models that have them.
@pytest.mark.parametrize("word", sorted(ACTIVATIONS.keys() - {"clamped_swish", "capped_swish"}))
def test_an_activation_is_transformers_own(word: str) -> None:
    x = torch.linspace(-12, 12, 97)
    torch.testing.assert_close(ACTIVATIONS[word](x), ACT2FN[WORDS.get(word, word)](x))


def test_xielu_begins_as_transformers_does() -> None:
    stack = {"n_layers": 1, "runs": [{"pattern": [{"norm": {"kind": "rmsnorm"}, "ffn": {"kind": "plain", "d_ff": 7}}]}]}
    stack["runs"][0]["pattern"][0]["ffn"]["activation"] = "xielu"
    spec = {"name": "x", "vocab_size": 3, "n_ctx": 9, "d_model": D_MODEL, "decoder": stack}
    (ours,) = [module for module in build(load(spec), "cpu").modules() if isinstance(module, Xielu)]
    theirs = ACT2FN["xielu"].float().state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    for name, tensor in ours.state_dict().items():
        assert tensor.shape == theirs[name].shape
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-2, atol=1e-6)  # theirs were rounded to bfloat16


@torch.no_grad()
def test_nemotrons_norm() -> None:
    from transformers.models.nemotron.modeling_nemotron import NemotronLayerNorm1P

    from archcalc.nn.norm import norm
    from archcalc.spec.norm import LayerNorm

    ours, theirs = norm(LayerNorm(unit_offset=True, eps=1e-3), D_MODEL), NemotronLayerNorm1P(D_MODEL, eps=1e-3)
    for tensor in theirs.state_dict().values():
        tensor.normal_()
    copied(ours, theirs.state_dict())
    torch.testing.assert_close(ours(X), theirs(X))
