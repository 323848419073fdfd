"""The path of one token: its shapes are those of a pass, and a step reads exactly the tokens that change its value."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import archcalc
from archcalc import taps
from archcalc.analysis.token_path import n_read, token_paths
from archcalc.spec import Spec
from archcalc.spec.set_options import changes
from archcalc.spec.sites import sites

SEQ = 6
WINDOWS = ["tiny", ["attention.window=3"]], ["tiny-encoder", ["attention.window=2"]]
SOURCES: list[list[Any]] = [["tiny", []], ["tiny-encoder", []], ["tiny-seq2seq", []], *WINDOWS]


def spec_of(name: str, settings: list[str]) -> Spec:
    from archcalc.sources import load

    return load(name, changes=changes(settings))


@pytest.fixture(scope="module", params=SOURCES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Spec, Any]:
    spec = spec_of(*request.param)
    return spec, archcalc.random_model(spec)


def inputs(spec: Spec, changed: tuple[int, int] | None = None) -> list[torch.Tensor]:
    """Return a text for each stack; `changed`: the index of a text, and the position of a token that is another."""
    texts = [torch.arange(1, SEQ + 1)[None] + 7 * i for i in range(len(spec.stacks))]
    if changed is not None:
        texts[changed[0]][0, changed[1]] = 25
    return texts


def of_token(axes: str, value: torch.Tensor, position: int) -> torch.Tensor:
    """Return a site's value for the token: at its position, if the site has an axis of tokens."""
    return value.select(axes.index("T"), position)[0] if "T" in axes else value[0]


def test_shapes_are_those_of_a_pass(case: tuple[Spec, Any]) -> None:
    spec, model = case
    paths = token_paths([spec], SEQ)
    steps = [step for step in paths.steps if not step.path.endswith("ids")]
    recording = taps.record(model, *inputs(spec), sites=[step.path for step in steps])
    axes = {site.name: site.axes for site in sites(spec)}
    for step in steps:
        shape = of_token(axes[step.path], recording[step.path], paths.position).shape
        keys = {"S": SEQ} if "S" in step.axes else {}
        assert tuple(shape) == tuple(keys.get(a, n) for a, n in zip(step.axes, step.shape, strict=True)), step.path


@pytest.mark.parametrize("position", [0, 3, SEQ - 1])
def test_a_step_of_the_first_layer_reads_the_tokens_that_change_it(case: tuple[Spec, Any], position: int) -> None:
    spec, model = case
    steps = [
        step
        for step in token_paths([spec], SEQ, position).steps
        if step.path.endswith((".out", "embed")) and "layers.0.ffn" not in step.path
    ]
    names = [step.path for step in steps]
    plain = taps.record(model, *inputs(spec), sites=names)
    read: dict[str, set[int]] = {path: set() for path in names}
    own = {step.path: 0 if step.role == "encoder" or step.reads == "source" else len(spec.stacks) - 1 for step in steps}
    for text in range(len(spec.stacks)):
        for i in range(SEQ):
            other = taps.record(model, *inputs(spec, (text, i)), sites=names)
            for step in steps:
                same = torch.equal(other[step.path][0, position], plain[step.path][0, position])
                if text == own[step.path] and not same:
                    read[step.path].add(i)
    for step in steps:
        far = SEQ if step.window is None else step.window - 1
        spans = {
            "token": range(position, position + 1),
            "left": range(max(0, position - far), position + 1),
            "all": range(max(0, position - far), min(SEQ, position + far + 1)),
            "source": range(SEQ),
        }
        assert read[step.path] == set(spans[step.reads]), step.path
        assert n_read(step.reads, step.window, SEQ, position) == len(spans[step.reads])


def test_three_structures_read_in_three_ways() -> None:
    paths = archcalc.structures([archcalc.load(name) for name in ("gpt2", "bert-base", "t5-small")])
    reads: dict[str, list[str]] = {}
    for step in paths["steps"]:
        if step["path"].endswith("scores"):
            reads.setdefault(step["model"], []).append(step["reads"])
    assert reads == {"gpt2": ["left"], "bert-base": ["all"], "t5-small": ["all", "left", "source"]}
    ends = [[step for step in paths["steps"] if step["model"] == name][-1]["shape"] for name in reads]
    assert ends == [[50257], [30522], [32128]]


@pytest.mark.parametrize(("seq", "position"), [(0, None), (2000, None), (6, 6), (6, -1)])
def test_invalid_tokens_are_refused(seq: int, position: int | None) -> None:
    with pytest.raises(archcalc.InputError):
        archcalc.structures([archcalc.load("gpt2")], seq=seq, position=position)
