"""Branches that the next one reads, and those that use the weights of another layer: names, counts, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.diagram import diagram
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from archcalc.words import translator
from tests.spec.test_shares import FFN, GQA, LATENT, LAYER, RMS, of

WIDE = GQA | {"reads_embedding": True}
MAMBA: dict[str, Any] = {"kind": "mamba1", "n_heads": 3, "d_head": 4}


def branch(name: str, part: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"norm_in": RMS, "arms": [{"name": name, "part": part}]} | more


def hybrid(owner: int | None = None, **more: Any) -> dict[str, Any]:
    """Zamba's layer; `more` are fields of its attention's branch."""
    block = [branch("attn", WIDE, joins="next", **more), branch("ffn", FFN, joins="next")]
    block = [one | {"weights_of": owner} for one in block]
    link = {"arms": [{"name": "link", "part": {"kind": "projection"}}], "joins": "next_sum"}
    return {"branches": [*block, link, branch("mixer", MAMBA)]}


def test_a_block_is_counted_once_and_computed_at_every_place() -> None:
    spec, own = of(hybrid(), LAYER, hybrid(0), hybrid(0)), of(hybrid(), LAYER, hybrid(), hybrid())
    ledger, whole = build(spec), build(own)
    names = {tensor.name for tensor in ledger.tensors()}
    assert {f"layers.{i}.link.project.weight" for i in (0, 2, 3)} <= names
    assert "layers.2.attn.q.weight" not in names and "layers.2.attn_norm.weight" not in names  # noqa: PT018
    attention = 12 * 12 + 2 * 6 * 12 + 6 * 12 + 2 * 3 + 12
    assert whole.total() - ledger.total() == 2 * (attention + 3 * 5 * 6 + 6)
    work = workload(spec, seq=5)
    for rows in ("matmuls", "caches"):
        one, other = (sum(row.formula.at(each.at(work)) for row in getattr(each, rows)) for each in (ledger, whole))
        assert one == other


def test_each_use_of_a_block_has_its_pair() -> None:
    first, second = (hybrid(owner) for owner in (None, 0))
    for i, layer in enumerate((first, second)):
        layer["branches"][0] = branch("attn", WIDE | pairs(i), joins="next", weights_of=[None, 0][i])
        layer["branches"][1] = branch("ffn", FFN | pairs(i), joins="next", weights_of=[None, 0][i])
    shapes = {tensor.name: tensor.shape for tensor in build(of(first, second)).tensors()}
    found = {name: shape for name, shape in shapes.items() if "pairs" in name}
    assert found == {
        f"layers.0.{name}_pairs.{part}.weight": shape
        for name, d_in, out in (("attn.q", 12, 12), ("attn.k", 12, 6), ("attn.v", 12, 6), ("ffn.gate_up", 6, 10))
        for part, shape in (("down", (2, 3, d_in)), ("up", (2, out, 3)))
    }
    assert "low-rank pair 2 of 2, rank 3" in diagram(of(first, second), translator("en"))


def pairs(active: int, n_pairs: int = 2) -> dict[str, Any]:
    return {"low_rank": {"pair_rank": 3, "n_pairs": n_pairs, "active": active}}


def test_what_the_next_branch_reads_has_a_name() -> None:
    shapes = {site.name: site.shape(workload(of(hybrid()), seq=5)) for site in sites(of(hybrid()))}
    assert (shapes["layers.0.attn_norm"], shapes["layers.0.link_next"]) == ((1, 5, 12), (1, 5, 6))
    assert [name for name in shapes if "resid" in name] == ["layers.0.resid_pre", "layers.0.resid_post"]


def test_a_diagram_says_who_reads_what() -> None:
    drawn = diagram(of(hybrid(), hybrid(0)), translator("en"))
    assert "with the weights of layer 0" in drawn
    assert "+ the residual stream" in drawn


@pytest.mark.parametrize(
    ("layers", "more", "message"),
    [
        ([hybrid(0)], {}, "layer 0 is not before layer 0"),
        ([LAYER, hybrid(0)], {}, r"weights_of: 'attn' of that layer has different fields"),
        ([hybrid(), {"branches": [branch("more", GQA, weights_of=0)]}], {}, "no weights of 'more' of its own"),
        ([hybrid(), hybrid(0), hybrid(1)], {}, "no weights of 'attn' of its own"),
        ([hybrid(), hybrid(0)], {"n_mtp": 1}, "which uses the weights of another"),
        ([hybrid()], {"n_mtp": 1}, "which reads the input of the first"),
        ([hybrid()], {"streams": {"kind": "altup", "n_streams": 2}}, "joins: the stack has several streams"),
        ([{"norm": RMS, "attention": WIDE}], {"streams": {"kind": "altup", "n_streams": 2}}, "global tokens or a soft"),
        ([hybrid(skip=0.5)], {}, r"branches\[0\]\.skip: the branch is not added to the stream"),
        ([hybrid(norm_after=RMS)], {}, r"branches\[0\]\.norm_after: the branch is not added to the stream"),
        ([hybrid(in_gate_rank=2)], {}, "in_gate_rank: the branch reads the input of the first layer too"),
        (
            [{"branches": [branch("ffn", FFN), branch("attn", GQA, joins="next")]}],
            {},
            "joins: the next branch does not read it",
        ),
        ([{"branches": [branch("attn", WIDE, skip_reads="normed")]}], {}, "skip_reads: the branch reads the input"),
        ([{"norm": RMS, "placement": "parallel", "attention": WIDE, "ffn": FFN}], {}, "'ffn' cannot read the input"),
        ([{"norm": RMS, "attention": WIDE | {"gate": {}}}], {}, "need states as wide as the model"),
        (
            [{"branches": [branch("attn", WIDE), branch("mla", LATENT, norm_of="attn")]}],
            {},
            "the branch that it names reads the input",
        ),
        ([{"norm": RMS, "ffn": FFN | pairs(2)}], {}, r"low_rank\.active: number 2 of 2, counted from 0"),
        ([{"norm": RMS, "attention": GQA | pairs(0) | {"q_block": 3}}], {}, "low_rank: keys and values are not"),
        (
            [LAYER, {"norm": RMS, "attention": GQA | pairs(0), "shares": {"keys_values": 0}}],
            {},
            "shares keys and values but states low_rank",
        ),
        ([{"norm": RMS, "mixer": MAMBA | {"d_inner": 9}}], {}, "9 channels are not 3 equal heads"),
        ([{"norm": RMS, "mixer": {"kind": "mamba1", "d_head": 4}}], {}, "d_head: there are no heads"),
    ],
)
def test_what_cannot_be_is_refused(layers: list[Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(*layers, **more)
