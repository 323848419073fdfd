"""`archcalc sweep`: its rows are the report's figures, and what it leaves out it says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import archcalc
from archcalc.cli.sweep import _Progress
from tests.cli.conftest import Cli

Good = Callable[..., str]
GRID = ("sweep", "gpt3", "--over", "d_model=4096:12288:2048", "--over", "n_layers=48,96")


def report(**fields: Any) -> dict[str, Any]:
    return archcalc.report(archcalc.load("gpt3", fields))


def test_a_table_with_a_row_for_each_model(good: Good) -> None:
    page = good(*GRID)
    assert "4 of 10 combinations; every figure is exact" in page
    rows = [line.split() for line in page.splitlines() if line.strip().startswith(("6,144", "12,288"))]
    assert [row[:2] for row in rows] == [["6,144", "48"], ["6,144", "96"], ["12,288", "48"], ["12,288", "96"]]
    assert rows[2][2] == f"{report(n_layers=48)['params']['total']:,}"
    assert "6 left out, the first at d_model=4096, n_layers=48: decoder.runs[0].pattern[0].attention.d_head" in page


def test_json_is_the_report_of_each(good: Good) -> None:
    found = json.loads(good(*GRID, "--format", "json"))
    assert (found["cells"], found["refused"][0]["cells"]) == (10, 6)
    assert found["over"] == {"d_model": [4096, 6144, 8192, 10240, 12288], "n_layers": [48, 96]}
    for row in found["rows"]:
        alone = report(d_model=row["d_model"], n_layers=row["n_layers"])
        assert row["params.by_component.ffn"] == alone["params"]["by_component"]["ffn"]
        assert row["memory.kv_cache_bytes"] == alone["memory"]["kv_cache_bytes"]
    assert len(found["rows"]) == 4


def test_csv_has_all_rows_and_figures(cli: Cli, tmp_path: Path) -> None:
    found = cli("sweep", "tiny", "--over", "d_ff=1:5000", "--over", "n_heads=2,3", "-o", "grid.csv")
    assert found.code == 0
    assert found.err.startswith("archcalc: 5,000 left out, the first at d_ff=1, n_heads=3: ")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "grid.csv").read_text())))
    assert [row["d_ff"] for row in rows] == [str(n) for n in range(1, 5001)]
    spec = archcalc.load("tiny", {"d_ff": 4321, "n_heads": 2})
    assert int(rows[4320]["flops.train_step"]) == archcalc.report(spec)["flops"]["train_step"]
    assert len(rows[0]) == 2 + 24


@pytest.mark.parametrize(
    ("over", "values"),
    [
        ("d_ff=7", [7]),
        ("d_ff=1:3", [1, 2, 3]),
        ("d_ff=1:6:2, 10,20:21", [1, 3, 5, 10, 20, 21]),
        ("n_kv_heads=null,1", [None, 1]),
        ("ffn.bias=true,false", [True, False]),
        ("norm={kind: rmsnorm},{kind: layernorm}", [{"kind": "rmsnorm"}, {"kind": "layernorm"}]),
    ],
)
def test_values(good: Good, over: str, values: list[Any]) -> None:
    found = json.loads(good("sweep", "tiny", "--over", over, "--figures", "params.total", "-f", "json"))
    (said,) = found["over"].values()
    assert said == values
    assert [row["params.total"] for row in found["rows"]] == [
        archcalc.report(archcalc.load("tiny", {next(iter(found["over"])): value}))["params"]["total"]
        for value in values
    ]


def test_workload_and_settings(good: Good) -> None:
    asked = ("--batch", "2", "--past", "9", "--dtype", "fp32", "--set", "d_ff=8", "--figures", "flops, memory")
    found = json.loads(good("sweep", "tiny", "--over", "seq=3,4", *asked, "-f", "json"))
    alone = archcalc.report(archcalc.load("tiny", {"d_ff": 8}), seq=4, batch=2, past=9, dtype="fp32")
    said = {f"{part}.{name}": value for part in ("flops", "memory") for name, value in alone[part].items()}
    assert found["rows"][1] == {"seq": 4} | said


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--over", "d_ff"), "--over: found 'd_ff'; expected FIELD=VALUES"),
        (("--over", "d_ff="), "--over: found 'd_ff='; expected FIELD=VALUES"),
        (("--over", "d_ff=9:1"), "--over d_ff: '9:1' has 0 values"),
        (("--over", "d_ff=1:99999999999"), "--over d_ff: '1:99999999999' has 99,999,999,999 values"),
        (("--over", "d_ff=[1"), "--over d_ff: not valid YAML"),
        (("--over", "d_ff=0,1"), "tiny: decoder.runs[0].pattern[0].ffn.d_ff: found 0; expected"),
        (("--over", "d_f=1"), "there is no field 'd_f' (did you mean 'd_ff'?)"),
        (("--over", "d_ff=1", "--over", "d_ff=2"), "--over d_ff: stands twice"),
        (("--over", "d_ff=1", "--set", "d_ff=2"), "--over d_ff: is also set to one value"),
        (("--over", "seq=1", "--seq", "2"), "--over seq: is also set to one value"),
        (("--over", "past=1", "--past", "2"), "--over past: is also set to one value"),
        (("--over", "d_ff=1", "--figures", "params.totl"), "no figure 'params.totl' (did you mean 'params.total'?)"),
        (("--over", "n_heads=99"), "no combination is left; the first is refused: decoder.runs[0].pattern[0]"),
        (("--over", "d_ff=1:2001"), "--format table: 2,001 rows; expected up to 2,000, or --format csv for all"),
        (("--over", "d_ff=1:5000", "--over", "d_model=1:5000"), "a grid of 25,000,000 combinations"),
        ((), "--over: not given"),
    ],
)
def test_slips(cli: Cli, args: tuple[str, ...], says: str) -> None:
    found = cli("sweep", "tiny", *args)
    assert (found.code, found.out) == (2, "")
    assert says in found.err
    assert found.err.count("\n") == 1


def test_progress_is_shown_of_long_sweeps_alone(capsys: pytest.CaptureFixture[str]) -> None:
    progress = _Progress()
    progress._is_enabled = True
    progress(0.2)
    progress.clear()
    assert capsys.readouterr().err == ""
    progress._start -= 60
    progress(0.25)
    assert capsys.readouterr().err == "\r 25% of the combinations"
    progress.clear()
    assert capsys.readouterr().err.endswith("\r")
