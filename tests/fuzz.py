"""Corrupted configs, specs and GGUF metadata: each loads, or is refused in one line, within a second and 4 GiB.

python -m tests.fuzz --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import copy
import random
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import archcalc
from archcalc import presets
from archcalc.errors import InputError
from archcalc.hf.registry import find_gguf, index
from archcalc.spec import Spec
from tests.gguf_bytes import gguf_bytes
from tests.hf.tiny import TINY

MAX_SECONDS, MAX_BYTES = 1.0, 4 * 2**30
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**30, 0.0, -0.5, 1e-9, 1e308, float("nan"), float("inf")),
    *("", "x", "auto", "silu", "9" * 50, "x" * 3000, "a\nb", "\x00", "𝔘", ["full_attention"], ["x"] * 50),
    *([], [None], [0], [1, 2, 3], [[1]], [1] * 50, {}, {"a": 1}, {"rope_type": "yarn"}, {"0": {}}, [{}]),
)
# What metadata can hold.
IN_GGUF: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 8, 64, 2**31 - 1, 0.0, -1.5, 1e30, "", "x", "yarn", [], [0], [1, 2], [4] * 4),
)
TENSORS = (
    *("token_embd.weight", "output.weight", "rope_freqs.weight", "position_embd.weight", "token_types.weight"),
    *("blk.0.attn_q.bias", "blk.0.attn_qkv.bias", "blk.0.attn_norm_2.weight", "blk.1.ffn_gate_inp.weight"),
    *("blk.0.laurel_l.weight", "per_layer_token_embd.weight", "blk.0.ssm_norm.weight"),
)


def corrupted(data: Any, rng: random.Random, values: tuple[Any, ...] = HOSTILE) -> Any:
    """Return a copy of plain data with one to four changes: replaced, dropped, added or exchanged values."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 4)):
        places = list(_places(data))
        if not places:
            break
        holder, key = rng.choice(places)
        change = rng.random()
        if change < 0.6:
            holder[key] = copy.deepcopy(rng.choice(values))
        elif change < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(("x", "", f"{key}_", *map(str, holder)))] = copy.deepcopy(rng.choice(values))
        else:
            holder[key], holder[0] = holder[0], holder[key]
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(items):
        yield data, key
        yield from _places(value)


def config(rng: random.Random) -> Any:
    """Return a corrupted config of a random type."""
    name = rng.choice(sorted(TINY))
    return corrupted({"model_type": name.split(":")[0]} | TINY[name], rng)


def spec(rng: random.Random) -> Any:
    """Return the corrupted document of a random preset."""
    from msgspec import to_builtins

    name = rng.choice(sorted(presets.names()))
    document = to_builtins(archcalc.load(name))
    return corrupted({key: value for key, value in document.items() if key != "about"}, rng)


def gguf(rng: random.Random) -> bytes:
    """Return a file of a random architecture with corrupted metadata."""
    name = rng.choice(sorted(index()["gguf"]))
    family = find_gguf(name)
    assert family
    assert family.gguf
    keys = rng.sample([*family.gguf.keys, *family.gguf.own_keys, *family.gguf.values], k=rng.randint(0, 4))
    metadata: dict[str, Any] = {f"{name}.{key}": rng.choice((1, 2, 4, 8)) for key in family.gguf.keys}
    metadata |= {f"{name}.{key}": rng.choice(IN_GGUF) for key in keys if rng.random() < 0.5}
    metadata = corrupted(metadata, rng, IN_GGUF) if rng.random() < 0.9 else metadata
    tensors = {each: ((rng.choice((1, 4, 32)), 32), ()) for each in rng.sample(TENSORS, k=rng.randint(1, len(TENSORS)))}
    known = {
        str(key): [each for each in value if type(each) is int] if isinstance(value, list) else value
        for key, value in metadata.items()
    }
    return gguf_bytes({"general.architecture": name} | known, {"token_embd.weight": ((32, 8), ()), **tensors})


def load(data: Any, folder: Path) -> Spec:
    """Return the spec of a case, which is plain data or the bytes of a file."""
    if not isinstance(data, bytes):
        return archcalc.load(data)
    (folder / "x.gguf").write_bytes(data)
    return archcalc.load(str(folder / "x.gguf"))


KINDS: dict[str, Callable[[random.Random], Any]] = {"config": config, "spec": spec, "gguf": gguf}


def faults(count: int, seed: int, folder: Path, max_seconds: float = MAX_SECONDS) -> Iterator[tuple[str, int, str]]:
    """Yield each case that is neither read nor refused in one line, or takes too long: its kind, number, and why."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")  # noqa: S311 - cases, no secrets
        kind = rng.choice(list(KINDS))
        data, before = KINDS[kind](rng), time.process_time()
        try:
            archcalc.report(load(data, folder), seq=8)
        except InputError as error:
            if "\n" in str(error) or not str(error).strip():
                yield kind, number, f"not one line: {error!r}"
        except Exception:
            yield kind, number, traceback.format_exc(limit=-4)
        if (seconds := time.process_time() - before) > max_seconds:
            yield kind, number, f"took {seconds:.1f} s"


def main() -> int:
    """Print the faults; return how many there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        found = 0
        for kind, number, why in faults(arguments.count, arguments.seed, Path(folder)):
            found += 1
            print(f"{kind} {number}: {why}", flush=True)
    print(f"{found} faults in {arguments.count} cases of seed {arguments.seed}")
    return min(found, 1)


if __name__ == "__main__":
    raise SystemExit(main())
