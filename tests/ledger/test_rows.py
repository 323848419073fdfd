"""How rows are named, grouped and sized: the names of dimensions, layers that share a row, shared weights."""

from __future__ import annotations

from archcalc.ledger.build import build
from archcalc.ledger.symbols import SizeTable
from archcalc.spec.document import decode
from tests.ledger import published
from tests.ledger.test_parts import GQA, LN, MOE, PLAIN, RMS, document


def row(made, path):
    (found,) = [row for row in build(decode(made)).rows if row.path == path]
    return found


def test_a_size_that_all_agree_on_has_one_name():
    ledger = build(decode(published.GPT3))
    expected = {"vocab_size": 50257, "n_ctx": 2048, "d_model": 12288, "n_layers": 96, "n_heads": 96, "n_kv_heads": 96}
    assert {name: size for name, size in ledger.sizes.items() if name in expected} == expected
    assert str(row(published.GPT3, "layers.{i}.attn.q.weight").formula) == "n_heads·d_head·d_model·n_layers"
    assert str(row(published.GPT3, "positions.weight").formula) == "n_ctx·d_model"


def test_sizes_that_differ_are_named_after_their_owners():
    narrow, wide = {"norm": RMS, "ffn": PLAIN}, {"norm": RMS, "ffn": PLAIN | {"d_ff": 12}, "name": "wide"}
    made = document({}, stack={"runs": [{"count": 3, "pattern": [narrow, wide]}]})
    sizes = build(decode(made)).sizes
    assert (sizes["d_ff[like_0]"], sizes["d_ff[wide]"]) == (11, 12)
    assert (sizes["n_layers[like_0]"], sizes["n_layers[wide]"], sizes["n_layers"]) == (2, 1, 3)
    assert "d_ff" not in sizes


def test_stacks_and_their_cross_attention_are_owners_too():
    layer = {"norm": RMS, "attention": GQA}
    encoder = {"runs": [{"count": 2, "pattern": [layer]}]}
    decoder = {"runs": [{"count": 1, "pattern": [layer | {"cross": GQA | {"n_heads": 4}}]}]}
    sizes = build(decode(document({}) | {"encoder": encoder, "decoder": decoder})).sizes
    assert {name: size for name, size in sizes.items() if name.startswith(("n_heads", "n_layers[layers]"))} == {
        "n_heads[encoder]": 6,
        "n_heads[decoder]": 6,
        "n_heads[decoder.cross]": 4,
        "n_layers[layers][encoder]": 2,
        "n_layers[layers][decoder]": 1,
    }


def test_stacks_of_other_depths_name_their_layers():
    layer = {"norm": RMS, "attention": GQA}
    decoder = {"runs": [{"count": 1, "pattern": [layer | {"cross": GQA}]}]}
    made = document({}) | {"encoder": {"runs": [{"count": 2, "pattern": [layer]}]}, "decoder": decoder}
    assert str(row(made, "encoder.layers.{i}.attn.k.weight").repeats) == "n_layers[encoder]"
    assert str(row(made, "decoder.layers.{i}.cross.k.weight").formula).endswith("·n_layers[decoder]")


def test_the_first_owner_to_state_a_size_wins():
    table = SizeTable()
    table.add("", {"d_model": 8, "d_ff": 3})
    table.add("a", {"d_ff": 5})
    table.add("b", {"d_ff": 7})
    assert str(table.symbols("a", "").d_ff) == "d_ff[a]"
    assert str(table.symbols("", "a").d_ff) == "d_ff"
    assert str(table.symbols("b", "a", "")["d_ff"]) == "d_ff[b]"
    assert str(table.symbols("a", "").d_model) == "d_model"
    assert table.sizes() == {"d_model": 8, "d_ff": 3, "d_ff[a]": 5, "d_ff[b]": 7}


def test_layers_that_have_the_same_weight_share_its_row():
    dense, sparse = {"name": "dense", "norm": RMS, "ffn": PLAIN}, {"name": "moe", "norm": RMS, "ffn": MOE}
    made = document({}, stack={"runs": [{"count": 2, "pattern": [dense]}, {"count": 3, "pattern": [sparse]}]})
    norm, up = row(made, "layers.{i}.ffn_norm.weight"), row(made, "layers.{i}.ffn.up.weight")
    assert (norm.indices, norm.group, norm.layers, norm.total) == ((0, 1, 2, 3, 4), "", 5, 50)
    assert str(norm.formula) == "d_model·n_layers"
    assert (up.indices, up.group, up.layers, up.total) == ((0, 1), "dense", 2, 220)
    assert str(up.formula) == "d_ff·d_model·n_layers[dense]"
    assert list(up.names()) == ["layers.0.ffn.up.weight", "layers.1.ffn.up.weight"]


def test_two_groups_of_three_are_named_together():
    parts = ({"ffn": PLAIN}, {"ffn": PLAIN, "attention": GQA}, {"attention": GQA, "placement": "sandwich"})
    pattern = [{"norm": RMS, "name": name} | part for name, part in zip("abc", parts, strict=True)]
    made = document({}, stack={"runs": [{"count": 7, "pattern": pattern}]})
    up = row(made, "layers.{i}.ffn.up.weight")
    assert (up.group, up.indices, up.layers) == ("a, b", (0, 1, 3, 4, 6), 5)
    assert {str(up.repeats)} == {"n_layers[a] + n_layers[b]"}


def test_shared_weights_are_stored_once():
    made = document({"ffn": PLAIN}, stack={})
    made["decoder"]["runs"] = [{"count": 6, "share_weights": True, "pattern": made["decoder"]["runs"][0]["pattern"]}]
    up = row(made, "layers.{i}.ffn.up.weight")
    assert (up.indices, up.layers, up.total, list(up.names())) == ((0,), 1, 110, ["layers.0.ffn.up.weight"])
    assert str(up.formula) == "d_ff·d_model"


def test_a_tensor_outside_the_layers_stands_once():
    found = row(published.BERT_BASE, "embed_norm.bias")
    assert (found.indices, found.group, found.layers, found.count, found.total) == ((), "", 1, 768, 768)
    assert list(found.names()) == ["embed_norm.bias"]


def test_what_is_a_bias():
    made = document(
        {"norm": LN, "attention": GQA | {"q_bias": True, "sinks": True}, "ffn": MOE | {"router_bias": True}}
    )
    biases = {row.path for row in build(decode(made)).rows if row.is_bias}
    assert biases == {
        "layers.{i}.attn.q.bias",
        "layers.{i}.attn_norm.bias",
        "layers.{i}.ffn_norm.bias",
        "layers.{i}.ffn.router.bias",
    }


def test_sums_stand_as_sums_in_an_axis():
    latent = row(published.DEEPSEEK, "layers.{i}.attn.kv_down.weight")
    assert [axis.factored() for axis in latent.weight.axes] == ["(d_rope + kv_rank)", "d_model"]
    up = row(published.DEEPSEEK, "layers.{i}.attn.kv_up.weight")
    assert [axis.factored() for axis in up.weight.axes] == ["n_heads·(d_nope + d_v)", "kv_rank"]
    extra = row(published.OPT_350M, "positions.weight")
    assert [axis.factored() for axis in extra.weight.axes] == ["(n_ctx + n_extra)", "d_model"]
    assert extra.shape == (2050, 1024)


def test_what_a_token_uses_is_a_formula_too():
    """3 of 8 experts in each of 2 layers; where nothing is left out, the formula is that of the total."""
    made = document({"norm": RMS, "ffn": MOE})
    made["decoder"]["runs"][0]["count"] = 2
    up, router = row(made, "layers.{i}.ffn.experts.up.weight"), row(made, "layers.{i}.ffn.router.weight")
    assert str(up.active_formula) == "n_active·d_expert·d_model·n_layers"
    assert up.active_formula.at(up.sizes) == up.active == 3 * 13 * 10 * 2
    assert router.active_formula == router.formula
