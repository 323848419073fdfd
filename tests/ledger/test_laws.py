"""What holds of the ledger of any spec."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.params import summary
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.branches import arms
from archcalc.spec.document import decode, encode, override
from archcalc.spec.ffn import Adapters, MoE, ProductKeys
from archcalc.spec.groups import layers_of
from archcalc.spec.model import ModelStack
from archcalc.spec.per_layer import gates
from archcalc.spec.resolve import resolve
from archcalc.spec.routed import RoutedAttention
from tests.examples import examples
from tests.ledger import published
from tests.ledger.formulas import value
from tests.strategies import specs

LAWS = examples(40)


def layers(spec: Spec) -> list[Any]:
    return [layer for stack in (own.stack for own in spec.stacks) for layer in layers_of(stack)]


def counts(ledger: Ledger) -> dict[str, tuple[tuple[int, ...], str]]:
    return {tensor.name: (tensor.shape, tensor.kind) for tensor in ledger.tensors()}


@LAWS
@given(specs())
def test_the_total_is_the_sum_of_the_tensors(spec: Spec):
    ledger = build(spec)
    by_kind = Counter[str]()
    for tensor in ledger.tensors():
        by_kind[tensor.kind] += math.prod(tensor.shape)
    found = summary(ledger)
    assert found["total"] == ledger.total() == by_kind["trainable"] + by_kind["frozen"]
    assert (found["trainable"], found["frozen"]) == (by_kind["trainable"], by_kind["frozen"])
    assert found["buffers"] == by_kind["buffer"]


@LAWS
@given(specs())
def test_every_tensor_has_a_name_of_its_own(spec: Spec):
    ledger = build(spec)
    names = [tensor.name for tensor in ledger.tensors()]
    assert len(names) == len(set(names))
    assert not any("{" in name for name in names)
    assert {row.path for row in ledger.tied}.isdisjoint(names)


@LAWS
@given(specs())
def test_components_sum_to_the_total(spec: Spec):
    ledger = build(spec)
    found = summary(ledger)
    has_per_layer = any(model_stack.stack.per_layer for model_stack in spec.stacks)
    assert set(found["by_component"]) == set(COMPONENTS) - (set() if has_per_layer else {"per_layer_embedding"})
    assert sum(found["by_component"].values()) == found["total"]
    outside = ("embedding", "per_layer_embedding", "position", "head")
    assert found["non_embedding"] == found["total"] - sum(found["by_component"].get(name, 0) for name in outside)


@LAWS
@given(specs())
def test_formulas_say_what_the_sizes_come_to(spec: Spec):
    ledger = build(spec)
    assert ledger.formula().at(ledger.sizes) == ledger.total()
    assert ledger.formula().symbols() <= ledger.sizes.keys()
    assert value(ledger.formula().text(ledger.sizes)) == ledger.total()
    for row in (*ledger.rows, *ledger.tied):
        assert row.formula.at(ledger.sizes) == row.total == row.count * row.layers
        assert row.active_formula.at(ledger.sizes) == row.active
        assert row.repeats.at(ledger.sizes) == row.layers == len(list(row.names()))
        assert math.prod(row.shape) == row.count


@LAWS
@given(specs())
def test_simplifying_keeps_the_value(spec: Spec):
    ledger = build(spec)
    rewriter = Rewriter(ledger)
    for poly in (ledger.formula(), *(row.formula for row in ledger.rows)):
        assert rewriter.simplify(poly).at(ledger.sizes) == poly.at(ledger.sizes)
        assert rewriter.simplify(rewriter.simplify(poly)) == rewriter.simplify(poly)


@LAWS
@given(specs())
def test_a_token_uses_all_but_the_experts_it_is_not_sent_to(spec: Spec):
    found = summary(build(spec))
    parts = [arm.part for layer in layers(spec) for arm in arms(layer)]
    assert found["active"] <= found["total"]
    assert (found["active"] < found["total"]) == any(
        (isinstance(part, MoE | RoutedAttention | ProductKeys) and part.n_active < part.n_experts)
        or (isinstance(part, Adapters) and part.n_adapters > 1)
        for part in parts
    )


@LAWS
@given(specs())
def test_a_tied_head_is_what_untied_adds(spec: Spec):
    found = summary(build(spec))
    width = spec.embedding.factor.d_embed if spec.embedding.factor else spec.d_model
    tied = spec.head is not None and spec.head.tied
    assert found["untied"] - found["total"] == (spec.vocab_size * width if tied else 0)
    if tied and not spec.embedding.factor:
        apart = summary(build(structs.replace(spec, head=structs.replace(spec.head, tied=False))))
        assert apart["total"] == found["untied"]


@LAWS
@given(specs())
def test_sequences_and_sizes_without_weights_change_no_count(spec: Spec):
    """Dropout, claims and scales are no weights; positions are, where a table of them is stored."""
    document = override(encode(spec), {"dropout": {"attention": 0.25}, "claims": [], "title": "other"})
    assert counts(build(decode(document))) == counts(build(spec))


@LAWS
@given(specs(), st.integers(2, 4))
def test_a_wider_vocabulary_costs_a_table_and_a_head(spec: Spec, times: int):
    more = structs.replace(spec, vocab_size=spec.vocab_size * times)
    growth = build(more).total() - build(spec).total()
    width = sum(map(_table_width, (spec.stacks[-1], *_own_tables(spec))))
    head = spec.head if spec.predicts_tokens else None
    per_token = width + (0 if head is None else head.bias + (0 if head.tied else head.d_in or spec.d_model))
    assert growth - (_in_extras(more) - _in_extras(spec)) == (times - 1) * spec.vocab_size * per_token


def _table_width(own: ModelStack) -> int:
    factor = own.model.embedding.factor
    return factor.d_embed if factor else own.model.d_model


def _own_tables(spec: Spec) -> list[ModelStack]:
    """The stacks with a table of their own for the model's vocabulary."""
    return [own for own in spec.stacks if own.stack.embedding and own.stack.vocab_size is None]


def _in_extras(spec: Spec) -> int:
    return build(spec).total() - build(structs.replace(spec, extras=())).total()


@LAWS
@given(specs(family="decoder"), st.data())
def test_the_total_is_affine_in_the_layers_of_an_open_run(spec: Spec, data: st.DataObject):
    run = spec.decoder.runs[0]
    assume(not run.share_weights)
    period = len(run.pattern)
    assume(spec.decoder.per_layer is None or any(map(gates, run.pattern)))

    def total(turns: int) -> int:
        opened = structs.replace(
            spec.decoder, runs=(structs.replace(run, count=None),), n_layers=turns * period, n_mtp=0
        )
        return build(resolve(structs.replace(spec, decoder=opened))).total()

    assume(not spec.extras)  # an axis may be the layers, and stand twice
    once, twice = total(1), total(2)
    many = data.draw(st.integers(3, 9))
    assert total(many) == once + (many - 1) * (twice - once)


@LAWS
@given(specs())
def test_as_many_key_heads_as_heads_is_multi_head_attention(spec: Spec):
    """Stating n_kv_heads = n_heads is leaving it out, and every projection is then as large as the queries'."""
    assume(any(isinstance(arm.part, Attention) for layer in layers(spec) for arm in arms(layer)))
    assume(not any(layer.shares for layer in layers(spec)))  # whose heads are the lender's
    assume(not any(isinstance(arm.part, RoutedAttention) for layer in layers(spec) for arm in arms(layer)))
    assume(not any(getattr(arm.part, "is_grouped", False) for layer in layers(spec) for arm in arms(layer)))
    stated = document_with(encode(spec), lambda part: part | {"n_kv_heads": part["n_heads"]})
    left_out = document_with(encode(spec), lambda part: part | {"n_kv_heads": None})
    ledger = build(decode(stated))
    assert counts(ledger) == counts(build(decode(left_out)))
    found = {tensor.name: tensor.shape for tensor in ledger.tensors()}
    for name, shape in found.items():
        if name.endswith((".attn.k.weight", ".attn.v.weight")) and name[:-8] + "kv_down.weight" not in found:
            at = name[:-8]
            whole = found[f"{at}q.weight"] if name.endswith("k.weight") else found[f"{at}out.weight"][::-1]
            assert shape[0] == whole[0]


def document_with(node: Any, change: Any) -> Any:
    """The document with every grouped-query attention changed."""
    if isinstance(node, list):
        return [document_with(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: document_with(item, change) for key, item in node.items()}
    return change(node) if node.get("kind") == "gqa" else node


@LAWS
@given(specs())
def test_layers_with_the_same_tensors_share_rows(spec: Spec):
    """No two rows of one path and one shape: how layers are grouped does not show in the table."""
    ledger = build(spec)
    keys = Counter((row.path, row.weight) for row in ledger.rows)
    assert set(keys.values()) <= {1}
    indices = Counter((row.path, index) for row in ledger.rows for index in row.indices)
    assert set(indices.values()) <= {1}


@pytest.mark.parametrize("name", ["GPT3", "DEEPSEEK", "GPT_OSS_20B", "OPT_350M", "T5_SMALL", "BERT_BASE"])
def test_a_sweep_is_a_loop(name: str):
    """A formula over arrays gives what a new ledger gives at each point."""
    spec = decode(getattr(published, name))
    ledger = build(spec)
    vocabularies, contexts = [1000, 2000, 50_000], [128, 512, 4096]
    sizes = {symbol: numpy.full(3, size, dtype=numpy.int64) for symbol, size in ledger.sizes.items()}
    sizes |= {"vocab_size": numpy.array(vocabularies), "n_ctx": numpy.array(contexts)}
    swept = ledger.formula().at(sizes)
    pairs = zip(vocabularies, contexts, strict=True)
    loop = [build(structs.replace(spec, vocab_size=v, n_ctx=c)).total() for v, c in pairs]
    assert swept.tolist() == loop


def test_a_sweep_over_depth_and_width_is_a_loop():
    grid = [(12, 768, 3072), (24, 1536, 6144), (96, 12288, 49152)]
    ledger = build(decode(published.GPT3))
    sizes = {symbol: numpy.full(3, size, dtype=numpy.int64) for symbol, size in ledger.sizes.items()}
    depth, width, hidden = (numpy.array(column) for column in zip(*grid, strict=True))
    depths = {symbol: depth for symbol in sizes if symbol.startswith("n_layers")}
    sizes |= depths | {"d_model": width, "d_ff": hidden, "d_head": width // 96}
    loop = [
        build(decode(override(published.GPT3, {"n_layers": n, "d_model": d, "d_ff": f}))).total() for n, d, f in grid
    ]
    assert ledger.formula().at(sizes).tolist() == loop
