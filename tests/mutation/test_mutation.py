"""The tester of the tests: it makes mistakes, finds them where they are caught, and reports them where they are not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutants import mutants

ROOT = Path(__file__).parents[2]
LEDGER = sorted((ROOT / "archcalc/ledger").rglob("*.py"))
LINEAR = """
def linear(name, out, into, *, bias):
    '''A map.'''
    yield Weight(f"{name}.weight", (out, into), "attention")
    if bias:
        yield Weight(f"{name}.bias", (d.a + d.b, 2), "norm")
"""


def labels(source: str) -> set[str]:
    return {mutant.label.removeprefix("linear: ") for mutant in mutants("linear.py", source)}


def test_the_mistakes_that_are_made():
    found = labels(LINEAR)
    assert {
        "(out, into) → (out,)",
        "(out, into) → (into,)",
        "(out, into) → (out, into, into)",
        "'attention' → 'ffn'",
        "'norm' → 'other'",
        "bias → not bias",
        "d.a + d.b → d.a * d.b",
        "d.a → d.b",
        "2 → 3",
        "yield Weight(f'{name}.weight', (out, into), 'attention') → nothing",
    } <= found
    assert not any("A map" in label for label in found)


def test_each_mutant_is_one_change_that_compiles():
    found = mutants("linear.py", LINEAR)
    assert len({mutant.source for mutant in found}) == len(found)
    untouched = ast.unparse(ast.parse(LINEAR))
    for mutant in found:
        assert ast.unparse(ast.parse(mutant.source)) != untouched


@pytest.mark.slow
def test_every_module_of_the_ledger_has_mutants_and_every_explained_one_is_among_them():
    found = {path.name: mutants(path.name, path.read_text()) for path in LEDGER}
    assert [name for name, made in found.items() if not made] == ["__init__.py"]
    assert set(EQUIVALENT) <= {(name, mutant.label) for name, made in found.items() for mutant in made}
    assert all(EQUIVALENT.values())


# One mistake of each kind, and one that nothing can notice.
CHOSEN = [
    ("linear.py", "linear: (out, x.axes[-1]) → (out,)"),
    ("attention.py", "_queries: d.n_heads * d.d_head → d.n_heads + d.d_head"),
    ("norm.py", "_parameters: 'weight' → 'weightx'"),
]


@pytest.mark.parametrize(("file", "label"), CHOSEN)
def test_chosen_mistakes_are_noticed(file: str, label: str):
    assert label in [mutant.label for mutant in mutants(file, (ROOT / "archcalc/ledger" / file).read_text())]
    assert _survives(file, label) == "False"


@pytest.mark.slow
def test_a_change_that_changes_nothing_survives():
    """Else the three above might have died of something else."""
    assert _survives("linear.py", "untouched") == "True"


def _survives(file: str, label: str) -> str:
    code = f"""
from tests.mutation import mutate
path = mutate.ROOT / 'archcalc/ledger/{file}'
untouched = mutate.Mutant('archcalc/ledger/{file}', 'untouched', path.read_text())
mutate.preload()
print(*(mutate.attempt(m)[1] for m in [untouched, *mutate.mutants_of([path])] if m.label == {label!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)  # noqa: S603
    return done.stdout.strip()
