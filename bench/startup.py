"""How long a report takes, beside the fastest peer; how long a report and a proof take inside Python, and what memory.

    pip install '.[model]' --group bench && python bench/startup.py

Commands are run in turn (ours, theirs, ours, …), so that a machine whose speed drifts treats both alike; the ratio is
the median over the pairs. Nothing here is a test: the figures depend on the machine.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

PAIRS = 25
OURS = ["archcalc", "report", "gpt3"]
PEER = ["llm-flops", "estimate", "google-bert/bert-base-uncased", "--no-hf"]

API = """
import json, time, archcalc
from archcalc import presets
names = presets.names()
specs = [archcalc.load(name) for name in names]
for spec in specs: archcalc.report(spec)
start = time.perf_counter()
for _ in range(20):
    for spec in specs: archcalc.report(spec)
report = (time.perf_counter() - start) / 20 / len(specs)
start = time.perf_counter()
for name in names: archcalc.load(name)
load = (time.perf_counter() - start) / len(names)
print(json.dumps({"report": report, "load": load}))
"""

PROOF = """
import json, resource, sys, time, archcalc
start = time.perf_counter()
(found,) = archcalc.verify(archcalc.load(sys.argv[1]))
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"whole": time.perf_counter() - start, "compare": found.seconds, "peak_kib": peak_kib}))
assert found.is_equal
"""


def seconds(command: list[str]) -> float:
    """Wall time of one whole process, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def paired() -> None:
    """Our report and the peer's, in turn."""
    here = Path(sys.executable).parent
    ours, peer = (([shutil.which(c[0], path=str(here)) or c[0], *c[1:]]) for c in (OURS, PEER))
    for command in (ours, peer):
        seconds(command)
    pairs = [(seconds(ours), seconds(peer)) for _ in range(PAIRS)]
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{' '.join(OURS):52} {1000 * a:7.1f} ms")
    print(f"{' '.join(PEER):52} {1000 * b:7.1f} ms")
    print(f"{'ratio, median of ' + str(PAIRS) + ' pairs':52} {ratio:7.2f}")


def measured(code: str, *args: str) -> dict[str, float]:
    """What a fresh Python prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the table."""
    paired()
    api = measured(API)
    print(f"{'archcalc.load, mean over the presets':52} {1000 * api['load']:7.2f} ms")
    print(f"{'archcalc.report, mean over the presets':52} {1000 * api['report']:7.2f} ms")
    for name in ("gpt3-175b", "llama-3-405b", "deepseek-v3"):
        proof = measured(PROOF, name)
        print(
            f"{'verify ' + name + ' (with the import of torch)':52} {1000 * proof['whole']:7.0f} ms"
            f"   of it comparing {1000 * proof['compare']:.0f} ms, peak {proof['peak_kib'] / 1024:.0f} MiB"
        )


if __name__ == "__main__":
    main()
