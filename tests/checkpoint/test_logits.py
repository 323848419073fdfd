"""What transformers saves and we load gives transformers' logits: at once, and token by token through the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.checkpoint import open_checkpoint
from archcalc.hf import model_types
from tests.checkpoint.conftest import Pair
from tests.checkpoint.random_models import CONFIGS, random_model
from tests.hf.tiny.bert_like import MASK


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def stepwise(model: nn.Module, ids: Tensor, source: Tensor | None) -> Tensor:
    cache = model.new_cache(ids.shape[0], 16)
    if source is not None:
        model.encode(source, cache=cache)
    steps = [model(*([] if source is None else [None]), step, cache=cache) for step in ids.split(1, 1)]
    return torch.cat(steps, 1)


def steps_of(theirs: Any, ids: Tensor) -> Tensor:
    """The class's own steps, which differ from one pass where its tokens see each other."""
    cache, steps = None, []
    for n in range(1, ids.shape[1] + 1):
        found = theirs(input_ids=ids[:, :n], past_key_values=cache, use_cache=True)
        cache = found.past_key_values
        steps.append(found.logits[:, -1:])
    return torch.cat(steps, 1)


def test_every_family_is_there() -> None:
    assert {name.split(" ")[0] for name in CONFIGS} == set(model_types())


@torch.no_grad()
def test_logits_are_those_of_transformers(pair: Pair) -> None:
    theirs, ours = pair.theirs, pair.ours
    # None of the tokens that pad.
    ids, source = torch.randint(6, 96, (2, 11)), torch.randint(6, 96, (2, 7))
    ids[0, 3] = MASK
    if theirs.config.is_encoder_decoder:
        wanted = theirs(input_ids=source, decoder_input_ids=ids).logits
        assert_close(ours(source, ids), wanted)
        assert_close(stepwise(ours, ids, source), wanted)
        return
    wanted = theirs(input_ids=ids).logits
    assert_close(ours(ids), wanted)
    decoder = pair.checkpoint.spec.decoder
    if decoder is not None:
        assert_close(stepwise(ours, ids, None), steps_of(theirs, ids) if decoder.reads_pass else wanted)
    assert not ours.training
    assert not any(weight.requires_grad for weight in ours.parameters())


@torch.no_grad()
def test_a_dynamic_scaling_reaches_beyond_the_context(tmp_path: Path) -> None:
    """Keys stay in the cache as they were rotated, so steps are compared with steps."""
    theirs = random_model("llama dynamic", max_position_embeddings=8)
    theirs.save_pretrained(tmp_path)
    ours = open_checkpoint(str(tmp_path)).load()
    ids = torch.randint(96, (2, 11))
    theirs_cache, steps = None, []
    for step in ids.split(1, 1):
        found = theirs(step, past_key_values=theirs_cache, use_cache=True)
        theirs_cache = found.past_key_values
        steps.append(found.logits)
    assert_close(stepwise(ours, ids, None), torch.cat(steps, 1))
    assert_close(ours(ids), theirs(ids).logits)
    assert (ours(ids) - stepwise(ours, ids, None)).abs().max() > 1e-3


@torch.no_grad()
def test_experts_beyond_their_capacity_give_nothing(tmp_path: Path) -> None:
    theirs = random_model("switch_transformers default switches", expert_capacity=2)
    theirs.save_pretrained(tmp_path)
    ids, source = torch.randint(6, 96, (2, 11)), torch.randint(6, 96, (2, 7))
    wanted = theirs(input_ids=source, decoder_input_ids=ids).logits
    assert_close(open_checkpoint(str(tmp_path)).load()(source, ids), wanted)


@torch.no_grad()
def test_bf16_is_loaded_as_it_is_or_widened(tmp_path: Path) -> None:
    theirs = random_model("llama").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path)
    found = open_checkpoint(str(tmp_path))
    arrived: list[int] = []
    narrow, wide = found.load(progress=arrived.append), found.load(dtype=torch.float32)
    assert found.dtype is torch.bfloat16
    assert sum(arrived) == found.n_bytes == sum(p.numel() * 2 for p in theirs.parameters())
    for a, b in zip(narrow.parameters(), wide.parameters(), strict=True):
        assert (a.dtype, b.dtype) == (torch.bfloat16, torch.float32)
        assert torch.equal(a.float(), b)
    ids = torch.randint(96, (1, 9))
    # Read anew: a model that was narrowed keeps narrow frequencies.
    anew = type(theirs).from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    assert_close(wide(ids), anew(ids).logits)
