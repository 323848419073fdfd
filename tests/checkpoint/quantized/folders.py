"""Folders of tiny random models whose weights are quantized, and what transformers loads from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from archcalc.analysis.file_differences import file_differences
from archcalc.checkpoint import open_checkpoint
from archcalc.headers import read_headers
from archcalc.ledger.build import build
from archcalc.sources import load
from tests.checkpoint.random_models import random_model

FILE = "model.safetensors"
# The tensors that files store for a weight, by the weight's name and values.
Pack = Callable[[str, Tensor], Mapping[str, Tensor]]


def write(
    folder: Path, name: str, pack: Pack, settings: Mapping[str, Any], also: tuple[str, ...] = (), **config: Any
) -> Any:
    """Write a model whose projections, and what is named `also`, are packed; return the model as it was."""
    model = random_model(name, **config)
    model.save_pretrained(folder)
    change(folder, lambda tensors: packed(tensors, pack, also))
    configure(folder, settings)
    return model


def packed(tensors: Mapping[str, Tensor], pack: Pack, also: tuple[str, ...]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        is_packed = tensor.dim() > 1 and any(part in name for part in ("proj", "experts", ".c_", *also))
        found |= pack(name, tensor) if is_packed else {name: tensor}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def change(folder: Path, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor] | None]) -> None:
    """Change the tensors of a folder; a change in place returns nothing."""
    tensors = load_file(folder / FILE)
    save_file(dict(change(tensors) or tensors), folder / FILE, metadata={"format": "pt"})


def configure(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": settings}))


def theirs(folder: Path, config: Any = None) -> Any:
    """The model that transformers loads, in fp32."""
    how = {"quantization_config": config} if config else {}
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", **how
    ).eval()


@torch.no_grad()
def distance(folder: Path, model: Any) -> float:
    """How far the logits of our model are from those of another, as a share of the largest."""
    ids = torch.randint(96, (2, 9))
    wanted = model(ids).logits
    return float((open_checkpoint(str(folder)).load()(ids) - wanted).abs().max() / wanted.abs().max())


def differences(folder: Path) -> list[Any]:
    """The tensors in which `verify` finds that the files differ from their config."""
    spec = load(str(folder))
    return list(file_differences(spec, build(spec), read_headers(str(folder)).tensors))
