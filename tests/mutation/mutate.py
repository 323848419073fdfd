"""Test the ledger's tests with mutants, one at a time, and list those that no test notices.

    python tests/mutation/mutate.py [--module archcalc/ledger/moe.py] [--sample 400 --seed 1] [--jobs 2]

A mutant is never written to disk: a forked process imports it instead of the module and runs the ledger's tests until
one fails. Exit code 1 if a mutant survives that `equivalent.py` does not explain.
"""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.util
import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from tests.mutation.equivalent import EQUIVALENT  # noqa: E402
from tests.mutation.mutants import Mutant, mutants  # noqa: E402

# Run in order until one fails, after the tests of the module itself.
CHECKS = (
    "tests/ledger/test_parts.py",
    "tests/ledger/test_work.py",
    "tests/ledger/test_saved_activations.py",
    "tests/ledger/test_rows.py",
    "tests/ledger/test_published.py",
    "tests/ledger/test_algebra.py",
    "tests/analysis/test_closed_form.py",
    "tests/analysis/test_params.py",
    "tests/test_small_families.py",
    "tests/ledger/test_laws.py",
    "tests/hf/test_class_tensors.py",
    "tests/nn/test_nn_flops.py",
    "tests/analysis/test_layers.py",
    "tests/analysis/test_caches.py",
    "tests/analysis/test_costs.py",
)
OWN = {
    "algebra.py": "tests/ledger/test_algebra.py",
    "tokens.py": "tests/ledger/test_work.py",
    **dict.fromkeys(
        ("activation.py", "attention_core.py", "forward_context.py", "rope.py", "tensor.py"),
        "tests/ledger/test_saved_activations.py",
    ),
    **dict.fromkeys(
        (
            "altup.py",
            "compressed.py",
            "hyper.py",
            "indexer.py",
            "output_gate.py",
            "per_layer.py",
            "prompts.py",
            "sparse_attention.py",
        ),
        "tests/test_small_families.py",
    ),
    **dict.fromkeys(
        (path.name for path in (ROOT / "archcalc/ledger/mixers").glob("*.py")), "tests/test_small_families.py"
    ),
}
SECONDS_A_MUTANT = 600


class MutantImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the source of a mutant under the name of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = mutant.module.removesuffix(".py").replace("/", ".")

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module):
        exec(compile(self.mutant.source, self.mutant.module, "exec"), module.__dict__)  # noqa: S102


def survives(mutant: Mutant) -> bool:
    """Return whether all checks pass with the mutant. Needs a process of its own."""
    assert not any(name.startswith("archcalc.ledger") for name in sys.modules), "the ledger is imported afresh"
    sys.meta_path.insert(0, MutantImporter(mutant))
    sys.dont_write_bytecode = True
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.chdir(ROOT)
    signal.alarm(SECONDS_A_MUTANT)
    options = ["-x", "-q", "--assert=plain", "--tb=no", "-p", "no:cacheprovider"]
    own = OWN.get(Path(mutant.module).name, CHECKS[0])
    rest = [check for check in CHECKS if check != own]
    return all(pytest.main([*options, *checks]) == pytest.ExitCode.OK for checks in ([own], rest))


def attempt(mutant: Mutant) -> tuple[Mutant, bool]:
    """Return the mutant and whether it survives. A mutant that hangs ends its process and counts as killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            os.write(writer, b"1" if survives(mutant) else b"0")
        finally:
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1)
    os.close(reader)
    os.waitpid(child, 0)
    return mutant, answer == b"1"


def run(found: list[Mutant], jobs: int) -> list[Mutant]:
    """Return the survivors."""
    preload()
    untouched = Mutant(found[0].module, "untouched", (ROOT / found[0].module).read_text())
    assert attempt(untouched)[1], "the tests pass before anything is changed"
    survivors = []
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for done, (mutant, alive) in enumerate(pool.imap_unordered(attempt, found), 1):
            if alive:
                survivors.append(mutant)
            if sys.stderr.isatty():
                print(f"\r{done} of {len(found)}", end="", file=sys.stderr)
    assert attempt(untouched)[1], "the tests still pass: no file was edited meanwhile"
    return sorted(survivors, key=lambda mutant: (mutant.module, mutant.label))


def preload() -> None:
    """Import what every fork needs and no mutant changes."""
    import numpy  # noqa: F401
    import torch

    import archcalc.sources  # noqa: F401
    import tests.strategies  # noqa: F401

    no_shrinking = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutation",
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=no_shrinking,
        suppress_health_check=[hypothesis.HealthCheck.filter_too_much],  # of so few examples it judges by chance
    )
    os.environ["ARCHCALC_HYPOTHESIS_PROFILE"] = "mutation"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    torch.set_num_threads(1)  # a fork has no other threads
    gc.freeze()


def mutants_of(paths: list[Path]) -> list[Mutant]:
    """Return the mutants of modules, in the order of their files."""
    return [mutant for path in paths for mutant in mutants(str(path.relative_to(ROOT)), path.read_text())]


def main() -> int:
    """Print the survivors without an explanation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=Path, action="append", help="mutate this file alone")
    parser.add_argument("--sample", type=int, help="so many of the mutants, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    paths = [path.resolve() for path in options.module or sorted((ROOT / "archcalc/ledger").rglob("*.py"))]
    found = mutants_of(paths)
    if options.sample:
        found = random.Random(options.seed).sample(found, min(options.sample, len(found)))  # noqa: S311
    survivors = run(found, options.jobs)
    unexplained = [mutant for mutant in survivors if (Path(mutant.module).name, mutant.label) not in EQUIVALENT]
    for mutant in unexplained:
        print(f"{mutant.module}: {mutant.label}")
    killed, explained = len(found) - len(survivors), len(survivors) - len(unexplained)
    print(f"{len(found)} mutants: {killed} killed, {explained} equivalent, {len(unexplained)} survive")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
