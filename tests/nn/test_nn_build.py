"""Any spec builds, runs on meta and on the CPU, and allocates nothing where it must not."""

from __future__ import annotations

import ast
import re
import resource
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import archcalc.nn
from archcalc.nn import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.attention import disentangled
from archcalc.spec.base import Part
from archcalc.spec.branches import arms
from archcalc.spec.document import decode, encode
from archcalc.spec.ffn import PerLayerGate
from archcalc.spec.groups import groups, layers_of
from tests.examples import examples
from tests.strategies import PARTS, specs


def inputs(spec: Spec, batch: int, seq: int, device: str) -> list[torch.Tensor]:
    """Token ids for every stack; the source of an encoder-decoder is another length."""
    seqs = [max(seq - 1, 1), seq] if spec.family == "encoder-decoder" else [seq]
    return [torch.randint(spec.vocab_size, (batch, n), device=device) for n in seqs]


def shape_out(spec: Spec, batch: int, seq: int) -> tuple[int, ...]:
    labels = spec.head.labels if spec.head else None
    width = labels.n_labels if labels else spec.vocab_size if spec.head else spec.d_model
    return (batch, width) if spec.reads_text else (batch, seq, width)


@examples(40)
@given(spec=specs(), batch=st.sampled_from((2, 3, 1)), data=st.data())
def test_runs_on_meta(spec: Spec, batch: int, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, spec.n_ctx))
    model = build(spec)
    found = model(*inputs(spec, batch, seq, "meta"))
    assert found.shape == shape_out(spec, batch, seq)
    assert {tensor.device.type for tensor in (found, *model.parameters(), *model.buffers())} == {"meta"}
    further = model.multi_token_logits(*inputs(spec, batch, seq, "meta"))
    n_mtp = spec.decoder.n_mtp if spec.decoder else 0
    assert [y.shape for y in further] == [shape_out(spec, batch, seq - 1 - m) for m in range(min(n_mtp, seq - 1))]


@examples(40)
@given(spec=specs(), training=st.booleans())
def test_runs_on_the_cpu(spec: Spec, training: bool) -> None:
    model = build(spec, "cpu").train(training)
    ids = inputs(spec, 2, min(spec.n_ctx, 4), "cpu")
    found = model(*ids)
    assert found.shape == shape_out(spec, 2, ids[-1].shape[1])
    assert found.isfinite().all()
    assert {name: p.shape for name, p in model.named_parameters()} == {
        name: p.shape for name, p in build(spec).named_parameters()
    }


@examples(40)
@given(spec=specs(family="decoder"))
def test_every_parameter_takes_part(spec: Spec) -> None:
    """No weight is built that no forward uses (a chosen expert's gradient reaches the stacked weights of all)."""
    model = build(spec, "cpu")
    seq = min(spec.n_ctx, 4)
    ids = inputs(spec, 2, seq, "cpu")
    (model(*ids).sum() + sum(y.sum() for y in model.multi_token_logits(*ids))).backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    too_far = tuple(f"mtp.{m}." for m in range(seq - 1, 9))  # what a sequence so short cannot reach
    unread = [f"embed.tables.{one.name}." for one in spec.embedding.tables if not one.is_read]
    positions = [found for layer in layers_of(spec.decoder) for arm in arms(layer) if (found := disentangled(arm.part))]
    if not any(position.content_to_position or position.position_to_content for position in positions):
        unread.append("distances.")  # DeBERTa's class builds the table for `pos_att_type: []` too
    if not any(isinstance(arm.part, PerLayerGate) for layer in layers_of(spec.decoder) for arm in arms(layer)):
        unread.append("per_layer.")  # a run may end before the layer of its pattern that reads the table
    idle = (arm.name for layer in layers_of(spec.decoder) for arm in arms(layer) if arm.reads == "nothing")
    never = re.compile("|".join(rf"(layers|mtp)\.\d+\.(layer\.)?{name}[._]" for name in {*idle, "no such arm"}))
    left = [name for name in unused if not name.startswith((*too_far, *unread, "extras."))]
    if seq == 1:  # RWKV's decays are of earlier tokens
        left = [name for name in left if not name.endswith(".decay")]
    assert [name for name in left if not never.match(name) and ".indexer." not in name] == []


@examples(100)
@given(spec=specs())
def test_drawn_specs_are_valid(spec: Spec) -> None:
    assert decode(encode(spec)) == spec
    for stack in (own.stack for own in spec.stacks):
        assert groups(stack)


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_parts_are_drawn(kind: type[Part]) -> None:
    @examples(5)
    @given(part=PARTS[kind])
    def check(part: Part) -> None:
        assert type(part) is kind

    check()


@pytest.mark.parametrize("name", ["deepseek-v3", "llama-3-405b"])
def test_giants_cost_nothing_on_meta(name: str) -> None:
    spec = load(name)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = build(spec)
    assert time.process_time() - start < 3
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200, "MiB"
    assert all(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers()))


def test_shared_weights_are_built_once_and_used_every_turn() -> None:
    layer = {"norm": {"kind": "rmsnorm"}, "ffn": {"kind": "plain", "d_ff": 5, "activation": "relu"}}
    stack = {"runs": [{"count": 4, "pattern": [layer, layer], "share_weights": True}, {"count": 1, "pattern": [layer]}]}
    model = build(load({"name": "x", "vocab_size": 7, "n_ctx": 5, "d_model": 3, "decoder": stack}))
    assert list(model.layers) == ["0", "1", "4"]
    assert model.owners == ["0", "1", "0", "1", "4"]


def test_dtype_is_taken() -> None:
    model = build(load("tiny"), "cpu", torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(torch.zeros(1, 3, dtype=torch.long)).dtype == torch.bfloat16


def test_it_reads_the_spec_alone() -> None:
    """The modules never look at the ledger's numbers, or their agreement would prove nothing.

    What a cache format is (bits, groups) is data like the spec; the bytes that it takes are reckoned apart.
    """
    readable = ("archcalc.nn", "archcalc.spec", "archcalc.errors", "archcalc.words", "archcalc.formats")
    for path in Path(archcalc.nn.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.startswith("archcalc")]
            assert all(name.startswith(readable) for name in ours), path
