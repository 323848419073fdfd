"""The JSON of every command fits its schema, and CSV has the rows of JSON under the same names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archcalc.cli.schema import RESULTS, schema

Good = Callable[..., str]

README = Path(__file__).parents[2] / "README.md"

# The schema of a command line, and the field of its JSON that CSV shows as a table; '' where CSV shows no rows of JSON.
CALLS: dict[str, tuple[str, str]] = {
    "report t5-small --view weights": ("report", ""),
    "report tiny --engine transformers": ("report-transformers", ""),
    "report tiny --view files": ("report-files", "tensors"),
    "compare gpt2 t5-small": ("compare", ""),
    "diff gpt2 llama-3-8b": ("diff", ""),
    "explain gpt-oss-20b attn --seq 5": ("explain", "formulas"),
    "explain gpt2": ("explain", "formulas"),
    "structures gpt2 tiny-encoder tiny-seq2seq --seq 4": ("structures", "steps"),
    "claims deepseek-v3": ("claims", "[]"),
    "claims zero": ("claims", "[]"),
    "coverage arcee": ("coverage", "[]"),
    "presets": ("presets", "[]"),
    "taps gemma-2-9b --seq 5": ("taps", "sites"),
    "flops llama-3-8b --conventions": ("flops", "components"),
    "flops deepseek-v3 --view ops --recompute full": ("flops", "ops"),
    "flops t5-small --view layers --seq 1 --past 9": ("flops", "layers"),
    "sweep tiny --over d_ff=64,128 --over seq=5,9": ("sweep", "rows"),
    "sweep tiny --over norm.kind=rmsnorm,layernorm --over n_heads=2,3": ("sweep", ""),
    "flops gpt2 --plot a.svg": ("flops-plot", "points"),
    "memory llama-3-8b": ("memory", "components"),
    "memory llama-3-8b --view tensors --dtype q4_k_m": ("memory", "weights"),
    "memory t5-small --view layers --cache-dtype int8": ("memory", "cache_layers"),
    "memory bert-base": ("memory", "components"),
    "lens tiny -p God --token king --sites layers --top 2": ("lens", "readings"),
    f"lens tiny --train {README} --lens lens.safetensors --steps 1 --seq 9": ("lens-train", "divergences"),
    "trace happy": ("trace", "steps"),
    "trace tiny-seq2seq --random-weights --ids 1,2 --summary": ("trace", "steps"),
    "attention tiny-seq2seq --random-weights --ids 1,2,3 --head encoder.layers.0.attn.0 --pair 1,0": (
        "attention",
        "heads",
    ),
    "attribute tiny --ids 1,2,3 --token-id 5 --against-id 6": ("attribute", ""),
    "demo": ("demo", "demos"),
    "demo softmax": ("demo-softmax", "tokens"),
    "demo dropout": ("demo-dropout", "entries"),
    "demo positions": ("demo-positions", "cases"),
    "demo step": ("demo-step", "tokens"),
    "demo cost": ("demo-cost", "points"),
    "embed tiny --near king --near God --top 3": ("embed-near", "neighbors"),
    "embed tiny --analogy king man woman queen": ("embed-analogy", "tokens"),
    "embed tiny --random-weights --contexts 1,2,3 4,2 --token 2 --ids": ("embed-contexts", "layers"),
    "embed tiny --random-weights --project 1 --project 2 --project 3 --ids": ("embed-project", "points"),
    "fill-mask tiny-encoder --random-weights --ids 5,6,7 --mask-id 6": ("fill-mask", ""),
    "generate tiny -p God -n 2 -q": ("generate", ""),
    "next tiny --random-weights --ids 1,2,3": ("next", "tokens"),
    "next tiny --prompt God --prompt man --top 3 --temperature 0.5": ("next", "tokens"),
    "steer tiny -p man --positive king --negative field --strength 0.5,1 -n 3": ("steer", "texts"),
    "steer tiny-seq2seq --random-weights --ids 1,2 --positive-ids 3,4 --negative-ids 5 --project-out -n 2": (
        "steer",
        "texts",
    ),
    "steer tiny --positive king --negative field --save a.safetensors": ("steer", "directions"),
    "tokenize tiny cat --d-model 7": ("tokenize", "tokenizers"),
    "train tiny-seq2seq --task copy --seq 4 --batch 2 --steps 4 --every 2 -q": ("train", ""),
    "verify tiny gpt2": ("verify", ""),
    "memory llama-3-8b --lora 8 --dtype nf4 --targets q,v": ("memory-lora", "parts"),
    "memory gpt2 --lora 8": ("memory-lora", "parts"),
    "memory gpt-oss-20b --tp 4": ("memory-tp", "ranks"),
    "memory bert-base --fsdp 3": ("memory-tp", "ranks"),
    "memory t5-small --train --view tensors": ("memory-train", "parts"),
    "memory gpt2 --train --conventions --optimizer adamw4bit --device cuda": (
        "memory-train",
        "parts",
    ),
    "memory tiny --train --measure fake --seq 16": ("memory-train", "parts"),
    "patch tiny --ids 295,258,407 --corrupted-ids 295,258,335 --neuron 1:3": ("patch", "effects"),
    "patchscope tiny --ids 295,258,407 --into-ids 1,2 --into-position 0 --answer-id 3 -n 2": ("patchscope", "texts"),
    "patch tiny-seq2seq --random-weights --ids 1,2,3 --noise 1 --noise-samples 2 --component head --wrong-id 7": (
        "patch",
        "effects",
    ),
}


@pytest.fixture(scope="module", params=CALLS)
def call(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def cache(call: str) -> dict[str, Any]:
    """The JSON of a call is computed once."""
    return {}


@pytest.fixture
def result(call: str, cache: dict[str, Any], good: Good) -> Any:
    """Return the JSON of a call."""
    if "result" not in cache:
        cache["result"] = json.loads(good(*call.split(), "--format", "json"))
    return cache["result"]


def test_every_schema_has_a_call() -> None:
    assert {name for name, _ in CALLS.values()} == RESULTS.keys()


@pytest.mark.parametrize("name", RESULTS)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def closed(part: Any) -> Any:
    """Return a schema that allows no other fields."""
    if isinstance(part, dict):
        part = {key: closed(value) for key, value in part.items()}
        return part | {"additionalProperties": False} if "properties" in part else part
    return [closed(value) for value in part] if isinstance(part, list) else part


def test_json_fits_its_schema(call: str, result: Any) -> None:
    name, _ = CALLS[call]
    jsonschema.validate(result, closed(schema(name)), cls=jsonschema.Draft202012Validator)


def joined(name: str, values: list[Any]) -> str:
    """Return a list of JSON as CSV writes it: '×' between a shape's sizes, ';' between others, records as JSON."""
    if values and isinstance(values[0], dict):
        return json.dumps(values, ensure_ascii=False)
    return (" × " if name.endswith(("shape", "axes")) else "; ").join(map(str, values))


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of JSON as CSV writes it."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        for key, cell in value.items() if isinstance(value, dict) else [("", value)]:
            text = joined(name, cell) if isinstance(cell, list) else cell
            cells[f"{name}.{key}" if key else name] = "" if text is None else str(text)
    return cells


def test_csv_has_the_rows_of_json(good: Good, call: str, result: Any) -> None:
    table = CALLS[call][1]
    if not table:
        return
    rows = list(csv.DictReader(io.StringIO(good(*call.split(), "--format", "csv"))))
    assert rows == [flat(row) for row in (result if table == "[]" else result[table])]
    assert rows
