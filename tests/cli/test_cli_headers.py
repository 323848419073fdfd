"""Weight files by their headers: what they hold, and where they differ from the config beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from archcalc.analysis.file_tensors import file_tensors
from archcalc.errors import InputError
from archcalc.formats.element_types import ELEMENT_TYPES
from archcalc.headers import read_headers
from archcalc.ledger.build import build
from archcalc.proof import verify
from archcalc.sources import load
from tests.cli.conftest import Cli
from tests.gguf_bytes import gguf_bytes
from tests.hf.storage.tiny_llama import LLAMA

MOE = LLAMA | {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


def saved(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """A folder with a config, and these tensors or those of the class."""
    if tensors is None:
        class_ = getattr(transformers, config["architectures"][0])
        model = class_(class_.config_class(**config)).to(torch.bfloat16)
        model.save_pretrained(folder)
    else:
        save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def class_tensors() -> dict[str, torch.Tensor]:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).to(torch.bfloat16)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def file_comparison(folder: Path) -> Any:
    return verify(load(str(folder)), files=read_headers(str(folder)).tensors)[-1]


def test_every_type_of_the_format_counts_as_the_library_holds_it(tmp_path: Path) -> None:
    types = {one.safetensors: getattr(torch, one.torch) for one in ELEMENT_TYPES.values() if one.safetensors}
    tensors = {name: torch.zeros(3, 5, dtype=dtype) for name, dtype in types.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    found = file_tensors("x", read_headers(str(tmp_path / "x.safetensors")).tensors)
    assert {row.name: row.bytes for row in found.tensors} == {name: one.nbytes for name, one in tensors.items()}
    assert {row.name: row.type for row in found.tensors} == {name: name for name in tensors}
    assert found.bytes == sum(row.bytes for row in found.components)


@pytest.mark.parametrize(
    "config", [LLAMA, LLAMA | {"tie_word_embeddings": True}, MOE], ids=["llama", "tied", "experts"]
)
def test_a_saved_model_is_equal_to_its_spec(config: dict[str, Any], tmp_path: Path) -> None:
    found = file_comparison(saved(tmp_path, config))
    assert found.is_equal, found.differences
    assert found.parameters == build(load(str(tmp_path))).total()


def test_missing_extra_and_other_tensors_are_listed(tmp_path: Path) -> None:
    tensors = class_tensors()
    tensors["lm_head.weight"] = tensors["lm_head.weight"].float()
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(5, 5, dtype=torch.bfloat16)
    tensors["extra.weight"] = torch.zeros(3)
    del tensors["model.norm.weight"]
    found = {
        each.path: (each.left, each.right) for each in file_comparison(saved(tmp_path, LLAMA, tensors)).differences
    }
    assert found == {
        "lm_head.weight": ("BF16 [96, 128]", "F32 [96, 128]"),
        "model.layers.0.mlp.up_proj.weight": ("BF16 [256, 128]", "BF16 [5, 5]"),
        "extra.weight": (None, "F32 [3]"),
        "model.norm.weight": ("BF16 [128]", None),
    }


def test_quantized_files_are_compared_by_module(tmp_path: Path) -> None:
    """FP8 in tiles of 128, the scales as F32; in one module they are in BF16, which a config cannot say."""
    config = LLAMA | {"quantization_config": {"quant_method": "fp8"}}
    tensors = class_tensors()
    for name in [name for name in tensors if "proj" in name]:
        tiles = [-(-size // 128) for size in tensors[name].shape]
        is_odd = name.endswith("layers.1.mlp.up_proj.weight")
        tensors[f"{name}_scale_inv"] = torch.zeros(tiles, dtype=torch.bfloat16 if is_odd else torch.float32)
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    (difference,) = file_comparison(saved(tmp_path, config, tensors)).differences
    size = 256 * 128
    assert difference.path == "model.layers.1.mlp.up_proj.weight"
    assert (difference.left, difference.right) == (f"fp8-block, {size + 8} bytes", f"fp8-block, {size + 4} bytes")


def test_a_quantization_file_beside_the_config_counts(tmp_path: Path) -> None:
    saved(tmp_path, LLAMA, class_tensors())
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    assert [one.name for one in load(str(tmp_path)).about.storage.formats] == ["bf16", "fp8"]
    (tmp_path / "hf_quant_config.json").write_text("{")
    with pytest.raises(InputError, match="hf_quant_config"):
        load(str(tmp_path))


def test_files_without_a_config_are_a_table(tmp_path: Path, cli: Cli) -> None:
    save_file(class_tensors(), tmp_path / "model.safetensors")
    for source in (str(tmp_path), str(tmp_path / "model.safetensors")):
        done = cli("report", source, "--format", "json")
        found = json.loads(done.out)
        assert (done.code, found["bytes"], len(found["tensors"])) == (0, 640_256, 21)
        assert {row["component"] for row in found["components"]} == {"embedding", "attention", "ffn", "norm", "head"}


def test_a_gguf_of_an_unread_architecture_is_a_table(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf_bytes({"general.architecture": "wavtokenizer-dec"}, {"blk.0.attn_q.weight": ((8, 4), ())}))
    done = cli("report", str(file), "--format", "json")
    found = json.loads(done.out)
    assert (done.code, found["bytes"], [row["name"] for row in found["tensors"]]) == (0, 128, ["blk.0.attn_q.weight"])
    assert "no architecture 'wavtokenizer-dec' is read" in done.err
    assert cli("report", str(file), "--set", "n_layers=2").code == 2


def test_a_folder_with_weights_shows_both(tmp_path: Path, cli: Cli) -> None:
    saved(tmp_path, LLAMA, class_tensors())
    found = json.loads(cli("report", str(tmp_path), "--format", "json").out)
    assert found["files"]["bytes"] == found["memory"]["weights_bytes"] == 640_256
    assert "In the files, by their headers" in cli("report", str(tmp_path)).out
    done = cli("verify", str(tmp_path))
    assert (done.code, done.out.count("equal")) == (0, 2)


@pytest.mark.parametrize("source", ["gpt2", "-"])
def test_a_source_without_weights_says_so(source: str) -> None:
    with pytest.raises(InputError, match="has no weights"):
        read_headers(source)
