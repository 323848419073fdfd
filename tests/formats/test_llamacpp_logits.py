"""llama.cpp itself loads the tests' GGUF files of each architecture, and gives the probabilities that we compute."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("xllamacpp"), reason="xllamacpp is not installed; .ci/run installs it"
)
# GELU is a table of 16-bit numbers there.
WITH_GELU = (
    *("bert", "bloom", "falcon", "falcon-7b", "gemma", "gemma-embedding", "gemma3", "gemma4", "gptneox"),
    *("jina-bert-v3", "modern-bert", "mpt", "phi2", "starcoder", "starcoder2", "t5encoder-umt5"),
)
TOLERANCE = dict.fromkeys(WITH_GELU, 5e-3)
PROMPT = [5, 17, 33, 80, 2, 71, 44]
# In a process of its own: it prints from C++, and would serve on.
CODE = """
import json
import os
import sys
import xllamacpp
prompt, n_states, *files = sys.argv[1:]
for index, file in enumerate(files):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = file, 64, 1, False, 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding = index < int(n_states)
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.embd_normalize = -1
    request = {"prompt": json.loads(prompt), "n_predict": 1, "n_probs": 96, "temperature": 0}
    try:
        if params.embedding:
            answer = xllamacpp.Server(params).handle_embeddings({"input": [json.loads(prompt)], "embd_normalize": -1})
            found = dict(enumerate(answer["data"][0]["embedding"]))
        else:
            answer = xllamacpp.Server(params).handle_completions(request)
            top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            found = {each["id"]: each["logprob"] for each in top}
    except Exception as error:
        found = {"error": str(error)}
    print("RESULT", json.dumps(found), flush=True)
os._exit(0)
"""


def of_llama_cpp(files: Sequence[Path], n_states: int = 0) -> list[dict[str, float]]:
    """The log-probability of each token after the prompt, for each file; what it says where it does not load one.

    Of the first `n_states` files, which are encoders: the mean of the tokens' states.
    """
    call = [sys.executable, "-c", CODE, json.dumps(PROMPT), str(n_states), *map(str, files)]
    found = subprocess.run(call, capture_output=True, text=True, timeout=300)  # noqa: S603
    results = [line.removeprefix("RESULT ") for line in found.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(results) == len(files), found.stderr[-2000:]
    return [json.loads(result) for result in results]


def differences(encoders: Sequence[Path], others: Sequence[Path]) -> dict[str, float]:
    """How far our numbers of each file are from llama.cpp's, where that is above a tolerance."""
    from archcalc.checkpoint import open_checkpoint

    found = {}
    files = [*encoders, *others]
    for file, theirs in zip(files, of_llama_cpp(files, len(encoders)), strict=True):
        assert "error" not in theirs, (file.stem, theirs)
        output = open_checkpoint(str(file)).load()(torch.tensor([PROMPT]))[0]
        ours = output.mean(0) if file in encoders else output[-1].log_softmax(-1)
        assert len(theirs) == len(ours)
        found[file.stem] = max(abs(ours[int(index)].item() - value) for index, value in theirs.items())
    return {name: difference for name, difference in found.items() if difference > TOLERANCE.get(name, 5e-5)}


@torch.no_grad()
def test_probabilities_are_those_of_llama_cpp(tmp_path: Path) -> None:
    from tests.checkpoint.gguf_cases import ARCHITECTURES
    from tests.checkpoint.gguf_models import model_of, with_layer_sizes, write, write_file

    files: dict[bool, list[Path]] = {True: [], False: [tmp_path / "deci.gguf"]}
    write_file(files[False][0], "deci", *with_layer_sizes())
    for arch in ARCHITECTURES:
        if not arch.not_in_llama_cpp:
            file = tmp_path / f"{arch.id}.gguf"
            write(file, model_of(arch), arch)
            files[arch.class_name is not None].append(file)
    assert not differences(files[True], files[False])
