"""Every variant's tensors, by name and shape, as worked out by hand from small sizes that all differ."""

from __future__ import annotations

from typing import Any

import pytest

from archcalc.ledger.build import build
from archcalc.ledger.rows import WeightRow
from archcalc.spec.document import decode

BARE = {"kind": "rmsnorm", "weight": False}  # a norm without parameters
RMS, LN = {"kind": "rmsnorm"}, {"kind": "layernorm"}
ALL = {"q_bias": True, "k_bias": True, "v_bias": True, "out_bias": True}
GQA = {"kind": "gqa", "n_heads": 6, "n_kv_heads": 2, "d_head": 7}  # queries 42 wide, keys and values 14
MLA = {"kind": "mla", "n_heads": 3, "kv_rank": 5, "d_nope": 4, "d_rope": 2, "d_v": 9}
MOE = {"kind": "moe", "n_experts": 8, "n_active": 3, "d_expert": 13}
PLAIN = {"kind": "plain", "d_ff": 11, "activation": "relu"}

Shapes = dict[str, tuple[int, ...]]


def document(layer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A decoder of one layer, 10 wide, over 17 tokens and 23 positions, and nothing else that has parameters."""
    stack = {"runs": [{"count": 1, "pattern": [{"norm": BARE} | layer]}]} | fields.pop("stack", {})
    return {"name": "x", "vocab_size": 17, "n_ctx": 23, "d_model": 10, "decoder": stack, "head": None} | fields


def rows(made: dict[str, Any]) -> dict[str, WeightRow]:
    found = build(decode(made)).rows
    assert len({(row.path, row.indices) for row in found}) == len(found), "each row once"
    return {row.path: row for row in found}


def shapes(made: dict[str, Any]) -> Shapes:
    """What there is beside the token table."""
    tensors = list(build(decode(made)).tensors())
    found = {tensor.name: tensor.shape for tensor in tensors}
    assert len(found) == len(tensors), "each tensor once"
    del found["embed.tokens.weight"]
    return found


def prefixed(prefix: str, named: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in named.items()}


GQA_SHAPES: Shapes = {"q.weight": (42, 10), "k.weight": (14, 10), "v.weight": (14, 10), "out.weight": (10, 42)}
# queries 3·(4 + 2) = 18 wide; the latent and the rotary key 5 + 2 = 7; keys and values 3·(4 + 9) = 39; values 3·9 = 27
MLA_SHAPES: Shapes = {"q.weight": (18, 10), "kv_down.weight": (7, 10), "kv_up.weight": (39, 5), "out.weight": (10, 27)}
ATTENTIONS: list[tuple[dict[str, Any], Shapes]] = [
    (GQA, GQA_SHAPES),
    ({"kind": "gqa", "n_heads": 5}, dict.fromkeys(("q.weight", "k.weight", "v.weight", "out.weight"), (10, 10))),
    (GQA | {"q_bias": True}, GQA_SHAPES | {"q.bias": (42,)}),
    (GQA | {"k_bias": True}, GQA_SHAPES | {"k.bias": (14,)}),
    (GQA | {"v_bias": True}, GQA_SHAPES | {"v.bias": (14,)}),
    (GQA | {"out_bias": True}, GQA_SHAPES | {"out.bias": (10,)}),
    (GQA | {"sinks": True}, GQA_SHAPES | {"sinks": (6,)}),
    (GQA | {"qk_norm": {"norm": RMS}}, GQA_SHAPES | {"q_norm.weight": (7,), "k_norm.weight": (7,)}),
    (
        GQA | {"qk_norm": {"norm": LN, "over": "full"}},
        GQA_SHAPES | {"q_norm.weight": (42,), "k_norm.weight": (14,), "q_norm.bias": (42,), "k_norm.bias": (14,)},
    ),
    (GQA | {"position": {"kind": "rope", "d_rotary": 4}, "window": 3, "softcap": 2.0}, GQA_SHAPES),
    (GQA | {"position": {"kind": "alibi"}}, GQA_SHAPES),
    (MLA | {"norm": BARE}, MLA_SHAPES),
    (MLA, MLA_SHAPES | {"kv_down_norm.weight": (5,)}),
    (MLA | {"norm": BARE, "down_bias": True}, MLA_SHAPES | {"kv_down.bias": (7,)}),
    (MLA | {"norm": BARE, "out_bias": True}, MLA_SHAPES | {"out.bias": (10,)}),
    (
        MLA | {"q_rank": 8, "norm": LN, "down_bias": True},
        {
            "q_down.weight": (8, 10),
            "q_down.bias": (8,),
            "q_down_norm.weight": (8,),
            "q_down_norm.bias": (8,),
            "q_up.weight": (18, 8),
            "kv_down.weight": (7, 10),
            "kv_down.bias": (7,),
            "kv_down_norm.weight": (5,),
            "kv_down_norm.bias": (5,),
            "kv_up.weight": (39, 5),
            "out.weight": (10, 27),
        },
    ),
]


@pytest.mark.parametrize(("part", "expected"), ATTENTIONS)
def test_attention(part: dict[str, Any], expected: Shapes):
    made = document({"attention": part})
    assert shapes(made) == prefixed("layers.0.attn.", expected)
    components = {row.path: row.component for row in rows(made).values() if ".attn." in row.path}
    assert all(found == ("norm" if "_norm." in path else "attention") for path, found in components.items())


EXPERTS: Shapes = {"router.weight": (8, 10), "experts.gate.weight": (8, 13, 10), "experts.up.weight": (8, 13, 10)}
EXPERTS |= {"experts.down.weight": (8, 10, 13)}
UNGATED = {name: shape for name, shape in EXPERTS.items() if "gate" not in name}
SHARED: Shapes = {"shared.gate.weight": (26, 10), "shared.up.weight": (26, 10), "shared.down.weight": (10, 26)}
FFNS: list[tuple[dict[str, Any], Shapes]] = [
    (PLAIN, {"up.weight": (11, 10), "down.weight": (10, 11)}),
    (
        PLAIN | {"bias": True, "down_bias": False},
        {"up.weight": (11, 10), "up.bias": (11,), "down.weight": (10, 11)},
    ),
    (
        {"kind": "gated", "d_ff": 11, "down_bias": True},
        {"gate.weight": (11, 10), "up.weight": (11, 10), "down.weight": (10, 11), "down.bias": (10,)},
    ),
    (
        PLAIN | {"activation": "xielu"},
        {
            "up.weight": (11, 10),
            "activation.alpha_p": (1,),
            "activation.alpha_n": (1,),
            "activation.beta": (),
            "activation.eps": (),
            "down.weight": (10, 11),
        },
    ),
    (PLAIN | {"bias": True}, {"up.weight": (11, 10), "up.bias": (11,), "down.weight": (10, 11), "down.bias": (10,)}),
    ({"kind": "gated", "d_ff": 11}, {"gate.weight": (11, 10), "up.weight": (11, 10), "down.weight": (10, 11)}),
    (
        {"kind": "gated", "d_ff": 11, "bias": True},
        {
            "gate.weight": (11, 10),
            "gate.bias": (11,),
            "up.weight": (11, 10),
            "up.bias": (11,),
            "down.weight": (10, 11),
            "down.bias": (10,),
        },
    ),
    (MOE, EXPERTS),
    (MOE | {"gated": False}, UNGATED),
    (MOE | {"router_bias": True}, EXPERTS | {"router.bias": (8,)}),
    (MOE | {"correction": "buffer"}, EXPERTS | {"correction_bias": (8,)}),
    (MOE | {"correction": "parameter"}, EXPERTS | {"correction_bias": (8,)}),
    (
        MOE | {"n_shared": 2, "shared_bias": True},
        EXPERTS | SHARED | {"shared.gate.bias": (26,), "shared.up.bias": (26,), "shared.down.bias": (10,)},
    ),
    (
        MOE | {"expert_bias": True},
        EXPERTS | {"experts.gate.bias": (8, 13), "experts.up.bias": (8, 13), "experts.down.bias": (8, 10)},
    ),
    (MOE | {"n_shared": 2}, EXPERTS | SHARED),  # two shared experts of the routed ones' width, as one: 2·13 = 26
    (
        MOE | {"n_shared": 1, "d_shared": 9, "shared_gate": True},
        EXPERTS
        | {"shared.gate.weight": (9, 10), "shared.up.weight": (9, 10), "shared.down.weight": (10, 9)}
        | {"shared_gate.weight": (1, 10)},
    ),
    (
        MOE | {"n_shared": 2, "expert_bias": True, "gated": False},
        UNGATED
        | {"experts.up.bias": (8, 13), "experts.down.bias": (8, 10)}
        | {"shared.up.weight": (26, 10), "shared.up.bias": (26,)}
        | {"shared.down.weight": (10, 26), "shared.down.bias": (10,)},
    ),
]


@pytest.mark.parametrize(("part", "expected"), FFNS)
def test_ffn(part: dict[str, Any], expected: Shapes):
    made = document({"ffn": part})
    assert shapes(made) == prefixed("layers.0.ffn.", expected)
    assert {row.component for row in rows(made).values() if ".ffn." in row.path} == {"ffn"}


def test_the_norm_of_hidden_units():
    found = rows(document({"ffn": PLAIN | {"down_norm": LN}}))
    assert {path: (row.component, row.total) for path, row in found.items() if "down_norm" in path} == {
        "layers.{i}.ffn.down_norm.weight": ("norm", 11),
        "layers.{i}.ffn.down_norm.bias": ("norm", 11),
    }


def test_an_activations_numbers():
    """Two are learned and counted; the other two are stored with them."""
    found = rows(document({"ffn": PLAIN | {"activation": "xielu"}}))
    kinds = {
        path.rpartition(".")[2]: (row.kind, row.is_counted) for path, row in found.items() if ".activation." in path
    }
    learned, stored = ("trainable", True), ("buffer", False)
    assert kinds == {"alpha_p": learned, "alpha_n": learned, "beta": stored, "eps": stored}


def test_what_one_token_uses_of_a_mixture():
    """3 of 8 experts; the router, the shared experts and the biases of the chosen experts whole."""
    found = rows(document({"ffn": MOE | {"expert_bias": True, "n_shared": 2, "correction": "buffer"}}))
    active = {path.removeprefix("layers.{i}.ffn."): row.active for path, row in found.items() if "ffn" in path}
    assert active == {
        "router.weight": 80,
        "correction_bias": 8,
        "experts.gate.weight": 390,
        "experts.gate.bias": 39,
        "experts.up.weight": 390,
        "experts.up.bias": 39,
        "experts.down.weight": 390,
        "experts.down.bias": 30,
        "shared.gate.weight": 260,
        "shared.gate.bias": 26,
        "shared.up.weight": 260,
        "shared.up.bias": 26,
        "shared.down.weight": 260,
        "shared.down.bias": 10,
    }
    assert found["layers.{i}.ffn.correction_bias"].kind == "buffer"
    assert not found["layers.{i}.ffn.correction_bias"].is_counted
    assert found["layers.{i}.ffn.router.weight"].kind == "trainable"


def test_a_correction_that_is_a_parameter_is_counted_and_frozen():
    found = rows(document({"ffn": MOE | {"correction": "parameter"}}))["layers.{i}.ffn.correction_bias"]
    assert (found.kind, found.is_counted) == ("frozen", True)


NORMS: list[tuple[str, set[str]]] = [
    ("pre", {"attn_norm", "ffn_norm"}),
    ("post", {"attn_norm", "ffn_norm"}),
    ("sandwich", {"attn_norm", "attn_out_norm", "ffn_norm", "ffn_out_norm"}),
    ("output", {"attn_out_norm", "ffn_out_norm"}),
    ("parallel", {"attn_norm"}),
    ("parallel_two", {"attn_norm", "ffn_norm"}),
]


@pytest.mark.parametrize(("placement", "names"), NORMS)
@pytest.mark.parametrize(
    ("norm", "parts"),
    [
        (RMS, {"weight"}),
        (LN, {"weight", "bias"}),
        (LN | {"bias": False}, {"weight"}),
        (LN | {"weight": False}, {"bias"}),
        (BARE, set()),
    ],
)
def test_norms(placement: str, names: set[str], norm: dict[str, Any], parts: set[str]):
    made = document({"norm": norm, "placement": placement, "attention": GQA, "ffn": PLAIN})
    found = {name: shape for name, shape in shapes(made).items() if "norm" in name}
    assert found == {f"layers.0.{name}.{part}": (10,) for name in names for part in parts}
    assert {row.component for row in rows(made).values() if "norm" in row.path} == ({"norm"} if parts else set())


@pytest.mark.parametrize(
    ("position", "expected", "kind"),
    [
        ({"kind": "learned"}, {"positions.weight": (23, 10)}, "trainable"),
        ({"kind": "learned", "n_extra": 2}, {"positions.weight": (25, 10)}, "trainable"),
        ({"kind": "sinusoidal", "stored": True}, {"positions.weight": (23, 10)}, "frozen"),
        ({"kind": "sinusoidal"}, {}, ""),
        (None, {}, ""),
    ],
)
def test_tables_of_positions(position: dict[str, Any] | None, expected: Shapes, kind: str):
    made = document({"ffn": PLAIN}, stack={"position": position})
    found = {name: shape for name, shape in shapes(made).items() if not name.startswith("layers.")}
    assert found == expected
    assert {(row.component, row.kind) for row in rows(made).values() if "positions" in row.path} == (
        {("position", kind)} if expected else set()
    )


def test_one_relative_bias_serves_a_stack():
    relative = {"kind": "relative", "n_buckets": 5}
    layer = {"norm": BARE, "attention": GQA | {"position": relative}}
    plain = {"norm": BARE, "attention": GQA}
    made = document({}, stack={"runs": [{"count": 4, "pattern": [plain, layer]}]})
    found = {name: shape for name, shape in shapes(made).items() if not name.startswith("layers.")}
    assert found == {"relative_bias.weight": (5, 6)}
    assert rows(made)["relative_bias.weight"].component == "position"
    other = layer | {"ffn": PLAIN}
    made = document({}, stack={"runs": [{"count": 4, "pattern": [other, layer]}]})
    assert sum("relative_bias" in path for path in rows(made)) == 1


def test_around_the_layers():
    made = document({"ffn": PLAIN}, stack={"embed_norm": LN, "final_norm": RMS})
    found = {name: shape for name, shape in shapes(made).items() if not name.startswith("layers.")}
    assert found == {"embed_norm.weight": (10,), "embed_norm.bias": (10,), "final_norm.weight": (10,)}


FACTOR = {"d_embed": 4}
LATE = {"d_embed": 4, "widen": "after_positions"}
EMBEDDINGS: list[tuple[dict[str, Any], Shapes]] = [
    ({}, {"embed.tokens.weight": (17, 10)}),
    ({"n_token_types": 3}, {"embed.tokens.weight": (17, 10), "embed.types.weight": (3, 10)}),
    ({"factor": FACTOR}, {"embed.tokens.weight": (17, 4), "embed.project.weight": (10, 4)}),
    (
        {"factor": FACTOR | {"bias": True}},
        {"embed.tokens.weight": (17, 4), "embed.project.weight": (10, 4), "embed.project.bias": (10,)},
    ),
    (
        {"factor": FACTOR, "n_token_types": 3},
        {"embed.tokens.weight": (17, 4), "embed.types.weight": (3, 10), "embed.project.weight": (10, 4)},
    ),
    (
        {"factor": LATE, "n_token_types": 3},
        {"embed.tokens.weight": (17, 4), "embed.types.weight": (3, 4), "embed.project.weight": (10, 4)},
    ),
]


@pytest.mark.parametrize(("embedding", "expected"), EMBEDDINGS)
def test_embedding(embedding: dict[str, Any], expected: Shapes):
    made = document({"ffn": PLAIN}, embedding=embedding)
    found = {row.path: row.shape for row in rows(made).values() if row.path.startswith("embed.")}
    assert found == expected
    assert {row.component for row in rows(made).values() if row.path.startswith("embed.")} == {"embedding"}


@pytest.mark.parametrize(("factor", "width"), [(None, 10), (FACTOR, 10), (LATE, 4)])
def test_positions_join_where_the_table_is_widened(factor: dict[str, Any] | None, width: int):
    stack = {"position": {"kind": "learned"}, "embed_norm": RMS}
    found = shapes(document({"ffn": PLAIN}, embedding={"factor": factor}, stack=stack))
    assert (found["positions.weight"], found["embed_norm.weight"]) == ((23, width), (width,))


TRANSFORM = {"activation": "gelu", "norm": LN}
# (head, is the table factorized, its own tensors, its matrix if that is the token table)
HEADS: list[tuple[dict[str, Any] | None, bool, Shapes, tuple[int, ...] | None]] = [
    (None, False, {}, None),
    ({}, False, {"weight": (17, 10)}, None),
    ({"bias": True}, False, {"weight": (17, 10), "bias": (17,)}, None),
    ({"tied": True}, False, {}, (17, 10)),
    ({"tied": True, "bias": True}, False, {"bias": (17,)}, (17, 10)),
    ({}, True, {"weight": (17, 10)}, None),
    ({"tied": True}, True, {"project.weight": (4, 10)}, (17, 4)),
    (
        {"transform": TRANSFORM},
        False,
        {"transform.weight": (10, 10), "transform.bias": (10,), "norm.weight": (10,), "norm.bias": (10,)}
        | {"weight": (17, 10)},
        None,
    ),
    (
        {"transform": TRANSFORM, "tied": True},
        True,
        {"transform.weight": (4, 10), "transform.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)},
        (17, 4),
    ),
]


@pytest.mark.parametrize(("head", "factorized", "expected", "matrix"), HEADS)
def test_head(head: dict[str, Any] | None, factorized: bool, expected: Shapes, matrix: tuple[int, ...] | None):
    made = document({"ffn": PLAIN}, head=head, embedding={"factor": FACTOR if factorized else None})
    ledger = build(decode(made))
    found = {row.path: row for row in ledger.rows if row.path.startswith("head.")}
    assert {path: row.shape for path, row in found.items()} == prefixed("head.", expected)
    assert {row.component for row in found.values() if "project" not in row.path} <= {"head"}
    assert {row.component for row in found.values() if "project" in row.path} <= {"embedding"}
    tied = [(row.path, row.shape, row.component) for row in ledger.tied]
    assert tied == ([("head.weight", matrix, "head")] if matrix else [])


def test_multi_token_prediction():
    made = document({"norm": RMS, "ffn": PLAIN}, stack={"n_mtp": 2, "final_norm": LN})
    found = {row.path: (row.shape, row.layers, row.component, row.group) for row in rows(made).values()}
    assert {path: row for path, row in found.items() if path.startswith("mtp.")} == {
        "mtp.{i}.project.weight": ((10, 20), 2, "other", "mtp"),
        "mtp.{i}.hidden_norm.weight": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.hidden_norm.bias": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.token_norm.weight": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.token_norm.bias": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.final_norm.weight": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.final_norm.bias": ((10,), 2, "norm", "mtp"),
        "mtp.{i}.layer.ffn.up.weight": ((11, 10), 2, "ffn", "mtp"),
        "mtp.{i}.layer.ffn.down.weight": ((10, 11), 2, "ffn", "mtp"),
        "mtp.{i}.layer.ffn_norm.weight": ((10,), 2, "norm", "mtp"),
    }


def test_the_predicting_layer_is_like_the_last_one():
    """The last layer in the stack's order, whichever group that is in."""
    wide, narrow = {"norm": BARE, "ffn": PLAIN | {"d_ff": 12}}, {"norm": BARE, "ffn": PLAIN}
    made = document({}, stack={"runs": [{"count": 3, "pattern": [wide, narrow]}], "n_mtp": 1})
    assert rows(made)["mtp.{i}.layer.ffn.up.weight"].shape == (12, 10)


def test_both_stacks_of_an_encoder_decoder():
    layer = {"norm": RMS, "attention": GQA, "ffn": PLAIN}
    encoder = {"runs": [{"count": 2, "pattern": [layer]}], "position": {"kind": "learned"}}
    decoder = {"runs": [{"count": 1, "pattern": [layer | {"cross": GQA | {"n_heads": 4, "d_head": 3}, "ffn": None}]}]}
    found = shapes(document({}) | {"encoder": encoder, "decoder": decoder})
    assert found == {
        "encoder.positions.weight": (23, 10),
        **{f"encoder.layers.{i}.attn.{name}": shape for i in range(2) for name, shape in GQA_SHAPES.items()},
        **{f"encoder.layers.{i}.ffn.up.weight": (11, 10) for i in range(2)},
        **{f"encoder.layers.{i}.ffn.down.weight": (10, 11) for i in range(2)},
        **{f"encoder.layers.{i}.{name}_norm.weight": (10,) for i in range(2) for name in ("attn", "ffn")},
        **{f"decoder.layers.0.attn.{name}": shape for name, shape in GQA_SHAPES.items()},
        "decoder.layers.0.cross.q.weight": (12, 10),
        "decoder.layers.0.cross.k.weight": (6, 10),
        "decoder.layers.0.cross.v.weight": (6, 10),
        "decoder.layers.0.cross.out.weight": (10, 12),
        "decoder.layers.0.attn_norm.weight": (10,),
        "decoder.layers.0.cross_norm.weight": (10,),
    }
