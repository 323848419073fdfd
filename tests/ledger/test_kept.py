"""What a layer keeps for its backward pass, written out by hand; tests/test_activations.py holds the same to torch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from archcalc.ledger.build import build
from archcalc.ledger.types import Ledger
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from tests.strategies import specs

# s tokens of b sequences; 6 wide, 3 heads of 4, 1 kv head, a feed-forward of 10, a vocabulary of 17.
B, S, D, N, H, F, V = 2, 5, 6, 3, 4, 10, 17
WORK = Workload(batch=B, seq=S, source_seq=S)
STATES, HEADS, WIDE, SQUARE = B * S * D, B * S * N * H, B * S * F, B * N * S * S
ATTENTION = {"kind": "gqa", "n_heads": N, "n_kv_heads": 1, "d_head": H}
LAYERNORM, RMSNORM = {"kind": "layernorm"}, {"kind": "rmsnorm"}
PLAIN = {"kind": "plain", "d_ff": F, "activation": "gelu"}


def ledger(how: Execution, layer: dict[str, Any], family: str = "decoder", **fields: Any) -> Ledger:
    """A model of two such layers, no table of positions and no final norm."""
    stack = {"n_layers": 2, "runs": [{"pattern": [{"norm": LAYERNORM} | layer]}]}
    document = {"name": "x", "vocab_size": V, "n_ctx": 64, "d_model": D, family: stack} | fields
    return build(decode(document), how)


def kept(of: Ledger) -> dict[tuple[str, str], int]:
    """(operation within its layer, tensor) → bytes in one layer."""
    sizes = of.at(WORK)
    return {
        (row.path.removeprefix("layers.{i}."), row.kept.label): row.bytes(sizes) // max(1, len(row.turns))
        for row in of.kept
    }


def layer(found: dict[tuple[str, str], int], part: str) -> dict[tuple[str, str], int]:
    return {key: size for key, size in found.items() if key[0].startswith(part)}


def test_attention_written_out() -> None:
    """The normed states once for q, k and v; the pattern in float32, and again in bf16; one mask for both layers."""
    found = kept(ledger(Execution(dtype="bf16"), {"attention": ATTENTION}))
    assert found == {
        ("embed.tokens", "token ids"): 8 * B * S,
        ("attn_norm", "states"): 2 * STATES,
        ("attn_norm", "mean"): 4 * B * S,
        ("attn_norm", "1/deviation"): 4 * B * S,
        ("attn.q", "attn_norm"): 2 * STATES,
        ("attn.scores", "q"): 2 * HEADS,
        ("attn.scores", "k of each head"): 2 * HEADS,
        ("mask", "mask"): S * S,
        ("attn.softmax", "pattern"): 4 * SQUARE,
        ("attn.values", "pattern"): 2 * SQUARE,
        ("attn.values", "v of each head"): 2 * HEADS,
        ("attn.out", "attended"): 2 * HEADS,
        ("head.logits", "states"): 2 * STATES,
    }


def test_in_fp32_the_pattern_is_kept_once() -> None:
    found = kept(ledger(Execution(dtype="fp32"), {"attention": ATTENTION}))
    assert ("attn.values", "pattern") not in found
    assert found["attn.softmax", "pattern"] == 4 * SQUARE
    assert found["attn.scores", "q"] == 4 * HEADS


def test_what_an_attention_adds() -> None:
    """A softcap keeps its tanh, sinks a column more, rope its tables once, a norm on heads what it scales."""
    part = ATTENTION | {
        "softcap": 2.0,
        "sinks": True,
        "position": {"kind": "rope", "d_rotary": 2},
        "qk_norm": {"norm": RMSNORM},
    }
    found = kept(ledger(Execution(dtype="bf16"), {"attention": part}))
    assert found["attn.softcap", "tanh of the scores"] == 2 * SQUARE
    assert found["attn.softmax", "pattern"] == 4 * B * N * S * (S + 1)
    assert found["attn.values", "pattern"] == 2 * SQUARE
    assert found["cosines and sines", "cosines and sines"] == 2 * S * 2
    assert layer(found, "attn.q_norm") == {
        ("attn.q_norm", "q"): 4 * HEADS,
        ("attn.q_norm", "1/root of the mean square"): 4 * B * S * N,
        ("attn.q_norm", "normed"): 2 * HEADS,
    }
    assert found["attn.k_norm", "k"] == 4 * B * S * H


def test_windows_have_masks_of_their_own() -> None:
    pattern = [{"norm": LAYERNORM, "attention": ATTENTION | window} for window in ({}, {"window": 2}, {"window": 3})]
    stack = {"n_layers": 3, "runs": [{"pattern": pattern}]}
    document = {"name": "x", "vocab_size": V, "n_ctx": 64, "d_model": D, "decoder": stack}
    found = kept(build(decode(document), Execution()))
    assert [key[0] for key in found if key[1] == "mask"] == ["mask", "mask 2", "mask 3"]


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_kernels(family: str) -> None:
    """Math scales copies in float32; flash keeps what it reads and gives and needs a mask for a window alone."""
    windowed = {"attention": ATTENTION | {"window": 2}}
    math = kept(ledger(Execution(dtype="bf16", attention="math"), windowed, family))
    assert layer(math, "attn.s") | layer(math, "attn.v") == {
        ("attn.scores", "scaled queries"): 4 * HEADS,
        ("attn.scores", "scaled keys"): 4 * HEADS,
        ("attn.softmax", "pattern"): 4 * SQUARE,
        ("attn.values", "v of each head"): 4 * HEADS,
    }
    flash = kept(ledger(Execution(dtype="bf16", attention="flash", device="cpu"), windowed, family))
    assert flash["mask", "mask"] == 2 * S * S
    assert layer(flash, "attn.core") == {
        ("attn.core", "q"): 2 * HEADS,
        ("attn.core", "k of each head"): 2 * HEADS,
        ("attn.core", "v of each head"): 2 * HEADS,
        ("attn.core", "log of the sums"): 4 * B * N * S,
        ("attn.core", "attended"): 2 * HEADS,
    }
    gpu = kept(ledger(Execution(dtype="bf16", attention="flash", device="cuda"), windowed, family))
    assert ("mask", "mask") not in gpu
    assert gpu["attn.core", "k"] == gpu["attn.core", "v"] == 2 * B * S * H


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"softcap": 3.0}, "eager"),
        ({"sinks": True}, "eager"),
        ({}, "flash"),
        ({"position": {"kind": "alibi"}}, "flash"),
    ],
)
def test_what_a_kernel_cannot_do_another_does(change: dict[str, Any], taken: str) -> None:
    how = Execution(attention="flash", device="cpu")
    found = kept(ledger(how, {"attention": ATTENTION | change}))
    assert (("attn.core", "attended") in found) == (taken == "flash")
    dropping = kept(ledger(how, {"attention": ATTENTION}, dropout={"attention": 0.1}))
    assert ("attn.scores", "scaled queries") in dropping
    mask = found.get(("mask", "mask"))
    assert mask == {"softcap": S * S, "sinks": S * S, "position": 2 * N * S * S, "": None}[next(iter(change), "")]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", {("ffn.activation", "activated"): 1}),
        ("relu2", {("ffn.activation", "activated"): 1, ("ffn.down", "squared"): 1}),
        ("gelu", {("ffn.activation", "up"): 1, ("ffn.down", "activated"): 1}),
        (
            "quick_gelu",
            {("ffn.activation", "sigmoid"): 1, ("ffn.activation", "up"): 1, ("ffn.down", "activated"): 1},
        ),
        (
            "clamped_swish",
            {
                ("ffn.activation", "up"): 1,
                ("ffn.activation", "sigmoid"): 1,
                ("ffn.activation", "clamped"): 1,
                ("ffn.down", "activated"): 1,
            },
        ),
    ],
)
def test_activations(activation: str, expected: dict[tuple[str, str], int]) -> None:
    found = kept(ledger(Execution(), {"ffn": PLAIN | {"activation": activation}}))
    hidden = layer(found, "ffn.activation") | layer(found, "ffn.down")
    assert hidden == dict.fromkeys(expected, 2 * WIDE)


def test_a_gate_keeps_both_of_its_sides() -> None:
    found = kept(ledger(Execution(), {"ffn": {"kind": "gated", "d_ff": F}}))
    assert layer(found, "ffn.activation") == {
        ("ffn.activation", "gate"): 2 * WIDE,
        ("ffn.activation", "activated"): 2 * WIDE,
        ("ffn.activation", "up"): 2 * WIDE,
    }
    clamped = kept(ledger(Execution(), {"ffn": {"kind": "gated", "d_ff": F, "activation": "clamped_swish"}}))
    assert clamped["ffn.activation", "clamped up + 1"] == 2 * WIDE


ROUTED = {"kind": "moe", "n_experts": 7, "n_active": 3, "d_expert": F, "normalise": True}
MOE = ROUTED | {"n_shared": 1, "shared_gate": True}


def test_a_mixture_split_by_expert() -> None:
    found = kept(ledger(Execution(experts="split"), {"ffn": MOE}))
    choices = 3 * B * S
    assert layer(found, "ffn.router") == {
        ("ffn.router", "ffn_norm"): 2 * STATES,
        ("ffn.router", "scores"): 4 * B * S * 7,
        ("ffn.router", "chosen experts"): 8 * choices,
        ("ffn.router", "shares"): 4 * choices,
        ("ffn.router", "sum of the shares"): 4 * B * S,
    }
    assert layer(found, "ffn.experts") == {
        ("ffn.experts.split", "sorted by expert"): 8 * choices,
        ("ffn.experts.gate", "states of each choice"): 2 * choices * D,
        ("ffn.experts.activation", "gate"): 2 * choices * F,
        ("ffn.experts.activation", "activated"): 2 * choices * F,
        ("ffn.experts.activation", "up"): 2 * choices * F,
        ("ffn.experts.down", "gated"): 2 * choices * F,
        ("ffn.experts.split", "back in order"): 8 * choices,
    }
    assert layer(found, "ffn.shared_gate") == {
        ("ffn.shared_gate", "sigmoid"): 2 * B * S,
        ("ffn.shared_gate", "down"): 2 * STATES,
    }
    assert found["ffn.weighted", "shares"] == 2 * choices


def test_a_mixture_gathered_copies_each_choices_matrices() -> None:
    found = kept(ledger(Execution(experts="gather"), {"ffn": MOE}))
    copies = {key[0]: size for key, size in found.items() if key[1] == "weights of each choice"}
    assert copies == {f"ffn.experts.{name}": 2 * 3 * B * S * D * F for name in ("gate", "up", "down")}
    assert not [key for key in found if "split" in key[0]]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("pre", {"attn_norm": "states", "attn.q": "attn_norm", "ffn_norm": "states", "ffn.up": "ffn_norm"}),
        ("post", {"attn.q": "states", "attn_norm": "states", "ffn.up": "attn_norm", "ffn_norm": "states"}),
        (
            "sandwich",
            {
                "attn_norm": "states",
                "attn.q": "attn_norm",
                "attn_out_norm": "out",
                "ffn_norm": "states",
                "ffn.up": "ffn_norm",
                "ffn_out_norm": "down",
            },
        ),
        ("output", {"attn.q": "states", "attn_out_norm": "out", "ffn.up": "states", "ffn_out_norm": "down"}),
        ("parallel", {"attn_norm": "states", "attn.q": "attn_norm"}),
        ("parallel_two", {"attn_norm": "states", "attn.q": "attn_norm", "ffn.up": "ffn_norm"}),
    ],
)
def test_placements(placement: str, expected: dict[str, str]) -> None:
    """What stands at a layer's norms and first maps; parallel branches share one tensor, or the states."""
    found = kept(ledger(Execution(), {"attention": ATTENTION, "ffn": PLAIN, "placement": placement}))
    first = {path: label for path, label in found if label not in ("mean", "1/deviation")}
    watched = ("attn_norm", "attn.q", "attn_out_norm", "ffn_norm", "ffn.up", "ffn_out_norm")
    assert {path: label for path, label in first.items() if path in watched} == expected


@pytest.mark.parametrize(
    ("norm", "dtype", "expected"),
    [
        (RMSNORM, "fp32", {"states": 4, "normed": 4}),
        (RMSNORM, "bf16", {"states": 4, "normed": 2}),
        (RMSNORM | {"unit_offset": True}, "bf16", {"states": 4, "normed": 4, "1 + weight": 0}),
        (RMSNORM | {"weight": False}, "bf16", {"states": 4}),
        (LAYERNORM, "bf16", {"states": 2}),
    ],
)
def test_norms(norm: dict[str, Any], dtype: Any, expected: dict[str, int]) -> None:
    found = layer(kept(ledger(Execution(dtype=dtype), {"norm": norm, "ffn": PLAIN})), "ffn_norm")
    found = {key[1]: size for key, size in found.items()}
    rows = {"mean", "1/deviation"} if norm["kind"] == "layernorm" else {"1/root of the mean square"}
    assert all(found.pop(row) == 4 * B * S for row in rows)
    assert found == {name: size * STATES or 4 * D for name, size in expected.items()}


def test_layernorm_on_a_cpu_keeps_its_statistics_in_the_inputs_dtype() -> None:
    assert kept(ledger(Execution(device="cpu"), {"ffn": PLAIN}))["ffn_norm", "mean"] == 2 * B * S


@pytest.mark.parametrize(("device", "size"), [("meta", 2), ("cuda", 1)])
def test_dropout(device: Any, size: int) -> None:
    """A mask beside what is dropped: a number each, on a GPU a byte. In bf16 the softmax's float32 stays as well."""
    places = {"embedding": 0.1, "attention": 0.1, "residual": 0.1, "ffn": 0.1}
    both = {"attention": ATTENTION, "ffn": PLAIN}
    found = kept(ledger(Execution(device=device), both, dropout=places))
    masks = sorted((key[0], bytes_) for key, bytes_ in found.items() if key[1] == "dropout mask")
    assert masks == [
        ("attn.dropout", size * STATES),
        ("attn.softmax", size * SQUARE),
        ("embed.dropout", size * STATES),
        ("ffn.activation", size * WIDE),
        ("ffn.dropout", size * STATES),
    ]
    off = kept(ledger(Execution(device=device, dropout=False), both, dropout=places))
    assert not [key for key in off if key[1] == "dropout mask"]


def again(of: Ledger) -> dict[str, str]:
    return {row.path.removeprefix("layers.{i}."): row.matmul.again for row in of.matmuls}


def test_selective_recomputation_keeps_what_the_core_reads() -> None:
    found = ledger(Execution(recompute="selective"), {"attention": ATTENTION, "ffn": PLAIN})
    assert layer(kept(found), "attn.core") == {
        ("attn.core", "q"): 2 * HEADS,
        ("attn.core", "k"): 2 * B * S * H,
        ("attn.core", "v"): 2 * B * S * H,
    }
    assert {op: when for op, when in again(found).items() if when != "never"} == {
        "attn.scores": "always",
        "attn.values": "without early stop",
    }
    fused = ledger(Execution(recompute="selective", attention="flash", device="cpu"), {"attention": ATTENTION})
    assert again(fused)["attn.values"] == "always"


@pytest.mark.parametrize(("residual", "last"), [(0.0, "without early stop"), (0.1, "always")])
def test_full_recomputation_keeps_a_layers_input(residual: float, last: str) -> None:
    """The last map is not run again, unless dropout after it keeps a mask."""
    both = {"attention": ATTENTION, "ffn": PLAIN}
    found = ledger(Execution(recompute="full"), both, dropout={"residual": residual})
    assert kept(found) == {
        ("embed.tokens", "token ids"): 8 * B * S,
        ("layers.{i}", "states"): 2 * STATES,
        ("head.logits", "states"): 2 * STATES,
    }
    assert again(found) == dict.fromkeys(again(found), "always") | {"ffn.down": last, "head.logits": "never"}


def test_a_source_is_kept_once() -> None:
    """By the first cross-attention, for all layers; the decoder's own states are kept layer by layer."""
    own = {"norm": LAYERNORM, "attention": ATTENTION}
    document = {
        "name": "x", "vocab_size": V, "n_ctx": 64, "d_model": D,
        "encoder": {"n_layers": 1, "runs": [{"pattern": [own]}], "final_norm": LAYERNORM},
        "decoder": {"n_layers": 2, "runs": [{"pattern": [own | {"cross": ATTENTION}]}]},
    }  # fmt: skip
    for recompute in ("none", "full"):
        found = kept(build(decode(document), Execution(recompute=recompute)))
        assert [size for key, size in found.items() if key[1] == "source states"] == [2 * STATES]


def test_outside_of_the_layers() -> None:
    """Indices of tokens and types; a narrow table's rows; the transform's input, its activation's, its norm's."""
    found = ledger(
        Execution(),
        {"ffn": PLAIN},
        "encoder",
        embedding={"factor": {"d_embed": 3, "widen": "after_positions"}, "n_token_types": 2},
        head={"tied": True, "transform": {"activation": "gelu", "norm": LAYERNORM}, "softcap": 5.0},
    )
    outside = {key: size for key, size in kept(found).items() if key[0].startswith(("embed", "head"))}
    assert outside == {
        ("embed.tokens", "token ids"): 8 * B * S,
        ("embed.types", "token types"): 8 * B * S,
        ("embed.project", "sum"): 2 * B * S * 3,
        ("head.transform", "states"): 2 * STATES,
        ("head.transform", "transform"): 2 * B * S * 3,
        ("head.norm", "activated"): 2 * B * S * 3,
        ("head.norm", "mean"): 4 * B * S,
        ("head.norm", "1/deviation"): 4 * B * S,
        ("head.logits", "norm"): 2 * B * S * 3,
        ("head.softcap", "tanh of the logits"): 2 * B * S * V,
    }


def test_the_square_term_is_what_has_two_axes_of_tokens() -> None:
    found = ledger(Execution(), {"attention": ATTENTION | {"window": 2}, "ffn": PLAIN})
    assert {row.kept.label for row in found.kept if row.is_square} == {"mask", "pattern"}


def test_elementwise_work() -> None:
    part = ATTENTION | {"position": {"kind": "rope", "d_rotary": 2}}
    found = ledger(Execution(), {"attention": part, "ffn": {"kind": "gated", "d_ff": F}})
    sizes = found.at(WORK)
    assert [(row.path, row.elementwise.operation, row.numbers(sizes)) for row in found.elementwise] == [
        ("layers.{i}.attn_norm", "layernorm", 2 * STATES),
        ("layers.{i}.attn.q", "rope", 2 * B * N * S * 2),
        ("layers.{i}.attn.k", "rope", 2 * B * S * 2),
        ("layers.{i}.attn.softmax", "softmax", 2 * SQUARE),
        ("layers.{i}.ffn_norm", "layernorm", 2 * STATES),
        ("layers.{i}.ffn.activation", "silu", 2 * WIDE),
        ("layers.{i}.ffn.activation", "gate", 2 * WIDE),
    ]


def test_nothing_is_kept_where_nothing_is_trained() -> None:
    found = build(_spec())
    assert not found.kept
    assert not found.elementwise


def _spec() -> Spec:
    stack = {"n_layers": 1, "runs": [{"pattern": [{"norm": LAYERNORM, "attention": ATTENTION}]}]}
    return decode({"name": "x", "vocab_size": V, "n_ctx": 64, "d_model": D, "decoder": stack})


@settings(max_examples=60, deadline=None)
@given(specs())
def test_values_are_those_of_their_formulas(spec: Spec) -> None:
    found = build(spec, Execution())
    sizes = found.at(Workload(batch=2, seq=4, source_seq=3))
    for kept_row in found.kept:
        assert kept_row.bytes(sizes) == kept_row.formula.at(sizes)
    for row in found.matmuls:
        assert (row.flops(sizes), row.causal_flops(sizes)) == (row.formula.at(sizes), row.causal_formula.at(sizes))
    for cache in found.caches:
        assert cache.elements(sizes) == cache.formula.at(sizes)
    for one in found.elementwise:
        assert one.numbers(sizes) == one.formula.at(sizes)
