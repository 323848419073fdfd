"""Bytes of caches: by hand, in symbols, layer by layer, and what one more token adds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

import archcalc
from archcalc.analysis.caches import by_layer, caches, next_token
from archcalc.analysis.memory import DTYPES, Dtype, summary
from archcalc.errors import InputError
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.strategies import specs

# A token of llama-3-8b: keys and values of 32 layers, 8 heads, 128 wide. (payload, scales and zeros)
ROWS = 2 * 32 * 8
BY_HAND = {
    "fp32": (ROWS * 512, 0),
    "fp16": (ROWS * 256, 0),
    "bf16": (ROWS * 256, 0),
    "fp8": (ROWS * 128, 0),
    "fp8-token": (ROWS * 128, ROWS * 4),
    "int8": (ROWS * 128, ROWS * 4),
    "int8-asym": (ROWS * 128, ROWS * (2 + 2)),
    "int8-g32": (ROWS * 128, ROWS * 4 * 2),
    "int4": (ROWS * 64, ROWS * (2 + 2)),
    "int4-g32": (ROWS * 64, ROWS * 4 * (2 + 2)),
    "int4-g64": (ROWS * 64, ROWS * 2 * (2 + 2)),
    "int4-g32-sym": (ROWS * 64, ROWS * 4 * 2),
}


@pytest.mark.parametrize("name", CACHE_TYPES)
def test_a_token_by_hand(name: str) -> None:
    spec = archcalc.load("llama-3-8b")
    found = caches(build(spec), workload(spec, batch=3, seq=5), name)
    assert sum(one.payload_bytes for one in found) == 15 * BY_HAND[name][0]
    assert sum(one.overhead_bytes for one in found) == 15 * BY_HAND[name][1]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("bf16", "2·n_kv_heads·batch·cached·d_head·n_layers"),
        ("fp8", "n_kv_heads·batch·cached·d_head·n_layers"),
        ("int8", "n_kv_heads·batch·cached·n_layers·(d_head + 4)"),
        ("int4", "n_kv_heads·batch·cached·n_layers·(d_head + 8) / 2"),
        ("int4-g32", "5·n_kv_heads·batch·cached·d_head·n_layers / 8"),
        ("int8-g32", "17·n_kv_heads·batch·cached·d_head·n_layers / 16"),
    ],
)
def test_formulas(name: str, formula: str) -> None:
    spec = archcalc.load("llama-3-8b")
    keys, _ = caches(build(spec), workload(spec), name)
    assert str(keys.formula) == formula


@examples(80)
@given(specs(), st.sampled_from(list(CACHE_TYPES)), st.integers(1, 3), st.integers(1, 9), st.integers(0, 9))
def test_any_spec_in_any_type(spec: Spec, name: str, batch: int, seq: int, past: int) -> None:
    assume(spec.n_ctx > seq)
    ledger, work = (
        build(spec),
        workload(spec, batch=batch, seq=seq, past=min(past, spec.n_ctx - seq) if spec.decoder else 0),
    )
    try:
        found = caches(ledger, work, name)
    except InputError:
        assume(False)
    sizes = ledger.at(work)
    for one in found:
        assert one.payload.at(sizes) == one.payload_bytes
        assert one.overhead.at(sizes) == one.overhead_bytes
        assert one.formula.at(sizes) == one.total_bytes == one.payload_bytes + one.overhead_bytes
        assert one.layer_bytes * len(one.row.layer_indices) == one.total_bytes
    layers = by_layer(ledger, work, name)
    assert sum(layer.payload_bytes for layer in layers) == sum(one.payload_bytes for one in found)
    assert sum(layer.total_bytes for layer in layers) == sum(one.total_bytes for one in found)
    more = next_token(ledger, work, name)
    assert sum(layer.next_token_bytes for layer in layers) == sum(more)
    longer = caches(ledger, structs.replace(work, seq=work.seq + 1), name)
    assert [one.total_bytes for one in longer] == [
        one.total_bytes + added for one, added in zip(found, more, strict=True)
    ]


def test_a_full_window_grows_no_more() -> None:
    """gpt-oss-20b: every other of its 24 layers shows 128 tokens; 2·8 heads of 64 bf16 are 2,048 bytes a layer."""
    spec = archcalc.load("gpt-oss-20b")
    ledger = build(spec)
    for tokens, growing in ((127, 24), (128, 12), (129, 12)):
        layers = by_layer(ledger, workload(spec, batch=3, seq=1, past=tokens - 1), "bf16")
        assert [layer.next_token_bytes for layer in layers].count(3 * 2048) == growing
        assert sum(layer.next_token_bytes for layer in layers) == growing * 3 * 2048


def test_a_source_does_not_grow() -> None:
    spec = archcalc.load("t5-small")
    ledger, work = build(spec), workload(spec, seq=4, source_seq=9)
    added = dict(
        zip((one.row.path for one in caches(ledger, work, "int8")), next_token(ledger, work, "int8"), strict=True)
    )
    assert {path.rsplit(".", 2)[1]: size for path, size in added.items()} == {"attn": 6 * 8 * (64 + 4), "cross": 0}


def test_a_misfit_names_the_tensor() -> None:
    spec = archcalc.load("llama-3-8b", {"d_head": 80})
    with pytest.raises(InputError, match=r"^layers\.\*\.attn\.keys: int4-g64 cannot hold a width of 80; expected "):
        caches(build(spec), workload(spec), "int4-g64")


@examples(100)
@given(specs(), st.sampled_from(DTYPES), st.integers(1, 3))
def test_the_contract_agrees(spec: Spec, dtype: Dtype, batch: int) -> None:
    ledger, work = build(spec), workload(spec, batch=batch)
    assert summary(ledger, work, dtype)["kv_cache_bytes"] == sum(one.total_bytes for one in caches(ledger, work, dtype))


def test_a_report_needs_no_cache_types() -> None:
    code = "import sys, archcalc; archcalc.report(archcalc.load('gpt2')); "
    code += "print('archcalc.formats.cache_types' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "False"
