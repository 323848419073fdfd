"""llama.cpp itself loads the tests' GGUF files of each architecture, and gives the probabilities that we compute."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("xllamacpp"), reason="xllamacpp is not installed; .ci/run installs it"
)
PROMPT = [5, 17, 33, 80, 2, 71, 44]
# In a process of its own: it prints from C++, and would serve on.
CODE = """
import json
import os
import sys
import xllamacpp
for file in sys.argv[2:]:
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = file, 64, 1, False, 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    request = {"prompt": json.loads(sys.argv[1]), "n_predict": 1, "n_probs": 96, "temperature": 0}
    try:
        answer = xllamacpp.Server(params).handle_completions(request)
        found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {each["id"]: each["logprob"] for each in found}
    except Exception as error:
        logprobs = {"error": str(error)}
    print("RESULT", json.dumps(logprobs), flush=True)
os._exit(0)
"""


def of_llama_cpp(files: list[Path]) -> list[dict[str, float]]:
    """The log-probability of each token after the prompt, for each file; what it says where it does not load one."""
    call = [sys.executable, "-c", CODE, json.dumps(PROMPT), *map(str, files)]
    found = subprocess.run(call, capture_output=True, text=True, timeout=300)  # noqa: S603
    results = [line.removeprefix("RESULT ") for line in found.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(results) == len(files), found.stderr[-2000:]
    return [json.loads(result) for result in results]


@torch.no_grad()
def test_probabilities_are_those_of_llama_cpp(tmp_path: Path) -> None:
    from archcalc.checkpoint import open_checkpoint
    from tests.checkpoint.gguf_cases import ARCHITECTURES
    from tests.checkpoint.gguf_models import model_of, write

    archs = [arch for arch in ARCHITECTURES if not arch.not_in_llama_cpp]
    files = [tmp_path / f"{arch.id}.gguf" for arch in archs]
    for arch, file in zip(archs, files, strict=True):
        write(file, model_of(arch), arch)
    wrong = {}
    for arch, file, theirs in zip(archs, files, of_llama_cpp(files), strict=True):
        ours = open_checkpoint(str(file)).load()(torch.tensor([PROMPT]))[0, -1].log_softmax(-1)
        difference = (
            max(abs(ours[int(token)].item() - value) for token, value in theirs.items())
            if len(theirs) == 96
            else theirs
        )
        if difference is theirs or difference > 1e-3:
            wrong[arch.id] = difference
    assert not wrong
