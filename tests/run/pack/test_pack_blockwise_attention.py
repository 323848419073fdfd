"""Attention in blocks of queries is attention."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from archcalc.nn import build
from archcalc.run.pack import pack
from archcalc.run.pack.blockwise_attention import BLOCK_QUERIES, BLOCKWISE_TOKENS, blockwise_attention
from tests.nn.test_nn_cache import filled
from tests.run.pack.test_pack import WIDE, close, wide


@pytest.mark.parametrize("n_tokens", [1, BLOCK_QUERIES - 1, BLOCK_QUERIES, 2 * BLOCK_QUERIES + 5])
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(6, 2), (3, 3), (4, 1)])
def test_blocks_give_what_one_product_gives(n_tokens: int, n_heads: int, n_kv_heads: int) -> None:
    q, k, v = (torch.randn(2, n, n_tokens, 16) for n in (n_heads, n_kv_heads, n_kv_heads))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True)
    assert torch.allclose(blockwise_attention(q, k, v, 0.3), expected, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{}, {"window": 70}, {"softcap": 3.0}, {"sinks": True}, {"position": {"kind": "alibi"}}]
)
@pytest.mark.parametrize("n_tokens", [BLOCKWISE_TOKENS[0] - 1, BLOCKWISE_TOKENS[0] + 3])
@torch.no_grad()
def test_long_prompts_of_every_kind_of_scores(change: dict[str, Any], n_tokens: int) -> None:
    spec = wide(WIDE | change, n_ctx=256)
    model = filled(build(spec, "cpu"))
    packed, ids = pack(deepcopy(model)), torch.randint(spec.vocab_size, (2, n_tokens))
    padding = torch.zeros_like(ids, dtype=torch.bool)
    padding[1, :7] = True
    expected = model(ids)
    assert close(packed(ids), expected)
    assert close(packed(ids, cache=packed.new_cache(2, n_tokens), n_logits=1), expected[:, -1:])
    alone = model(ids[1:, 7:])
    assert close(packed(ids, cache=packed.new_cache(2, n_tokens), padding_BT=padding, n_logits=1)[1:], alone[:, -1:])
