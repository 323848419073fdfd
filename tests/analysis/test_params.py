"""Totals, shares and tables as folds over the ledger's rows."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given

from archcalc.analysis.params import biases_of, component_params, largest, layer_params, summary, weight_params
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.results import frame
from archcalc.spec import Spec
from archcalc.spec.document import decode, override
from tests.examples import examples
from tests.ledger import published
from tests.ledger.test_parts import GQA, PLAIN, RMS, document
from tests.strategies import specs

LAWS = examples(40)


def ledger_of(name: str):
    return build(decode(getattr(published, name)))


def test_components_have_names_of_their_own():
    assert len(set(COMPONENTS)) == len(COMPONENTS) == 9


def test_gpt3s_biases():
    ledger = ledger_of("GPT3")
    assert biases_of(ledger, "attention") == 4_718_592
    assert biases_of(ledger, "ffn") == 5_898_240
    assert biases_of(ledger, "norm") == 2_371_584  # half of 4,743,168
    assert biases_of(ledger, "embedding") == 0


def test_gpt3s_shares_in_both_accountings():
    rows = component_params(ledger_of("GPT3"))
    assert [(row.component, row.parameters, row.untied_parameters, row.biases) for row in rows] == [
        ("embedding", 617_558_016, 617_558_016, 0),
        ("position", 25_165_824, 25_165_824, 0),
        ("attention", 57_986_777_088, 57_986_777_088, 4_718_592),
        ("ffn", 115_970_015_232, 115_970_015_232, 5_898_240),
        ("norm", 4_743_168, 4_743_168, 2_371_584),
        ("head", 0, 617_558_016, 0),
    ]
    assert all(row.weights == row.parameters - row.biases for row in rows)
    assert [row.share for row in rows] == [row.parameters / 174_604_259_328 for row in rows]
    assert [row.untied_share for row in rows] == [row.untied_parameters / 175_221_817_344 for row in rows]


@LAWS
@given(specs())
def test_shares_add_up_to_the_totals(spec: Spec):
    ledger = build(spec)
    found, rows = summary(ledger), component_params(ledger)
    assert sum(row.parameters for row in rows) == found["total"]
    assert sum(row.untied_parameters for row in rows) == found["untied"]
    assert math.isclose(sum(row.share for row in rows), 1)
    assert math.isclose(sum(row.untied_share for row in rows), 1)
    assert all(0 <= row.biases <= row.parameters for row in rows)
    assert all(row.untied_parameters for row in rows)


def test_frozen_tables_are_counted_and_buffers_are_not():
    made = document({"ffn": PLAIN}, stack={"position": {"kind": "sinusoidal", "stored": True}})
    found = summary(build(decode(made)))
    assert (found["frozen"], found["trainable"], found["buffers"]) == (230, found["total"] - 230, 0)
    assert found["by_component"]["position"] == 230
    buffers = summary(ledger_of("DEEPSEEK"))
    assert buffers["buffers"] == 58 * 256
    assert buffers["trainable"] == buffers["total"]


def test_active_without_embeddings():
    """The input table counts where the head reads it; without both, neither the table nor the head's matrix."""
    tied, untied = (
        document({"ffn": PLAIN}, head={"tied": tied}) for tied in (True, False)
    )  # layer 2·110 + table 170 (+ matrix 170)
    found = summary(build(decode(tied)))
    assert (found["active"], found["active_without_input_embedding"], found["active_without_embedding_and_head"]) == (
        390,
        390,
        220,
    )
    found = summary(build(decode(untied)))
    assert (found["active"], found["active_without_input_embedding"], found["active_without_embedding_and_head"]) == (
        560,
        390,
        220,
    )


def test_a_line_for_each_layer_and_one_for_the_rest():
    lines = layer_params(ledger_of("DEEPSEEK"))
    assert [line.path for line in lines] == ["", *(f"layers.{i}" for i in range(61))]
    assert Counter(line.group for line in lines) == {"": 1, "like_0": 3, "like_3": 58}
    first, last = lines[1], lines[-1]
    assert first.by_component["attention"] == last.by_component["attention"] == 187_105_280
    assert first.by_component["ffn"] == first.active - first.by_component["attention"] - 16_384 == 396_361_728
    assert (last.parameters, last.active) == (11_507_286_016, 585_318_400)  # 8 of 256 experts


def test_layers_alike_in_their_weights_have_no_name():
    """gpt-oss alternates windows, which no weight shows."""
    lines = layer_params(ledger_of("GPT_OSS_20B"))
    assert len(lines) == 25
    assert {line.group for line in lines} == {""}


def test_layers_of_three_kinds_keep_their_own_names():
    parts = ({"ffn": PLAIN}, {"ffn": PLAIN, "attention": GQA}, {"attention": GQA, "placement": "sandwich"})
    pattern = [{"norm": RMS, "name": name} | part for name, part in zip("abc", parts, strict=True)]
    lines = layer_params(build(decode(document({}, stack={"runs": [{"count": 4, "pattern": pattern}]}))))
    assert [line.group for line in lines[1:]] == ["a", "b", "c", "a"]


def test_predicting_layers_and_both_stacks_have_lines():
    assert [line.path for line in layer_params(ledger_of("T5_SMALL"))] == [
        "",
        *(f"decoder.layers.{i}" for i in range(6)),
        *(f"encoder.layers.{i}" for i in range(6)),
    ]
    assert layer_params(ledger_of("DEEPSEEK_MTP"))[-1].path == "mtp.0"


def test_shared_layers_have_the_owners_line_alone():
    assert [line.path for line in layer_params(ledger_of("ALBERT_XXLARGE"))] == ["", "layers.0"]


@LAWS
@given(specs())
def test_layers_add_up_to_the_total(spec: Spec):
    ledger = build(spec)
    lines, found = layer_params(ledger), summary(ledger)
    assert sum(line.parameters for line in lines) == found["total"]
    assert math.isclose(sum(line.share for line in lines), 1)
    assert sum(line.active for line in lines) == found["active"]
    by_component = {name: sum(line.by_component.get(name, 0) for line in lines) for name in COMPONENTS}
    assert by_component == dict.fromkeys(COMPONENTS, 0) | found["by_component"]
    assert len({line.path for line in lines}) == len(lines)


def test_the_largest_tensors():
    weights = weight_params(ledger_of("GPT3"))
    assert [row.path for row in largest(weights, 3)] == [
        "embed.tokens.weight",
        "layers.*.ffn.up.weight",
        "layers.*.ffn.down.weight",
    ]
    assert len(largest(weights)) == 12
    counts = [row.elements_per_layer for row in largest(weight_params(ledger_of("DEEPSEEK")), 100)]
    assert counts == sorted(counts, reverse=True)


def test_the_frame_has_a_row_for_each_weight():
    ledger = ledger_of("DEEPSEEK")
    made = frame(weight_params(ledger))
    columns = (
        "path group component tensor_kind axes shape elements_per_layer layers layer_indices elements share active "
        "formula kind"
    )
    assert " ".join(made.columns) == columns
    assert len(made) == len(ledger.rows)
    counted = made[made["tensor_kind"] != "buffer"]
    assert counted["elements"].sum() == 671_026_404_352
    assert counted["active"].sum() == 37_552_282_624
    assert math.isclose(made["share"].sum(), 1.0)
    assert list(made[made["tensor_kind"] == "buffer"]["share"].isna()) == [True]
    experts = made.set_index("path").loc["layers.*.ffn.experts.up.weight"]
    assert experts["axes"] == ("n_experts", "d_expert", "d_model")
    assert experts["shape"] == (256, 2048, 7168)
    assert (experts["elements_per_layer"], experts["layers"]) == (3_758_096_384, 58)
    assert experts["layer_indices"] == tuple(range(3, 61))
    assert experts["formula"].endswith(" = 256·2048·7168·58 = 217,969,590,272")


def test_an_override_changes_what_it_says():
    half = build(decode(override(published.GPT3, {"n_layers": 48})))
    assert summary(half)["by_component"]["attention"] == 57_986_777_088 // 2
