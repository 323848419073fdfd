"""A trace: every value follows from those before it by its formula, and is the model's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from msgspec import structs

from archcalc import build, load
from archcalc.errors import InputError
from archcalc.interp.trace.expression import Call, nodes
from archcalc.interp.trace.glossary import FUNCTIONS
from archcalc.interp.trace.model_steps import steps
from archcalc.interp.trace.run import trace
from archcalc.nn.taps import sites
from archcalc.run.loading.source import open_source
from archcalc.spec import Spec
from archcalc.spec.layer import GlobalTokens
from tests.examples import examples
from tests.interp import happy_weights
from tests.interp.recompute import OPERATORS, Interpreter
from tests.spec.test_chains import hybrid
from tests.spec.test_shares import LAYER, of, reading
from tests.strategies import prompted_specs, soft_prompt_specs, specs

RMS = {"kind": "rmsnorm"}
LN = {"kind": "layernorm"}
GQA = {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2}


ROPE = GQA | {"position": {"kind": "rope"}}


EXPLAINED = {*OPERATORS, *(name for explained in FUNCTIONS.values() for name in explained.names)}


def plain(activation: str, **more: Any) -> dict[str, Any]:
    return {"kind": "plain", "d_ff": 20, "activation": activation} | more


GATED = {"kind": "gated", "d_ff": 24, "activation": "silu"}


def spec_of(norm: dict[str, Any], attention: dict[str, Any], ffn: dict[str, Any], **more: Any) -> Spec:
    layer = {"norm": norm, "attention": attention, "ffn": ffn, "placement": more.pop("placement", "pre")}
    stack = {"n_layers": 2, "runs": [{"pattern": [layer]}]} | more.pop("stack", {})
    return load({"name": "x", "vocab_size": 19, "n_ctx": 12, "d_model": 16, "decoder": stack, "head": {}} | more)


def sparse_of(pattern: dict[str, Any]) -> Spec:
    return encoder_of({"attention": {"kind": "sparse", "n_heads": 2, "pattern": pattern, "k_bias": True}})


def with_global_tokens(spec: Spec) -> Spec:
    stack = structs.replace(spec.encoder, global_tokens=GlobalTokens(n_tokens=2, own_norm=True))
    return structs.replace(spec, encoder=stack)


def encoder_of(layer: dict[str, Any]) -> Spec:
    stack = {"n_layers": 2, "runs": [{"pattern": [layer | {"norm": RMS, "ffn": plain("relu")}]}]}
    return load({"name": "x", "vocab_size": 19, "n_ctx": 12, "d_model": 16, "encoder": stack, "head": {}})


BIASED = GQA | {"q_bias": True, "out_bias": True}
INDEXER = {"kind": "tokens", "n_index_heads": 5, "d_index": 7, "n_selected": 2, "norm": RMS}
LATENT = {"kind": "mla", "n_heads": 2, "kv_rank": 6, "d_nope": 4, "d_rope": 2, "d_v": 5, "q_rank": 7}
EXPERTS = {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 6, "activation": "silu", "normalize": True}
ZERO = EXPERTS | {"n_zero": 3, "zero_stored": True, "correction": "buffer", "scale": 1.5, "normalize": False}
ROUTED = {
    "kind": "routed",
    "n_experts": 4,
    "n_active": 2,
    "n_kv_heads": 2,
    "position": {"kind": "rope"},
    "out_bias": True,
}
MLSTM = {"kind": "mlstm", "n_heads": 2, "d_key": 3, "d_value": 5, "chunk": 3, "gate_cap": 2.0, "bias": True}
SCALED = LATENT | {"scale_latents": True}
SHORTCUT = {
    "branches": [
        {"norm_in": RMS, "arms": arms}
        for arms in (
            [{"name": "attn", "part": SCALED}],
            [{"name": "ffn", "part": GATED}],
            [{"name": "attn_2", "part": SCALED}],
            [{"name": "ffn_2", "part": GATED}, {"name": "moe", "part": ZERO, "input_of": "ffn"}],
        )
    ]
}
AFFINE = {"kind": "affine"}
CONVOLUTIONAL = {
    "kind": "cca",
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_head": 4,
    "d_conv": 3,
    "d_before": 3,
    "bias": True,
    "position": {"kind": "rope"},
}
STATEFUL = EXPERTS | {"n_zero": 3, "zero_returns": "nothing", "correction": "buffer", "normalize": False}


def scaled(**router: Any) -> dict[str, Any]:
    """A layer like ZAYA1's."""
    parts = {"attn": CONVOLUTIONAL, "ffn": STATEFUL | {"router_mlp": {"d_router": 5} | router}}
    own = {"norm_in": RMS, "norm_out": AFFINE | {"bias_first": True}, "skip_weight": True, "skip_bias": True}
    return {"branches": [own | {"arms": [{"name": name, "part": part}]} for name, part in parts.items()]}


ADAPTER = {"kind": "adapters", "n_adapters": 3, "d_adapter": 5, "active": 1, "activation": "relu"}
ADAPTED = {
    "branches": [
        {"norm_in": RMS, "arms": [{"name": "attn", "part": GQA | {"d_head": 3}}]},
        {"norm_in": RMS, "arms": [{"name": "ffn", "part": GATED}], "norm_after": RMS, "norm_of": "ffn"},
        {"norm_in": RMS, "arms": [{"name": "adapter", "part": ADAPTER}], "norm_of": "ffn"},
    ]
}
LEARNED = {"final_norm": LN, "position": {"kind": "learned"}}
CAPPED = GQA | {"softcap": 3.0, "scale": 0.4}
NARROW = {
    "bottleneck": {"d_bottleneck": 6, "norm": AFFINE, "keys": "own"},
    "placement": "post",
    "attention": BIASED | {"d_head": 3},
    "norm": AFFINE,
    "ffn": plain("relu"),
}
NARROWED = {
    "encoder": {"runs": [{"count": 2, "pattern": [NARROW]}], "position": {"kind": "learned"}},
    "embedding": {"factor": {"d_embed": 5, "bias": True, "n_neighbors": 1}},
    "head": {"tied": True, "own_columns": True, "bias": True, "transform": {"activation": "relu"}},
}
SPECS = {
    "bottleneck": load({"name": "x", "vocab_size": 19, "n_ctx": 12, "d_model": 16} | NARROWED),
    "happy": load("happy"),
    "shared keys": of(LAYER, reading(LAYER, 0), reading(LAYER, 0, n_heads=2)),
    "a shared block": of(hybrid(), LAYER, hybrid(0)),
    "shared weights": of(LAYER, LAYER | {"shares": {"weights": 0}}),
    "llama": spec_of(RMS, ROPE, GATED, stack={"final_norm": RMS}, head={"tied": True}),
    "gpt2": spec_of(LN, BIASED, plain("gelu_tanh", bias=True), stack=LEARNED),
    "gemma2": spec_of(
        RMS, CAPPED, plain("relu"), placement="sandwich", head={"softcap": 5.0}, embedding={"scale": 4.0}
    ),
    "output": spec_of(RMS, GQA, plain("relu2"), placement="output"),
    "parallel": spec_of(LN, GQA, plain("gelu"), placement="parallel"),
    "parallel_two": spec_of(LN, GQA, plain("gelu"), placement="parallel_two"),
    "indexer": spec_of(
        RMS,
        LATENT | {"indexer": INDEXER},
        GATED,
    ),
    "indexer, last rotated": spec_of(
        RMS,
        LATENT | {"indexer": INDEXER | {"rotated": "last", "n_selected": 1}},
        GATED,
    ),
    "deepseek": spec_of(RMS, LATENT, EXPERTS, stack={"final_norm": RMS}),
    "mixtral": spec_of(RMS, ROPE, EXPERTS | {"choose": "logits", "weigh": "softmax", "normalize": False}),
    "kolibri": spec_of(
        RMS, GQA, EXPERTS | {"choose": "logits", "weigh": "sigmoid", "correction": "buffer", "router_softcap": 0.4}
    ),
    "ernie": spec_of(RMS, GQA, EXPERTS | {"correction": "parameter", "normalize_min": 0.9}),
    "phimoe": spec_of(
        RMS, GQA, EXPERTS | {"choose": "logits", "weigh": "sparsemixer", "jitter": 0.3, "normalize": False}
    ),
    "grouped": spec_of(
        RMS,
        GQA,
        EXPERTS
        | {"n_experts": 6, "n_groups": 3, "n_active_groups": 2, "choose": "sigmoid", "group_score": "two_best"}
        | {"weight_on": "input", "n_shared": 1, "shared_combine": "average"},
    ),
    "experts of heads": spec_of(RMS, ROUTED, EXPERTS | {"out_bias": True}),
    "capacity": spec_of(RMS, GQA, EXPERTS | {"capacity": 2}),
    "longcat": of(SHORTCUT),
    "zaya": of(scaled(), scaled(adds_previous=True)),
    "xmod": of(ADAPTED),
    "apertus": spec_of(RMS, GQA, plain("xielu")),
    "bitnet": spec_of(RMS, GQA, GATED | {"activation": "relu2", "down_norm": RMS}),
    "gte": spec_of(LN, GQA, GATED | {"activation": "gelu", "down_bias": True, "down_norm": LN | {"eps": 1e-12}}),
    "nemotron": spec_of(LN | {"unit_offset": True}, GQA, plain("relu2")),
    "gpt-oss": spec_of(RMS, GQA, GATED | {"activation": {"kind": "clamped_swish", "limit": 0.5, "alpha": 1.3}}),
    "capped": spec_of(RMS, GQA, GATED | {"activation": {"kind": "capped_swish", "cap": 0.5, "up_cap": 0.3}}),
    "clamped": spec_of(RMS, GQA, GATED | {"activation": {"kind": "clamped_swish", "limit": 0.5, "up_offset": 0}}),
    "aria": spec_of(RMS, GQA, EXPERTS | {"n_shared": 2, "shared_activation": "tanh"}),
    "encoder": load("tiny-encoder", {"vocab_size": 19, "d_model": 16, "n_heads": 2, "d_ff": 24}),
    "encoder and decoder": load("tiny-seq2seq", {"vocab_size": 19, "d_model": 16}),
    "gated channels": spec_of(
        RMS,
        GQA
        | {"d_value": 3, "value_scale": 0.5, "clip": 0.4, "gate": {"activation": "softplus", "bias": True}}
        | {"qk_norm": {"norm": RMS, "over": "each", "when": "after"}, "position": {"kind": "rope"}}
        | {"temperature": {"kind": "log", "factor": 0.5, "n_tokens": 2}},
        GATED,
    ),
    "gated heads": spec_of(
        RMS,
        GQA
        | {"gate": {"over": "head"}, "out_norm": RMS, "qk_norm": {"norm": RMS, "over": "each"}}
        | {"position": {"kind": "rope", "values": True, "stored": True}}
        | {"temperature": {"kind": "power", "exponent": 0.5, "n_tokens": 2, "from_one": True}},
        GATED,
    ),
    "subtracted heads": spec_of(
        RMS,
        {"kind": "gqa", "n_heads": 8, "n_kv_heads": 4, "position": {"kind": "rope"}, "differential": {"offset": 0.3}},
        GATED,
    ),
    "keys with a bias": of(
        {
            "norm": RMS,
            "attention": {"kind": "gqa", "n_heads": 3, "n_kv_heads": 1, "position": {"kind": "rope"}}
            | {"key_bias": {"bias": True, "n_kept": 2}},
            "ffn": GATED,
            "skip_weight": True,
        }
    ),
    "convolved": of(
        {
            "branches": [
                {"norm_in": RMS, "arms": [{"name": name, "part": part, "d_out_conv": 3}]}
                for name, part in {
                    "attn": {"kind": "gqa", "n_heads": 3, "n_kv_heads": 1, "d_conv": 2}
                    | {"position": {"kind": "content", "d_rel": 2, "n_distances": 3}}
                    | {"temperature": {"kind": "late", "factor": 0.5, "n_tokens": 2}},
                    "experts": {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 5, "n_shared": 2}
                    | {"choose": "sigmoid", "normalize": True, "scores_shared": True, "weight_scale": True},
                    "ffn": GATED | {"out_scale": True},
                }.items()
            ]
        }
    ),
    "convolved by token": of(
        {
            "norm": RMS,
            "attention": {"kind": "gqa", "n_heads": 3, "n_kv_heads": 1, "d_conv": 2, "conv_by_token": True}
            | {"position": {"kind": "content", "d_rel": 2, "n_distances": 3, "clip": 0.5}, "conv_scale": 0.5}
            | {"temperature": {"kind": "late", "factor": 0.5, "n_tokens": 2}, "qk_clip": 0.7, "token_sinks": True},
            "ffn": GATED,
        }
    ),
    "matrix memory": of({"norm": RMS, "mixer": MLSTM, "ffn": GATED}),
    "sines first": spec_of(RMS, GQA, GATED, stack={"position": {"kind": "sinusoidal", "order": "halves"}}),
    "fairseq": spec_of(RMS, GQA, GATED, stack={"position": {"kind": "sinusoidal", "order": "fairseq", "n_extra": 2}}),
    "opt": spec_of(LN, GQA, GATED, stack={"position": {"kind": "learned", "n_extra": 2}}),
    "global tokens": sparse_of({"kind": "global_window", "window": 2, "n_global": 1}),
    "summaries": sparse_of({"kind": "summaries", "window": 1, "n_block": 2, "norm": RMS}),
    "blocks": sparse_of({"kind": "random_blocks", "n_block": 1, "n_random": 1}),
    "local blocks": sparse_of({"kind": "local_blocks", "n_block": 3}),
    "global stream": with_global_tokens(sparse_of({"kind": "local_blocks", "n_block": 3, "staggered": True})),
    "soft prompt": spec_of(
        RMS,
        GQA,
        GATED,
        stack={"reads_pass": True, "soft_prompt": {"n_tokens": 3, "n_rows": 6, "first": 2, "segment": 1}},
        embedding={"tables": [{"name": "segments", "n_rows": 3, "default_row": 2}]},
    ),
    "learned prompts": spec_of(RMS, ROPE, plain("gelu"), stack={"prompts": {"n_prompt": 5, "d_prompt": 6}}),
    "fnet": encoder_of({"mixer": {"kind": "fourier"}}),
    "part of a head turned": spec_of(RMS, GQA | {"position": {"kind": "rope", "d_rotary": 2}}, GATED),
}


@pytest.mark.parametrize("name", SPECS)
def test_every_value_follows_from_those_before_it(name: str) -> None:
    spec = SPECS[name]
    torch.manual_seed(3)
    model = build(spec, "cpu").eval()
    with torch.no_grad():
        for weight in filter(lambda weight: weight.requires_grad, model.parameters()):
            weight.normal_(std=0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("correction_bias"):
                buffer.normal_(std=0.5)
    more = {"encoder": [[1, 3, 2, 4, 7, 6, 5, 8]], "encoder-decoder": [[1, 3, 2, 4], [0, 2, 5]]}
    texts = more.get(spec.family, [[1, 3, 2, 4]])
    found = trace(model, *texts)
    interpreter, known = Interpreter(spec, model.state_dict()), {}
    for one in found.steps:
        if one.step.expression is not None:
            made = interpreter.value(one.step.expression, known)
            torch.testing.assert_close(
                made, one.value, rtol=2e-4, atol=2e-5, msg=f"{one.step.name} = {one.step.expression}"
            )
        known[one.step.name] = one.value
    assert torch.equal(found["logits"], model(*(torch.tensor([ids]) for ids in texts))[0])


@examples(25)
@given(specs() | soft_prompt_specs() | prompted_specs())
def test_any_spec_is_traced_through_all_its_sites(spec: Spec) -> None:
    model = build(spec, "cpu").eval()
    ids = [token % spec.vocab_size for token in range(min(spec.n_ctx, 4))]
    target = [0] if spec.family == "encoder-decoder" else None
    found = trace(model, ids, target)
    names = [one.step.name for one in found.steps]
    assert {site.name for site in sites(spec)} <= set(names)
    assert len(set(names)) == len(names)
    for one in found.steps:
        assert len(one.axes) == one.value.dim(), one.step.name
    for step in steps(spec):
        assert (step.expression is None) == (step.kind == "ids")
        for node in nodes(step.expression):
            if isinstance(node, Call):
                assert node.function in EXPLAINED, f"{step.name} = {step.expression}"


def test_happys_weights_are_those_that_are_solved_for() -> None:
    shipped = open_source("happy").checkpoint.load().state_dict()
    solved = happy_weights.weights()
    assert shipped.keys() == solved.keys()
    for name, weight in shipped.items():
        torch.testing.assert_close(weight, solved[name], rtol=1e-5, atol=1e-6)


def test_a_place_that_is_not_there_is_told() -> None:
    model = build(load("happy"), "cpu")
    with pytest.raises(InputError, match=r"position: found 3; expected 0 to 2"):
        trace(model, [0, 1, 2], position=3)
    with pytest.raises(InputError, match=r"reads a source and a target"):
        trace(model, [0, 1], [2])
