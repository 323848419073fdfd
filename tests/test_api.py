"""The Python interface: what `import archcalc` offers."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import archcalc
from archcalc import presets
from archcalc.cli.main import cli

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there_and_listed() -> None:
    assert set(archcalc.__all__) <= set(dir(archcalc))
    for name in archcalc.__all__:
        assert getattr(archcalc, name) is getattr(archcalc, name)
    assert {"load", "report", "params", "build", "verify", "Spec", "InputError"} <= set(archcalc.__all__)


@pytest.mark.parametrize("name", ["taps", "trace", "inside", "text"])
def test_a_namespace(name: str) -> None:
    namespace = getattr(archcalc, name)
    assert dir(namespace) == namespace.__all__ == sorted(namespace.__all__, key=lambda each: (each.islower(), each))
    assert all(getattr(namespace, each) is getattr(namespace, each) for each in namespace.__all__)
    with pytest.raises(AttributeError, match=f"module 'archcalc.{name}' has no attribute 'reprot'"):
        namespace.reprot  # noqa: B018
    assert doctest.testmod(namespace).failed == 0


def test_whatever_is_public_says_what_it_is() -> None:
    places = [archcalc, archcalc.taps, archcalc.trace, archcalc.inside, archcalc.text]
    public = {f"{place.__name__}.{name}": getattr(place, name) for place in places for name in place.__all__}
    del public["archcalc.__version__"]
    assert [name for name, value in public.items() if not inspect.getdoc(value)] == []


def test_a_namespace_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda package: None)
    for name, call in {"taps": "record", "trace": "run", "inside": "Readout", "text": "open_tokenizer"}.items():
        namespace = getattr(archcalc, name)
        monkeypatch.delitem(vars(namespace), call, raising=False)
        with pytest.raises(archcalc.MissingExtraError, match="pip install"):
            getattr(namespace, call)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'archcalc' has no attribute 'reprot'"):
        archcalc.reprot  # noqa: B018
    assert not hasattr(archcalc, "reprot")


def test_names_are_looked_up_when_first_used() -> None:
    """One process: nothing loaded at first, `load` and `report` without torch and pandas, then each as needed."""
    script = """
import sys, archcalc
assert not {"msgspec", "yaml", "torch", "pandas"} & set(sys.modules), "at first"
assert "load" not in vars(archcalc)
archcalc.taps, archcalc.trace, archcalc.inside, archcalc.text
assert not {"msgspec", "torch", "tokenizers"} & set(sys.modules), "for the namespaces"
total = archcalc.report(archcalc.load("gpt3"))["params"]["total"]
assert "load" in vars(archcalc)
assert not {"torch", "pandas", "numpy"} & set(sys.modules), "for a report"
archcalc.params(archcalc.load("tiny"))
assert "pandas" in sys.modules and "torch" not in sys.modules, "for a frame"
print(total)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)  # noqa: S603
    assert found.stdout == "174604259328\n"


def test_load_takes_names_paths_and_dicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("base: tiny\nn_layers: 2\n")
    found = [archcalc.load(source) for source in ("mine.yaml", tmp_path / "mine.yaml", {"base": "tiny", "n_layers": 2})]
    assert found[0] == found[1] == found[2]
    assert isinstance(found[0], archcalc.Spec)
    assert archcalc.load("gpt3") == archcalc.load("gpt3-175b")
    assert archcalc.load("tiny", {"n_layers": 2}).decoder == found[0].decoder


def test_bad_input_is_an_input_error() -> None:
    with pytest.raises(archcalc.InputError, match="no preset is called 'gtp3'") as caught:
        archcalc.load("gtp3")
    assert isinstance(caught.value, archcalc.ArchcalcError)
    assert issubclass(archcalc.MissingExtraError, archcalc.ArchcalcError)


CALLS: dict[str, Callable[[Any], object]] = {
    "sweep": lambda source: archcalc.sweep(source, {"n_layers": [1, 2]}).to_dict(),
    "ranks": lambda source: archcalc.ranks(source, "fsdp", 2),
    "diff": lambda source: archcalc.diff(source, source),
    "structures": lambda source: archcalc.structures([source]),
    "structures_page": lambda source: archcalc.structures_page([source]),
    "verify": lambda source: [one.is_equal for one in archcalc.verify(source)],
    "build": lambda source: sorted(archcalc.build(source).state_dict()),
    "random_model": lambda source: sorted(archcalc.random_model(source).state_dict()),
    "load_model": lambda source: archcalc.load_model(source) and None,
    "generate": lambda source: archcalc.generate(source, "And", max_tokens=1).ids,
}
NO_MODELS = {"workload": archcalc.workload, "conventions": archcalc.conventions, "context": archcalc.context}
NO_MODELS |= {"growth": archcalc.growth, "training_memory": archcalc.training_memory, "report": archcalc.report}
FRAMES = ("params", "flops", "memory", "activations")
CALLS |= NO_MODELS
CALLS |= {name: lambda source, name=name: getattr(archcalc, name)(source).to_dict() for name in FRAMES}


def test_every_function_that_takes_a_model_is_called() -> None:
    """The others make a value or are types and namespaces."""
    functions = {name for name in archcalc.__all__ if inspect.isfunction(getattr(archcalc, name))}
    assert functions == {*CALLS, "load"}


@pytest.mark.parametrize("name", CALLS)
def test_a_function_takes_any_source_and_refuses_what_is_none(name: str) -> None:
    if name not in ("load_model", "generate"):
        small = {"base": "tiny", "name": "small", "n_layers": 1}
        ours, theirs = CALLS[name](archcalc.load(small)), CALLS[name](small)
        assert ours == theirs or name == "verify"
    for source in (3, None, "nope", [1]):
        with pytest.raises(archcalc.InputError) as caught:
            CALLS[name](source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", presets.names())
def test_report_is_plain_data(name: str) -> None:
    found = archcalc.report(archcalc.load(name))
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("name", presets.names())
def test_frame_sums_to_the_total(name: str) -> None:
    spec = archcalc.load(name)
    frame, totals = archcalc.params(spec), archcalc.report(spec)["params"]
    assert isinstance(frame, pd.DataFrame)
    counted = frame[frame["tensor_kind"] != "buffer"]
    assert counted["elements"].sum() == totals["total"]
    assert counted["active"].sum() == totals["active"]
    assert counted["share"].sum() == pytest.approx(1)
    by_component = counted.groupby("component")["elements"].sum().to_dict()
    assert by_component == {component: count for component, count in totals["by_component"].items() if count}
    assert set(frame["tensor_kind"]) <= {"trainable", "frozen", "buffer"}
    assert set(frame["kind"]) == {"exact"}


def test_build_takes_no_memory_until_it_is_asked_to() -> None:
    module = archcalc.build(archcalc.load("gpt3"))
    assert isinstance(module, torch.nn.Module)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in module.parameters()) == 174_604_259_328
    real = archcalc.build(archcalc.load("tiny"), device="cpu", dtype=torch.float32)
    assert {(parameter.device.type, parameter.dtype) for parameter in real.parameters()} == {("cpu", torch.float32)}


def test_figures_are_the_command_lines() -> None:
    def printed(line: str) -> object:
        done = CliRunner().invoke(cli, [*line.split(), "--format", "json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    spec, other = archcalc.load("tiny"), archcalc.load("tiny", {"n_layers": 2})
    step = archcalc.training_memory(spec, batch=2, seq=8, recipe="pure", optimizer="sgd", recompute="full")
    line = "memory tiny --train --batch 2 --seq 8 --recipe pure --optimizer sgd --recompute full"
    assert json.loads(json.dumps(step)) == printed(line)
    assert archcalc.ranks(spec, "tp", 2, seq=8, dtype="fp32") == printed("memory tiny --tp 2 --seq 8 --dtype fp32")
    (total,) = [row for row in archcalc.diff(spec, other)["params"] if row["figure"] == "total"]
    assert total["difference"] < 0
    assert archcalc.diff(spec, spec) == printed("diff tiny tiny")
    exact = archcalc.conventions(spec, seq=8)[0].train_step
    assert exact == archcalc.report(spec, seq=8)["flops"]["train_step"]
    (last,) = archcalc.growth(spec, batch=2, up_to=8).points[-1:]
    assert (last.tokens, last.kv_cache_bytes) == (8, archcalc.report(spec, batch=2, seq=8)["memory"]["kv_cache_bytes"])
    assert archcalc.context(spec, "decode", up_to=8).points[-1].tokens == 8


@pytest.mark.parametrize("call", [archcalc.training_memory, archcalc.activations])
def test_no_training_step_follows_a_cache(call: Callable[..., object]) -> None:
    with pytest.raises(archcalc.InputError, match="past: what follows a cache is not trained"):
        call(archcalc.load("tiny"), past=3, seq=1)


def test_random_weights_are_those_of_their_seed() -> None:
    spec = archcalc.load("tiny", {"n_layers": 1})
    first, again, other = (archcalc.random_model(spec, seed=seed) for seed in (1, 1, 2))
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(first(ids), again(ids))
    assert not torch.equal(first(ids), other(ids))
    assert not first.training
    assert not any(weight.requires_grad for weight in first.parameters())
    with pytest.raises(archcalc.TooLargeError, match="gpt3-175b needs"):
        archcalc.random_model(archcalc.load("gpt3"))


@pytest.mark.parametrize(
    ("ids", "target", "problem"),
    [
        ([1, 9999], None, "ids: found id 9999; expected 1 to 256 ids from 0 to 2,047"),
        ([], None, "ids: has 0 tokens"),
        ([1], [2], "tiny: reads a source and a target"),
    ],
)
def test_a_trace_of_what_cannot_be_read(ids: list[int], target: list[int] | None, problem: str) -> None:
    with pytest.raises(archcalc.InputError, match=problem):
        archcalc.trace.run(archcalc.load_model("tiny"), ids, target)


def test_verify() -> None:
    (found,) = archcalc.verify(archcalc.load("tiny"))
    assert found.is_equal
    assert (found.left, found.right, found.parameters) == ("ledger", "module", 1_967_808)


def test_version_is_the_packages() -> None:
    assert archcalc.report(archcalc.load("tiny"))["provenance"]["archcalc"] == archcalc.__version__


def test_what_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda package: None)
    spec = archcalc.load("tiny")
    for call in (archcalc.build, archcalc.verify):
        with pytest.raises(archcalc.MissingExtraError, match=r"pip install 'archcalc\[model\]'"):
            call(spec)
