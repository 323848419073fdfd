"""`archcalc taps`: the sites of a model, their shapes for a workload, without torch."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from archcalc.units import ranges
from tests.cli.conftest import Cli

Good = Callable[..., str]


def listed(good: Good, *args: str) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in json.loads(good("taps", *args, "--format", "json"))["sites"]}


def test_gpt3(good: Good) -> None:
    found = listed(good, "gpt3", "--batch", "2", "--seq", "100")
    assert found["layers.*.attn.q"] == {
        "path": "layers.*.attn.q",
        "layers": 96,
        "layer_indices": list(range(96)),
        "axes": ["B", "N", "T", "H"],
        "shape": [2, 96, 100, 128],
        "elements_per_layer": 2_457_600,
        "elements": 235_929_600,
        "is_recomputed": False,
        "description": "queries",
        "kind": "exact",
    }
    assert found["layers.*.attn.pattern"]["shape"] == [2, 96, 100, 100]
    assert [name for name, row in found.items() if row["is_recomputed"]] == [
        "layers.*.attn.scores",
        "layers.*.attn.pattern",
    ]
    assert found["layers.*.ffn.hidden"]["shape"] == [2, 100, 49152]
    assert next(iter(found)) == "embed"
    assert list(found)[-1] == "logits"


def test_a_table(good: Good) -> None:
    page = " ".join(good("taps", "gpt3", "--seq", "7").split())
    assert "layers.*.attn.scores 0–95 B × N × T × S 1 × 96 × 7 × 7 4.704 K 451.6 K recomputed the products of" in page
    assert "V vocabulary" in page
    assert "E experts" not in page


def test_a_window_gives_the_keys_that_it_holds(good: Good) -> None:
    result = json.loads(good("taps", "gemma-2-9b", "*.attn.scores", "--seq", "3", "--past", "6000", "-f", "json"))
    rows = [(row["layer_indices"][:3], row["shape"][-2:]) for row in result["sites"]]
    assert rows == [([0, 2, 4], [3, 4098]), ([1, 3, 5], [3, 6003])]


def test_layers_that_differ_stand_in_one_order(good: Good) -> None:
    found = list(csv.DictReader(io.StringIO(good("taps", "deepseek-v3", "--seq", "1", "-f", "csv"))))
    names = [row["path"].removeprefix("layers.*.") for row in found]
    assert names.index("ffn_norm") < names.index("ffn.router") < names.index("ffn.out") < names.index("resid_post")
    layers = {row["path"]: row["layer_indices"] for row in found}
    assert layers["layers.*.ffn.hidden"] == "0; 1; 2"
    assert layers["layers.*.ffn.chosen"] == "; ".join(map(str, range(3, 61)))
    text = good("taps", "deepseek-v3")
    assert re.search(r"layers\.\*\.ffn\.hidden +0–2 ", text)
    assert re.search(r"layers\.\*\.ffn\.chosen +3–60 ", text)


def test_a_source_is_read_once(good: Good) -> None:
    whole = listed(good, "t5-small", "--seq", "3", "--source-seq", "9")
    later = listed(good, "t5-small", "--seq", "3", "--source-seq", "9", "--past", "4")
    assert whole["decoder.layers.*.cross.k"]["shape"] == [1, 8, 9, 64]
    assert whole["encoder.embed"]["shape"] == [1, 9, 512]
    assert not any(name.startswith("encoder.") or name.endswith(("cross.k", "cross.v")) for name in later)
    assert later["decoder.layers.*.cross.pattern"]["shape"] == [1, 8, 3, 9]
    assert later["decoder.layers.*.attn.pattern"]["shape"] == [1, 8, 3, 7]


def test_some_sites(good: Good, cli: Cli) -> None:
    assert list(listed(good, "gpt2", "layers.3.attn.*")) == [
        f"layers.*.attn.{name}" for name in ("q", "k", "v", "scores", "pattern", "values", "out")
    ]
    wrong = cli("taps", "gpt2", "layers.12.resid_mid")
    assert wrong.code == 2
    assert wrong.err.startswith("archcalc: gpt2: 'layers.12.resid_mid' is not a site (did you mean 'layers.")
    assert len(wrong.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2], "0–2"),
        ([0, 2, 4], "0, 2, 4"),
        ([1, 3, 5, 7], "1, 3 … 7"),
        ([0, 1, 5], "0–1, 5"),
        ([0, 1, 3, 4, 6, 7, 9], "0–1, 3–4, 6–7, …"),
    ],
)
def test_layers_in_short(layers: list[int], words: str) -> None:
    assert ranges(layers) == words


def test_it_needs_no_torch() -> None:
    code = "import sys; from archcalc.cli.main import run; run(['taps', 'tiny']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "False"
