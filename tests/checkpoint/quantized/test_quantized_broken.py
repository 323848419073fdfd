"""Quantized files that are not what they should be: one line that names the file and the tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from tests.checkpoint.quantized.folders import change, configure, write
from tests.checkpoint.random_models import random_model

M = "model.layers.1.self_attn.q_proj"
W = f"{M}.weight"
Tensors = dict[str, Tensor]
FP8 = {"quant_method": "fp8", "weight_block_size": [16, 16]}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16}
PACKED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": INT4}},
}
STATE = f"{W}.quant_state.bitsandbytes__nf4"
NF4_STATE = {"shape": [32, 32], "blocksize": 64}
NESTED_STATE = NF4_STATE | {"nested_blocksize": 256, "nested_offset": 0.5}


def as_bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def gptq(n_groups: int = 2) -> Tensors:
    return {
        f"{M}.qweight": torch.zeros(4, 32, dtype=torch.int32),
        f"{M}.qzeros": torch.zeros(n_groups, 4, dtype=torch.int32),
        f"{M}.scales": torch.zeros(n_groups, 32),
        f"{M}.g_idx": torch.zeros(32, dtype=torch.int32),
    }


def nf4(state: Any = NF4_STATE) -> Tensors:
    return {
        W: torch.zeros(512, 1, dtype=torch.uint8),
        f"{W}.absmax": torch.zeros(16),
        f"{W}.quant_map": torch.zeros(16),
        STATE: as_bytes(state if isinstance(state, str) else json.dumps(state)),
    }


def nested() -> Tensors:
    return nf4(NESTED_STATE) | {
        f"{W}.absmax": torch.zeros(16, dtype=torch.uint8),
        f"{W}.nested_absmax": torch.zeros(1),
        f"{W}.nested_quant_map": torch.zeros(256),
    }


def packed(shape: Tensor | None = None) -> Tensors:
    return {
        f"{W}_packed": torch.zeros(32, 4, dtype=torch.int32),
        f"{W}_scale": torch.zeros(32, 2),
        f"{W}_shape": torch.tensor([32, 32]) if shape is None else shape,
    }


def fp8() -> Tensors:
    return {W: torch.zeros(32, 32).to(torch.float8_e4m3fn), f"{W}_scale_inv": torch.zeros(2, 2)}


def without(tensors: Tensors, name: str) -> Tensors:
    return {key: one for key, one in tensors.items() if key != name}


# The quantization settings, the tensors that replace one weight, and the error that they give.
BAD: dict[str, tuple[dict[str, Any], Tensors, str]] = {
    "no scale": (FP8, without(fp8(), f"{W}_scale_inv"), f"'{W}_scale_inv': is missing; expected a part of .*'{W}'"),
    "scale of integers": (FP8, fp8() | {f"{W}_scale_inv": torch.zeros(2, 2).int()}, "_scale_inv': is stored as I32"),
    "scale of another block": (
        FP8, fp8() | {f"{W}_scale_inv": torch.zeros(4, 2)}, rf"'{W}_scale_inv': has shape \[4, 2\]; expected \[2, 2\]",
    ),
    "another matrix": (
        FP8,
        {W: torch.zeros(16, 32).to(torch.float8_e4m3fn), f"{W}_scale_inv": torch.zeros(1, 2)},
        rf"'{W}': has shape \[16, 32\]; expected \[32, 32\]",
    ),
    "no matrix": (FP8, fp8() | {W: torch.zeros(32).to(torch.float8_e4m3fn)}, r"has shape \[32\]; expected a matrix"),
    "nothing": (FP8, fp8() | {W: torch.zeros(0, 32).to(torch.float8_e4m3fn)}, rf"'{W}': has shape \[0, 32\]"),
    "kept by the config": (
        FP8 | {"modules_to_not_convert": ["q_proj"]}, fp8(), f"'{W}': is stored as F8_E4M3, where the config has fp32",
    ),
    "of another method": (GPTQ, fp8(), f"'{W}': is stored as F8_E4M3"),
    "of an unread method": ({"quant_method": "hqq"}, fp8(), r"config.json: quantization_config: .*'hqq'.*awq"),
    "no zeros": (GPTQ, without(gptq(), f"{M}.qzeros"), rf"'{M}\.qzeros': is missing"),
    "other groups": (GPTQ | {"group_size": 8}, gptq(), rf"'{M}\.scales': has shape \[2, 32\]; expected \[4, 32\]"),
    "other bits": (GPTQ | {"bits": 8}, gptq(), rf"'{M}\.\w+': has shape"),
    "unknown bits": (GPTQ | {"bits": 7}, gptq(), "config.json: quantization_config.bits: found 7; expected 2, 3, 4, 8"),
    "of a marlin kernel": (GPTQ | {"checkpoint_format": "marlin"}, gptq(), "config.json: quantization_config"),
    "truncated state": (NF4, nf4('{"shape": [32'), f"'{STATE}': is no JSON"),
    "deep state": (NF4, nf4("[" * 9000), f"'{STATE}': is no JSON"),
    "no block size": (NF4, nf4({"shape": [32, 32]}), f"'{STATE}': blocksize is None"),
    "state of nothing": (NF4, nf4(NF4_STATE | {"shape": [32, -1]}), rf"'{STATE}': states the shape \[32, -1\]"),
    "huge state": (NF4, nf4(NF4_STATE | {"shape": [2**31, 2**31]}), r"has shape \[512, 1\]; expected \[2305843"),
    "few scales": (NF4, nf4(NF4_STATE | {"blocksize": 32}), rf"'{W}\.absmax': has shape \[16\]; expected \[32\]"),
    "no offset": (NF4, nested() | {STATE: nf4(NF4_STATE | {"nested_blocksize": 2})[STATE]}, "nested_offset is None"),
    "no nested scales": (NF4, without(nested(), f"{W}.nested_absmax"), r"is stored as U8 without nested_absmax"),
    "no state": (NF4, without(nf4(), STATE), f"'{STATE}': is missing"),
    "a shape of numbers": (PACKED, packed(torch.tensor(32)), f"'{W}_shape': states the shape"),
    "negative shape": (PACKED, packed(torch.tensor([-32, 32])), rf"'{W}_shape': states the shape \[-32, 32\]"),
    "long shape": (PACKED, packed(torch.ones(10**6).long()), f"'{W}_shape': states the shape"),
    "other shape": (PACKED, packed(torch.tensor([32, 48])), rf"'{W}_packed': has shape \[32, 4\]; expected \[32, 6\]"),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    random_model("llama").save_pretrained(folder)
    return folder


def broken(plain: Path, folder: Path, settings: dict[str, Any], parts: Tensors) -> Path:
    for path in plain.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    change(folder, lambda tensors: without(tensors, W) | parts)
    configure(folder, settings)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line(name: str, plain: Path, tmp_path: Path) -> None:
    settings, parts, message = BAD[name]
    with pytest.raises(InputError, match=message) as caught:
        open_checkpoint(str(broken(plain, tmp_path, settings, parts)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


VALID: dict[str, tuple[dict[str, Any], Callable[[], Tensors]]] = {
    "fp8": (FP8, fp8),
    "gptq": (GPTQ, gptq),
    "nf4": (NF4, nf4),
    "nested": (NF4, nested),
    "packed": (PACKED, packed),
    "a huge block": (FP8 | {"weight_block_size": [10**9, 10**9]}, lambda: fp8() | {f"{W}_scale_inv": torch.zeros(())}),
    "a huge nested block": (
        NF4,
        lambda: nested() | {STATE: as_bytes(json.dumps(NESTED_STATE | {"nested_blocksize": 2**31}))},
    ),
    "scales as a vector": (GPTQ | {"group_size": 32}, lambda: gptq(n_groups=1) | {f"{M}.scales": torch.zeros(32)}),
    "not quantized": (FP8, lambda: {W: torch.zeros(32, 32)}),
}


@pytest.mark.parametrize("name", VALID)
def test_without_the_fault_they_load(name: str, plain: Path, tmp_path: Path) -> None:
    settings, parts = VALID[name]
    state = open_checkpoint(str(broken(plain, tmp_path, settings, parts()))).load().state_dict()
    assert not state["layers.1.attn.q.weight"].any()


def test_groups_that_a_file_does_not_have_are_refused(plain: Path, tmp_path: Path) -> None:
    parts = gptq() | {f"{M}.g_idx": torch.full((32,), 2, dtype=torch.int32)}
    checkpoint = open_checkpoint(str(broken(plain, tmp_path, GPTQ, parts)))
    with pytest.raises(InputError, match=rf"'{M}\.g_idx': found 2 … 2; expected groups from 0 to 1"):
        checkpoint.load()


def test_a_bias_that_the_architecture_does_not_have_must_be_zero(plain: Path, tmp_path: Path) -> None:
    """Early AutoGPTQ stores one for each matrix."""
    broken(plain, tmp_path, GPTQ, gptq() | {f"{M}.bias": torch.zeros(32)})
    open_checkpoint(str(tmp_path)).load()
    change(tmp_path, lambda tensors: tensors | {f"{M}.bias": torch.eye(32)[3]})
    with pytest.raises(InputError, match=rf"'{M}\.bias': is not zero, and this architecture does not have it"):
        open_checkpoint(str(tmp_path)).load()


def test_stacks_need_the_parts_of_each_matrix(tmp_path: Path) -> None:
    def pack(name: str, weight: Tensor) -> Tensors:
        if weight.dim() < 3:
            return {name: weight}
        n_experts, n_in, n_out = weight.shape
        scales = torch.zeros(n_experts - 1, n_out, n_in // 32, dtype=torch.uint8)
        return {
            f"{name}_blocks": torch.zeros(n_experts, n_out, n_in // 32, 16, dtype=torch.uint8),
            f"{name}_scales": scales,
        }

    write(tmp_path, "gpt_oss", pack, {"quant_method": "mxfp4"}, intermediate_size=64)
    with pytest.raises(InputError, match=r"down_proj_scales': has shape \[5, 32, 2\]; expected \[6, 32, 2\]"):
        open_checkpoint(str(tmp_path))
