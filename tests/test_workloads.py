"""FLOPs and cache bytes of the ledger are those of our modules: what torch counts, and what is really allocated."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.analysis.caches import caches
from archcalc.analysis.flops import by_op, summary
from archcalc.analysis.memory import state_bytes
from archcalc.analysis.memory import summary as memory
from archcalc.errors import InputError
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.ledger.build import build
from archcalc.nn.cache import allocate
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.branches import arms
from archcalc.spec.groups import layers_of
from archcalc.spec.workload import Workload, workload
from tests.examples import examples
from tests.nn.flop_truth import Flops, backward, decode, prefill
from tests.strategies import ANY_DECODERS, DECODERS, specs
from tests.structures import STRUCTURES

INDEX = re.compile(r"\.\d+(?=\.|$)")
# Products of attention and of mixers, and the head's matrix, are computed in the module that holds them.
WITHIN = re.compile(
    r"\.((pos_key_|pos_query_|global_|second_half_)?scores|(global_|second_half_)?values|summaries|sum|logits"
    r"|(input|decay)_gate|scan|new state|triangular solve|\w+ · \w+)$|(?<=_pairs)\.(down|up)$"
)
DECODING = [name for name in presets.names() if load(name).decoder is not None]


def counted(flops: Flops) -> Counter[str]:
    """What torch counts by module, a layer's index as '*'."""
    found: Counter[str] = Counter()
    for name, count in flops.by_module.items():
        found[INDEX.sub(".*", name)] += count
    return +found


def stated(spec: Spec, work: Workload) -> Counter[str]:
    """The same by the ledger."""
    found: Counter[str] = Counter()
    for op in by_op(build(spec), work):
        path, n_layers = WITHIN.sub("", op.row.path.replace("{i}", "*")), len(op.row.layer_indices)
        n_lent = sum(has_lent_projection(spec, op.row.path, index) for index in op.row.layer_indices)
        lent = op.forward * n_lent // n_layers if n_lent else 0
        found[path.replace(".relative.", ".")] += lent  # computed by the projection of queries or keys itself
        found[path] += op.forward - lent
    return +found


def has_lent_projection(spec: Spec, path: str, index: int) -> bool:
    """Whether the product is of relative positions, by the layer's projection of contents."""
    place = re.fullmatch(r"(encoder\.|decoder\.|)layers\.\{i\}\.(\w+)\.relative\.[kq]", path)
    if place is None:
        return False
    stack = next(own.stack for own in spec.stacks if own.prefix == place[1])
    part = next(arm.part for arm in arms(layers_of(stack)[index]) if arm.name == place[2])
    return part.position.shares_projections


DEPTH = 5  # layers of a preset that are gone through one by one: all kinds of its layers, and the first kind twice


def shallow(name: str) -> Spec:
    """A preset with its first layers alone: the rest are the same again, which `test_whole_presets` goes through."""
    return load(
        name, {"n_layers": min(DEPTH, *(len(layers_of(stack)) for stack in (own.stack for own in load(name).stacks)))}
    )


@pytest.mark.parametrize("name", presets.names())
def test_the_first_layers_are_of_all_kinds(name: str) -> None:
    whole, part = (
        {prefix: {*map(repr, layers_of(stack))} for prefix, stack in ((own.prefix, own.stack) for own in spec.stacks)}
        for spec in (load(name), shallow(name))
    )
    assert whole == part


def fitting(spec: Spec, seq: int, past: int = 0, batch: int = 1) -> Workload:
    """So many tokens, or as many as a table of positions has."""
    seq = min(seq, spec.n_ctx)
    crosses = spec.family == "encoder-decoder"
    source = min(seq + past + 2, spec.n_ctx) if crosses else None
    return workload(spec, batch=batch, seq=seq, past=min(past, spec.n_ctx - seq), source_seq=source)


@examples(40)
@given(specs(), st.integers(1, 2), st.integers(1, 6))
def test_a_prefill_of_any_spec(spec: Spec, batch: int, seq: int) -> None:
    work = fitting(spec, seq, batch=batch)
    assert counted(prefill(spec, batch, work.seq, work.source_seq)) == stated(spec, work)


@examples(40)
@given(ANY_DECODERS, st.integers(1, 3), st.integers(1, 9))
def test_a_decode_of_any_spec(spec: Spec, seq: int, past: int) -> None:
    assume(spec.n_ctx > 1)
    work = fitting(spec, min(seq, spec.n_ctx - 1), past)
    assert counted(decode(spec, 1, work.seq, work.past, work.source_seq)) == stated(spec, work)


@examples(40)
@given(specs(), st.integers(1, 5))
def test_a_backward_pass_of_any_spec(spec: Spec, seq: int) -> None:
    work = fitting(spec, seq)
    assert backward(spec, 1, work.seq, work.source_seq).total == summary(build(spec), work)["backward"]


# One of each kind of depth: all layers alike, two kinds in turn, one kind before another, an encoder, two stacks.
WHOLE = ["llama-3-8b", "gemma-2-9b", "gpt-oss-20b", "deepseek-v3", "bert-base", "t5-small"]


@pytest.mark.parametrize("name", WHOLE)
def test_whole_presets(name: str) -> None:
    spec = load(name)
    work = fitting(spec, 128)
    assert counted(prefill(spec, 1, work.seq, work.source_seq)) == stated(spec, work)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("seq", [128, 2048])
def test_a_prefill_of_presets(name: str, seq: int) -> None:
    spec = shallow(name)
    work = fitting(spec, seq)
    assert counted(prefill(spec, 1, work.seq, work.source_seq)) == stated(spec, work)


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name in DECODING])
def test_a_decode_of_presets(name: str) -> None:
    spec = shallow(name)
    work = fitting(spec, 1, 2047)
    assert counted(decode(spec, 1, 1, work.past, work.source_seq)) == stated(spec, work)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_backward_pass_of_presets(name: str) -> None:
    spec = shallow(name)
    work = fitting(spec, 128)
    assert backward(spec, 1, work.seq, work.source_seq).total == summary(build(spec), work)["backward"]


def allocated(spec: Spec, work: Workload) -> int:
    source = work.source_seq if spec.family == "encoder-decoder" else None
    return allocate(spec, work.batch, work.past + work.seq, source=source, dtype=torch.bfloat16).nbytes


@examples(150)
@given(DECODERS, st.integers(1, 3), st.integers(1, 9), st.integers(0, 9))
def test_the_cache_of_any_spec(spec: Spec, batch: int, seq: int, past: int) -> None:
    work = fitting(spec, seq, past, batch)
    stated = memory(build(spec), work, "bf16")
    assert stated["kv_cache_bytes"] + stated["state_bytes"] == allocated(spec, work)


@pytest.mark.parametrize("name", DECODING)
def test_the_cache_of_presets(name: str) -> None:
    spec = load(name)
    work = fitting(spec, 1, 4095, batch=2)
    assert memory(build(spec), work, "bf16")["kv_cache_bytes"] == allocated(spec, work)


def stored(spec: Spec, work: Workload, name: str) -> int | None:
    """Bytes of the cache that our module allocates in a format; None if it refuses a width."""
    source = work.source_seq if spec.family == "encoder-decoder" else None
    try:
        return allocate(spec, work.batch, work.past + work.seq, source=source, format=name).nbytes
    except InputError:
        return None


def counted_bytes(spec: Spec, work: Workload, name: str) -> int | None:
    """The same by the ledger; states are kept in torch's dtype."""
    try:
        ledger = build(spec)
        return sum(one.total_bytes for one in caches(ledger, work, name)) + state_bytes(ledger, work, "fp32")
    except InputError:
        return None


@examples(100)
@given(DECODERS, st.integers(1, 3), st.integers(1, 9), st.integers(0, 9))
def test_the_cache_of_any_spec_in_every_format(spec: Spec, batch: int, seq: int, past: int) -> None:
    work = fitting(spec, seq, past, batch)
    for name in CACHE_TYPES:
        assert counted_bytes(spec, work, name) == stored(spec, work, name), name


@examples(100)
@given(st.sampled_from(list(CACHE_TYPES)), st.integers(1, 6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 30))
def test_the_cache_of_wide_heads_in_every_format(name: str, blocks: int, n_kv: int, window: int, seq: int) -> None:
    """Widths of whole groups, which drawn specs are too small for."""
    work_of = {"d_head": 32 * blocks, "n_kv_heads": n_kv, "n_heads": 2 * n_kv, "window": window, "n_layers": 3}
    spec = load("mistral-7b", work_of)
    work = fitting(spec, seq, seq, 2)
    found = counted_bytes(spec, work, name)
    assert found == stored(spec, work, name)
    assert (found is None) == (name == "int4-g64" and blocks % 2 == 1)


@pytest.mark.parametrize("name", DECODING)
def test_the_cache_of_presets_in_every_format(name: str) -> None:
    spec = load(name)
    work = fitting(spec, 1, 4095, batch=2)
    for kind in CACHE_TYPES:
        assert counted_bytes(spec, work, kind) == stored(spec, work, kind), kind
