"""A process whose threads all use archcalc for the first time at once, as the visitors of a dashboard do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "archcalc"

# Threads change over as often as they can, so that each is interrupted in the middle of what it prepares.
FIRST_USE = """
import sys, threading
import archcalc
from archcalc.interp.trace import worked_example

sys.setswitchinterval(1e-6)
barrier, found = threading.Barrier(8), []

def use():
    barrier.wait()
    spec = archcalc.load("tiny")
    assert worked_example.example_of("happy").prompt
    found.append((archcalc.params(spec).elements.sum(), archcalc.flops(spec).forward.sum()))

threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(found)) == 1, found
"""


def test_threads_may_all_begin_at_once() -> None:
    """msgspec ended the process here (segmentation fault) as long as two threads could prepare one type."""
    ran = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)  # noqa: S603
    assert (ran.returncode, ran.stderr) == (0, "")


def test_only_one_module_makes_typed_values() -> None:
    makes = re.compile(r"msgspec\.convert\(|\bdecode\([^\n]*type=|Decoder\(\w*type")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if makes.search(path.read_text())}
    assert found == {"typed_data.py"}
