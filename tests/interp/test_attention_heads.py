"""Patterns of all heads equal transformers' eager attentions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import archcalc
from archcalc.inside import attention

IDS, TARGET = [5, 9, 2, 7, 40, 31], [1, 8, 3]
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "num_key_value_heads": 2}
BART = {"layers": 2, "attention_heads": 4, "ffn_dim": 40}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LlamaForCausalLM": (transformers.LlamaConfig, LLAMA),
    "GPT2LMHeadModel": (
        transformers.GPT2Config,
        {"vocab_size": 96, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    ),
    "BertForMaskedLM": (transformers.BertConfig, SMALL | {"intermediate_size": 40, "max_position_embeddings": 64}),
    "T5ForConditionalGeneration": (
        transformers.T5Config,
        {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4}
        | {"decoder_start_token_id": 0},
    ),
    "BartForConditionalGeneration": (
        transformers.BartConfig,
        {"vocab_size": 96, "d_model": 32, "max_position_embeddings": 64}
        | {f"{stack}_{size}": n for stack in ("encoder", "decoder") for size, n in BART.items()},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_patterns_equal_transformers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, sizes = MODELS[name]
    theirs = getattr(transformers, name)(config(**sizes, attn_implementation="eager")).eval()
    theirs.save_pretrained(tmp_path)
    is_pair = name.startswith(("T5", "Bart"))
    reading = attention(archcalc.load_model(tmp_path), IDS, TARGET if is_pair else None)
    target = {"decoder_input_ids": torch.tensor([TARGET])} if is_pair else {}
    with torch.no_grad():
        out = theirs(torch.tensor([IDS]), output_attentions=True, **target)
    if is_pair:
        by_stack = {
            "encoder.layers.{}.attn": out.encoder_attentions,
            "decoder.layers.{}.attn": out.decoder_attentions,
            "decoder.layers.{}.cross": out.cross_attentions,
        }
    else:
        by_stack = {"layers.{}.attn": out.attentions}
    expected = {path.format(i): x[0] for path, layers in by_stack.items() for i, x in enumerate(layers)}
    assert expected.keys() == reading.patterns.keys()
    for path, pattern in expected.items():
        assert (reading.patterns[path] - pattern).abs().max() < 1e-5
    path = next(iter(expected))
    products = reading.products(path, 3, 2, 1)
    assert products.products.shape == products.query.shape
    if name == "LlamaForCausalLM":
        assert abs(products.rest) < 1e-6
        assert [reading.arms[path].kv_head(n) for n in range(4)] == [0, 0, 1, 1]
