"""Whole models in the packings of GPTQ, AWQ and MLX, written here by their documented layouts, with random integers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.checkpoint.quantized.folders import differences, distance, write

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def words(numbers: Tensor, bits: int) -> Tensor:
    """Rows of integers as rows of int32 words: number k begins at bit k · bits, the lowest first."""
    places = torch.arange(bits)
    stream = ((numbers.unsqueeze(-1) >> places) & 1).flatten(1).to(torch.uint8).numpy()
    return torch.from_numpy(np.packbits(stream, axis=1, bitorder="little")).view(torch.int32)


def awq_words(numbers: Tensor) -> Tensor:
    return words(numbers.view(-1, 8)[:, AWQ_ORDER], 4).view(len(numbers), -1)


class Random:
    """Packs random integers for each matrix, and remembers its values."""

    def __init__(self, bits: int, group: int, *, act_order: bool = False) -> None:
        self.bits, self.group, self.act_order = bits, group, act_order
        self.truth: dict[str, Tensor] = {}

    def parts(self, name: str, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Integers [out, in], scales and zero points [out, groups], and the group of each input."""
        is_turned = "c_" in name  # GPT-2's matrices are [in, out]
        n_out, n_in = weight.T.shape if is_turned else weight.shape
        index = torch.arange(n_in) // self.group
        index = index[torch.randperm(n_in)] if self.act_order else index
        n_groups = int(index.max()) + 1
        numbers, zeros = (torch.randint(1, 1 << self.bits, (n_out, n)) for n in (n_in, n_groups))
        scales = (torch.rand(n_out, n_groups) / (4 << self.bits)).half()
        values = (numbers - zeros[:, index]) * scales.float()[:, index]
        self.truth[name] = values.T.contiguous() if is_turned else values
        return numbers, scales, zeros, index

    def gptq(self, name: str, weight: Tensor) -> Mapping[str, Tensor]:
        numbers, scales, zeros, index = self.parts(name, weight)
        module = name.removesuffix(".weight")
        return {
            f"{module}.qweight": words(numbers, self.bits).T,
            f"{module}.qzeros": words(zeros.T.contiguous() - 1, self.bits),
            f"{module}.scales": scales.T,
            f"{module}.g_idx": index.int(),
        }

    def awq(self, name: str, weight: Tensor) -> Mapping[str, Tensor]:
        numbers, scales, zeros, _ = self.parts(name, weight)
        module = name.removesuffix(".weight")
        of_awq = {"qweight": awq_words(numbers.T.contiguous()), "qzeros": awq_words(zeros.T.contiguous())}
        return {f"{module}.{part}": one for part, one in of_awq.items()} | {f"{module}.scales": scales.T}

    def mlx(self, name: str, weight: Tensor) -> Mapping[str, Tensor]:
        numbers, scales, zeros, _ = self.parts(name, weight)
        module = name.removesuffix(".weight")
        shifts = -zeros * scales.float()
        return {name: words(numbers, self.bits).view(torch.uint32), f"{module}.scales": scales.float()} | {
            f"{module}.biases": shifts
        }


WIDE = {"hidden_size": 64, "intermediate_size": 96}
GPTQ = {"quant_method": "gptq"}
CASES: dict[str, tuple[str, str, Random, dict[str, Any], dict[str, Any]]] = {
    "gptq, in order of activations": (
        "llama", "gptq", Random(4, 16, act_order=True), GPTQ | {"bits": 4, "group_size": 16, "desc_act": True}, WIDE,
    ),
    "gptq, 3 bits, GPT-2": (
        "gpt2", "gptq", Random(3, 32), GPTQ | {"bits": 3, "group_size": 32}, {"n_embd": 64},
    ),
    "gptq, experts": ("mixtral", "gptq", Random(8, 96), GPTQ | {"bits": 8, "group_size": -1}, WIDE),
    "awq": ("llama", "awq", Random(4, 32), {"quant_method": "awq", "bits": 4, "group_size": 32}, WIDE),
    "awq, joined": (
        "phi3 plain", "awq", Random(4, 32), {"quant_method": "awq", "w_bit": 4, "q_group_size": 32, "version": "GEMM"},
        WIDE,
    ),
    "mlx": ("qwen3", "mlx", Random(4, 32), {"bits": 4, "group_size": 32}, WIDE | {"head_dim": 16}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_values(name: str, tmp_path: Path) -> None:
    model_name, packing, random, settings, sizes = CASES[name]
    pack = getattr(random, packing)
    also = ("embed_tokens", "lm_head") if packing == "mlx" else ()
    model = write(tmp_path, model_name, pack, settings, also, **sizes)
    assert not model.load_state_dict(stacked(model, random.truth), strict=False).unexpected_keys
    assert distance(tmp_path, model) < 1e-5
    assert not differences(tmp_path)


def stacked(model: Any, truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values by the names of the class, which stacks experts and joins their gates and up projections."""
    found = dict(truth)
    for name in model.state_dict():
        if not name.endswith(("gate_up_proj", "experts.down_proj")):
            continue
        places = ("w1", "w3") if name.endswith("gate_up_proj") else ("w2",)
        root = name.rpartition(".")[0].replace("mlp.experts", "block_sparse_moe.experts")
        n_experts = model.config.num_local_experts
        found[name] = torch.stack(
            [torch.cat([found.pop(f"{root}.{e}.{place}.weight") for place in places]) for e in range(n_experts)]
        )
    return found
