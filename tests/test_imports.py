"""Who imports whom, read from the source; and what a process has loaded after it was used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gguf_bytes import gguf_bytes

PACKAGE = Path(__file__).parents[1] / "archcalc"

# Each may import itself and what stands before it.
HOUSE = (
    "_version", "_lazy", "units", "words", "errors", "engines", "typed_data", "extras", "results", "formats", "spec",
    "presets", "prepared_presets", "locations", "hf", "headers", "source_warnings", "sources", "text", "ledger",
    "analysis", "contract", "nn", "taps", "checkpoint", "run", "interp", "trace", "inside", "proof", "coverage",
    "render", "dashboard", "cli", "__main__",
)  # fmt: skip
# Two readings of a spec that share nothing but the spec.
READINGS = ({"ledger", "analysis", "contract"}, {"nn", "checkpoint", "run", "interp"})
ABOVE_BOTH = {"run", "interp"}  # a training run prints its MFU
HEAVY = {"torch", "numpy", "pandas", "streamlit", "transformers", "plotly", "huggingface_hub", "tokenizers"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def house_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names that a tree imports, wherever in it: 'archcalc.ledger.build', 'torch.nn'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(names: Iterator[str]) -> set[str]:
    """The parts of archcalc among these names."""
    return {name.split(".")[1] for name in names if name.startswith("archcalc.")}


def at_import_time(tree: ast.Module) -> Iterator[str]:
    """What importing a module imports: no function's body, nothing for type checkers alone."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from imports(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def modules(*houses: str) -> list[Path]:
    return [path for path in MODULES if house_of(path) in houses]


# Within `run`: what a folder imports of the others.
RUN = {
    "devices": set(),
    "pack": set(),
    "distributed": {"devices"},
    "loading": {"devices", "pack", "distributed"},
    "decoding": {"devices", "loading", "pack"},
    "train": {"devices", "distributed", "loading"},
}


def module_name(path: Path) -> str:
    """'archcalc.spec.layer'; of a package its folder's."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of a graph, empty if there is none."""
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        found = next(filter(None, (walk(other, [*trail, node]) for other in sorted(graph[node]))), [])
        done.add(node)
        return found

    return next(filter(None, (walk(node, []) for node in graph)), [])


def test_no_modules_import_each_other():
    """Anywhere in them: imports in functions count, and those for type checkers."""
    names = {module_name(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        full = list(imports(parsed(path)))
        named = {name if name in names else name.rpartition(".")[0] for name in full}
        graph[module_name(path)] = (named & names) - {module_name(path)}
    assert cycle(graph) == []


def test_a_circle_is_seen():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("folder", RUN)
def test_the_floors_of_run(folder: str):
    inside = {path: path.relative_to(PACKAGE / "run").parts[0].removesuffix(".py") for path in modules("run")}
    paths = [path for path, place in inside.items() if place == folder]
    assert paths
    for path in paths:
        own_run = {name.split(".")[2] for name in imports(parsed(path)) if name.startswith("archcalc.run.")}
        assert own_run <= {folder} | RUN[folder], path


def test_a_module_imports_what_stands_above_it():
    for path in MODULES:
        imported = own(imports(parsed(path)))
        if path == PACKAGE / "__init__.py":
            assert imported.isdisjoint({"cli", "dashboard"})
            continue
        house = house_of(path)
        assert house in HOUSE, f"{house} has no place in the house"
        assert imported <= set(HOUSE[: HOUSE.index(house) + 1]), path


def test_the_two_readings_share_nothing():
    counting, computing = READINGS
    for path in modules(*counting):
        assert own(imports(parsed(path))).isdisjoint(computing), path
    for path in modules(*computing - ABOVE_BOTH):
        assert own(imports(parsed(path))).isdisjoint(counting), path


def test_only_proof_compares_ledger_rows_with_modules():
    both = [
        path
        for path in MODULES
        if {"ledger", "nn"} <= own(imports(parsed(path))) and house_of(path) not in {"cli", "dashboard", *ABOVE_BOTH}
    ]
    assert [house_of(path) for path in both if path != PACKAGE / "__init__.py"] == ["proof"]


def test_the_paper_side_never_needs_torch():
    for path in modules("errors", "units", "spec", "presets", "sources", "ledger", "analysis", "contract", "render"):
        roots = {name.split(".")[0] for name in imports(parsed(path))}
        assert roots.isdisjoint(HEAVY - {"pandas", "numpy"} | ({"torch"})), path
    for path in modules("spec", "ledger"):
        assert {name.split(".")[0] for name in imports(parsed(path))}.isdisjoint(HEAVY), path


def test_nothing_heavy_is_imported_before_it_is_needed():
    for path in MODULES:
        if house_of(path) not in {"nn", "checkpoint", "text", "run", "interp", "dashboard"}:
            roots = {name.split(".")[0] for name in at_import_time(parsed(path))}
            assert roots.isdisjoint(HEAVY), path


CALLS = {
    "import": "import archcalc",
    "load": "import archcalc; archcalc.load('gpt3')",
    "report": "import archcalc; archcalc.report(archcalc.load('gpt3'))",
    "a config": "import archcalc; archcalc.load({'model_type': 'gpt2'})",
    "help": "from archcalc.cli.main import main; main(['--help'])",
    "report of the command line": "from archcalc.cli.main import main; main(['report', 'gpt3', '--format', 'json'])",
    "report of a GGUF file": "from archcalc.cli.main import main; main(['report', {gguf!r}, '--format', 'json'])",
}


def llama_of_gguf(folder: Path) -> str:
    """A file whose scaling of positions is told from a tensor: of so few pairs, none is slow enough to be divided."""
    sizes = {"block_count": 2, "embedding_length": 8, "feed_forward_length": 8, "context_length": 64}
    metadata = {f"llama.{key}": size for key, size in sizes.items()} | {"llama.attention.head_count": 2}
    tensors = {"token_embd.weight": ((96, 8), ()), "rope_freqs.weight": ((2,), (1.0, 1.0))}
    (folder / "x.gguf").write_bytes(gguf_bytes(metadata | {"general.architecture": "llama"}, tensors))
    return str(folder / "x.gguf")


@pytest.mark.parametrize("call", CALLS)
def test_light_calls_stay_light(call: str, tmp_path: Path):
    called = CALLS[call].replace("{gguf!r}", repr(llama_of_gguf(tmp_path)))
    code = f"import sys\ntry:\n    {called}\nexcept SystemExit as end:\n    assert not end.code\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)  # noqa: S603
    assert done.stderr == "[]\n"
    assert done.returncode == 0


def test_report_of_a_preset_imports_what_a_preset_needs():
    """No reader of YAML, files or configs: start-up is mostly imports."""
    code = "import sys\nfrom archcalc.cli.main import run\nrun(['report', 'gpt3', '--set', 'n_layers=48'])\n"
    code += "print([m for m in sys.modules if m.startswith(('yaml', 'pathlib', 'archcalc.hf'))], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)  # noqa: S603
    assert done.stderr == "[]\n"


def test_importing_archcalc_imports_the_standard_library_alone():
    wanted = "[name for name in sys.modules if name.split('.')[0] in ('archcalc', 'msgspec', 'yaml')]"
    code = f"import sys, archcalc; print({wanted})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)  # noqa: S603
    assert done.stdout == "['archcalc']\n"
