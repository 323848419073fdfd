"""How long a million models take as arrays, beside the loop over them; and what a report of one takes.

    python bench/sweep.py [runs]

Every figure of a report is computed. The loop runs on a random sample, whose rows must be the sweep's, integer for
integer. Nothing here is a test of speed: the figures depend on the machine.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import archcalc
from archcalc import presets
from archcalc.analysis.sweep.grid import arrays

SOURCE = "gpt3"
GRIDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "heads of 128, all are models": ({
        "d_model": range(256, 25_601, 256),
        "n_layers": range(4, 101, 4),
        "n_heads": range(4, 81, 4),
        "d_ff": range(2_048, 40_961, 2_048),
    }, {"d_head": 128}),
    "heads of d_model / n_heads, where they divide it": ({
        "d_model": range(256, 25_601, 256),
        "n_layers": range(4, 101, 4),
        "n_heads": range(4, 81, 4),
        "d_ff": range(2_048, 40_961, 2_048),
    }, {}),
    "the same, batches beyond int64": ({
        "d_model": range(256, 25_601, 256),
        "n_layers": range(4, 101, 4),
        "n_heads": range(4, 81, 4),
        "batch": range(2_048, 40_961, 2_048),
    }, {"d_head": 128}),
}  # fmt: skip
SAMPLE = 300


def flattened(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """A report's figures by their dotted names."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def looped(cell: dict[str, int], changes: dict[str, Any]) -> dict[str, int]:
    """The figures of one cell by the calls for one model."""
    batch = {"batch": cell["batch"]} if "batch" in cell else {}
    spec = archcalc.load(SOURCE, changes | {field: size for field, size in cell.items() if field not in batch})
    report = archcalc.report(spec, **batch)
    return dict(flattened({key: report[key] for key in ("params", "flops", "memory")}))


def timed(runs: int, grid: dict[str, Any], changes: dict[str, Any]) -> None:
    """Print the best of some runs of a grid, and the loop's time."""
    best: tuple[float, float] = (float("inf"), float("inf"))
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        found = archcalc.sweep(SOURCE, grid, changes=changes)
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    cells, (wall, cpu) = found.attrs["cells"], best
    rows = [found.iloc[i] for i in random.Random(0).sample(range(len(found)), SAMPLE)]
    chosen = [{field: int(row[field]) for field in grid} for row in rows]
    start = time.perf_counter()
    alone = [looped(cell, changes) for cell in chosen]
    each = (time.perf_counter() - start) / SAMPLE
    assert alone == [{name: int(row[name]) for name in alone[0]} for row in rows], "the sweep is the loop"
    wide = sum(found[name].dtype == object for name in alone[0])
    print(f"  {cells:,} combinations, {len(found):,} models, {len(alone[0])} figures ({wide} beyond int64)")
    print(f"  sweep, best of {runs}: {wall:.2f} s wall, {cpu:.2f} s CPU, the DataFrame included")
    print(f"  loop: {1000 * each:.2f} ms a model, {each * cells:,.0f} s for all; ratio {each * cells / wall:,.0f}")
    print(f"  {SAMPLE} random rows are the loop's")


def reports() -> None:
    """Print what a report takes, of each preset."""
    found = {}
    for name in presets.names():
        spec = archcalc.load(name)
        times = []
        for _ in range(15):
            start = time.process_time()
            archcalc.report(spec)
            times.append(time.process_time() - start)
        found[name] = 1000 * min(times)
    slowest = max(found, key=lambda name: found[name])
    mean = sum(found.values()) / len(found)
    print(f"archcalc.report, CPU: mean {mean:.2f} ms over the presets, most {found[slowest]:.2f} ms ({slowest})")


def main() -> None:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    arrays(SOURCE, {"d_model": [96]})  # imports apart
    for title, (grid, changes) in GRIDS.items():
        print(f"{SOURCE}, {' × '.join(grid)}: {title}")
        timed(runs, grid, changes)
    reports()


if __name__ == "__main__":
    main()
