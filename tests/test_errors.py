"""The library's errors name parameters, never options of the command line, which has its own names for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from archcalc.errors import ArchcalcError, InputError, shown
from archcalc.words import msg

PACKAGE = Path(__file__).parents[1] / "archcalc"
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"]
OPTION = re.compile(r"(?<![\w-])(?<!torchrun )--(?=[a-z]|$)")  # torchrun has options of its own
NAMES = {"tp": "--tp", "fsdp": "--fsdp", "settings": "--set", "seq": "--seq"}


def functions(tree: ast.Module) -> Iterator[ast.AST]:
    """The functions that make an error, innermost ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(map(is_error, ast.walk(node))):
            yield node


def is_error(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error")


def texts(function: ast.AST) -> Iterator[str]:
    """All text of a function but its docstring: a message may be put together before it is raised."""
    docstrings = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Expr)}
    for node in ast.walk(function):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def options(source: str) -> list[str]:
    return [text for function in functions(ast.parse(source)) for text in texts(function) if OPTION.search(text)]


def test_an_error_of_the_library_names_no_option() -> None:
    named = {path: options(path.read_text(encoding="utf-8")) for path in MODULES}
    assert not {path: found for path, found in named.items() if found}


@pytest.mark.parametrize(
    "line",
    [
        'raise InputError("x", where="--tp")',
        'raise InputError("x", where=f"--{engine}")',
        'raise InputError("x", allowed="1, or --fsdp")',
        'return InputError("give --tp")',
        'text = "--tp"; raise InputError(text)',
    ],
)
def test_the_lint_sees_an_option(line: str) -> None:
    assert options(f"def check(engine):\n    '''As --tp.'''\n    {line}\n")


def test_the_lint_sees_no_option_elsewhere() -> None:
    assert not options('def f():\n    """As --set."""\n    raise InputError("a---b", allowed="x -- y")\n')
    assert not options('def f():\n    return "--set"\n')


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("found 3", where="tp", allowed=msg("1, or `fsdp`")), "--tp: found 3; expected 1, or --fsdp"),
        (InputError("both", where="tp, fsdp"), "--tp, --fsdp: both"),
        (InputError("is no YAML", where="settings n_layers"), "--set n_layers: is no YAML"),
        (InputError("found 3", where="decoder.seq"), "decoder.seq: found 3"),
        (InputError("found 3", where="seq.tp"), "seq.tp: found 3"),
        (InputError(msg("more than `seq`"), where="seq", file="a.yaml"), "a.yaml: seq: more than --seq"),
        (InputError(msg("`other` and seq")), "`other` and seq"),
        (InputError(msg("found {found}", found=shown("`tp`")), where="tp"), "--tp: found '`tp`'"),
        (ArchcalcError(msg("lower `seq`")), "lower --seq"),
    ],
)
def test_the_command_line_renames_parameters(error: ArchcalcError, line: str) -> None:
    error.rename_parameters(NAMES)
    assert str(error) == line
