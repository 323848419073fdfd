"""What each rank holds is what the calculator says: of real modules, without processes (a group that only counts)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.distributed.tensor import DTensor

from archcalc import build, load
from archcalc.analysis import shards
from archcalc.errors import InputError
from archcalc.ledger.build import build as build_ledger
from archcalc.run.devices import Ranks
from archcalc.run.distributed.load import initialize, shard_model
from archcalc.run.distributed.local_shards import local_shard, local_tensor
from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.branches import arms
from archcalc.spec.ffn import Gated, Plain
from archcalc.spec.groups import layers_of
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.run.distributed.fake_group import rank_of
from tests.strategies import specs

PRESETS = {
    "gpt2": {"n_layers": 2},
    "llama-3-8b": {"n_layers": 2},
    "gpt-oss-20b": {"n_layers": 2, "n_experts": 4},
    "deepseek-v3": {"n_layers": 4, "n_experts": 8, "n_groups": 4},
    "gemma-2-9b": {"n_layers": 2},
    "t5-small": {},
    "bert-base": {"n_layers": 2},
    "smollm2-135m": {"n_heads": 8, "n_kv_heads": 2, "d_head": 72, "n_layers": 2},
}


def check_bytes(spec: Spec, engine: shards.Engine, n: int) -> None:
    ledger = build_ledger(spec)
    stated = shards.weights(ledger, engine, n, "fp32")
    names = {name: line for row, line in zip(ledger.rows, stated, strict=True) for name in row.names()}
    for rank in range(n):
        with rank_of(engine, rank, n) as ranks:
            model = build(spec)
            whole = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
            shard_model(model, ranks)
            held = model.state_dict(keep_vars=True)
            assert held.keys() == names.keys(), "what is tied stays one tensor"
            for name, tensor in held.items():
                assert tuple(tensor.shape) == whole[name]
                assert local_tensor(tensor).nbytes * names[name].layers == names[name].rank_bytes[rank], (name, rank)
            if spec.decoder:
                work = workload(spec, batch=2, seq=min(4, spec.n_ctx))
                sizes = {"source": work.seq} if spec.encoder else {}
                cached = model.new_cache(2, work.seq, dtype=torch.bfloat16, device="meta", **sizes).nbytes
                found = shards.split_bytes(shards.caches(ledger, work, engine, n, "bf16"))
                assert cached == (found[rank] if len(found) == n else 0)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("engine", shards.ENGINES)
def test_each_rank_of_a_preset_holds_what_the_calculator_says(name: str, engine: shards.Engine) -> None:
    check_bytes(load(name, PRESETS[name]), engine, 4)


def _norms_whole_widths(spec: Spec) -> bool:
    """Whether a norm without weights is over all heads, or over all hidden units."""
    layers = [layer for stack in (own.stack for own in spec.stacks) for layer in layers_of(stack)]
    parts = [arm.part for layer in layers for arm in arms(layer)]
    norms = [part.qk_norm for part in parts if isinstance(part, Attention) and part.qk_norm is not None]
    whole = [one.norm for one in norms if one.over == "full"]
    whole += [part.down_norm for part in parts if isinstance(part, Plain | Gated) and part.down_norm]
    return any(not norm.weight for norm in whole)


@examples(25)
@given(spec=specs(), n=st.sampled_from((2, 4)), engine=st.sampled_from(shards.ENGINES))
def test_each_rank_holds_what_the_calculator_says(spec: Spec, n: int, engine: shards.Engine) -> None:
    # A norm without weights is no row, so the calculator cannot refuse it; the run does.
    assume(engine == "fsdp" or not _norms_whole_widths(spec))
    try:
        shards.check_parts(spec, engine, n)
        shards.weights(build_ledger(spec), engine, n, "fp32")
    except InputError:
        with rank_of(engine, 0, n) as ranks, pytest.raises(InputError):
            shard_model(build(spec), ranks)
        return
    check_bytes(spec, engine, n)


@examples(20)
@given(spec=specs(), n=st.sampled_from((2, 3, 4)), engine=st.sampled_from(shards.ENGINES))
def test_the_ranks_together_hold_each_split_tensor_once(spec: Spec, n: int, engine: shards.Engine) -> None:
    ledger = build_ledger(spec)
    try:
        found = shards.weights(ledger, engine, n, "fp32")
    except InputError:
        assume(False)
    for row, line in zip(ledger.rows, found, strict=True):
        times = n if line.split_along is None else 1
        assert sum(line.rank_bytes) == times * row.total * 4
        assert list(line.rank_bytes) == sorted(line.rank_bytes, reverse=True)


@pytest.mark.parametrize("engine", shards.ENGINES)
def test_ranks_draw_what_one_process_draws(engine: shards.Engine) -> None:
    spec = load("gpt2", {"n_layers": 1, "vocab_size": 7, "d_model": 12, "n_heads": 2, "d_ff": 10, "n_ctx": 8})
    torch.manual_seed(3)
    whole = build(spec, "cpu").state_dict()
    for rank in range(2):
        with rank_of(engine, rank, 2) as ranks:
            model = build(spec)
            shard_model(model, Ranks(engine, ranks.mesh, torch.device("cpu")))
            initialize(model, 3)
            for name, tensor in model.state_dict(keep_vars=True).items():
                target = local_shard(tensor)
                n_here = target.local.shape[target.axis]
                assert torch.equal(target.local, whole[name].narrow(target.axis, target.first, n_here)), name


def test_a_tied_table_is_one_storage() -> None:
    spec = load("gpt2", {"n_layers": 1})
    assert spec.head is not None
    assert spec.head.tied
    with rank_of("tp", 0, 2) as ranks:
        model = build(spec)
        shard_model(model, Ranks("tp", ranks.mesh, torch.device("cpu")))
        seen = []
        model.head.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
        model(torch.zeros(1, 1, dtype=torch.long))
        (table,) = model.embed.tokens.parameters()
        assert isinstance(table, DTensor)
        assert seen[0].data_ptr() == table.to_local().data_ptr()
        assert sum(tuple(p.shape) == (50257, 768) for p in model.parameters()) == 1


@pytest.mark.parametrize(
    ("name", "changes", "n", "line"),
    [
        ("gpt2", {}, 5, "tp: found 5, which does not divide n_heads = 12; expected 1, 2, 3, 4, 6, 12"),
        (
            "llama-3-8b",
            {"n_heads": 36, "n_kv_heads": 6, "d_head": 8},
            4,
            "tp: found 4, which does not divide n_kv_heads = 6",
        ),
        ("gpt2", {"ffn.down_norm": {"kind": "rmsnorm"}}, 2, "tp: hidden units are normed over their whole width"),
        ("gpt2", {}, 0, "tp: found 0; expected 1 or more"),
    ],
)
def test_ranks_that_cannot_share_heads_are_refused_in_one_line(name: str, changes: dict, n: int, line: str) -> None:
    with pytest.raises(InputError) as error:
        shards.weights(build_ledger(load(name, changes)), "tp", n, "bf16")
    assert str(error.value).startswith(line)


def test_worked_numbers() -> None:
    ledger = build_ledger(load("gpt2"))
    table = next(line for line in shards.weights(ledger, "tp", 4, "fp32") if line.path == "embed.tokens.weight")
    rows = (12_565, 12_565, 12_565, 12_562)
    assert sum(rows) == 50_257
    assert table.rank_bytes == tuple(count * 768 * 4 for count in rows)
    assert table.formula == f"⌈vocab_size / 4⌉·4·d_model = ⌈50257 / 4⌉·4·768 = {table.first_rank_bytes:,}"
