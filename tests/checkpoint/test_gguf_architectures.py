"""GGUF files of each architecture, as llama.cpp's converter writes them, give transformers' specs and logits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from archcalc.checkpoint import open_checkpoint
from archcalc.hf import from_config
from archcalc.hf.registry import index
from archcalc.sources import load
from archcalc.spec.document import decode
from tests.checkpoint.gguf_cases import ARCHITECTURES
from tests.checkpoint.gguf_models import Architecture, model_of, write


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
    ids = torch.randint(96, (2, 19))
    wanted = theirs(input_ids=ids).logits
    assert (found.load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_every_architecture_is_tested() -> None:
    elsewhere = {"llama", "qwen2", "qwen3", "qwen3moe", "gemma2", "gpt2"}  # test_gguf_logits.py
    elsewhere |= {"deci"}  # tests/formats/test_llamacpp_logits.py
    assert index()["gguf"].keys() == elsewhere | {arch.name for arch in ARCHITECTURES}
