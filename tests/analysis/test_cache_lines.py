"""Caches as fixed bytes and bytes of each token, and as engines keep them."""

from __future__ import annotations

import pytest
from msgspec import structs

import archcalc
from archcalc.analysis.cache_lines import cache_lines, engine_caches
from archcalc.analysis.inference_memory import InferenceMemory, inference_memory
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from tests.hf import oracle

MIB = 1 << 20


def memory_of(spec: Spec, tokens: int) -> InferenceMemory:
    return inference_memory(spec, build(spec), workload(spec, seq=tokens), "bf16", "bf16")


def test_qwen_at_its_longest_as_llama_cpp_prints_it() -> None:
    """llama.cpp prints 16,384.00 MiB of keys and values, and 598.50 MiB of recurrent states for its 4 slots."""
    spec = archcalc.load(oracle.served()["nvidia/Qwen3.6-27B-NVFP4"]["config"])
    kept = {row.engine: row for row in memory_of(spec, 262_144).engines}
    assert kept["llama.cpp"].kv_cache_bytes == 16_384 * MIB
    assert kept["llama.cpp"].state_bytes == 598.5 * MIB
    assert kept["archcalc"].state_bytes == (144 + 2.8125) * MIB
    assert "full_pages" not in kept


@pytest.mark.parametrize("source", ["gemma-2-9b", "llama-3-8b", "deepseek-v3", "gpt-oss-20b"])
@pytest.mark.parametrize("tokens", [8_192, 7_001])
def test_a_line_is_the_cache_of_any_longer_text(source: str, tokens: int) -> None:
    spec = archcalc.load(source)
    result = memory_of(spec, tokens)
    assert all(line.from_tokens <= tokens for line in result.cache_lines)
    kept = sum(line.fixed_bytes + line.token_bytes * tokens for line in result.cache_lines)
    assert kept == result.kv_cache_bytes + result.state_bytes
    assert sum(line.token_bytes for line in result.cache_lines) == result.next_token_bytes


def test_states_and_convolutions_are_the_fixed_part() -> None:
    spec = archcalc.load(oracle.served()["nvidia/Qwen3.6-27B-NVFP4"]["config"])
    result = memory_of(spec, 100)
    lines = {line.group: line for line in result.cache_lines}
    assert (lines["attention"].fixed_bytes, lines["attention"].token_bytes) == (0, 65_536)
    assert (lines["linear"].fixed_bytes, lines["linear"].token_bytes) == (result.state_bytes, 0)
    assert (lines["attention"].layers, lines["linear"].layers) == (16, 48)


def test_full_pages_keep_what_windows_leave_out() -> None:
    spec = archcalc.load("gemma-2-9b")
    ledger, work = build(spec), workload(spec, seq=8_192, batch=3)
    exact, full, cells = engine_caches(ledger, work, "bf16", "bf16")
    # 21 of 42 layers have a window of 4,096.
    assert (exact.engine, full.engine, cells.engine) == ("archcalc", "full_pages", "llama.cpp")
    assert full.kv_cache_bytes == 3 * 42 * 2 * 8 * 256 * 2 * 8_192
    assert exact.kv_cache_bytes == full.kv_cache_bytes * 3 // 4
    # llama.cpp has windows for 4 slots, and 512 tokens of a micro-batch.
    assert cells.kv_cache_bytes == 21 * 2 * 8 * 256 * 2 * (3 * 8_192 + 4 * 4_096 + 512)
    short = structs.replace(work, seq=4_096)
    assert len({row.kv_cache_bytes for row in engine_caches(ledger, short, "bf16", "bf16")}) == 1


def test_a_model_without_windows_and_states_is_kept_alike() -> None:
    assert memory_of(archcalc.load("llama-3-8b"), 128).engines == ()
    bert = archcalc.load("bert-base")
    assert cache_lines(build(bert), workload(bert), "bf16", "bf16") == ()
