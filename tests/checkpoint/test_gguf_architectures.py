"""GGUF files of each architecture, as llama.cpp's converter writes them, give transformers' specs and logits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from gguf import GGMLQuantizationType

from archcalc.analysis.file_differences import file_differences
from archcalc.analysis.stored_weights import stored_weights
from archcalc.checkpoint import open_checkpoint
from archcalc.hf import from_config
from archcalc.hf.gguf import read_header
from archcalc.hf.registry import index
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec.document import decode
from tests.checkpoint.gguf_cases import ARCHITECTURES
from tests.checkpoint.gguf_models import Architecture, model_of, write
from tests.checkpoint.random_models import random_model


@pytest.mark.parametrize("arch", ARCHITECTURES, ids=lambda arch: arch.id)
@torch.no_grad()
def test_logits_are_those_of_transformers(arch: Architecture, tmp_path: Path) -> None:
    theirs = model_of(arch)
    write(tmp_path / "x.gguf", theirs, arch)
    found = open_checkpoint(str(tmp_path / "x.gguf"))
    assert found.spec == load(str(tmp_path / "x.gguf"))
    of_config = decode(from_config(theirs.config.to_dict() | {"architectures": [type(theirs).__name__]}))
    for field in ("vocab_size", "n_ctx", "d_model", "embedding", "decoder", "encoder", "head"):
        if field not in arch.unequal:
            ours, wanted = (
                msgspec.to_builtins(getattr(found.spec, field)),
                msgspec.to_builtins(getattr(of_config, field)),
            )
            assert ours == wanted, field
    ledger, stored = build(found.spec), read_header(tmp_path / "x.gguf").tensors
    assert not list(file_differences(found.spec, ledger, stored))
    n_bytes = sum(line.total_bytes for line in stored_weights(found.spec, ledger))
    besides = arch.besides(theirs.config)
    assert n_bytes == sum(tensor.n_bytes for name, tensor in stored.items() if name not in besides)
    ids, model = torch.randint(96, (2, 19)), found.load()
    if theirs.config.is_encoder_decoder and arch.class_name is None:
        source = torch.randint(96, (2, 23))
        output, ours = theirs(input_ids=source, decoder_input_ids=ids), model(source, ids)
    else:
        output, ours = theirs(input_ids=ids), model(ids)
    wanted = output.logits if "logits" in output else output.last_hidden_state
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@torch.no_grad()
def test_parts_of_a_latent_may_be_of_different_types(tmp_path: Path) -> None:
    """Keys and values of the latent are two tensors, which quantizers treat differently."""
    arch = next(arch for arch in ARCHITECTURES if arch.id == "deepseek2-dense")
    theirs = random_model(arch.model, **arch.config, kv_lora_rank=32, qk_nope_head_dim=64)
    kinds = {"blk.0.attn_k_b.weight": GGMLQuantizationType.Q8_0, "blk.0.attn_v_b.weight": GGMLQuantizationType.Q4_0}
    write(tmp_path / "x.gguf", theirs, arch, kinds)
    found, tensors = open_checkpoint(str(tmp_path / "x.gguf")), read_header(tmp_path / "x.gguf").tensors
    ledger = build(found.spec)
    lines = stored_weights(found.spec, ledger)
    of_latent = {
        line.format: (line.layers, line.total_bytes) for line in lines if line.path.endswith("attn.kv_up.weight")
    }
    assert of_latent["gguf-q8_0"] == (1, tensors["blk.0.attn_k_b.weight"].n_bytes)
    assert of_latent["gguf-q4_0"] == (1, tensors["blk.0.attn_v_b.weight"].n_bytes)
    assert sum(line.total_bytes for line in lines) == sum(tensor.n_bytes for tensor in tensors.values())
    assert not list(file_differences(found.spec, ledger, tensors))
    wanted = theirs.state_dict()["model.layers.0.self_attn.kv_b_proj.weight"].unflatten(0, (4, -1))
    ours = found.load().state_dict()["layers.0.attn.kv_up.weight"].unflatten(0, (4, -1))
    assert 0 < (ours - wanted)[:, :64].abs().max() < 0.01
    assert 0.01 < (ours - wanted)[:, 64:].abs().max() < 0.2


def test_every_architecture_is_tested() -> None:
    elsewhere = {"llama", "qwen2", "qwen3", "qwen3moe", "gemma2", "gpt2"}  # test_gguf_logits.py
    elsewhere |= {"deci"}  # tests/formats/test_llamacpp_logits.py
    assert index()["gguf"].keys() == elsewhere | {arch.name for arch in ARCHITECTURES}
