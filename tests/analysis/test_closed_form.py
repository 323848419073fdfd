"""Formulas in fewer symbols: what holds of the sizes is used, nothing else is."""

from __future__ import annotations

import pytest

from archcalc.analysis.closed_form import Relation, Rewriter, closed_form, in_letters
from archcalc.ledger.algebra import Poly
from archcalc.ledger.build import build
from archcalc.spec.document import decode, override
from tests.ledger import published
from tests.ledger.formulas import value


def rewriter(name: str, **changes) -> Rewriter:
    return Rewriter(build(decode(override(getattr(published, name), changes))))


def relations(made: Rewriter) -> list[str]:
    return [str(relation) for relation in made.relations]


def row(made: Rewriter, path: str) -> Poly:
    return next(row.formula for row in made.ledger.rows if row.path == path)


def test_gpt3_in_layers_and_width():
    """12·n_layers·d² and what else there is: exactly 174,604,259,328."""
    made = rewriter("GPT3")
    assert relations(made) == ["n_kv_heads = n_heads", "n_heads·d_head = d_model", "d_ff = 4·d_model"]
    simple = made.simplify(made.ledger.formula())
    assert str(simple) == "12·d_model²·n_layers + n_ctx·d_model + 13·d_model·n_layers + vocab_size·d_model + 2·d_model"
    assert in_letters(simple) == "12·L·d² + C·d + 13·L·d + V·d + 2·d"
    assert simple.at(made.ledger.sizes) == 174_604_259_328
    assert made.equation(made.ledger.formula()) == f"{simple} = {simple.text(made.ledger.sizes)} = 174,604,259,328"
    assert closed_form(made.ledger).lines == (f"{simple} = 174,604,259,328",)


def test_only_what_the_sizes_bear_out():
    assert relations(rewriter("GPT3", d_ff=49153)) == ["n_kv_heads = n_heads", "n_heads·d_head = d_model"]
    assert relations(rewriter("GPT3", n_kv_heads=48)) == ["n_heads·d_head = d_model", "d_ff = 4·d_model"]
    assert relations(rewriter("GPT3", d_head=256)) == ["n_kv_heads = n_heads", "d_ff = 4·d_model"]
    assert relations(rewriter("GPT3", d_ff=12288))[-1] == "d_ff = d_model"
    assert relations(rewriter("GPT3", d_ff=6144))[-1] == "n_heads·d_head = d_model"  # a half is no whole multiple


def test_sizes_of_several_owners_are_left_alone():
    assert relations(rewriter("GPT_OSS_20B")) == []
    assert relations(rewriter("DEEPSEEK")) == []


def test_an_equation_goes_from_symbols_to_the_number():
    made = rewriter("GPT3")
    poly = row(made, "layers.{i}.attn.q.weight")
    assert made.equation(poly) == "d_model²·n_layers = 12288²·96 = 14,495,514,624"
    assert made.equation(row(made, "positions.weight")) == "n_ctx·d_model = 2048·12288 = 25,165,824"
    assert made.equation(Poly.constant(7)) == "7"
    assert made.equation(Poly.symbol("n_ctx")) == "n_ctx = 2,048"


def test_what_an_equation_draws_on():
    made = rewriter("GPT3")
    assert [str(r) for r in made.used(row(made, "layers.{i}.attn.q.weight"))] == ["n_heads·d_head = d_model"]
    assert [str(r) for r in made.used(row(made, "layers.{i}.attn.k.weight"))] == [
        "n_kv_heads = n_heads",
        "n_heads·d_head = d_model",
    ]
    assert [str(r) for r in made.used(row(made, "layers.{i}.ffn.up.weight"))] == ["d_ff = 4·d_model"]
    assert made.used(row(made, "positions.weight")) == []


def test_a_relation_reads_both_ways():
    relation = Relation(("d_ff",), 4, "d_model")
    assert str(relation) == "d_ff = 4·d_model"
    assert relation.replacement == 4 * Poly.symbol("d_model")


@pytest.mark.parametrize("name", ["GPT3", "DEEPSEEK_MTP", "ALBERT_XXLARGE", "T5_SMALL", "GPT_OSS_20B"])
def test_steps_end_in_the_total(name: str):
    made = rewriter(name)
    steps = closed_form(made.ledger).lines
    total = made.ledger.total()
    assert steps[-1].rpartition("= ")[2] == f"{total:,}"
    if len(steps) > 1:
        parts = [value(step.removeprefix("+ "), made.ledger.sizes) for step in steps[:-2]]
        assert sum(parts) == total
        assert steps[-2] == f"= {' + '.join(f'{part:,}' for part in parts)}"
        assert steps[0][0] != "+"
        assert all(step.startswith("+ ") for step in steps[1:-2])


def test_a_long_formula_has_a_line_for_each_count_of_layers():
    made = rewriter("DEEPSEEK_MTP")
    lines = closed_form(made.ledger).lines[:-2]
    counts = ("n_mtp", "n_layers[like_0]", "n_layers[like_3]", "n_layers·")
    assert len(lines) == 5
    for count in counts:
        assert sum(count in line for line in lines) == 1
    assert not any(count in lines[-1] for count in counts)


def test_letters_leave_other_names_alone():
    assert in_letters(Poly.symbol("kv_rank") * Poly.symbol("n_layers")) == "L·kv_rank"
