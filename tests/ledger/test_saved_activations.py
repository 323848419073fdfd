"""What autograd keeps, by hand: every tensor of small layers, as "operation: label, axes, dtype"."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given

from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from tests.examples import examples
from tests.ledger.test_parts import BARE, GQA, LN, MLA, MOE, PLAIN, RMS, document
from tests.strategies import specs

SQUARE, WIDE, HEADS = "batch n_heads seq keys", "batch seq n_heads·d_head", "batch n_heads seq d_head"
STATES, ONE, MASK = "batch seq d_model", "batch seq 1", "mask: mask, seq keys, bool"
ROPE = {"kind": "rope", "d_rotary": 4}
ROOT = "1/root of the mean square"
DROPOUT = {"embedding": 0.1, "attention": 0.2, "residual": 0.3, "ffn": 0.4}


def kept(ledger: Ledger) -> list[str]:
    """Every kept tensor, in order."""
    found = []
    for row in ledger.saved_activations:
        axes = " ".join(str(axis).replace(" ", "") for axis in row.activation.axes)
        found.append(f"{row.path.removeprefix('layers.{i}.')}: {row.activation.label}, {axes}, {row.activation.dtype}")
    return found


def of(layer: dict[str, Any], *slots: str, how: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    """What a layer's slots keep, and what serves all layers; of no slot, all that the model keeps."""
    found = kept(build(decode(document(layer, **fields)), Execution(**(how or {}))))
    shared = ("mask", "cosines", "relative")
    return [line for line in found if not slots or line.startswith((*slots, *shared))]


Q_OF_NORM = f"attn.q: attn_norm, {STATES}, bf16"
QUERIES, KEYS = f"attn.scores: q, {WIDE}, bf16", f"attn.scores: k of each head, {HEADS}, bf16"
PATTERN = f"attn.softmax: pattern, {SQUARE}, fp32"
ROUNDED, VALUES = f"attn.values: pattern, {SQUARE}, bf16", f"attn.values: v of each head, {HEADS}, bf16"
OUT = f"attn.out: attended, {WIDE}, bf16"
BEFORE, AFTER = [Q_OF_NORM, QUERIES, KEYS], [ROUNDED, VALUES, OUT]
ANGLES = "cosines and sines: cosines and sines, seq d_rotary, bf16"
TURNED = [Q_OF_NORM, ANGLES, QUERIES.replace(WIDE, HEADS), KEYS]
K_WIDE = "batch seq n_kv_heads·d_head"

EAGER: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [*BEFORE, MASK, PATTERN, *AFTER]),
    ({"position": ROPE}, [*TURNED, MASK, PATTERN, *AFTER]),
    ({"window": 3}, [line.replace("keys", "keys(window)") for line in [*BEFORE, MASK, PATTERN, *AFTER]]),
    ({"position": {"kind": "alibi"}}, [*BEFORE, MASK, PATTERN, *AFTER]),
    # One more column, the sinks' own, which the second product doesn't read.
    ({"sinks": True}, [*BEFORE, MASK, PATTERN.replace("keys", "keys+1"), *AFTER]),
    (
        {"softcap": 2.0},
        [*BEFORE, f"attn.softcap: tanh of the scores, {SQUARE}, bf16", MASK, PATTERN, *AFTER],
    ),
    (
        {"qk_norm": {"norm": RMS}},
        [
            Q_OF_NORM,
            f"attn.q_norm: q, {HEADS}, fp32",
            f"attn.q_norm: {ROOT}, batch n_heads seq 1, fp32",
            f"attn.q_norm: normed, {HEADS}, bf16",
            "attn.k_norm: k, batch n_kv_heads seq d_head, fp32",
            f"attn.k_norm: {ROOT}, batch n_kv_heads seq 1, fp32",
            "attn.k_norm: normed, batch n_kv_heads seq d_head, bf16",
            f"attn.scores: q_norm, {HEADS}, bf16",
            "attn.scores: k_norm of each head, batch n_heads seq d_head, bf16",
            MASK, PATTERN, *AFTER,
        ],
    ),
    (
        {"qk_norm": {"norm": LN, "over": "full"}},
        [
            Q_OF_NORM,
            f"attn.q_norm: q, {WIDE}, bf16",
            f"attn.q_norm: mean, {ONE}, fp32",
            f"attn.q_norm: 1/deviation, {ONE}, fp32",
            f"attn.k_norm: k, {K_WIDE}, bf16",
            f"attn.k_norm: mean, {ONE}, fp32",
            f"attn.k_norm: 1/deviation, {ONE}, fp32",
            f"attn.scores: q_norm, {WIDE}, bf16",
            "attn.scores: k_norm of each head, batch n_heads seq d_head, bf16",
            MASK, PATTERN, *AFTER,
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), EAGER, ids=lambda value: str(value)[:30])
def test_attention_written_out(fields: dict[str, Any], expected: list[str]):
    assert of({"attention": GQA | fields}, "attn.") == expected


MATH = [
    Q_OF_NORM,
    f"attn.scores: scaled queries, {HEADS}, fp32",
    f"attn.scores: scaled keys, {HEADS}, fp32",
    PATTERN,
    VALUES.replace("bf16", "fp32"),
    OUT,
]
SUMS = "attn.core: log of the sums, batch n_heads seq, fp32"
FLASH_READS = [f"attn.core: q, {WIDE}, bf16", f"attn.core: k, {K_WIDE}, bf16", f"attn.core: v, {K_WIDE}, bf16"]
ON_GPU = [Q_OF_NORM, *FLASH_READS, SUMS, OUT.replace("attn.out", "attn.core")]
ON_CPU = [
    Q_OF_NORM,
    f"attn.core: q, {WIDE}, bf16",
    f"attn.core: k of each head, {HEADS}, bf16",
    f"attn.core: v of each head, {HEADS}, bf16",
    *ON_GPU[-2:],
]
FLASH_CPU, FLASH_GPU = {"attention": "flash", "device": "cpu"}, {"attention": "flash", "device": "cuda"}
WINDOW_MASK = "mask: mask, seq keys(window), bf16"
HEAD_MASK = "mask: mask, n_heads seq keys, bf16"
ALIBI = {"position": {"kind": "alibi"}}
CHOSEN: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {"attention": "math"}, MATH),
    ({}, FLASH_GPU, ON_GPU),
    ({"window": 3}, FLASH_GPU, ON_GPU),
    ({}, FLASH_GPU | {"dtype": "fp32"}, [line.replace("bf16", "fp32") for line in MATH]),
    (ALIBI, FLASH_GPU, ON_GPU),
    ({}, FLASH_CPU, ON_CPU),
    ({"window": 3}, FLASH_CPU, [Q_OF_NORM, WINDOW_MASK, *ON_CPU[1:]]),
    (ALIBI, FLASH_CPU, [Q_OF_NORM, HEAD_MASK, *ON_CPU[1:]]),
    # What a fused kernel cannot do stays written out.
    ({"sinks": True}, FLASH_GPU, EAGER[4][1]),
    ({"softcap": 2.0}, {"attention": "math"}, EAGER[5][1]),
]


@pytest.mark.parametrize(("fields", "how", "expected"), CHOSEN, ids=lambda value: str(value)[:30])
def test_attention_by_other_kernels(fields: dict[str, Any], how: dict[str, Any], expected: list[str]):
    assert of({"attention": GQA | fields}, "attn.", how=how) == expected


@pytest.mark.parametrize(
    ("how", "is_math"),
    [(FLASH_CPU, True), (FLASH_GPU, False), (FLASH_CPU | {"dropout": False}, False)],
)
def test_the_cpus_flash_kernel_drops_nothing(how: dict[str, Any], is_math: bool):
    found = of({"attention": GQA}, "attn.", how=how, dropout={"attention": 0.2})
    assert (PATTERN in found) == is_math
    assert (SUMS in found) != is_math


LATENT = [
    Q_OF_NORM,
    "cosines and sines: cosines and sines, seq d_rope, bf16",
    "attn.kv_down_norm: kv_down, batch seq kv_rank, fp32",
    f"attn.kv_down_norm: {ROOT}, batch seq 1, fp32",
    "attn.kv_down_norm: normed, batch seq kv_rank, bf16",
    "attn.kv_up: kv_down_norm, batch seq kv_rank, bf16",
    "attn.scores: queries, batch n_heads seq d_nope+d_rope, bf16",
    "attn.scores: keys of each head, batch n_heads keys d_nope+d_rope, bf16",
    MASK,
    PATTERN,
    ROUNDED,
    "attn.values: values of each head, batch n_heads keys d_v, bf16",
    "attn.out: attended, batch seq n_heads·d_v, bf16",
]
Q_LATENT = [
    "attn.q_down: attn_norm, batch seq d_model, bf16",
    "attn.q_down_norm: q_down, batch seq q_rank, fp32",
    f"attn.q_down_norm: {ROOT}, batch seq 1, fp32",
    "attn.q_down_norm: normed, batch seq q_rank, bf16",
    "attn.q_up: q_down_norm, batch seq q_rank, bf16",
]


def test_latent_attention():
    angles = [line.replace("d_rope, bf16", "d_rotary, bf16") if "cosines" in line else line for line in LATENT]
    assert of({"attention": MLA}, "attn.") == angles
    assert of({"attention": MLA | {"q_rank": 8}}, "attn.") == Q_LATENT + angles[1:]


def test_latent_attention_by_flash():
    assert "attn.core: values, batch n_heads keys d_v, bf16" in of({"attention": MLA}, "attn.", how=FLASH_GPU)
    assert PATTERN in of({"attention": MLA}, "attn.", how=FLASH_CPU)


HIDDEN = "batch seq d_ff"
# What each activation keeps of `up` (or of a gate), and the label of what it makes.
ACTIVATED = {
    "relu": (["activated"], "activated"),
    "relu2": (["activated"], "squared"),
    "gelu": (["{}"], "activated"),
    "gelu_tanh": (["{}"], "activated"),
    "silu": (["{}"], "activated"),
    "quick_gelu": (["sigmoid", "{}"], "activated"),
    "clamped_swish": (["{}", "sigmoid", "clamped"], "activated"),
    "capped_swish": (["tanh", "capped", "sigmoid"], "activated"),
    "relu6": (["{}"], "activated"),
    "leaky_relu": (["{}"], "activated"),
    "gelu_10": (["{}", "activated"], "clamped"),
    "hardswish": (["{}"], "activated"),
    "mish": (["{}"], "activated"),
    "sigmoid": (["activated"], "activated"),
    "tanh": (["activated"], "activated"),
    "laplace": (["scaled"], "activated"),
    "sqrt_softplus": (["{}", "activated"], "activated"),
    "identity": ([], "{}"),
}


@pytest.mark.parametrize("activation", ACTIVATED)
def test_a_plain_feed_forward(activation: str):
    of_input, made = ACTIVATED[activation]
    labels = [label.format("up") for label in of_input]
    last = [] if made in of_input else [f"ffn.down: {made.format('up')}, {HIDDEN}, bf16"]
    expected = [f"ffn.up: ffn_norm, {STATES}, bf16", *(f"ffn.activation: {x}, {HIDDEN}, bf16" for x in labels), *last]
    assert of({"ffn": PLAIN | {"activation": activation}}, "ffn.") == expected


@pytest.mark.parametrize("activation", ACTIVATED)
def test_a_gated_feed_forward(activation: str):
    of_gate, made = ACTIVATED[activation]
    labels, made = [label.format("gate") for label in of_gate], made.format("gate")
    if activation == "clamped_swish":
        labels += ["up", made, "clamped up"]
    elif activation == "capped_swish":
        labels += ["tanh of up", made, "capped up"]
    else:
        labels += ["up"] if made in labels else [made, "up"]
    assert of({"ffn": {"kind": "gated", "d_ff": 11, "activation": activation}}, "ffn.") == [
        f"ffn.gate: ffn_norm, {STATES}, bf16",
        *(f"ffn.activation: {x}, {HIDDEN}, bf16" for x in labels),
        f"ffn.down: gated, {HIDDEN}, bf16",
    ]


def test_an_activation_that_learns():
    of_x = [f"ffn.activation: {x}, {HIDDEN}, bf16" for x in ("up", "expm1", "expm1 - x", "alpha_p · x")]
    assert of({"ffn": PLAIN | {"activation": "xielu"}}, "ffn.") == [
        f"ffn.up: ffn_norm, {STATES}, bf16",
        "ffn.activation: alpha_n, 1, bf16",
        "ffn.activation: alpha_p, 1, bf16",
        *of_x,
        f"ffn.activation: is positive, {HIDDEN}, bool",
        f"ffn.down: activated, {HIDDEN}, bf16",
    ]


def test_hidden_units_are_normed_before_the_last_matrix():
    found = of({"ffn": PLAIN | {"activation": "relu", "down_norm": LN}}, "ffn.", dropout=DROPOUT)
    assert found == [
        f"ffn.up: ffn_norm, {STATES}, bf16",
        f"ffn.activation: activated, {HIDDEN}, bf16",
        f"ffn.activation: dropout mask, {HIDDEN}, bf16",
        f"ffn.down_norm: activated, {HIDDEN}, bf16",
        f"ffn.down_norm: mean, {ONE}, fp32",
        f"ffn.down_norm: 1/deviation, {ONE}, fp32",
        f"ffn.down: down_norm, {HIDDEN}, bf16",
        f"ffn.dropout: dropout mask, {STATES}, bf16",
    ]


EACH, CHOICES = "batch n_active·seq", "batch seq n_active"
ROUTER = [
    f"ffn.router: ffn_norm, {STATES}, bf16",
    "ffn.router: scores, batch seq n_experts, fp32",
    f"ffn.router: chosen experts, {CHOICES}, int64",
]
SHARES = f"ffn.weighted: shares, {CHOICES}, bf16"
GATHER = [
    *ROUTER,
    f"ffn.experts.gate: weights of each choice, {EACH} d_expert d_model, bf16",
    f"ffn.experts.gate: states of each choice, {EACH} d_model, bf16",
    f"ffn.experts.up: weights of each choice, {EACH} d_expert d_model, bf16",
    f"ffn.experts.activation: gate, {EACH} d_expert, bf16",
    f"ffn.experts.activation: activated, {EACH} d_expert, bf16",
    f"ffn.experts.activation: up, {EACH} d_expert, bf16",
    f"ffn.experts.down: weights of each choice, {EACH} d_model d_expert, bf16",
    f"ffn.experts.down: gated, {EACH} d_expert, bf16",
    f"ffn.weighted: down, {EACH} d_model, bf16",
    SHARES,
]
SPLIT = [
    *ROUTER,
    f"ffn.experts.split: sorted by expert, {CHOICES}, int64",
    *(line for line in GATHER[3:-2] if "weights of" not in line),
    f"ffn.experts.split: back in order, {CHOICES}, int64",
    f"ffn.weighted: mixed, {EACH} d_model, bf16",
    SHARES,
]
SUM = "ffn.router: sum of the shares, batch seq 1, fp32"
OWN_SHARES = f"ffn.router: shares, {CHOICES}, fp32"
LOGITS = "ffn.router: logits, batch seq n_experts, fp32"
CAPPED = "ffn.router: tanh of the logits, batch seq n_experts, fp32"
SHARED = [
    "ffn.shared.activation: gate, batch seq n_shared·d_shared, bf16",
    "ffn.shared.activation: activated, batch seq n_shared·d_shared, bf16",
    "ffn.shared.activation: up, batch seq n_shared·d_shared, bf16",
    "ffn.shared.down: gated, batch seq n_shared·d_shared, bf16",
]
SHARED_GATE = [f"ffn.shared_gate: sigmoid, {ONE}, bf16", f"ffn.shared_gate: down, {STATES}, bf16"]
MIXTURES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, GATHER),
    ({"expert_bias": True}, {}, GATHER),
    ({}, {"experts": "split"}, SPLIT),
    ({"normalize": True}, {}, [*ROUTER, OWN_SHARES, SUM, *GATHER[3:]]),
    ({"choose": "logits", "weigh": "softmax"}, {}, [ROUTER[0], LOGITS, ROUTER[2], OWN_SHARES, *GATHER[3:]]),
    ({"choose": "sigmoid", "weigh": "sigmoid"}, {}, [ROUTER[0], LOGITS, ROUTER[2], OWN_SHARES, *GATHER[3:]]),
    (
        {"weigh": "sparsemixer"},
        {},
        [ROUTER[0], f"ffn.router: hidden experts, {CHOICES} n_experts, bool",
         f"ffn.router: softmax of each choice, {CHOICES} n_experts, fp32", ROUTER[2], *GATHER[3:]],
    ),
    ({"router_softcap": 2.0}, {}, [ROUTER[0], CAPPED, *ROUTER[1:], *GATHER[3:]]),
    (
        {"normalize": True, "normalize_min": 0.5},
        {},
        [*ROUTER, OWN_SHARES, SUM, SUM.replace("shares,", "shares, clamped,"), *GATHER[3:]],
    ),
    ({"weight_on": "input"}, {}, [*ROUTER, SHARES, *GATHER[3:-2]]),
    ({"weight_on": "input"}, {"experts": "split"}, [*ROUTER, SHARES, *SPLIT[3:-2]]),
    ({"n_shared": 2}, {}, GATHER + SHARED),
    ({"n_shared": 2, "shared_gate": True}, {}, GATHER + SHARED + SHARED_GATE),
    ({"n_shared": 2, "shared_combine": "average"}, {}, GATHER + SHARED),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "how", "expected"), MIXTURES, ids=lambda value: str(value)[:30])
def test_mixtures(fields: dict[str, Any], how: dict[str, Any], expected: list[str]):
    assert of({"ffn": MOE | fields}, "ffn.", how=how) == expected


def test_an_ungated_mixture():
    assert of({"ffn": MOE | {"gated": False, "activation": "relu"}}, "ffn.", how={"experts": "split"}) == [
        *(line.replace("gate", "up") for line in SPLIT[:5]),
        f"ffn.experts.activation: activated, {EACH} d_expert, bf16",
        *SPLIT[-3:],
    ]


BARE_NORM = [f"ffn_norm: states, {STATES}, fp32", f"ffn_norm: {ROOT}, {ONE}, fp32"]
NORMS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (BARE, {}, [*BARE_NORM, f"ffn.up: ffn_norm, {STATES}, bf16"]),
    (RMS, {}, [*BARE_NORM, f"ffn_norm: normed, {STATES}, bf16", f"ffn.up: ffn_norm, {STATES}, bf16"]),
    (
        RMS | {"unit_offset": True},
        {},
        [*BARE_NORM, f"ffn_norm: normed, {STATES}, fp32", "ffn_norm: 1 + weight, d_model, fp32",
         f"ffn.up: ffn_norm, {STATES}, bf16"],
    ),
    (
        LN,
        {},
        [f"ffn_norm: states, {STATES}, bf16", f"ffn_norm: mean, {ONE}, fp32", f"ffn_norm: 1/deviation, {ONE}, fp32",
         f"ffn.up: ffn_norm, {STATES}, bf16"],
    ),
    (
        LN | {"unit_offset": True},
        {},
        [f"ffn_norm: states, {STATES}, bf16", f"ffn_norm: mean, {ONE}, fp32", f"ffn_norm: 1/deviation, {ONE}, fp32",
         "ffn_norm: 1 + weight, d_model, bf16", f"ffn.up: ffn_norm, {STATES}, bf16"],
    ),
    (
        LN | {"bias": False},
        {"device": "cpu"},
        [f"ffn_norm: states, {STATES}, bf16", f"ffn_norm: mean, {ONE}, bf16", f"ffn_norm: 1/deviation, {ONE}, bf16",
         f"ffn.up: ffn_norm, {STATES}, bf16"],
    ),
    # In float32 nothing is copied to be wide: the scale keeps what the product made.
    (RMS, {"dtype": "fp32"}, [*BARE_NORM, f"ffn_norm: normed, {STATES}, fp32", f"ffn.up: ffn_norm, {STATES}, fp32"]),
]  # fmt: skip


@pytest.mark.parametrize(("norm", "how", "expected"), NORMS, ids=lambda value: str(value)[:40])
def test_norms(norm: dict[str, Any], how: dict[str, Any], expected: list[str]):
    assert of({"norm": norm, "ffn": PLAIN}, "ffn_norm", "ffn.up", how=how) == expected


def test_a_norm_of_what_a_norm_without_weights_made():
    """Two tensors of one shape in one place, told apart by what they are called."""
    arm = {"name": "attn", "part": GQA}
    branches = [
        {"arms": [arm], "norm_in": LN, "norm_after": BARE},
        {"arms": [{"name": "ffn", "part": PLAIN}], "norm_in": RMS},
    ]
    found = of({"branches": branches, "norm": None}, "ffn_norm", how={"dtype": "fp32"})
    states = [f"ffn_norm: attn_after_norm, {STATES}, fp32", f"ffn_norm: {ROOT}, {ONE}, fp32"]
    assert found == [MASK, *states, f"ffn_norm: normed, {STATES}, fp32"]


# What the first operation of each part reads, and the norms: (who keeps it, what it is called), by placement.
READS = {
    "pre": ["attn_norm: states", "attn.q: attn_norm", "ffn_norm: states", "ffn.up: ffn_norm"],
    "post": ["attn.q: states", "attn_norm: states", "ffn.up: attn_norm", "ffn_norm: states"],
    "sandwich": ["attn_norm: states", "attn.q: attn_norm", "attn_out_norm: out", "ffn_norm: states",
                 "ffn.up: ffn_norm", "ffn_out_norm: down"],
    "output": ["attn.q: states", "attn_out_norm: out", "ffn.up: states", "ffn_out_norm: down"],
    "parallel": ["attn_norm: states", "attn.q: attn_norm"],
    "parallel_two": ["attn_norm: states", "attn.q: attn_norm", "ffn.up: ffn_norm"],
}  # fmt: skip


@pytest.mark.parametrize("placement", READS)
def test_placements(placement: str):
    found = of({"norm": LN, "placement": placement, "attention": GQA, "ffn": PLAIN})
    heads = [line.split(",")[0] for line in found if "mean" not in line and "1/dev" not in line]
    names = ("attn_norm", "attn_out_norm", "attn.q:", "ffn_norm", "ffn_out_norm", "ffn.up:")
    assert [head for head in heads if head.startswith(names)] == READS[placement]
    assert sum("mean" in line for line in found) == {"sandwich": 4, "parallel": 1}.get(placement, 2)


MASKS = [
    ("embed.dropout", STATES), ("attn.softmax", SQUARE), ("attn.dropout", STATES), ("ffn.activation", HIDDEN),
    ("ffn.dropout", STATES),
]  # fmt: skip


@pytest.mark.parametrize(("device", "dtype"), [("meta", "bf16"), ("cuda", "bool")])
def test_dropout_keeps_a_mask_in_each_place(device: str, dtype: str):
    layer = {"attention": GQA, "ffn": PLAIN}
    found = of(layer, how={"device": device}, dropout=DROPOUT)
    assert [line for line in found if "dropout mask" in line] == [
        f"{name}: dropout mask, {axes}, {dtype}" for name, axes in MASKS
    ]
    off = of(layer, how={"device": device, "dropout": False}, dropout=DROPOUT)
    assert off == of(layer, how={"device": device})


def test_what_only_inference_needs_is_not_kept():
    ledger = build(decode(document({"attention": GQA, "ffn": PLAIN})))
    assert ledger.saved_activations == ledger.elementwise == ()


LAYER = {"norm": LN, "attention": GQA, "ffn": PLAIN}


def again(recompute: str, layer: dict[str, Any] = LAYER, **how: Any) -> dict[str, str]:
    ledger = build(decode(document(layer)), Execution(recompute=recompute, **how))
    return {row.path.removeprefix("layers.{i}."): row.matmul.recomputation for row in ledger.matmuls}


def test_selective_recomputation_keeps_queries_keys_and_values():
    found = of(LAYER, "attn.", how={"recompute": "selective"})
    assert found == [
        f"attn.q: attn_norm, {STATES}, bf16",
        f"attn.core: q, {WIDE}, bf16",
        f"attn.core: k, {K_WIDE}, bf16",
        f"attn.core: v, {K_WIDE}, bf16",
        OUT,
    ]
    never = dict.fromkeys(("attn.q", "attn.k", "attn.v", "attn.out", "ffn.up", "ffn.down"), "never")
    # The second product keeps its two sides before it runs: nothing needs what it makes.
    assert again("selective") == never | {"attn.scores": "always", "attn.values": "without early stop"}


def test_full_recomputation_keeps_a_layers_input():
    found = of(LAYER, how={"recompute": "full"})
    assert found == ["embed.tokens: token ids, batch seq, int64", f"layers.{{i}}: states, {STATES}, bf16"]
    paths = ("attn.q", "attn.k", "attn.v", "attn.scores", "attn.values", "attn.out", "ffn.up")
    assert again("full") == dict.fromkeys(paths, "always") | {"ffn.down": "without early stop"}
    assert set(again("none").values()) == {"never"}


def test_what_is_kept_after_the_last_product_needs_it_again():
    flash = again("selective", attention="flash", device="cuda")
    assert (flash["attn.scores"], flash["attn.values"]) == ("always", "always")
    assert set(again("full", LAYER | {"placement": "post"}).values()) == {"always"}
    assert set(again("full", {"ffn": MOE}).values()) == {"always"}


@examples(20)
@given(specs())
def test_recomputation_changes_only_what_is_kept(spec: Spec):
    """Products that are computed again in some layers alone have a row for each kind; their sum stays."""
    plain, work = build(spec, Execution()), Workload(batch=2, seq=3, source_seq=3)
    for recompute in ("selective", "full"):
        other = build(spec, Execution(recompute=recompute))
        assert (other.rows, other.caches, other.elementwise) == (plain.rows, plain.caches, plain.elementwise)
        assert flops_by_path(other, work) == flops_by_path(plain, work)


def flops_by_path(ledger: Ledger, work: Workload) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in ledger.matmuls:
        found[row.path] += row.flops(ledger.at(work))
    return found


def both(recompute: str = "none", n_layers: int = 3) -> list[str]:
    """An encoder-decoder whose decoder only reads its source."""
    stack = {"final_norm": LN}
    spec = {
        "name": "x", "vocab_size": 17, "n_ctx": 23, "d_model": 10, "head": None,
        "encoder": stack | {"runs": [{"count": 1, "pattern": [{"norm": LN, "ffn": PLAIN}]}]},
        "decoder": {"runs": [{"count": n_layers, "pattern": [{"norm": LN, "cross": GQA}]}]},
    }  # fmt: skip
    return kept(build(decode(spec), Execution(recompute=recompute)))


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_the_source_is_kept_once_for_all_layers(recompute: str):
    found = [line for line in both(recompute) if "source states" in line]
    assert found == ["decoder.source states: source states, batch source_new d_model, bf16"]


def test_cross_attention():
    assert [line for line in both() if ".cross." in line] == [
        f"decoder.layers.{{i}}.cross.q: cross_norm, {STATES}, bf16",
        f"decoder.layers.{{i}}.cross.scores: q, {WIDE}, bf16",
        "decoder.layers.{i}.cross.scores: k of each head, batch n_heads source_new d_head, bf16",
        "decoder.layers.{i}.cross.softmax: pattern, batch n_heads seq source_seq, fp32",
        "decoder.layers.{i}.cross.values: pattern, batch n_heads seq source_seq, bf16",
        "decoder.layers.{i}.cross.values: v of each head, batch n_heads source_new d_head, bf16",
        f"decoder.layers.{{i}}.cross.out: attended, {WIDE}, bf16",
    ]


IDS = "embed.tokens: token ids, batch seq, int64"
TYPES = "embed.types: token types, batch seq, int64"
PLACES = "positions: places, seq, int64"


def around(**fields: Any) -> list[str]:
    """What is kept outside of the layers."""
    names = ("ffn.", "ffn_norm:")
    return [line for line in of({"ffn": PLAIN}, **fields) if not line.startswith(names)]


@pytest.mark.parametrize(
    ("widen", "expected"),
    [
        ("before_positions", [IDS, "embed.project: tokens, batch seq d_embed, bf16", TYPES, PLACES]),
        ("after_positions", [IDS, TYPES, PLACES, "embed.project: sum, batch seq d_embed, bf16"]),
    ],
)
def test_embeddings(widen: str, expected: list[str]):
    embedding = {"factor": {"d_embed": 4, "widen": widen}, "n_token_types": 2}
    assert around(embedding=embedding, stack={"position": {"kind": "learned"}}) == expected


def test_tables_that_are_not_learned_keep_nothing():
    assert around(stack={"position": {"kind": "sinusoidal", "stored": True}}) == [IDS]


def test_an_embedding_norm_reads_the_sum():
    assert around(stack={"embed_norm": LN})[1] == f"embed_norm: sum, {STATES}, bf16"
    late = {"embed_norm": LN, "embed_norm_reads": "tokens", "position": {"kind": "sinusoidal"}}
    assert around(stack=late)[1] == f"embed_norm: tokens, {STATES}, bf16"


def test_heads():
    assert around(head={}) == [IDS, f"head.logits: states, {STATES}, bf16"]
    assert around(head={"scale": 2.0}) == [IDS, f"head.logits: scaled, {STATES}, bf16"]
    transform = {"activation": "gelu", "norm": LN}
    assert around(head={"transform": transform, "softcap": 2.0}) == [
        IDS,
        f"head.transform: states, {STATES}, bf16",
        f"head.transform: transform, {STATES}, bf16",
        f"head.norm: activated, {STATES}, bf16",
        f"head.norm: mean, {ONE}, fp32",
        f"head.norm: 1/deviation, {ONE}, fp32",
        f"head.logits: norm, {STATES}, bf16",
        "head.softcap: tanh of the logits, batch seq vocab_size, bf16",
    ]
    narrow = around(embedding={"factor": {"d_embed": 4}}, head={"tied": True})
    assert narrow[-2:] == [f"head.project: states, {STATES}, bf16", "head.logits: project, batch seq d_embed, bf16"]


def test_what_is_computed_number_by_number():
    layer = {"norm": LN, "attention": GQA | {"position": ROPE}, "ffn": {"kind": "gated", "d_ff": 11}}
    rows = build(decode(document(layer)), Execution()).elementwise
    found = [f"{row.path}: {row.elementwise.operation}, {' '.join(map(str, row.elementwise.axes))}" for row in rows]
    assert [line.removeprefix("layers.{i}.") for line in found] == [
        f"attn_norm: layernorm, {STATES}",
        "attn.q: rope, batch n_heads seq d_rotary",
        "attn.k: rope, batch n_kv_heads seq d_rotary",
        f"attn.softmax: softmax, {SQUARE}",
        f"ffn_norm: layernorm, {STATES}",
        f"ffn.activation: silu, {HIDDEN}",
        f"ffn.activation: gate, {HIDDEN}",
    ]
    assert [row.component for row in rows] == ["norm", *["attention"] * 3, "norm", "ffn", "ffn"]


def test_bytes_and_squares():
    ledger = build(decode(document({"attention": GQA | {"sinks": True}}, stack={"n_layers": 1})), Execution())
    sizes = ledger.at(Workload(batch=29, seq=19))
    found = {(row.path.removeprefix("layers.{i}."), row.activation.dtype): row for row in ledger.saved_activations}
    assert found["embed.tokens", "int64"].bytes(sizes) == 29 * 19 * 8
    assert found["attn.q", "bf16"].bytes(sizes) == 29 * 19 * 10 * 2
    assert found["mask", "bool"].bytes(sizes) == 19 * 19
    assert found["attn.softmax", "fp32"].bytes(sizes) == 29 * 6 * 19 * 20 * 4
    squares = [
        (row.path.removeprefix("layers.{i}."), row.activation.label)
        for row in ledger.saved_activations
        if row.is_square
    ]
    assert squares == [("mask", "mask"), ("attn.softmax", "pattern"), ("attn.values", "pattern")]


def test_every_layer_keeps_its_own_and_one_mask_serves_all():
    stack = {"runs": [{"count": 4, "pattern": [{"norm": LN, "attention": GQA}]}]}
    ledger = build(decode(document({}, stack=stack)), Execution())
    sizes = ledger.at(Workload(batch=29, seq=19))
    found = {row.path: row.bytes(sizes) for row in ledger.saved_activations}
    assert (found["mask"], found["layers.{i}.attn.q"]) == (19 * 19, 4 * 29 * 19 * 10 * 2)


def test_masks_of_two_windows_are_two():
    layers = [{"norm": LN, "attention": GQA | {"window": window}} for window in (3, 5, 3)]
    ledger = build(decode(document({}, stack={"runs": [{"count": 3, "pattern": layers}]})), Execution())
    assert [row.path for row in ledger.saved_activations if "mask" in row.path] == ["mask", "mask 2"]


# Symbols that are 0 in a short text.
WITHOUT_TOKENS = ("later_", "blocks(", "whole_chunks(")


@examples(30)
@given(specs())
def test_every_rows_value_is_its_formulas(spec: Spec):
    ledger = build(spec, Execution())
    sizes = ledger.at(Workload(batch=2, seq=3, source_seq=4))
    assert ledger.saved_activations
    for kept_row in ledger.saved_activations:
        n_bytes = kept_row.formula.at(sizes)
        # There may be one chunk only, or no whole chunk or block.
        has_no_tokens = n_bytes == 0 and any(word in str(kept_row.formula) for word in WITHOUT_TOKENS)
        assert kept_row.bytes(sizes) == n_bytes
        assert n_bytes > 0 or has_no_tokens, kept_row.formula
    for matmul in ledger.matmuls:
        assert matmul.flops(sizes) == matmul.formula.at(sizes)
        assert matmul.causal_flops(sizes) == matmul.causal_formula.at(sizes)
    for cache in ledger.caches:
        assert cache.elements(sizes) == cache.formula.at(sizes)
    for row in ledger.elementwise:
        assert row.numbers(sizes) == row.formula.at(sizes)


def test_half_precision_takes_two_bytes():
    (row,) = [
        row
        for row in build(decode(document(LAYER)), Execution(dtype="fp16")).saved_activations
        if row.path.endswith("attn.q")
    ]
    assert row.bytes({"batch": 29, "seq": 19, "d_model": 10, "n_layers": 1}) == 29 * 19 * 10 * 2


def test_layers_that_turn_otherwise_keep_angles_of_their_own():
    layers = [{"attention": GQA | {"position": ROPE | {"theta": theta}}, "norm": LN} for theta in (1e4, 1e6, 1e4)]
    rows = build(decode(document({}, stack={"runs": [{"count": 3, "pattern": layers}]})), Execution()).saved_activations
    found = [(row.path, row.component) for row in rows if "cosines" in row.path]
    assert found == [("cosines and sines", "position"), ("cosines and sines 2", "position")]


def test_the_work_of_an_rmsnorm():
    row = build(decode(document({"norm": RMS, "ffn": PLAIN})), Execution()).elementwise[0]
    found = (row.path, row.elementwise.operation, " ".join(map(str, row.elementwise.axes)))
    assert found == ("layers.{i}.ffn_norm", "rmsnorm", STATES)
