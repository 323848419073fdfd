"""Adapters are those that peft puts beside the same weights: names and shapes, on our modules and on transformers'."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archcalc
from archcalc import presets
from archcalc.analysis.adapters.canonical import adapters
from archcalc.analysis.adapters.config import AdapterConfig
from archcalc.analysis.lora import LoraMemory, lora_memory
from archcalc.analysis.optimizers import find_optimizer
from archcalc.analysis.training import find_recipe
from archcalc.analysis.weight_roles import role_of
from archcalc.analysis.weights import buffers_bytes, weights_bytes
from archcalc.errors import InputError
from archcalc.hf import tensor_map, to_config
from archcalc.hf.reference import build_reference
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.nn.build import build as build_module
from archcalc.sources import load
from archcalc.spec.document import decode
from archcalc.spec.model import Spec
from tests import strategies
from tests.examples import examples
from tests.test_workloads import shallow

Shapes = dict[str, tuple[int, ...]]


def on_meta(model: nn.Module, rank: int, modules: str | Sequence[str], parameters: Sequence[str] = ()) -> Shapes:
    """The trainable parameters of a peft model; what it warns of is its own affair. `modules` as peft takes them."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        peft = importlib.import_module("peft")
        config = peft.LoraConfig(
            r=rank,
            target_modules=modules if isinstance(modules, str) else list(modules) or None,
            target_parameters=list(parameters) or None,
        )
        model = peft.get_peft_model(model, config, low_cpu_mem_usage=True)
    return {plain(name): tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}


def plain(name: str) -> str:
    """peft's name of an adapter as we write it: 'layers.0.attn.q.lora_A.weight', inside a wrapped head too."""
    name = (
        name.removeprefix("base_model.model.").replace("lora_embedding_", "lora_").replace("head.base_layer.", "head.")
    )
    return name.replace(".default.weight", ".weight").replace(".default", ".weight")


def shapes(rows: Sequence[WeightRow]) -> Shapes:
    return {name: row.shape for row in rows for name in row.names()}


@cache
def ledger(name: str) -> Ledger:
    return build(archcalc.load(name))


# --- our own modules ---


def own(spec: Spec, rank: int, modules: str | Sequence[str], parameters: Sequence[str] = ()) -> Shapes:
    return on_meta(build_module(spec), rank, modules, parameters)


@pytest.mark.parametrize("name", presets.names())
def test_every_linear_of_a_preset(name: str) -> None:
    spec = shallow(name)
    assert shapes(adapters(build(spec), 16)) == own(spec, 16, "all-linear")


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("gpt3", ["q", "v"]),
        ("gpt2", ["tokens", "attn.out", "positions"]),
        ("llama-3-8b", ["gate", "up", "down"]),
        ("llama-3-8b", ["layers.0.attn.q", "layers.31.ffn.down"]),
        ("deepseek-v3", ["kv_down", "q_up", "shared.up"]),
        ("t5-small", ["cross.q", "encoder.layers.1.ffn.up"]),
        ("bert-base", ["transform", "types"]),
        ("gpt3", r"layers\.(7|11)\.attn\.[qv]"),
        ("deepseek-v3", r".*(q_up|shared\.down)"),
    ],
)
@pytest.mark.parametrize("rank", [1, 8])
def test_targets_of_a_preset(name: str, targets: str | list[str], rank: int) -> None:
    assert shapes(adapters(ledger(name), rank, targets)) == own(archcalc.load(name), rank, targets)


def test_a_convolution_is_no_target() -> None:
    layer = {"norm": {"kind": "rmsnorm"}, "mixer": {"kind": "short_conv"}}
    decoder = {"n_layers": 1, "runs": [{"pattern": [layer]}]}
    ledger = build(decode({"name": "x", "vocab_size": 7, "n_ctx": 5, "d_model": 4, "decoder": decoder}))
    assert {row.path.rsplit(".", 2)[0] for row in adapters(ledger, 2)} == {
        "layers.{i}.mixer.in",
        "layers.{i}.mixer.out",
    }
    with pytest.raises(InputError, match="no matrix is called 'conv'"):
        adapters(ledger, 2, ["conv"])


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3", "gpt-oss-20b"])
def test_stacked_experts(name: str) -> None:
    """They are parameters, which peft has another option for; to 'up' it finds the shared ones' alone."""
    found = shapes(adapters(ledger(name), 8, ["q_up" if name == "deepseek-v3" else "q", "experts.up", "experts.down"]))
    real = own(
        archcalc.load(name),
        8,
        ["q_up" if name == "deepseek-v3" else "q"],
        ["experts.up.weight", "experts.down.weight"],
    )
    assert found == real
    assert not any(".experts." in path for path in shapes(adapters(ledger(name), 8)))


def test_a_name_does_not_reach_experts() -> None:
    """Of peft's modules none that can be adapted is called so in Mixtral; in DeepSeek the shared experts' are."""
    found = shapes(adapters(ledger("deepseek-v3"), 8, ["up"]))
    assert found == own(archcalc.load("deepseek-v3"), 8, r".*(ffn|shared)\.up")
    with pytest.raises(InputError, match=r"no matrix is called 'up'.*expected all-linear, .*experts\.up"):
        adapters(ledger("mixtral-8x7b"), 8, ["up"])


def test_every_linear_and_the_experts() -> None:
    found = shapes(adapters(ledger("mixtral-8x7b"), 4, ["all-linear", "experts.up"]))
    assert found == own(archcalc.load("mixtral-8x7b"), 4, "all-linear", ["experts.up.weight"])


def test_the_head_has_to_be_named() -> None:
    found = shapes(adapters(ledger("llama-3-8b"), 8, ["head"]))
    assert found == own(archcalc.load("llama-3-8b"), 8, [], ["head.weight"])
    with pytest.raises(InputError, match="no matrix is called 'head'"):
        adapters(ledger("gpt2"), 8, ["head"])


some = examples(40)


def as_peft(row: WeightRow) -> tuple[str, str]:
    """Which of peft's options reaches a row's tensors, and by what name."""
    is_module = role_of(row) not in ("experts", "table", "head") and len(row.shape) == 2
    return ("modules" if is_module else "parameters", row.path.removesuffix(".weight"))


@some
@given(st.data(), strategies.specs(), st.integers(1, 9))
def test_any_targets_of_any_spec(data: st.DataObject, spec: Spec, rank: int) -> None:
    rows = [row for row in build(spec).rows if row.kind == "trainable" and role_of(row) not in ("vector", "table")]
    chosen = data.draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row.path, min_size=1))
    reached = [
        (kind, name.removesuffix(".weight")) for row in chosen for kind, _ in [as_peft(row)] for name in row.names()
    ]
    modules = [name for kind, name in reached if kind == "modules"]
    parameters = [f"{name}.weight" for kind, name in reached if kind == "parameters"]
    found = adapters(build(spec), rank, [name for _, name in reached])
    assert shapes(found) == own(spec, rank, modules, parameters)
    assert sum(row.total for row in found) == sum(row.formula.at(row.sizes) for row in found)


@some
@given(strategies.specs(), st.integers(1, 9))
def test_every_linear_of_any_spec(spec: Spec, rank: int) -> None:
    model = build_module(spec)
    linears = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if not linears:
        with pytest.raises(InputError, match="'all-linear' is no matrix here"):
            adapters(build(spec), rank)
        return
    assert shapes(adapters(build(spec), rank)) == on_meta(model, rank, "all-linear")


# --- transformers' models ---

# Four layers of each: enough for every kind of layer that they have. Those whose Linears transformers holds each alone.
FAMILIES = ["llama-3-8b", "qwen3-8b", "gemma-2-9b", "bert-base", "t5-small", "transformer-base", "smollm2-135m"]
MIXTURES = ["mixtral-8x7b", "qwen3-30b-a3b"]


@cache
def reference(name: str) -> tuple[Spec, dict[str, Any]]:
    spec = load(name, {"n_layers": 4})
    return spec, to_config(spec)


def theirs(config: dict[str, Any], rows: Sequence[WeightRow]) -> dict[str, str]:
    """transformers' name of each module that these rows' tensors are held by, alone."""
    paths = [name for row in rows for name in row.names()]
    placed = tensor_map(config["model_type"]).placed(paths)
    return {held.ours[0].removesuffix(".weight"): held.name.removesuffix(".weight") for held in placed}


def linears(name: str) -> tuple[Shapes, Shapes]:
    """Ours under transformers' names, and peft's, by its own 'all-linear'."""
    spec, config = reference(name)
    found = shapes(adapters(build(spec), 16))
    rows = [row for row in build(spec).rows if any(path in found for path in beside(row))]
    names = theirs(config, rows)
    real = on_meta(build_reference(config), 16, "all-linear")
    return {renamed(path, names): shape for path, shape in found.items()}, real


@pytest.mark.parametrize("name", FAMILIES)
def test_all_linear_of_transformers(name: str) -> None:
    ours, real = linears(name)
    assert ours == real


@pytest.mark.parametrize("name", MIXTURES)
def test_all_linear_of_a_mixture(name: str) -> None:
    """peft 0.21 adds the experts, which transformers 4 had as Linears, and doubles the rank of gate and up as one."""
    ours, real = linears(name)
    experts = {path: shape for path, shape in real.items() if ".experts." in path}
    assert ours == {path: shape for path, shape in real.items() if path not in experts}
    spec = reference(name)[0]
    by_hand = adapters(build(spec), 16, ["experts.gate", "experts.up", "experts.down"])
    d_model, (n_experts, d_expert, _) = spec.d_model, expert_shape(spec)
    down, fused = n_experts * 16 * (d_model + d_expert), n_experts * 32 * (d_model + 2 * d_expert)
    assert numel(experts) == 4 * (down + fused)
    assert numel(shapes(by_hand)) == 4 * 3 * down


def expert_shape(spec: Spec) -> tuple[int, ...]:
    return next(row.shape for row in build(spec).rows if row.path.endswith("experts.up.weight"))


def numel(found: Shapes) -> int:
    return sum(math.prod(shape) for shape in found.values())


def test_all_linear_of_gpt_oss() -> None:
    """Its router is a bare parameter, which peft leaves alone there."""
    ours, real = linears("gpt-oss-20b")
    assert {path: shape for path, shape in ours.items() if "router" not in path} == real


def beside(row: WeightRow) -> list[str]:
    return [f"{name.removesuffix('weight')}lora_A.weight" for name in row.names()]


def renamed(path: str, names: dict[str, str]) -> str:
    module, letter, _ = path.rsplit(".", 2)
    return f"{names[module]}.{letter}.weight"


@pytest.mark.parametrize(
    ("name", "ours", "hf", "parameters"),
    [
        ("llama-3-8b", ["q", "v"], ["q_proj", "v_proj"], []),
        ("llama-3-8b", ["tokens", "head"], ["embed_tokens", "lm_head"], []),
        ("t5-small", ["relative_bias"], ["relative_attention_bias"], []),
        ("mixtral-8x7b", ["experts.down", "router"], [], ["experts.down_proj", "mlp.gate.weight"]),
        ("gpt-oss-20b", ["experts.down"], [], ["experts.down_proj"]),
        (
            "deepseek-v3",
            ["q_down", "q_up", "kv_down", "kv_up", "out"],
            ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"],
            [],
        ),
    ],
)
def test_targets_of_transformers(name: str, ours: list[str], hf: list[str], parameters: list[str]) -> None:
    spec, config = reference(name)
    real = on_meta(build_reference(config), 8, hf, parameters)
    found = shapes(adapters(build(spec), 8, ours))
    assert sorted(found.values()) == sorted(real.values())


def test_a_fused_matrix_has_one_a_for_all() -> None:
    """GPT-2's c_attn [3·d, d]: peft gives it r·(d + 3·d), and q, k and v apart have 3·r·(d + d)."""
    spec, config = reference("gpt2")
    real = on_meta(build_reference(config), 8, ["c_attn"])
    assert numel(real) == 4 * 8 * 4 * 768
    assert sum(row.total for row in adapters(build(spec), 8, ["q", "k", "v"])) == 4 * 8 * 6 * 768


# --- figures ---

# Hu et al. 2021: Table 4 for GPT-3, Table 2 for RoBERTa base (BERT base's shape). The rank there is of q and v each.
PAPER = {("gpt3", 1): 4.7, ("gpt3", 8): 37.7, ("bert-base", 8): 0.3}


@pytest.mark.parametrize(("name", "rank"), PAPER)
def test_published_counts(name: str, rank: int) -> None:
    assert round(sum(row.total for row in adapters(ledger(name), rank, ["q", "v"])) / 1e6, 1) == PAPER[name, rank]


def memory(name: str, rank: int, targets: str | list[str], *, dtype: str, recipe: str, optimizer: str) -> LoraMemory:
    return lora_memory(
        archcalc.load(name),
        AdapterConfig(rank=rank, targets=targets if isinstance(targets, str) else tuple(targets)),
        dtype=dtype,
        recipe=find_recipe(recipe),
        optimizer=find_optimizer(optimizer),
    )


def test_qlora_by_hand() -> None:
    """The base in NF4, every adapter 4 bytes, its gradient 4, two moments 8: peft keeps adapters in fp32."""
    found = memory("llama-3-8b", 16, "all-linear", dtype="nf4", recipe="autocast", optimizer="adamw")
    assert found.trainable == sum(row.parameters for row in found.adapters) == 41_943_040
    assert found.adapters_bytes == found.gradients_bytes == 4 * found.trainable
    assert found.total_bytes == found.frozen_bytes + 16 * found.trainable == sum(part.bytes for part in found.parts)
    assert found.frozen_bytes == weights_bytes(ledger("llama-3-8b"), "nf4")


def test_buffers_are_stored() -> None:
    found = memory("deepseek-v3", 1, ["out"], dtype="bf16", recipe="pure", optimizer="sgd")
    weights, buffers = (of(ledger("deepseek-v3"), "bf16") for of in (weights_bytes, buffers_bytes))
    assert found.frozen_bytes == weights + buffers


def test_adapters_are_as_wide_as_peft_makes_them() -> None:
    """Beside bf16 weights they are in fp32."""
    model = build_module(archcalc.load("tiny"), device="cpu", dtype=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = importlib.import_module("peft")
        made = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q", "v"]))
    size = sum(p.nbytes for p in made.parameters() if p.requires_grad)
    found = memory("tiny", 4, ["q", "v"], dtype="bf16", recipe="autocast", optimizer="adamw")
    assert found.adapters_bytes == size
    assert found.frozen_bytes == sum(p.nbytes for p in made.parameters() if not p.requires_grad)


@pytest.mark.parametrize(
    ("rank", "targets", "problem"),
    [
        (0, "all-linear", "rank: found 0; expected an integer from 1 to 1,048,576"),
        (True, "all-linear", "rank: found True"),
        (2**20 + 1, "all-linear", "rank: found 1048577"),
        (8, ["q", "vv"], r"targets: no matrix is called 'vv' \(did you mean 'v'\?\)"),
        (8, ["q_norm"], "no matrix is called 'q_norm'"),
        (8, ["attn_norm"], "no matrix is called 'attn_norm'"),
        (8, [], "targets: no target is named"),
        (8, "q", "targets: 'q' is no matrix here"),
        (8, "(", r"targets: the pattern '\(' does not parse"),
    ],
)
def test_bad_targets(rank: int, targets: str | list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        adapters(ledger("llama-3-8b"), rank, targets)
