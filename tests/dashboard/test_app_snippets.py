"""The Python code that the pages show to copy: it uses only public names, and runs."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import archcalc
from archcalc.dashboard import snippets

CHAIN = re.compile(r"archcalc\.([\w.]+)")
DASHBOARD = Path(snippets.__file__).parent
TRAIN, HAPPY = {"model": "tiny", "compute_phase": "train"}, {"trace_model": "happy", "trace_ids": "0,1"}
RANDOM = {"trace_from": "random", "model": "tiny-seq2seq", "set": "n_layers=1", "trace_seed": 3, "trace_ids": "4,2"}
INSIDE_RANDOM = {"inside_from": "random", "model": "tiny-seq2seq", "inside_seed": 3}

# (the function that shows the code, its page, query parameters)
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("export.show", "architecture", {"model": "tiny", "set": "n_layers=2"}),
    ("verification.show", "architecture", {"model": "tiny", "view": "verify"}),
    ("computing.inference._flops", "compute", {"model": "tiny", "compute_batch": 2}),
    ("computing.inference._context", "compute", {"model": "tiny", "compute_view": "context", "compute_up_to": 64}),
    (
        "computing.inference._context",
        "compute",
        {"model": "tiny", "compute_view": "context", "compute_phase": "decode"},
    ),
    ("computing.inference._memory", "compute", {"model": "tiny", "compute_view": "memory", "compute_dtype": "int8"}),
    ("computing.inference._growth", "compute", {"model": "tiny", "compute_view": "growth", "compute_up_to": 64}),
    ("computing.inference._ranks", "compute", {"model": "tiny", "compute_view": "ranks", "compute_cache_dtype": "fp8"}),
    (
        "computing.training._training_memory",
        "compute",
        {**TRAIN, "compute_optimizer": "sgd", "compute_recompute": "full"},
    ),
    ("computing.training._show_flops_snippets", "compute", {**TRAIN, "compute_training": "flops"}),
    ("computing.training._show_flops_snippets", "compute", {**TRAIN, "compute_training": "conventions"}),
    ("pages.compare._show_snippets", "compare", {"model": "tiny", "compare_models": "gpt2"}),
    ("pages.compare._show_snippets", "compare", {"model": "tiny", "compare_models": "gpt2", "compare_view": "bars"}),
    ("pages.compare._costs", "compare", {"model": "tiny", "compare_models": "gpt2", "compare_view": "costs"}),
    ("pages.compare._diff", "compare", {"model": "tiny", "compare_models": "gpt2", "compare_view": "diff"}),
    ("pages.run._generate", "run", {"run_max_tokens": 3, "run_top_k": 5, "run_quantize": "int8"}),
    ("running.tokenization.show", "run", {"run_view": "tokenize"}),
    ("pages.trace._view", "trace", HAPPY),
    ("pages.trace._view", "trace", {**HAPPY, "trace_view": "attention", "trace_position": 0}),
    ("pages.trace._view", "trace", {**HAPPY, "trace_view": "next", "trace_target": 2}),
    ("pages.trace._view", "trace", {**HAPPY, "trace_view": "next"}),
    ("pages.trace._view", "trace", RANDOM),
    ("pages.inside._show", "inside", {"lens_token": "God"}),
    ("pages.inside._show", "inside", {"lens_kind": "jacobian", "lens_sites": "layers", "inside_model": "happy"}),
    ("pages.inside._show", "inside", {"inside_view": "attention", "attention_row": 1, "pattern_column": 2}),
    ("pages.inside._show", "inside", {"inside_view": "attribute", **INSIDE_RANDOM}),
    ("pages.inside._show", "inside", {"inside_view": "patch"}),
    ("pages.inside._show", "inside", {"inside_view": "patch", **INSIDE_RANDOM}),
    ("pages.inside._show", "inside", {"inside_view": "patchscope", "scope_tokens": 2}),
    ("pages.inside._show", "inside", {"inside_view": "patchscope", "scope_layers": "grid", **INSIDE_RANDOM}),
    ("pages.inside._show", "inside", {"inside_view": "steer", "steer_operation": "project", "steer_tokens": 2}),
    ("pages.inside._show", "inside", {"inside_view": "steer", "steer_tokens": 2, **INSIDE_RANDOM}),
    ("pages.inside._show", "inside", {"inside_view": "embed"}),
    ("pages.inside._show", "inside", {"inside_view": "embed", "embed_mode": "analogy"}),
    ("pages.inside._show", "inside", {"inside_view": "embed", "embed_mode": "contexts"}),
    ("pages.inside._show", "inside", {"inside_view": "embed", "embed_mode": "project", **INSIDE_RANDOM}),
]


def draw_page(module: str, has_chooser: bool) -> None:
    import importlib

    from archcalc.dashboard import chooser, session

    session.choose_language()
    if has_chooser:
        chooser.draw()
    importlib.import_module(f"archcalc.dashboard.pages.{module}").page()


def has_snippet(node: ast.AST) -> bool:
    return any(
        isinstance(each, ast.Call) and ast.unparse(each.func) in ("snippets.show", "snippets.code")
        for each in ast.walk(node)
    )


def functions_with_snippets() -> set[str]:
    """Return the functions of the dashboard that show code to copy."""
    return {
        f"{'.'.join(path.relative_to(DASHBOARD).with_suffix('').parts)}.{node.name}"
        for path in DASHBOARD.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and has_snippet(node)
    }


def private_names(code: str) -> list[str]:
    """Return the names of archcalc in Python code that are not public."""
    nodes = list(ast.walk(ast.parse(code)))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    chains = [CHAIN.fullmatch(ast.unparse(node)) for node in nodes if isinstance(node, ast.Attribute)]
    return [
        *(line for line in map(ast.unparse, imports) if line != "import archcalc"),
        *(chain[0] for chain in chains if chain and not is_public(chain[1].split("."))),
    ]


def is_public(names: list[str]) -> bool:
    if names[0] not in archcalc.__all__:
        return False
    value = getattr(archcalc, names[0])
    return len(names) == 1 or not inspect.ismodule(value) or names[1] in value.__all__


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import archcalc\n\narchcalc.trace.run(archcalc.load_model('happy'), [1])", []),
        ("archcalc.presets.names()", ["archcalc.presets", "archcalc.presets.names"]),
        ("archcalc.trace.spec", ["archcalc.trace.spec"]),
        ("from archcalc.ledger.build import build", ["from archcalc.ledger.build import build"]),
        ("import archcalc.ledger", ["import archcalc.ledger"]),
    ],
)
def test_private_names_are_found(code: str, names: list[str]) -> None:
    assert sorted(private_names(code)) == names


def test_every_snippet_is_tested() -> None:
    assert {function for function, *_ in CASES} == functions_with_snippets()


@pytest.mark.parametrize(("function", "module", "link"), CASES)
def test_a_snippet_uses_public_names_and_runs(
    function: str, module: str, link: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, str] = {}

    def lines(_: str, python: str) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        caller = frame.f_back
        assert caller is not None
        shown[f"{caller.f_globals['__name__']}.{caller.f_code.co_name}"] = python

    monkeypatch.setattr(snippets, "show", lines)
    monkeypatch.setattr(snippets, "code", lines)
    at = AppTest.from_function(draw_page, args=(module, module not in ("run", "trace", "inside")), default_timeout=600)
    at.query_params.update(link)
    at.run()
    assert not at.exception, at.exception
    assert not at.error, at.error
    code = shown[f"archcalc.dashboard.{function}"]
    assert private_names(code) == []
    exec(code, {})  # noqa: S102 - the page's own code
