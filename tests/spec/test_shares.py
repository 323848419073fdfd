"""What a layer shares of an earlier one: what its ledger counts, and which references are refused."""

from __future__ import annotations

from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.diagram import diagram
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.groups import groups, lender_indices, lending_arms, weight_indices
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from archcalc.words import translator

RMS = {"kind": "rmsnorm"}
GQA = {
    "kind": "gqa",
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_head": 3,
    "qk_norm": {"norm": RMS},
    "position": {"kind": "rope", "d_rotary": 2},
}
FFN = {"kind": "gated", "d_ff": 5}
LAYER = {"norm": RMS, "attention": GQA, "ffn": FFN}
WINDOW = LAYER | {"attention": GQA | {"window": 4}}
LATENT = {"kind": "mla", "n_heads": 2, "kv_rank": 3, "d_nope": 2, "d_rope": 2, "d_v": 3}
INDEXER = {"kind": "tokens", "n_index_heads": 2, "d_index": 4, "n_selected": 3}
SELECTING = LAYER | {"attention": LATENT | {"q_rank": 5, "indexer": INDEXER}}


def of(*layers: dict[str, Any], **more: Any) -> Spec:
    """A decoder of these layers, one run each."""
    runs = [{"count": 1, "pattern": [layer]} for layer in layers]
    document = {"name": "x", "vocab_size": 23, "n_ctx": 12, "d_model": 6, "decoder": {"runs": runs} | more}
    return load(document)


def selected(layer: int, n_selected: int = 3) -> dict[str, Any]:
    """A layer that attends to the keys that an earlier one selects."""
    attention = LATENT | {"q_rank": 5, "indexer": {"kind": "shared", "n_selected": n_selected}}
    return SELECTING | {"attention": attention, "shares": {"selection": layer}}


def reading(layer: dict[str, Any], turn: int, **attention: Any) -> dict[str, Any]:
    return layer | {"attention": layer["attention"] | attention, "shares": {"keys_values": turn}}


def arm(name: str = "attn", part: dict[str, Any] = GQA, **more: Any) -> dict[str, Any]:
    return {"name": name, "part": part} | more


def explicit(*arms: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"branches": [{"norm_in": RMS, "arms": list(arms)}]} | more


def test_gemma_3ns_last_layers_read_those_before_of_their_kind() -> None:
    spec = of(WINDOW, LAYER, reading(WINDOW, 0), reading(LAYER, 1), reading(WINDOW, 0))
    assert lender_indices(spec.decoder) == [None, None, 0, 1, 0]
    assert lending_arms(spec.decoder) == {0: ("attn",), 1: ("attn",)}
    ledger = build(spec)
    names = {tensor.name for tensor in ledger.tensors()}
    for turn, makes in enumerate((True, True, False, False, False)):
        for part in ("k", "v", "k_norm"):
            assert (f"layers.{turn}.attn.{part}.weight" in names) == makes
        assert {f"layers.{turn}.attn.{part}.weight" for part in ("q", "q_norm", "out")} <= names
    plain = build(of(WINDOW, LAYER, WINDOW, LAYER, WINDOW))
    assert plain.total() - ledger.total() == 3 * (2 * 6 * 2 * 3 + 3)  # k and v of two heads 3 wide, and a norm
    sizes = ledger.at(workload(spec, seq=5, past=3))
    assert sum(row.formula.at(sizes) for row in ledger.caches) == 2 * 2 * 3 * (4 + 8)  # of one of each kind
    products = [plain, ledger]
    scores, more = ([row.formula.at(one.at(workload(spec, seq=5))) for row in one.matmuls] for one in products)
    assert sum(scores) - sum(more) == 2 * 3 * 5 * 2 * 6 * 2 * 3  # k and v of 5 tokens alone are not computed


def test_zambas_block_is_counted_once_and_computed_at_every_place() -> None:
    other = {"norm": RMS, "ffn": FFN}
    again = LAYER | {"shares": {"weights": 1}}
    spec, plain = of(other, LAYER, other, again, again), of(other, LAYER, other, LAYER, LAYER)
    assert weight_indices(spec.decoder) == [0, 1, 2, 1, 1]
    assert [group.weight_indices for group in groups(spec.decoder)] == [(0, 2), (1,), ()]
    ledger, whole = build(spec), build(plain)
    block = sum(
        tensor.shape[0] * (tensor.shape[1:] or (1,))[0]
        for tensor in ledger.tensors()
        if tensor.name.startswith("layers.1.")
    )
    assert whole.total() - ledger.total() == 2 * block
    assert {row.group for row in ledger.rows if row.indices == (1,)} == {"like_1"}
    for rows in ("matmuls", "caches"):
        one, other_ = (
            sum(row.formula.at(each.at(workload(spec, seq=5))) for row in getattr(each, rows))
            for each in (ledger, whole)
        )
        assert one == other_


def test_short_and_explicit_form_are_the_same() -> None:
    short = {"norm": RMS, "attention": GQA}
    one = of(short, reading(short, 0))
    other = of(explicit(arm()), explicit(arm(reads="shared"), shares={"keys_values": 0}))
    assert [tensor.name for tensor in build(one).tensors()] == [tensor.name for tensor in build(other).tensors()]


def test_one_arm_of_two_may_share() -> None:
    reader = explicit(arm(), arm("mixer", reads="shared"), shares={"keys_values": 0})
    names = {tensor.name for tensor in build(of(explicit(arm(), arm("mixer")), reader)).tensors()}
    assert "layers.1.attn.k.weight" in names
    assert "layers.1.mixer.k.weight" not in names


def test_a_reader_has_no_points_of_keys_and_values() -> None:
    found = {site.name for site in sites(of(LAYER, reading(LAYER, 0)))}
    assert {"layers.0.attn.k", "layers.0.attn.v", "layers.1.attn.q", "layers.1.attn.scores"} <= found
    assert not {"layers.1.attn.k", "layers.1.attn.v"} & found


def test_a_diagram_says_what_is_shared() -> None:
    drawn = diagram(of(LAYER, WINDOW, reading(WINDOW, 1), LAYER | {"shares": {"weights": 0}}), translator("en"))
    assert "keys and values of layer 1" in drawn
    assert "with the weights of layer 0" in drawn


@pytest.mark.parametrize(
    ("layers", "more", "message"),
    [
        ([LAYER | {"shares": {}}], {}, "found neither weights nor keys_values"),
        ([LAYER, LAYER | {"shares": {"weights": 1}}], {}, "layer 1 is not before layer 1"),
        ([LAYER, LAYER | {"shares": {"weights": 7}}], {}, "layer 7 is not before layer 1"),
        ([LAYER, *[LAYER | {"shares": {"weights": turn}} for turn in (0, 1)]], {}, "no weights of its own"),
        ([LAYER, LAYER | {"shares": {"weights": 0}, "scale": 0.5}], {}, "different fields"),
        ([LAYER, WINDOW | {"shares": {"weights": 0}}], {}, "different fields"),
        ([LAYER, LAYER, reading(LAYER, 0), LAYER | {"shares": {"weights": 2}}], {}, "different fields"),
        (
            [LAYER, LAYER, reading(LAYER, 0), reading(LAYER, 0) | {"shares": {"weights": 2, "keys_values": 1}}],
            {},
            "different fields",
        ),
        ([reading(LAYER, 0)], {}, "layer 0 is not before layer 0"),
        ([LAYER, reading(LAYER, 1)], {}, "layer 1 is not before layer 1"),
        ([LAYER, reading(LAYER, 0), reading(LAYER, 1)], {}, "computes no keys and values in 'attn'"),
        ([{"norm": RMS, "ffn": FFN}, reading(LAYER, 0)], {}, "computes no keys and values in 'attn'"),
        ([LAYER | {"attention": LATENT}, reading(LAYER, 0)], {}, "computes no keys and values in 'attn'"),
        ([LAYER, LAYER | {"attention": LATENT, "shares": {"keys_values": 0}}], {}, "computes its own keys and values"),
        ([LAYER, {"norm": RMS, "ffn": FFN, "shares": {"keys_values": 0}}], {}, "require each other"),
        ([explicit(arm(reads="shared"))], {}, "require each other"),
        ([explicit(arm()), explicit(arm(), shares={"keys_values": 0})], {}, "require each other"),
        ([LAYER, reading(LAYER, 0, n_kv_heads=4)], {}, "differs in n_kv_heads"),
        ([LAYER, reading(LAYER, 0, d_head=4)], {}, "differs in d_head, d_value"),
        ([LAYER, reading(LAYER, 0, d_value=5)], {}, "differs in d_value"),
        ([LAYER, reading(LAYER, 0, window=3)], {}, "differs in window"),
        ([LAYER, reading(LAYER, 0, position=None)], {}, "differs in position"),
        ([LAYER, reading(LAYER, 0, k_bias=True)], {}, "states k_bias"),
        ([LAYER, reading(LAYER, 0, v_bias=True)], {}, "states v_bias"),
        ([LAYER, reading(LAYER, 0, value_scale=0.5)], {}, "states value_scale"),
        ([LAYER, reading(LAYER, 0)], {"n_mtp": 1}, "which shares keys and values"),
        ([SELECTING, selected(0)], {"n_mtp": 1}, "which reads a selection"),
        ([SELECTING, selected(1)], {}, "layer 1 is not before layer 1"),
        ([SELECTING, selected(0), selected(1)], {}, "selects no keys in 'attn'"),
        ([LAYER, selected(0)], {}, "selects no keys in 'attn'"),
        ([SELECTING, selected(0, n_selected=4)], {}, "differs in n_selected"),
        ([SELECTING, selected(0) | {"shares": None}], {}, "require each other"),
        ([SELECTING, LAYER | {"shares": {"selection": 0}}], {}, "require each other"),
        (
            [SELECTING, selected(0) | {"shares": {"selection": 0, "keys_values": 0}}],
            {},
            "found keys_values and selection",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(layers: list[Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(*layers, **more)


def test_what_may_differ_may() -> None:
    more = {"n_heads": 2, "q_bias": True, "qk_norm": None, "softcap": 2.0, "sinks": True, "scale": 0.3, "d_value": 3}
    of(LAYER, reading(LAYER, 0, **more))


def test_a_reference_says_where_it_stands() -> None:
    with pytest.raises(InputError) as caught:
        of(LAYER, LAYER, reading(WINDOW, 0))
    assert "decoder.runs[2].pattern[0].shares.keys_values" in str(caught.value)
