"""A sweep is the loop over its cells: the same integers, and the same cells refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, product
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc import presets
from archcalc.analysis.sweep import runner
from archcalc.analysis.sweep.grid import sweep
from archcalc.errors import InputError
from archcalc.spec import Spec
from archcalc.spec.document import Document, encode, flat_fields
from archcalc.spec.workload import MINIMUM_SIZES
from tests.examples import examples
from tests.strategies import PARTS, SIZES, specs

LAW = examples(80)
ABOUT = ("name", "about")
Grid = dict[str, list[Any]]


def flattened(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def looped(source: Any, grid: Grid, changes: Document | None = None, **work: Any) -> list[dict[str, Any]]:
    """Every row by the calls for one model; those refused left out."""
    rows = []
    for values in product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        fields = {field: value for field, value in cell.items() if field not in MINIMUM_SIZES}
        try:
            spec = archcalc.load(source, (changes or {}) | fields)
            report = archcalc.report(spec, **work | {field: cell[field] for field in cell if field in MINIMUM_SIZES})
        except InputError:
            continue
        rows.append(cell | dict(flattened({key: report[key] for key in ("params", "flops", "memory")})))
    return rows


def same(source: Any, grid: Grid, **asked: Any) -> int:
    """Compare a sweep with the loop; return how many cells are models."""
    rows = looped(source, grid, **asked)
    if not rows:
        with pytest.raises(InputError, match="no combination is left; the first is refused: "):
            sweep(source, grid, **asked)
        return 0
    found = sweep(source, grid, **asked)
    assert found.to_dict("records") == rows
    refused = found.attrs["refused"]
    assert sum(each["cells"] for each in refused) == found.attrs["cells"] - len(rows)
    for each in refused:
        assert not looped(source, {field: [value] for field, value in each["first"].items()}, **asked)
    return len(rows)


DERIVED = ("d_head", "n_kv_heads", "d_rotary", "d_shared", "d_source")


# Fields without a default in some part, which others may leave out.
REQUIRED = {
    (part.__struct_config__.tag, field.name)
    for part in PARTS
    for field in msgspec.structs.fields(part)
    if field.required and field.name in DERIVED
}


def left_out(document: Any, fields: tuple[str, ...]) -> Any:
    """The document without those of the fields that have a default; a stack's last run takes the layers that remain."""
    if isinstance(document, list):
        return [left_out(item, fields) for item in document]
    if not isinstance(document, dict):
        return document
    kept = {key for key in document if key not in fields or (document.get("kind"), key) in REQUIRED}
    found = {key: left_out(value, fields) for key, value in document.items() if key in kept}
    if "runs" in found:
        found["runs"][-1].pop("count", None)
    return found


# Values that often go together, and some that do not.
FITTING = {
    "d_model": (6, 12, 24, 36, 5),
    "n_heads": (1, 2, 3, 6, 12),
    "n_kv_heads": (1, 2, 3),
    "d_head": (2, 4, 6, 3),
    "n_layers": (3, 6, 7, 12, 1),
    "n_experts": (6, 12, 5),
    "n_groups": (1, 2, 3),
    "n_active": (1, 2, 5),
    "n_active_groups": (1, 2),
    "n_ctx": (1, 9, 64, 4096),
}


@st.composite
def grids(draw: st.DrawFn, spec: Spec) -> Grid:
    """Values for some fields of a spec, by name or by path, and of its workload."""
    said = {path: value for path, value in flat_fields(spec).items() if path.split(".")[0] not in ABOUT}
    sizes = [path for path, value in said.items() if type(value) is int and path != "encoder.n_mtp"]
    flags = [path for path, value in said.items() if type(value) is bool]
    named = sorted({path.split(".")[-1] for path in sizes} - set("0123456789"))
    grid: Grid = {}
    for field in draw(st.lists(st.sampled_from(named) | st.sampled_from(sizes), min_size=1, max_size=3, unique=True)):
        last = field.split(".")[-1]
        own = st.sampled_from(sorted({said[path] for path in sizes if path.endswith(last)} - {0} | {1}))
        fitting = st.sampled_from(FITTING[last]) if last in FITTING else SIZES
        grid[field] = draw(st.lists(fitting | own, min_size=1, max_size=4))
    if flags and draw(st.booleans()):
        grid[draw(st.sampled_from(flags))] = [True, False]
    crosses, caches = spec.family == "encoder-decoder", spec.family != "encoder"
    work = ["batch", "seq", *["past"] * caches, *["source_seq"] * crosses]
    tokens = st.integers(1, 4) if any(own.stack.position for own in spec.stacks) else st.integers(2**31, 2**40)
    for field in draw(st.lists(st.sampled_from(work), max_size=2, unique=True)):
        grid[field] = draw(st.lists(st.integers(MINIMUM_SIZES[field], 9) | tokens, min_size=1, max_size=3))
    fields = draw(st.permutations(list(grid)))
    return {field: grid[field] for field in fields}


@LAW
@given(st.data(), specs())
def test_every_cell_is_the_report_of_that_cell(data: st.DataObject, spec: Spec) -> None:
    document, left = encode(spec), data.draw(st.none() | st.just(()) | st.just(DERIVED[1:]) | st.just(DERIVED))
    same(document if left is None else left_out(document, left), data.draw(grids(spec)))


@pytest.mark.parametrize("name", presets.names())
def test_presets(name: str) -> None:
    grid: Grid = {"d_model": [96, 256, 1000], "n_layers": [1, 2, 7, 24], "n_heads": [4, 12], "d_ff": [64, 5000]}
    has = {path.split(".")[-1] for path in flat_fields(archcalc.load(name))}
    same(name, {field: values for field, values in grid.items() if field in has}, seq=64, batch=3)


def test_a_path_covers_whatever_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    run = runner.Runner.run
    monkeypatch.setattr(runner.Runner, "run", lambda self, path: runs.append(1) or run(self, path))
    found = sweep("gpt3", {"d_model": range(64, 2048, 64), "n_heads": [4, 6, 8], "d_ff": range(1, 50), "seq": [1, 9]})
    assert found.attrs["cells"] == 31 * 3 * 49 * 2
    assert len(runs) == 2, "one of models, one of those that heads do not divide"
    runs.clear()
    sweep("gemma-2-9b", {"n_layers": [2, 9, 42], "window": [1, 100, 5000], "past": [0, 1, 7000], "batch": [1, 2]})
    assert len(runs) == 3 * 2, "each depth, with and without a past"


def test_int64_while_it_holds_and_integers_beyond() -> None:
    """A training step of GPT-3 over a few more sequences than 2^63 FLOPs can have."""
    grid: Grid = {"d_model": [12288, 96], "batch": [1, 2**10, 2**12, 2**40]}
    same("gpt3", grid)
    found = sweep("gpt3", grid)
    assert found["params.total"].dtype == numpy.int64
    assert found["flops.train_step"].dtype == object
    assert sweep("gpt3", {"batch": [1, 2**10]})["flops.train_step"].dtype == numpy.int64
    step = archcalc.report(archcalc.load("gpt3"), batch=1)["flops"]["train_step"]
    edge = (2**63 - 1) // step
    for batch, kind in ((edge, numpy.int64), (edge + 1, object)):
        found = sweep("gpt3", {"batch": [batch, 1]})["flops.train_step"]
        assert (found.dtype, found.tolist()) == (kind, [batch * step, step])


@pytest.mark.parametrize(
    "field", ["d_model", "d_ff", "vocab_size", "n_ctx", "n_heads", "d_head", "window", "seq", "past", "batch"]
)
def test_the_largest_sizes_do_not_wrap(field: str) -> None:
    most = 2**40 if field in MINIMUM_SIZES else 2**32
    same("llama-3-8b", {"d_head": [2**32 - 2], "window": [2**32]} | {field: [most, most - 32, 32]})


def test_sizes_that_coincide_in_some_cells() -> None:
    """Two layers of a pattern that become alike, and so one group; two n_kv_heads; a shared bias table that must."""
    first, second = "decoder.runs.0.pattern.0", "decoder.runs.0.pattern.1"
    same("gemma-2-9b", {f"{first}.ffn.d_ff": [5, 14336, 7], f"{second}.ffn.d_ff": [7, 5], "n_layers": [1, 2, 5]})
    same("gemma-2-9b", {f"{first}.attention.n_kv_heads": [1, 8, 3], f"{second}.attention.n_kv_heads": [8, 1, 4]})
    same("deepseek-v3", {"d_ff": [2048, 18432], "d_expert": [2048, 4], "d_shared": [4, 2048], "n_shared": [1, 0]})
    layer = archcalc.load("t5-small").encoder.runs[0].pattern[0]
    document = encode(archcalc.load("t5-small"))
    twice = encode(archcalc.load(document))["encoder"]["runs"][0]["pattern"][0]
    document["encoder"]["runs"][0]["pattern"] = [twice, twice | {"ffn": {"kind": "gated", "d_ff": 8}}]
    start = "encoder.runs.0.pattern"
    grid: Grid = {f"{start}.0.attention.n_heads": [8, 4], f"{start}.1.attention.n_heads": [4, 8, 8]}
    same(document, grid | {"n_kv_heads": [1, layer.attention.n_heads]})
    assert len(sweep(document, grid | {"n_kv_heads": [1]})) == 3
    same(document, {f"{start}.0.attention.n_heads": [4, 8]}, changes={"n_kv_heads": 1})


def test_axes_that_are_no_sizes() -> None:
    same("llama-3-8b", {"n_kv_heads": [None, 8, 3], "ffn.bias": [True, False], "d_ff": [7, 9]})
    same("llama-3-405b", {"attention.scale": [1, 2], "low_freq_factor": [1, 4, 9], "d_ff": [7, 9]})
    same("gpt3", {"ffn": [{"kind": "gated", "d_ff": 7}, {"kind": "plain", "d_ff": 7, "activation": "relu"}]})
    same("gpt3", {"seq": [None, 5], "n_ctx": [4, 8, 4096]})
    same("llama-3-8b", {"theta": [10**25, 10**30, 2], "d_ff": [7, 9]})
    run = encode(archcalc.load("gpt3"))["decoder"]["runs"][0]
    same("gpt3", {"runs": [[run], [run | {"count": 7}, run]], "d_ff": [7, 9], "n_layers": [9, 7]})
    same("gpt3", {"d_ff": [7, 9], "ffn.d_ff": [8, 3]})


def test_changes_and_workload_hold_in_every_cell() -> None:
    grid: Grid = {"d_model": [64, 100], "d_ff": [7, 8]}
    same("gpt3", grid, changes={"n_heads": 4, "n_layers": 2}, seq=9, past=3, batch=2, dtype="fp32")
    same("t5-small", grid, source_seq=4, seq=9)


def test_of_a_spec_nothing_is_derived_anew() -> None:
    spec = archcalc.load("gpt3")
    found = sweep(spec, {"d_model": [96, 12288]})
    assert found["params.total"].tolist() == [
        row["params.total"] for row in looped(encode(spec), {"d_model": [96, 12288]})
    ]
    assert found["params.total"][0] != sweep("gpt3", {"d_model": [96]})["params.total"][0]


def test_values_may_be_of_numpy_and_stand_twice() -> None:
    grid = {"d_model": numpy.arange(96, 400, 96), "n_layers": (each for each in (3, 3, 1))}
    found = sweep("gpt3", grid)
    assert found["d_model"].tolist() == [96, 96, 96, 192, 192, 192, 288, 288, 288, 384, 384, 384]
    assert found["n_layers"].tolist() == [3, 3, 1] * 4
    assert found["params.total"].tolist() == [
        archcalc.report(archcalc.load("gpt3", {"d_model": d, "n_layers": n}))["params"]["total"]
        for d, n in zip(found["d_model"].tolist(), found["n_layers"].tolist(), strict=True)
    ]


def test_figures_by_name() -> None:
    found = sweep("tiny", {"d_ff": [1, 2]}, figures=["flops", "params.total"])
    names = ["params.total", "flops.forward", "flops.forward_causal", "flops.backward", "flops.train_step"]
    assert list(found) == ["d_ff", *names]
    with pytest.raises(InputError, match=r"no figure 'flops.froward' .did you mean 'flops.forward'"):
        sweep("tiny", {"d_ff": [1]}, figures=["flops.froward"])


def test_refusals_are_told() -> None:
    refused = sweep("gpt3", {"n_heads": [7, 96, 5], "seq": [8, 4096, 4097]}).attrs["refused"]
    assert [(each["cells"], each["first"]) for each in refused] == [
        (6, {"n_heads": 7, "seq": 8}),
        (2, {"n_heads": 96, "seq": 4096}),
    ]
    assert "d_model 12288 is not divisible by n_heads 7" in refused[0]["reason"]
    assert "4,096 tokens are more than the table of positions has" in refused[1]["reason"]
    with pytest.raises(InputError, match=r"grid: no combination is left; the first is refused: .*n_heads 7"):
        sweep("gpt3", {"n_heads": [7]})


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({}, "no field to sweep over"),
        ({"d_ff": []}, "d_ff: no values"),
        ({"d_ff": 7}, "d_ff: found 7; expected a list of values"),
        ({"d_ff": "78"}, "d_ff: found '78'; expected a list of values"),
        ({"d_ff": count(1)}, "a grid of 10,000,001 combinations"),
        ({"d_ff": [4, 0]}, "tiny: .*d_ff: found 0; expected an integer from 1"),
        ({"d_ff": [4, 2**70]}, "d_ff: found"),
        ({"d_ff": [4, "x"]}, "d_ff: found 'x'"),
        ({"d_f": [4]}, "there is no field 'd_f' .did you mean 'd_ff'"),
        ({"seq": [4, 0]}, "seq: found 0; expected an integer from 1"),
        ({"past": [True]}, "past: found True"),
        ({"batch": [None]}, "batch: found None"),
        ({"d_ff": range(1, 5000), "d_model": range(1, 5000)}, "a grid of 24,990,001 combinations"),
    ],
)
def test_what_cannot_be_swept(grid: Grid, says: str) -> None:
    with pytest.raises(InputError, match=says):
        sweep("tiny", grid)


def test_a_stream_that_is_set_aside_by_place() -> None:
    norm, attention = {"kind": "rmsnorm"}, {"kind": "gqa", "n_heads": 2}
    first = {"norm_in": norm, "splits_input": True, "arms": [{"name": "attn", "part": attention}]}
    second = {"norm_in": norm, "arms": [{"name": "ffn", "part": {"kind": "gated", "d_ff": 12}}]}
    runs = [{"pattern": [{"branches": [first, second]}]}]
    decoder = {"n_layers": 4, "runs": runs, "streams": {"kind": "set_aside", "n_block": 2}}
    document = {"name": "streams", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "decoder": decoder}
    assert same(document, {"n_layers": [1, 3, 7], "n_block": [1, 2, 9], "seq": [3, 9]}) == 18
