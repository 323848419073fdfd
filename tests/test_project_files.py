"""Project files agree with each other and with the package."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import yaml

import archcalc

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
META, GROUPS = PROJECT["project"], PROJECT["dependency-groups"]


def data(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_has_this_version() -> None:
    citation = data("CITATION.cff")
    assert citation["version"] == archcalc.__version__
    assert citation["license"] == META["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in META["authors"]]


def test_the_workflow_runs_every_python_that_is_named() -> None:
    pythons = data(".github/workflows/ci.yaml")["jobs"]["checks"]["strategy"]["matrix"]["python"]
    named = [one.rpartition(" ")[2] for one in META["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert pythons == named
    assert META["requires-python"] == f">={pythons[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == pythons[0]


def test_an_error_names_an_extra_that_there_is() -> None:
    extras = set()
    for path in (ROOT / "archcalc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Constant):
                extras.add(node.value.value)
    assert extras >= {"app", "frames", "hub", "model", "oracle", "plot", "run"}
    assert extras <= set(META["optional-dependencies"])


def test_the_readme_or_the_docs_name_every_extra() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert {name for name in META["optional-dependencies"] if f"`{name}`" not in text} == set()


def test_groups_of_commands_are_there() -> None:
    for path in ("README.md", "CONTRIBUTING.md", "bench/startup.py"):
        names = re.findall(r"--group (\w+)", (ROOT / path).read_text(encoding="utf-8"))
        assert names, path
        assert set(names) <= set(GROUPS), path


def test_contributors_install_what_the_readme_tests_with() -> None:
    command = re.compile(r"^python3 -m venv .*--group dev", re.MULTILINE)
    readme, contributing = (
        command.search((ROOT / name).read_text(encoding="utf-8"))[0].replace(" -q", "")
        for name in ("README.md", "CONTRIBUTING.md")
    )
    assert readme == contributing
