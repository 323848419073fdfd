"""DataFrames of FLOPs and bytes: their columns sum to the report's figures, whatever the size."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc import presets
from archcalc.analysis.weights import weights_bytes
from archcalc.ledger.build import build
from archcalc.spec import Spec
from tests.examples import examples
from tests.strategies import specs

ROOT = Path(__file__).parents[2]
LAWS = examples(40)


def check_flops(spec: Spec, **sizes: int) -> None:
    frame, told = archcalc.flops(spec, **sizes), archcalc.report(spec, **sizes)["flops"]
    assert {name: sum(frame[name].tolist()) for name in told if name in frame} == {
        name: count for name, count in told.items() if name in frame
    }
    assert {"forward", "forward_causal", "backward"} <= set(frame) & set(told)
    assert {name: int(frame[name].sum()) for name in ("forward", "backward")} == {
        name: told[name] for name in ("forward", "backward")
    }
    for row in frame.itertuples():
        assert str(row.formula).rpartition(" = ")[2] == f"{row.forward:,}"
        assert row.forward_causal <= row.forward
        assert row.forward % row.layers == 0
    assert set(frame["kind"]) == {"exact"}


def check_memory(spec: Spec, **sizes: int) -> None:
    check_memory_in_bf16(spec, **sizes)
    frame, told = archcalc.memory(spec, **sizes), archcalc.report(spec, **sizes)["memory"]
    assert frame[frame["what"] == "weight"]["bytes"].sum() == told["weights_bytes"], "as the source states it"


def check_memory_in_bf16(spec: Spec, **sizes: int) -> None:
    frame = archcalc.memory(spec, dtype="bf16", cache_dtype="bf16", **sizes)
    told = archcalc.report(spec, dtype="bf16", **sizes)["memory"]
    by_kind = frame.groupby("what")["bytes"].sum().to_dict()
    assert by_kind["weight"] == told["weights_bytes"]
    assert by_kind.get("cache", 0) == told["kv_cache_bytes"]
    assert set(by_kind) <= {"weight", "buffer", "cache"}
    for row in frame.itertuples():
        assert row.bytes == 2 * row.elements
        assert str(row.formula).rpartition(" = ")[2] == f"{row.elements:,}"
        assert (row.component == "attention") or row.what != "cache"


@pytest.mark.parametrize("name", presets.names())
def test_frames_of_presets_sum_to_the_report(name: str) -> None:
    spec = archcalc.load(name)
    check_flops(spec, batch=3)
    check_memory(spec, batch=3)


@LAWS
@given(specs(), st.integers(1, 3), st.integers(1, 4))
def test_frames_of_any_spec_sum_to_the_report(spec: Spec, batch: int, seq: int) -> None:
    check_flops(spec, batch=batch, seq=min(seq, spec.n_ctx))
    check_memory(spec, batch=batch, seq=min(seq, spec.n_ctx))


def test_sums_beyond_64_bits_do_not_wrap() -> None:
    """Each product's FLOPs fit, their sum does not: int64 would wrap without a word."""
    check_flops(archcalc.load("llama-3-8b"), batch=2**19)
    check_flops(archcalc.load("llama-3-405b"), batch=2**30)
    frame = archcalc.flops(archcalc.load("llama-3-8b"), batch=2**19)
    assert frame["forward"].max() < 2**63 <= frame["forward"].sum()


@pytest.mark.parametrize("dtype", ["nf4", "q4_k_m", "mxfp4"])
def test_weights_in_a_format(dtype: str) -> None:
    """q4_k_m stores some layers of a weight otherwise than the rest: two rows, each with its layers."""
    spec = archcalc.load("llama-3-8b")
    frame = archcalc.memory(spec, dtype=dtype, cache_dtype="fp8", seq=10, past=90)
    stored = frame[frame["what"] == "weight"]
    assert stored["bytes"].sum() == weights_bytes(build(spec), dtype)
    assert stored["elements"].sum() == archcalc.report(spec)["params"]["total"]
    for row in frame.itertuples():
        assert str(row.formula).rpartition(" = ")[2] == f"{row.elements:,}"
    kept = frame[frame["what"] == "cache"]
    assert list(kept["bytes"]) == [32 * 8 * 100 * 128] * 2
    assert set(kept["format"]) == {"fp8"}
    assert stored["path"].duplicated().any() == (dtype == "q4_k_m")


def test_a_workload_is_told_once() -> None:
    spec = archcalc.load("tiny")
    work = archcalc.workload(spec, seq=5, batch=2)
    assert isinstance(work, archcalc.Workload)
    assert archcalc.flops(spec, work).equals(archcalc.flops(spec, seq=5, batch=2))
    assert archcalc.memory(spec, work).equals(archcalc.memory(spec, seq=5, batch=2))
    for call in (archcalc.flops, archcalc.memory):
        with pytest.raises(archcalc.InputError, match="seq: a workload and sizes of one; expected either"):
            call(spec, work, seq=5)
        with pytest.raises(archcalc.InputError, match="seq: found 0"):
            call(spec, seq=0)


def test_kept_activations_are_those_of_the_ledger() -> None:
    spec = archcalc.load("mixtral-8x7b")
    how = archcalc.Execution(dtype="bf16", recompute="selective")
    found = archcalc.activations(spec, how=how, batch=2, seq=64)
    work, ledger = archcalc.workload(spec, batch=2, seq=64), build(spec, how)
    assert found["bytes"].sum() == sum(row.bytes(ledger.at(work)) for row in ledger.saved_activations)
    assert set(found["kind"]) == {"exact"}
    assert not found["is_square"].any()
    assert found["share"].sum() == pytest.approx(1)
    for row in found.itertuples():
        assert str(row.formula).rpartition(" = ")[2] == f"{row.bytes:,}"
    modeled = archcalc.activations(spec, how=archcalc.Execution(device="cuda"), seq=64)
    assert set(modeled["kind"]) == {"modeled"}
    with pytest.raises(archcalc.InputError, match="past"):
        archcalc.activations(spec, seq=1, past=5)


def test_unknown_formats_are_refused() -> None:
    spec = archcalc.load("tiny")
    with pytest.raises(archcalc.InputError, match="q4_k_n"):
        archcalc.memory(spec, dtype="q4_k_n")
    with pytest.raises(archcalc.InputError, match="no cache format 'q4'"):
        archcalc.memory(spec, cache_dtype="q4")


def test_functions_stay_functions_whatever_is_imported_first() -> None:
    """A submodule of the same name would replace what is looked up lazily."""
    names = ("archcalc.analysis.flops", "archcalc.analysis.memory", "archcalc.spec.workload")
    for order in permutations(names):
        script = "".join(f"import {name}\n" for name in order)
        script += "import archcalc\nassert all(callable(getattr(archcalc, n)) for n in ('flops', 'memory', 'workload'))"
        subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)  # noqa: S603
