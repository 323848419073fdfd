"""Parts of a checkpoint: the numbers that a rank should have, and little beside them in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from archcalc import build, load
from archcalc.analysis.shards import ENGINES, Engine
from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.native import file_contents, write
from archcalc.errors import InputError
from archcalc.run.distributed.load import shard_model
from archcalc.run.distributed.local_shards import local_shards
from archcalc.run.loading.weight_traffic import step_bytes
from tests.checkpoint.random_models import random_model
from tests.run.distributed.fake_group import rank_of

# Whole, transposed and joined, joined by head, experts stacked and apart, experts with biases, MLA, two stacks.
NAMES = ("llama", "gpt2", "gpt_neox", "mixtral", "gpt_oss", "deepseek_v3", "bert", "marian", "t5")
CODE = """
import sys
from archcalc import build, load
from archcalc.checkpoint import open_checkpoint
from archcalc.run.distributed.load import shard_model
from archcalc.run.distributed.local_shards import local_shards
from tests.run.distributed.fake_group import rank_of
def bytes_of(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
found = open_checkpoint(sys.argv[1])
small = load("gpt2", {"n_layers": 1, "vocab_size": 8, "d_model": 8, "n_heads": 2, "d_ff": 8})
engine, n_ranks = sys.argv[2], int(sys.argv[3])
with rank_of(engine, 0, n_ranks, "cpu") as ranks:
    shard_model(build(small), ranks)  # what torch imports on first use is none of the weights
    open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here on
    before = bytes_of("VmRSS")
    model = build(found.spec)
    shard_model(model, ranks)
    found.fill(local_shards(model))
    print(bytes_of("VmHWM") - before, found.n_bytes)
"""


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.disable_progress_bar()


def check_shards(source: Path, engine: Engine, n: int) -> None:
    checkpoint = open_checkpoint(str(source))
    whole = checkpoint.load().state_dict()
    for rank in range(n):
        with rank_of(engine, rank, n, "cpu") as ranks:
            model = build(checkpoint.spec, dtype=checkpoint.dtype)
            shard_model(model, ranks)
            parts = local_shards(model)
            for target in parts.values():
                target.local.fill_(torch.nan)
            checkpoint.fill(parts)
            assert parts.keys() == whole.keys()
            for name, part in parts.items():
                here = whole[name].narrow(part.axis, part.first, part.local.shape[part.axis])
                assert torch.equal(part.local, here), (name, rank)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_rank_reads_its_part(name: str, engine: Engine, tmp_path: Path) -> None:
    random_model(name).save_pretrained(tmp_path)
    check_shards(tmp_path, engine, 2 if name == "deepseek_v3" else 4)


@pytest.mark.parametrize("engine", ENGINES)
def test_copies_that_differ_are_refused(engine: Engine, tmp_path: Path) -> None:
    """As one process refuses them: what is not read is checked all the same."""
    from safetensors.torch import load_file, save_file

    random_model("llama biased and tied").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    checkpoint = open_checkpoint(str(tmp_path))
    with rank_of(engine, 0, 2, "cpu") as ranks:
        model = build(checkpoint.spec)
        shard_model(model, ranks)
        with pytest.raises(InputError, match="is tied to"):
            checkpoint.fill(local_shards(model))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a peak is read from Linux's /proc")
def test_no_rank_ever_holds_the_whole(tmp_path: Path) -> None:
    """Beside one rank of one, which does: so the peak that is read is a peak of weights."""
    changes = {"n_layers": 5, "d_model": 512, "n_heads": 8, "n_kv_heads": 8, "d_head": 64, "d_ff": 2048}
    spec = load("llama-3-8b", changes | {"vocab_size": 8192})
    write(tmp_path / "made", file_contents(build(spec, "cpu"), spec))
    share = {}
    for engine, n_ranks in ((ENGINES[0], 1), *((engine, 2) for engine in ENGINES)):
        call = [sys.executable, "-c", CODE, str(tmp_path / "made"), engine, str(n_ranks)]
        done = subprocess.run(call, capture_output=True, text=True, check=True)  # noqa: S603
        grown, n_bytes = map(int, done.stdout.split())
        assert n_bytes > 100_000_000
        share[engine, n_ranks] = grown / n_bytes
    assert all((held < 0.7) == (n_ranks == 2) for (_, n_ranks), held in share.items()), share


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_of_a_single_rank_reads_what_one_process_reads(engine: Engine) -> None:
    for name in ("tiny", "tiny-seq2seq"):
        spec = load(name)
        with rank_of(engine, 0, 1, "cpu") as ranks:
            model = build(spec)
            shard_model(model, ranks)
            assert step_bytes(model) == step_bytes(build(spec, device="cpu"))
