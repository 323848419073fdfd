"""Adapters are those that peft attaches to transformers' classes on the meta device, over all model types."""

from __future__ import annotations

import copy
import importlib
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

import archcalc
from archcalc.analysis.adapters.attach import Attached, attach
from archcalc.analysis.adapters.class_modules import ClassModules, class_modules
from archcalc.analysis.adapters.config import AdapterConfig, read_adapter_config
from archcalc.analysis.adapters.files import read_adapter
from archcalc.analysis.adapters.naming import named
from archcalc.analysis.adapters.prompts import prompt_rows
from archcalc.errors import InputError
from archcalc.hf import adapter_modules, extract, from_config, model_types, registry, to_config
from archcalc.hf.classes import resolve
from archcalc.hf.reference import build_reference
from archcalc.hf.small_config import small_config
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.document import decode
from tests.hf.hf_configs import CONFIGS

SMALL = {name: config for name, config in CONFIGS.items() if not name.endswith(":default")}
SMALL |= {f"{name}:of the class": small_config(family) for name in model_types() if (family := registry.find(name))}
# A config of each type that has experts, joined matrices, convolutions, or tables of several stacks, and of others.
TYPES = sorted(model_types())
CONFIG_OF = {name: next(key for key in SMALL if key.split(":")[0] == name) for name in TYPES}

Settings = Mapping[str, Any]
CLASSES = {
    "LORA": "LoraConfig",
    "VERA": "VeraConfig",
    "IA3": "IA3Config",
    "PREFIX_TUNING": "PrefixTuningConfig",
    "PROMPT_TUNING": "PromptTuningConfig",
}
Shapes = Counter[tuple[int, ...]]


class Case:
    """A small model: its ledger, its class's modules, and transformers' model."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = resolve(config)[0]
        self.spec: Spec = decode(from_config(self.config))
        self.ledger: Ledger = build(self.spec)
        self.modules: ClassModules = class_modules(self.spec, self.ledger, self.config)
        self.model: Any = build_reference(self.config)

    def ours(self, settings: Settings) -> Attached | None:
        """What we attach; None if the settings are refused."""
        try:
            return attach(read_adapter_config(settings), self.modules, self.ledger.sizes)
        except InputError:
            return None

    def theirs(self, settings: Settings) -> Shapes | None:
        """The shapes of what peft trains; None if it refuses the settings."""
        model = peft_model(self.model, settings)
        return None if model is None else Counter(tuple(p.shape) for p in model.parameters() if p.requires_grad)


@cache
def case(name: str) -> Case:
    return Case(SMALL[name])


def peft_model(model: Any, settings: Settings) -> Any:
    peft = importlib.import_module("peft")
    rest = {key: value for key, value in settings.items() if key != "peft_type"}
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            config = getattr(peft, CLASSES[settings["peft_type"]])(**rest)
            return peft.get_peft_model(copy.deepcopy(model), config, low_cpu_mem_usage=True)
        except ValueError:
            return None


def shapes(found: Attached | None) -> Shapes | None:
    if found is None:
        return None
    counted: Shapes = Counter()
    for row in (*found.rows, *found.biases):
        counted[row.shape] += row.layers
    return counted


def kind(module: nn.Module) -> str:
    kinds = {"transposed": Conv1D, "linear": nn.Linear, "embedding": nn.Embedding, "convolution": nn.Conv1d}
    return next((name for name, cls in kinds.items() if isinstance(module, cls)), "other")


@pytest.mark.parametrize("name", SMALL)
def test_modules_are_those_of_the_class(name: str) -> None:
    """By name, kind and shape, the module that is stated as the output too."""
    found = Case(SMALL[name])
    real = {
        key: (kind(module), tuple(module._parameters["weight"].shape))
        for key, module in found.model.named_modules()
        if module._parameters.get("weight") is not None
    }
    assert {key: (one.kind, one.shape) for key, one in found.modules.weights.items()} == real
    head = found.model.get_output_embeddings()
    outputs = {key for key, module in found.model.named_modules() if head is not None and module is head}
    assert {key for key, one in found.modules.weights.items() if one.is_output} == outputs


def lora(**settings: Any) -> dict[str, Any]:
    return {"peft_type": "LORA", "r": 8, "target_modules": "all-linear", **settings}


SETTINGS: tuple[Settings, ...] = (
    lora(),
    lora(use_dora=True),
    lora(target_modules=None),
    lora(bias="all"),
    {"peft_type": "VERA", "r": 16, "target_modules": "all-linear"},
    {"peft_type": "IA3"},
    {"peft_type": "IA3", "target_modules": "all-linear", "feedforward_modules": ".*(down_proj|fc2|wo|dense)"},
)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_every_model_type(model_type: str) -> None:
    """Shapes are equal, or both refuse: peft names no modules of many types, and adapts no kernels' weights."""
    one = case(CONFIG_OF[model_type])
    for settings in (*SETTINGS, *drawn(model_type, one)):
        assert shapes(one.ours(settings)) == one.theirs(settings), settings


def drawn(model_type: str, one: Case) -> Iterable[Settings]:
    """Settings with random names: of Linears, tables and stacked experts, with other ranks, layers and exclusions."""
    dice = random.Random(model_type)  # noqa: S311
    linears = sorted({name.rpartition(".")[2] for name in one.modules.linears})
    tables = [name for name, weight in one.modules.weights.items() if weight.kind == "embedding"]
    stacks = sorted(
        {
            tensor.leaf
            for tensor in one.modules.tensors
            # peft does not wrap several matrices of heads in one module.
            if len(tensor.axes) == 3 and tensor.leaf != "weight" and ".attn." not in tensor.ours[0]
        }
    )
    chosen = dice.sample(linears, min(2, len(linears)))
    if len(linears) > 1:
        yield lora(target_modules=chosen, exclude_modules=[linears[0]], modules_to_save=[tables[0]] if tables else None)
    yield lora(target_modules=chosen, rank_pattern={chosen[0]: 3, rf".*\.{chosen[-1]}": 16}, lora_bias=True)
    yield lora(target_modules=chosen, layers_to_transform=[1], bias="lora_only", use_rslora=True)
    yield lora(target_modules=rf".*\.1\..*\.({'|'.join(chosen)})", alpha_pattern={chosen[0]: 4})
    if tables:
        yield lora(target_modules=[dice.choice(tables), chosen[0]], use_dora=True)
    if stacks:
        yield lora(target_modules=[], target_parameters=stacks, rank_pattern={stacks[0]: 5})


@pytest.mark.parametrize(
    ("name", "rank", "targets", "trainable"),
    [
        ("gpt2", 8, "all-linear", 1_179_648),
        ("gpt2", 8, ("c_attn",), 294_912),
        ("mixtral-8x7b", 16, "all-linear", 359_665_664),
        ("mixtral-8x7b", 16, ("w1", "w2", "w3"), 343_932_928),
    ],
)
def test_published_models(name: str, rank: int, targets: str | tuple[str, ...], trainable: int) -> None:
    """peft 0.21.2 on transformers 5.23."""
    spec = archcalc.load(name)
    found = named(spec, build(spec), AdapterConfig(rank=rank, targets=targets), naming=None)
    assert sum(row.total for row in found.attached.rows) == trainable
    assert all(row.formula.at(row.sizes) == row.total for row in found.attached.rows)
    model = peft_model(
        build_reference(to_config(spec)),
        lora(r=rank, target_modules=targets if targets == "all-linear" else [*targets]),
    )
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize("name", ["gpt2", "t5-small", "bert-base", "gemma-2-9b", "smollm2-135m"])
def test_names_are_the_library_s(name: str) -> None:
    spec = archcalc.load(name)
    found = named(spec, build(spec), AdapterConfig(), naming="library").attached
    ours = {path: row.shape for row in found.rows for path in row.names()}
    model = peft_model(build_reference(to_config(spec)), lora())
    assert ours == {
        re.sub(r"^base_model\.model\.|\.default", "", key): tuple(p.shape)
        for key, p in model.named_parameters()
        if p.requires_grad
    }


def test_our_names_are_understood() -> None:
    """Where the class has no such module; a list with one of the class's is the library's."""
    spec = archcalc.load("gpt2")
    ledger = build(spec)
    ours = named(spec, ledger, AdapterConfig(targets=("q", "k", "v")), naming=None)
    assert ours.naming == "archcalc"
    assert sum(row.total for row in ours.attached.rows) == 442_368
    with pytest.raises(InputError, match=r"no module of GPT2LMHeadModel matches 'q'"):
        named(spec, ledger, AdapterConfig(targets=("q", "c_proj")), naming=None)
    with pytest.raises(InputError, match="no module of GPT2LMHeadModel"):
        named(spec, ledger, AdapterConfig(targets=("q",)), naming="library")
    unfused = named(spec, ledger, AdapterConfig(), naming="archcalc")
    assert sum(row.total for row in unfused.attached.rows) == 1_327_104


def test_parameters_are_named_as_modules_are() -> None:
    spec = archcalc.load("gpt-oss-20b", {"n_layers": 2})
    targets = ("q_proj", "experts.down_proj")
    found = named(spec, build(spec), AdapterConfig(targets=targets), naming=None).attached
    model = peft_model(
        build_reference(to_config(spec)), lora(target_modules=["q_proj"], target_parameters=["experts.down_proj"])
    )
    assert shapes(found) == Counter(tuple(p.shape) for p in model.parameters() if p.requires_grad)


def test_what_has_no_adapter_is_named() -> None:
    spec = archcalc.load("deepseek-v3", {"n_layers": 4})
    found = named(spec, build(spec), AdapterConfig(), naming=None).attached
    assert "model.layers.*.mlp.shared_experts.up_proj" in found.left_out
    assert "model.layers.*.mlp.experts.gate_up_proj" not in found.left_out
    ours = named(spec, build(spec), AdapterConfig(), naming="archcalc").attached
    assert ours.left_out == tuple(f"layers.*.ffn.experts.{name}" for name in ("gate", "up", "down"))


def test_targets_of_types_are_those_of_the_library() -> None:
    """The generated tables are current, if this is the version of peft that they name."""
    peft = importlib.import_module("peft")
    if not peft.__version__.startswith(adapter_modules.LIBRARY.removeprefix("peft ")):
        pytest.skip("another version of peft")
    with open(adapter_modules.FILE, encoding="utf-8") as file:
        assert file.read() == extract.adapter_targets()


# --- virtual tokens ---

PROMPTS: tuple[Settings, ...] = (
    {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5},
    {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "prefix_projection": True, "encoder_hidden_size": 9},
    {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5},
    {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "num_transformer_submodules": 3},
)
# Configs with a key that their class does not have; layers of several widths, which we refuse; and a class whose dummy
# inputs the library computes, which no module on meta does.
NO_PROMPTS = {"trocr", "hrm_text", "dots3_note_text", "xlnet"}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [name for name in TYPES if name not in NO_PROMPTS])
def test_virtual_tokens_of_every_model_type(model_type: str) -> None:
    one = case(CONFIG_OF[model_type])
    task = "FEATURE_EXTRACTION" if one.spec.decoder is None else "CAUSAL_LM"
    task = "SEQ_2_SEQ_LM" if one.model.config.is_encoder_decoder else task
    for settings in ({"task_type": task, **settings} for settings in PROMPTS):
        try:
            ours = Counter(row.shape for row in prompt_rows(read_adapter_config(settings), one.spec, one.config))
        except InputError:
            ours = None
        assert ours == one.theirs(settings), settings


# --- adapter_config.json ---


def saved(folder: Path, settings: Settings) -> Path:
    """The file that peft writes of its settings."""
    peft = importlib.import_module("peft")
    rest = {key: value for key, value in settings.items() if key != "peft_type"}
    getattr(peft, CLASSES[settings["peft_type"]])(**rest).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        lora(r=4, target_modules=["q_proj", "down_proj"], rank_pattern={"layers.0.mlp.down_proj": 2}, use_dora=True),
        lora(target_modules=["q_proj"], modules_to_save=["lm_head"], alpha_pattern={"q_proj": 32}, use_rslora=True),
        lora(target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 2], layers_pattern="layers"),
        lora(target_modules=r".*self_attn\.(q|o)_proj", exclude_modules=["layers.1.self_attn.q_proj"]),
        lora(target_modules=["gate_proj"], target_parameters=["q_proj.weight"], init_lora_weights="gaussian"),
        {"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "o_proj"]},
        {"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
        {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 7, "task_type": "CAUSAL_LM"},
    ],
)
def test_a_file_is_read_as_peft_reads_it(settings: Settings, tmp_path: Path) -> None:
    spec = archcalc.load("tiny")
    adapter = read_adapter(str(saved(tmp_path, {**settings, "base_model_name_or_path": "tiny"})))
    assert adapter.base == "tiny"
    found = named(spec, build(spec), adapter.config, naming="library", is_strict=False).attached
    model = peft_model(build_reference(to_config(spec)), settings)
    assert sum(row.total for row in found.rows) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "peft_type: found None; expected LORA, VERA, IA3, PREFIX_TUNING, PROMPT_TUNING"),
        ({"peft_type": "LORRA"}, r"peft_type: found 'LORRA' \(did you mean 'LORA'\?\)"),
        ({"peft_type": "OFT"}, "peft_type: found 'OFT'"),
        ({"peft_type": "LORA", "r": 0}, "r: found 0; expected an integer from 1"),
        ({"peft_type": "LORA", "r": True}, "r: found True"),
        ({"peft_type": "LORA", "target_modules": 3}, "target_modules: found 3; expected a list of names"),
        ({"peft_type": "LORA", "target_modules": [1]}, "target_modules: found "),
        ({"peft_type": "LORA", "rank_pattern": {"q": -1}}, r"rank_pattern\.q: found -1"),
        ({"peft_type": "LORA", "rank_pattern": [1]}, "rank_pattern: found"),
        ({"peft_type": "LORA", "layers_to_transform": "1"}, "layers_to_transform: found '1'"),
        ({"peft_type": "LORA", "layers_pattern": "h"}, "layers_pattern: without layers_to_transform"),
        ({"peft_type": "LORA", "target_modules": "q.*", "layers_to_transform": 1}, "already chooses the layers"),
        ({"peft_type": "LORA", "bias": "some"}, "bias: found 'some'; expected none, all, lora_only"),
        ({"peft_type": "LORA", "layer_replication": [[0, 2]]}, "layer_replication: found .* which changes shapes"),
        ({"peft_type": "LORA", "use_dora": True, "lora_bias": True}, "lora_bias: with use_dora"),
        ({"peft_type": "IA3", "target_modules": ["k"], "feedforward_modules": ["v"]}, "feedforward_modules: found"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 0}, "num_virtual_tokens: found 0"),
    ],
)
def test_bad_files_are_refused_by_key(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_adapter_config(data)


@pytest.mark.parametrize("pattern", ["(", "(a+)+", "(.*)*x", "a" * 3000])
def test_patterns_of_files_are_bounded(pattern: str) -> None:
    one = case(CONFIG_OF["llama"])
    for key in ("target_modules", "exclude_modules"):
        with pytest.raises(InputError):
            attach(read_adapter_config(lora(**{key: pattern})), one.modules, one.ledger.sizes)
    with pytest.raises(InputError):
        attach(read_adapter_config(lora(rank_pattern={pattern: 2})), one.modules, one.ledger.sizes)
