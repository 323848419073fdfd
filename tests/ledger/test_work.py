"""Matmuls and caches: published models as their references count them, parts by hand, pairs one by one."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.ledger.tokens import minimum
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from tests.examples import examples
from tests.ledger import published
from tests.ledger.test_parts import GQA, MLA, MOE, PLAIN, RMS, document
from tests.strategies import specs

PREFILL_128, PREFILL_2048 = Workload(seq=128, source_seq=128), Workload(seq=2048, source_seq=2048)
DECODE = Workload(seq=1, past=2047, source_seq=2048)
HELD = Workload(seq=2047, source_seq=2048)

# FLOPs that FlopCounterMode counts of 128 tokens, of 2,048 and of one after 2,047; elements cached after those 2,047.
# gpt-oss and Gemma 2 keep a window in sliding layers (gpt-oss 12 of 128; Gemma's is longer than the text).
FIGURES: dict[str, tuple[int, int, int | None, int]] = {
    "GPT3": (44_765_625_188_352, 734_804_261_732_352, 358_791_143_424, 4_829_478_912),
    "DEEPSEEK": (9_457_769_644_032, 170_973_789_683_712, 4_273_324_556_288, 71_923_392),
    "GPT_OSS_20B": (929_870_905_344, 16_424_122_712_064, 7_642_103_808, 12 * 2 * 512 * (2047 + 128)),
    "GEMMA2_27B": (6_982_274_646_016, 114_679_921_770_496, 55_996_055_552, 385_687_552),
    "ALBERT_XXLARGE": (622_947_991_552, 10_740_261_978_112, None, 0),
    "T5_SMALL": (16_089_350_144, 402_384_748_544, 127_270_912, 25_159_680),
    "BERT_BASE": (28_499_116_032, 600_941_002_752, None, 0),
}


def flops(ledger: Ledger, work: Workload) -> int:
    sizes = ledger.at(work)
    return sum(row.formula.at(sizes) for row in ledger.matmuls)


def causal_flops(ledger: Ledger, work: Workload) -> int:
    sizes = ledger.at(work)
    return sum(row.causal_formula.at(sizes) for row in ledger.matmuls)


def cached(ledger: Ledger, work: Workload) -> int:
    sizes = ledger.at(work)
    return sum(row.formula.at(sizes) for row in ledger.caches)


@pytest.mark.parametrize("name", FIGURES)
def test_published_models(name: str):
    ledger = build(decode(getattr(published, name)))
    short, long, step, held = FIGURES[name]
    assert flops(ledger, PREFILL_128) == short
    assert flops(ledger, PREFILL_2048) == long
    assert step is None or flops(ledger, DECODE) == step
    assert cached(ledger, HELD) == held


@examples(40)
@given(specs(), st.integers(1, 5), st.integers(1, 9), st.integers(0, 9))
def test_sequences_of_a_batch_cost_alike(spec: Spec, batch: int, seq: int, past: int):
    """Each row of the ledger, except that all of them share the projections of relative positions."""
    ledger = build(spec)
    one, many = (Workload(batch=n, seq=seq, past=past, source_seq=4) for n in (1, batch))
    sizes_of_one, sizes_of_many = ledger.at(one), ledger.at(many)
    for row in ledger.matmuls:
        n = 1 if ".relative." in row.path else batch
        for formula in (row.formula, row.causal_formula):
            assert formula.at(sizes_of_many) == n * formula.at(sizes_of_one), row.path
    assert cached(ledger, many) == batch * cached(ledger, one)
    assert causal_flops(ledger, one) <= flops(ledger, one)


# Every pair of a query and a key, looked at one by one.


def attention_document(window: int | None, family: str) -> dict[str, Any]:
    """One head of one dimension: the products of attention count 2 · 1 · 1 FLOPs for each pair."""
    attention = {"kind": "gqa", "n_heads": 1, "d_head": 1, "window": window}
    stack = {"runs": [{"count": 1, "pattern": [{"norm": RMS, "attention": attention}]}]}
    return {"name": "x", "vocab_size": 2, "n_ctx": 64, "d_model": 1, "head": None, family: stack}


def products(ledger: Ledger, work: Workload, *, causal: bool) -> set[int]:
    """Multiply-accumulates of both of attention's products."""
    sizes = ledger.at(work)
    rows = [row for row in ledger.matmuls if row.path.endswith(("scores", "values"))]
    assert len(rows) == 2
    return {(row.causal_formula if causal else row.formula).at(sizes) // 2 for row in rows}


WINDOWS = st.none() | st.integers(1, 12)


@given(WINDOWS, st.integers(1, 12), st.integers(0, 12))
def test_a_causal_query_sees_what_stands_before_it_within_its_window(window: int | None, seq: int, past: int):
    ledger = build(decode(attention_document(window, "decoder")))
    work = Workload(seq=seq, past=past)
    reach = window or 100
    pairs = sum(query - reach < key <= query for query in range(past, past + seq) for key in range(past + seq))
    assert products(ledger, work, causal=True) == {pairs}
    # A layer holds the new tokens and, of the past, what the first of them sees.
    held = seq + sum(past - reach < key for key in range(past))
    assert products(ledger, work, causal=False) == {seq * held}
    # It keeps what the next token will see, that token left out of the count (its own key is yet to come).
    assert cached(ledger, work) == 2 * min(past + seq, reach)


@given(WINDOWS, st.integers(1, 12))
def test_a_query_of_an_encoder_sees_both_sides_within_its_window(window: int | None, seq: int):
    ledger = build(decode(attention_document(window, "encoder")))
    work = Workload(seq=seq)
    reach = window or 100
    pairs = sum(abs(query - key) < reach for query in range(seq) for key in range(seq))
    assert products(ledger, work, causal=True) == {pairs}
    assert products(ledger, work, causal=False) == {seq * seq}
    assert cached(ledger, work) == 0


@given(WINDOWS, st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_a_source_is_read_once(window: int | None, seq: int, source: int, again: bool):
    """The encoder runs while there is no past; its keys and values are kept for every later step."""
    layer = {"norm": RMS, "attention": {"kind": "gqa", "n_heads": 1, "d_head": 1}}
    encoder = attention_document(window, "encoder")["encoder"]
    decoder = {"runs": [{"count": 1, "pattern": [layer | {"cross": layer["attention"]}]}]}
    ledger = build(decode(attention_document(None, "decoder") | {"encoder": encoder, "decoder": decoder}))
    past = 5 if again else 0
    sizes = ledger.at(Workload(seq=seq, past=past, source_seq=source))
    found = {row.path: (row.formula.at(sizes) // 2, row.causal_formula.at(sizes) // 2) for row in ledger.matmuls}
    reach = window or 100
    pairs = sum(abs(query - key) < reach for query in range(source) for key in range(source))
    read = 0 if again else 1
    assert found["encoder.layers.{i}.attn.scores"] == (0, 0) if again else (source * source, pairs)
    assert found["encoder.layers.{i}.attn.q"] == (read * source, read * source)
    assert found["decoder.layers.{i}.cross.k"] == found["decoder.layers.{i}.cross.v"] == (read * source,) * 2
    assert found["decoder.layers.{i}.cross.q"] == found["decoder.layers.{i}.cross.out"] == (seq, seq)
    assert found["decoder.layers.{i}.cross.scores"] == (seq * source, seq * source)
    held = {row.path.rpartition(".")[0]: row.formula.at(sizes) for row in ledger.caches}
    assert held == {"decoder.layers.{i}.attn": past + seq, "decoder.layers.{i}.cross": source}


# Parts by hand: 3 sequences of 5 tokens after 7, of the documents of test_parts (10 wide, 17 tokens).

WORK = Workload(batch=3, seq=5, past=7)


def work_of(made: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Multiply-accumulates of each matmul of a sequence, full and causal, divided by the 15 new tokens."""
    ledger = build(decode(made))
    sizes = ledger.at(WORK)
    full, causal = (
        {row.path.removeprefix("layers.{i}."): getattr(row, kind).at(sizes) for row in ledger.matmuls}
        for kind in ("formula", "causal_formula")
    )
    return {path: (full[path] // 6, causal[path] // 6) for path in full}


def cache_of(made: dict[str, Any]) -> dict[str, int]:
    """Cached elements of a sequence."""
    ledger = build(decode(made))
    sizes = ledger.at(WORK)
    return {row.path.removeprefix("layers.{i}.attn."): row.formula.at(sizes) // 3 for row in ledger.caches}


def test_grouped_query_attention():
    """5·42·10 and 5·14·10; 6 heads · 7 wide · 5 queries · 12 keys, of which 8 + 9 + 10 + 11 + 12 = 50 pairs."""
    assert work_of(document({"attention": GQA | {"q_bias": True, "sinks": True}})) == {
        "attn.q": (2100, 2100),
        "attn.k": (700, 700),
        "attn.v": (700, 700),
        "attn.out": (2100, 2100),
        "attn.scores": (2520, 2100),
        "attn.values": (2520, 2100),
    }
    assert cache_of(document({"attention": GQA})) == {"keys": 168, "values": 168}  # 12 tokens · 2 heads · 7
    assert cache_of(document({"attention": GQA | {"window": 4}})) == {"keys": 56, "values": 56}


def test_latent_attention():
    """kv_up runs over all 12 tokens held; scores are 4 + 2 wide, values 9."""
    assert work_of(document({"attention": MLA})) == {
        "attn.q": (900, 900),
        "attn.kv_down": (350, 350),
        "attn.kv_up": (2340, 2340),  # 12·39·5
        "attn.out": (1350, 1350),
        "attn.scores": (1080, 900),  # 3·6 over 60 and 50 pairs
        "attn.values": (1620, 1350),
    }
    ranked = work_of(document({"attention": MLA | {"q_rank": 8}}))
    assert (ranked["attn.q_down"], ranked["attn.q_up"]) == ((400, 400), (720, 720))
    assert "attn.q" not in ranked
    assert cache_of(document({"attention": MLA})) == {"latent": 60, "rotary_key": 24}


INDEXER = {"kind": "tokens", "n_index_heads": 2, "d_index": 7, "n_selected": 3}


def test_an_indexer():
    """Its heads score all 60 (query, key) pairs, 50 of them causal; attention reads 3 keys of each of 5 queries."""
    work = work_of(document({"attention": MLA | {"q_rank": 8, "indexer": INDEXER}}))
    assert {name: flops for name, flops in work.items() if "indexer" in name} == {
        "attn.indexer.q": (560, 560),  # 5·8·2·7
        "attn.indexer.k": (350, 350),
        "attn.indexer.scores": (840, 700),
        "attn.indexer.head_weights": (100, 100),
        "attn.indexer.sum": (120, 100),
    }
    assert work["attn.scores"] == (1080, 270)  # 3·6 over 60 and 15 pairs
    assert cache_of(document({"attention": MLA | {"q_rank": 8, "indexer": INDEXER}})) == {
        "latent": 60,
        "rotary_key": 24,
        "index_key": 84,
    }


def test_an_indexer_works_number_by_number():
    made = document({"attention": MLA | {"q_rank": 8, "indexer": INDEXER}})
    rows = [row for row in build(decode(made), Execution()).elementwise if "indexer" in row.path]
    found = [f"{row.path}: {row.elementwise.operation}, {' '.join(map(str, row.elementwise.axes))}" for row in rows]
    assert [line.removeprefix("layers.{i}.attn.indexer.") for line in found] == [
        "q: rope, batch n_index_heads seq d_rotary",
        "k_norm: layernorm, batch seq d_index",
        "k: rope, batch seq d_rotary",
        "scores: relu, batch n_index_heads seq keys",
    ]


def test_chunks():
    """Tokens 7 … 11 of chunks of 4 see 4, 1, 2, 3 and 4 keys; the cache holds one chunk."""
    chunked = {"attention": GQA | {"window": 4, "window_kind": "chunked"}}
    sliding = work_of(document({"attention": GQA | {"window": 4}}))
    full, causal = work_of(document(chunked))["attn.scores"]
    assert full == sliding["attn.scores"][0]
    assert causal * 20 == sliding["attn.scores"][1] * 14
    assert cache_of(document(chunked)) == {"keys": 56, "values": 56}


def test_feed_forwards():
    assert work_of(document({"ffn": PLAIN | {"bias": True}})) == {"ffn.up": (550, 550), "ffn.down": (550, 550)}
    gated = work_of(document({"ffn": {"kind": "gated", "d_ff": 11}}))
    assert gated == dict.fromkeys(("ffn.gate", "ffn.up", "ffn.down"), (550, 550))


def test_a_mixture_multiplies_with_the_chosen_experts():
    """Each of 5 tokens with 3 of 8 experts, 13 wide; two shared ones, 26 wide together; one gate."""
    made = document({"ffn": MOE | {"n_shared": 2, "shared_gate": True}})
    assert {path: full for path, (full, _) in work_of(made).items()} == {
        "ffn.router": 400,
        "ffn.experts.gate": 1950,
        "ffn.experts.up": 1950,
        "ffn.experts.down": 1950,
        "ffn.shared.gate": 1300,
        "ffn.shared.up": 1300,
        "ffn.shared.down": 1300,
        "ffn.shared_gate": 50,
    }


@pytest.mark.parametrize(
    ("head", "factor", "expected"),
    [
        (None, None, {}),
        ({}, None, {"head.logits": 850}),
        ({"tied": True, "bias": True}, None, {"head.logits": 850}),
        ({"tied": True}, {"d_embed": 4}, {"embed.project": 200, "head.project": 200, "head.logits": 340}),
        ({}, {"d_embed": 4}, {"embed.project": 200, "head.logits": 850}),
        (
            {"transform": {"activation": "gelu", "norm": RMS}},
            None,
            {"head.transform": 500, "head.logits": 850},
        ),
    ],
)
def test_embedding_and_head(head: dict[str, Any] | None, factor: dict[str, Any] | None, expected: dict[str, int]):
    made = document({"ffn": PLAIN}, head=head, embedding={"factor": factor})
    found = work_of(made)
    assert {path: full for path, (full, _) in found.items() if not path.startswith("ffn")} == expected


def test_a_source_passes_the_embeddings_projection_too():
    stack = document({"ffn": PLAIN})["decoder"]
    crossing = {"runs": [{"count": 1, "pattern": [{"norm": RMS, "cross": GQA}]}]}
    made = document({}) | {"encoder": stack, "decoder": crossing, "embedding": {"factor": {"d_embed": 4}}}
    ledger = build(decode(made))
    (row,) = [row for row in ledger.matmuls if row.path == "embed.project"]
    assert row.formula.at(ledger.at(Workload(seq=5, source_seq=6))) == 2 * 40 * 11
    assert row.formula.at(ledger.at(Workload(seq=5, past=1, source_seq=6))) == 2 * 40 * 5


def test_shared_weights_work_at_every_turn():
    made = document({"ffn": PLAIN, "attention": GQA})
    made["decoder"]["runs"][0] |= {"count": 4, "share_weights": True}
    assert work_of(made)["ffn.up"] == (2200, 2200)
    assert set(cache_of(made).values()) == {4 * 168}
    (row,) = [row for row in build(decode(made)).matmuls if row.path.endswith("ffn.up")]
    assert (row.layer_indices, str(row.repeats), row.component, row.group) == ((0, 1, 2, 3), "n_layers", "ffn", "")


def test_components_of_matmuls():
    ledger = build(decode(document({"ffn": MOE, "attention": GQA}, head={})))
    found = {row.path: row.component for row in ledger.matmuls}
    assert {path.split(".")[2]: component for path, component in found.items() if "layers" in path} == {
        "attn": "attention",
        "ffn": "ffn",
    }
    assert found["head.logits"] == "head"


def test_prediction_modules_have_weights_alone():
    plain = document({"ffn": PLAIN})
    assert work_of(document({"ffn": PLAIN}, stack={"n_mtp": 2})) == work_of(plain)


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_smaller_of_two(a: int, b: int):
    assert minimum(a, b) == min(a, b)


@pytest.mark.parametrize("name", ["GPT_OSS_20B", "T5_SMALL", "DEEPSEEK"])
def test_a_sweep_over_workloads_is_a_loop(name: str):
    """The atoms of a workload (keys, pairs, what a window keeps) take arrays as they take ints."""
    ledger = build(decode(getattr(published, name)))
    points = [(1, 0), (7, 0), (200, 0), (1, 300), (5, 126)]
    tables = [ledger.at(Workload(seq=seq, past=past, source_seq=64)) for seq, past in points]
    arrays = {symbol: numpy.array([table[symbol] for table in tables], dtype=object) for symbol in tables[0]}
    for row in ledger.matmuls:
        assert row.causal_formula.at(arrays).tolist() == [row.causal_formula.at(table) for table in tables]
