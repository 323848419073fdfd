"""Latent attention in both forms, against PyTorch's count of products as an engine would run them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import archcalc
from archcalc.analysis.workload_flops import workload_flops
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload


@pytest.mark.parametrize(("seq", "past"), [(1, 100), (7, 0), (3, 20)])
def test_forms_are_the_products_that_they_name(seq: int, past: int) -> None:
    spec = archcalc.load("deepseek-v3", {"n_layers": 4})
    work = workload(spec, batch=2, seq=seq, past=past)
    expanded, absorbed = workload_flops(spec, work, Execution()).latent_forms
    assert expanded.form == "expanded"
    assert expanded.attention == 4 * counted(seq, past + seq, is_absorbed=False)
    assert absorbed.attention == 4 * counted(seq, past + seq, is_absorbed=True)
    assert expanded.forward - absorbed.forward == expanded.attention - absorbed.attention


def counted(new: int, keys: int, *, is_absorbed: bool) -> int:
    """Return the FLOPs of DeepSeek-V3's sizes for 2 sequences: 128 heads, 128 + 64 wide keys, 512 latents."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        latents, up_keys, up_values = torch.ones(2, keys, 512), torch.ones(128, 128, 512), torch.ones(128, 512, 128)
        queries, rotated, rotary_keys = (
            torch.ones(128, 2 * new, 128),
            torch.ones(2, 128 * new, 64),
            torch.ones(2, 64, keys),
        )
        if is_absorbed:
            latent_queries = (queries @ up_keys).reshape(2, 128 * new, 512)
            pattern = latent_queries @ latents.mT + rotated @ rotary_keys
            (pattern @ latents).reshape(128, 2 * new, 512) @ up_values
        else:
            _ = latents @ torch.ones(2, 512, 128 * (128 + 128))
            pattern = torch.ones(256, new, 192) @ torch.ones(256, 192, keys)
            _ = pattern @ torch.ones(256, keys, 128)
    return int(counter.get_total_flops())


def test_decoding_deepseek_v3_at_4096_tokens() -> None:
    """The absorbed form spares kv_up over the cache: 8.4 T FLOPs of a step."""
    spec = archcalc.load("deepseek-v3")
    result = workload_flops(spec, workload(spec, seq=1, past=4095), Execution())
    expanded, absorbed = result.latent_forms
    assert (expanded.forward, expanded.forward_causal) == (result.forward, result.forward_causal)
    per_key = 2 * 61 * 128 * 4096
    new = 2 * 61 * 128 * 512 * (128 + 128)
    assert absorbed.attention == new + per_key * (512 + 64) + per_key * 512
    assert absorbed.forward < expanded.forward / 50


def test_attended_pairs_are_those_of_the_causal_count() -> None:
    spec = archcalc.load("deepseek-v3", {"n_layers": 4})
    expanded, absorbed = workload_flops(spec, workload(spec, seq=8), Execution()).latent_forms
    pairs = 8 * 9 // 2 - 8 * 8
    assert absorbed.forward_causal - absorbed.forward == 2 * 4 * 128 * pairs * (512 + 64 + 512)
    assert expanded.forward_causal - expanded.forward == 2 * 4 * 128 * pairs * (128 + 64 + 128)


def test_other_models_have_no_latent_form() -> None:
    spec = archcalc.load("gpt2")
    assert workload_flops(spec, workload(spec), Execution()).latent_forms == ()
