"""What one of several real processes checks: its part of a model against the whole of it, which each has beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from archcalc import build, load
from archcalc.analysis.shards import Engine
from archcalc.checkpoint.tensor_shard import full_tensor
from archcalc.run.decoding.decoding_state import prefill
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.decoding.steps import decode_steps
from archcalc.run.devices import Ranks
from archcalc.run.distributed.launch import process_group
from archcalc.run.distributed.load import shard_model
from archcalc.run.distributed.local_shards import local_shards
from archcalc.run.train.batches import Batch, Batches
from archcalc.run.train.dataset import of_text
from archcalc.run.train.loop import adamw, train_steps
from archcalc.run.train.session import open_session
from archcalc.run.train.settings import Settings
from archcalc.spec import Spec

SMALL = {"vocab_size": 97, "d_model": 32, "n_layers": 2, "n_ctx": 64, "n_heads": 4, "d_head": 8, "d_ff": 50}
MLA = {
    "n_layers": 4,
    "d_expert": 10,
    "n_experts": 16,
    "n_active": 4,
    "n_groups": 4,
    "n_active_groups": 2,
    "kv_rank": 12,
    "q_rank": 14,
}
LLAMA = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 8}
BLOOM = {"model_type": "bloom", "vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4}
QWEN = LLAMA | {"model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 6, "intermediate_size": 50}
ALBERT = {"model_type": "albert", "embedding_size": 12, "intermediate_size": 50, "num_hidden_groups": 1}
SINKS = {"n_heads": 8, "n_kv_heads": 4, "d_expert": 50, "n_experts": 6, "window": 4}
EACH = {"norm": {"kind": "layernorm"}, "over": "each"}
CHANNELS = {"d_value": 6, "gate": {"activation": "softplus", "bias": True}, "qk_norm": EACH, "clip": 0.5}
CHANNELS |= {"position": {"kind": "rope", "stored": True}, "temperature": {"kind": "log", "factor": 1.0, "n_tokens": 2}}
HEADS = {"gate": {"over": "head"}, "position": {"kind": "relative", "shared": "layer"}}
GATED = {
    "name": "gated",
    **{name: SMALL[name] for name in ("vocab_size", "d_model", "n_ctx")},
    "decoder": {
        "runs": [
            {
                "pattern": [
                    {
                        "norm": {"kind": "rmsnorm"},
                        "attention": {"kind": "gqa", "n_heads": 8, "n_kv_heads": 2} | attention,
                        "ffn": {"kind": "gated", "d_ff": 50},
                    }
                    for attention in (CHANNELS, HEADS)
                ]
            }
        ],
        "n_layers": 2,
    },
}
# A tied table and a vocabulary and widths that no number of ranks divides; two heads of keys for four ranks; mixtures
# with sinks and a window; a latent; ALiBi; normed heads; layers that share weights; an encoder beside a decoder;
# gates, and weights of each head.
SPECS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": ("gpt2", SMALL),
    "llama": ("llama-3-8b", SMALL | {"n_kv_heads": 2}),
    "gpt_oss": ("gpt-oss-20b", {name: SMALL[name] for name in SMALL if name != "d_ff"} | SINKS),
    "deepseek": ("deepseek-v3", {name: SMALL[name] for name in SMALL if name != "d_head"} | MLA),
    "bloom": (BLOOM, {}),
    "qwen3": (QWEN, {}),
    "albert": (LLAMA | ALBERT, {}),
    "t5": ("t5-small", SMALL),
    "gated": (GATED, {}),
}
# What is otherwise on as many; every variant is tensor-parallel on two.
CHECKED: dict[int, dict[Engine, tuple[str, ...]]] = {
    2: {"tp": tuple(SPECS), "fsdp": ("gpt2", "deepseek", "albert", "t5")},
    4: {"tp": ("gpt2", "llama", "bloom", "gated"), "fsdp": ("gpt2",)},
}


class Given(Batches):
    """The same few ids, whichever step asks."""

    def __init__(self, settings: Settings, batch: Batch) -> None:
        super().__init__(settings)
        self.given = batch

    def batch(self, step: int) -> Batch:
        return self.given

    def validation(self) -> Iterator[Batch]:
        return iter(())


def check(rank: int, n: int, port: int, folder: Path) -> None:
    """Everything that rank `rank` of n checks; what does not hold is raised."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(n))
    torch.set_num_threads(1)
    with process_group("tp", n, "cpu", 60) as ranks:
        for name, (source, changes) in SPECS.items():
            spec = load(source, changes)
            if name in CHECKED[n]["tp"]:
                check_tensor_parallel(name, spec, ranks)
            if name in CHECKED[n]["fsdp"]:
                check_fully_sharded(name, spec, replace(ranks, engine="fsdp"))
        if n == 2:
            check_run(replace(ranks, engine="fsdp"), folder)


def check_tensor_parallel(name: str, spec: Spec, ranks: Ranks) -> None:
    one, part = both(spec, ranks)
    ids = inputs(spec)
    for alone, shared in zip(outputs(spec, one, ids), outputs(spec, part, ids), strict=True):
        assert (alone - shared).abs().max() <= 1e-5 * alone.abs().max(), (name, "logits")
    assert written(spec, one) == written(spec, part), (name, "tokens")
    for model in (one, part):
        model(*ids).square().mean().backward()
    largest = max(float(p.grad.abs().max()) for p in one.parameters() if p.grad is not None)
    for alone, shared in zip(one.parameters(), part.parameters(), strict=True):
        if alone.grad is not None:
            assert (alone.grad - full_tensor(shared.grad)).abs().max() <= 1e-5 * largest, (name, "gradients")


def check_fully_sharded(name: str, spec: Spec, ranks: Ranks) -> None:
    one, part = both(spec, ranks)
    ids = inputs(spec)
    for alone, shared in zip(outputs(spec, one, ids), outputs(spec, part, ids), strict=True):
        assert torch.equal(alone, shared), (name, "logits")
    assert written(spec, one) == written(spec, part), (name, "tokens")
    told = Settings(steps=2, batch=2, seq=7, warmup=0, clip=0.1)
    losses = []
    for model in (one, part):
        targets_BT = ids[-1] % model(*ids).shape[-1]
        learned = Given(told, Batch(ids, targets_BT))
        losses.append([step.loss for step in train_steps(model, learned, adamw(model, told), told)])
    assert losses[0] == losses[1], (name, "losses")
    for alone, shared in zip(one.parameters(), part.parameters(), strict=True):
        assert torch.equal(alone, full_tensor(shared.detach())), (name, "trained weights")


def check_run(ranks: Ranks, folder: Path) -> None:
    """A run that was left and gone on with, on ranks, saves what an unbroken one of one process does."""
    told = Settings(steps=4, batch=2, seq=8, warmup=1, every=2)
    spec = load("gpt2", {**SMALL, "residual": 0.1})
    dataset = of_text(spec, "In the beginning was the Word, and the Word was so. " * 9, "char", told)
    alone = open_session(dataset, told, folder / f"alone{ranks.rank}", device=ranks.device)
    assert [step.number for step, _ in alone] == [1, 2, 3, 4]
    shared = open_session(dataset, told, folder / "shared", device=ranks.device, ranks=ranks)
    assert [step.number for step, _ in islice(shared, 2)] == [1, 2]
    dist.barrier()
    resumed = open_session(dataset, told, folder / "shared", device=ranks.device, ranks=ranks, resume=True)
    assert [step.number for step, _ in resumed] == [3, 4]
    dist.barrier()
    assert alone.last_checkpoint is not None
    assert resumed.last_checkpoint is not None
    assert resumed.run.losses == alone.run.losses
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (resumed.last_checkpoint / name).read_bytes() == (alone.last_checkpoint / name).read_bytes(), name


def both(spec: Spec, ranks: Ranks) -> tuple[nn.Module, nn.Module]:
    """The whole model, and this rank's part of the same."""
    torch.manual_seed(2)
    one, part = build(spec, "cpu").eval(), build(spec).eval()
    with torch.no_grad():
        for tensor in one.state_dict().values():
            tensor.normal_(std=0.2)
    shard_model(part, ranks)
    numbers = one.state_dict()
    with torch.no_grad():
        for name, target in local_shards(part).items():
            target.put(0, 0, numbers[name])
    return one, part


def inputs(spec: Spec) -> tuple[Tensor, ...]:
    ids_BT = torch.randint(spec.vocab_size, (2, 7), generator=torch.Generator().manual_seed(3))
    return (ids_BT, ids_BT.flip(1)) if spec.family == "encoder-decoder" else (ids_BT,)


@torch.no_grad()
def outputs(spec: Spec, model: Any, ids: tuple[Tensor, ...]) -> list[Tensor]:
    """Logits of all tokens at once and, of a decoder, through its cache: some first, then one by one."""
    found = [model(*ids)]
    if spec.decoder is not None:
        cache, *source = model.new_cache(2, 8), *ids[:-1]
        for source_BS in source:
            model.encode(source_BS, cache=cache)
        for ids_BT in ids[-1].split([4, 1, 1, 1], 1):
            found.append(model(*[None for _ in source], ids_BT, cache=cache))  # noqa: PERF401
    return found


def written(spec: Spec, model: Any) -> list[list[int | None]]:
    """What it goes on with after two prompts, the second the shorter."""
    if spec.decoder is None:
        return []
    state = prefill(model, [[1, 2, 3], [4, 5]], 6, 0)
    return list(decode_steps(state, max_tokens=6, sampling=Sampling()))
