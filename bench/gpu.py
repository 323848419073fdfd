"""What holds on a GPU: logits beside the CPU's, speed beside transformers, and the modeled peak beside the real one.

    pip install '.[run,oracle]' && python bench/gpu.py [--only logits,memory,speed] [--device cuda]

- logits: a model with random weights of every tiny config that the tests have, prefill and token by token from the
  cache, in fp32 without TF32; the error is a share of the largest logit.
- memory: the allocator's peak over two training steps beside `archcalc memory --train --device cuda`.
- speed: the shape of Llama 3.2 1B in bf16, medians over rounds in which both sides take turns.

Nothing here is a test.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import archcalc
from archcalc.run.train.step_memory import training_step

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.hf.tiny import TINY

BATCH, PREFILL, CACHED = 2, 9, 6
TRAINED = {
    "gpt2": {},
    "bert-base": {},
    "t5-small": {},
    "smollm2-135m": {},
    "gemma-2-9b": {"n_layers": 4},
    "mixtral-8x7b": {"n_layers": 2},
}
STEP = {"batch": 2, "seq": 512}
LLAMA_3_2_1B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}
PROMPT, NEW, ROUNDS = 2048, 64, 5


def logits(model: Any, ids: list[Tensor], device: str) -> list[Tensor]:
    """Return the logits of a pass, and where the model has a cache, those of its steps."""
    moved = [x.to(device) for x in ids]
    with torch.no_grad():
        found = [model(*moved)]
        if model.spec.family != "encoder" and not refuses_cache(model):
            cache = model.new_cache(batch=BATCH, capacity=PREFILL)
            if len(moved) == 2:
                model.encode(moved[0], cache=cache)
            last = moved[-1]
            found.append(model(last[:, :CACHED], cache=cache))
            found += [model(last[:, t : t + 1], cache=cache) for t in range(CACHED, PREFILL)]
    return [x.double().cpu() for x in found]


def refuses_cache(model: Any) -> bool:
    """Return whether the model has no cache, as where a learned prompt or a whole text is read."""
    try:
        model.new_cache(batch=1, capacity=1)
    except archcalc.ArchcalcError:
        return True
    return False


def compare_logits(device: str) -> None:
    """Print the largest error of all tiny models, and what does not run."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    errors: dict[str, float] = {}
    types: set[str] = set()
    for name, config in TINY.items():
        model_type = name.split(":")[0]
        try:
            model = archcalc.random_model(archcalc.load({"model_type": model_type, **config})).eval()
        except archcalc.ArchcalcError as error:
            print(f"  not run: {name}: {error}")
            continue
        n_texts = 2 if model.spec.family == "encoder-decoder" else 1
        torch.manual_seed(1)
        ids = [torch.randint(3, 30, (BATCH, PREFILL)) for _ in range(n_texts)]
        try:
            ours = logits(model, ids, "cpu")
            theirs = logits(model.to(device), ids, device)
        except Exception as error:  # report it, and go on with the next config
            print(f"  fails: {name}: {type(error).__name__}: {str(error)[:150]}")
            continue
        pairs = zip(ours, theirs, strict=True)
        errors[name] = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)
        types.add(model_type)
    worst = sorted(errors, key=errors.__getitem__, reverse=True)
    print(f"logits: {len(errors)} of {len(TINY)} configs of {len(types)} types run; within 1e-5 of the CPU's:")
    print(f"  {sum(error < 1e-5 for error in errors.values())}; the largest errors:")
    for name in worst[:12]:
        print(f"  {errors[name]:.1e}  {name}")


def compare_memory(device: str) -> None:
    """Print the modeled and the real peak of a step for each kernel of attention."""
    for (name, changes), dtype, kernel in itertools.product(TRAINED.items(), ("fp32", "bf16"), ("eager", "flash")):
        spec = archcalc.load(name, changes)
        how = archcalc.Execution(dtype=dtype, attention=kernel, experts="split", device="cuda")
        modeled = archcalc.training_memory(
            spec, recipe="pure", dtype=dtype, attention=kernel, experts="split", device="cuda", **STEP
        )["peak"]["bytes"]
        real = allocated_peak(spec, how, device)
        label = f"{name:12} {dtype} {kernel:5}"
        print(f"memory: {label} modeled {modeled:>14,} real {real:>14,}  {modeled / real - 1:+.2%}")


def allocated_peak(spec: archcalc.Spec, how: archcalc.Execution, device: str) -> int:
    """Return the bytes at the allocator's peak of two steps."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step = training_step(spec, archcalc.workload(spec, **STEP), how, device)
    step()
    step()
    return torch.cuda.max_memory_allocated() - before


def seconds(run: Callable[[], Any]) -> float:
    """Return the wall time of a run that the device has finished."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def compare_speed(device: str) -> None:
    """Print prefill and decode times of ours to those of transformers, eager and with sdpa."""
    import transformers

    spec = archcalc.load(LLAMA_3_2_1B)
    ours = archcalc.random_model(spec).to(device, torch.bfloat16).eval()
    config = transformers.LlamaConfig(**LLAMA_3_2_1B)
    torch.manual_seed(0)
    ids = torch.randint(0, 1000, (1, PROMPT), device=device)
    sides: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "ours": (lambda: ours(ids), lambda: decode(ours, ids))
    }
    for kernel in ("eager", "sdpa"):
        config._attn_implementation = kernel
        with torch.device(device):
            theirs = transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()
        sides[kernel] = (
            lambda model=theirs: model(ids, logits_to_keep=0),
            lambda model=theirs: model.generate(ids[:, :32], max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False),
        )
    with torch.no_grad():
        for i, what in enumerate((f"prefill of {PROMPT:,}", f"decode of {NEW}")):
            times: dict[str, list[float]] = {side: [] for side in sides}
            for round_ in range(ROUNDS + 1):
                for side, runs in sides.items():
                    taken = seconds(runs[i])
                    if round_:
                        times[side].append(taken)
            for side, found in times.items():
                ratio = statistics.median(a / b for a, b in zip(times["ours"], found, strict=True))
                milliseconds = statistics.median(found) * 1e3
                print(f"speed: {what}: {side:6} {milliseconds:8.1f} ms; ours takes {ratio:.2f} times that")


def decode(model: Any, ids: Tensor) -> None:
    """Continue 32 tokens greedily."""
    cache = model.new_cache(batch=1, capacity=32 + NEW)
    last = model(ids[:, :32], cache=cache)[:, -1:].argmax(-1)
    for _ in range(NEW - 1):
        last = model(last, cache=cache)[:, -1:].argmax(-1)


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"logits": compare_logits, "memory": compare_memory, "speed": compare_speed}
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    for part in args.only.split(","):
        parts[part](args.device)


if __name__ == "__main__":
    main()
