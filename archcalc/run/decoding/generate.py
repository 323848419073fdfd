"""One call from a source to a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archcalc.errors import InputError
from archcalc.run.decoding.generation import Completion, Generation, work_of
from archcalc.run.decoding.sampling import Sampling
from archcalc.run.loading.source import Opened, Quantize, Ready, open_source
from archcalc.words import msg


def generate(
    source: str | Ready,
    prompt: str | Sequence[int],
    *,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    stops: Sequence[str] = (),
    ignore_eos: bool = False,
    beams: int | None = None,
    random_weights: bool = False,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    quantize: Quantize | None = None,
) -> Completion:
    """What a model writes after a prompt: a text, or token ids, which come out as ids.

    `source` is a folder in Hugging Face layout, a .gguf file or a repo id, any architecture with `random_weights`, or a
    model that is in memory already (`open_source(…).load(…)`), whose device, dtype and weights are then its own.
    Greedy, unless a temperature is given. Several prompts at once, and text as it arrives: `Generation`.

    Raises InputError for a source without weights or with broken ones, a prompt that it cannot read, and what does not
    fit into memory.
    """
    found = source.opened if isinstance(source, Ready) else open_source(source, random_weights=random_weights)
    ids, as_ids = _ids(found, prompt), not isinstance(prompt, str)
    if isinstance(source, Ready):
        ready = source
    else:
        work = work_of(found.spec, [ids], max_tokens, beams or 1)
        ready = found.load(work, device=device, dtype=dtype, quantize=quantize, seed=seed)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
    )
    made = Generation(
        ready,
        [ids],
        max_tokens=max_tokens,
        sampling=sampling,
        seed=seed,
        stops=stops,
        ignore_eos=ignore_eos,
        as_ids=as_ids,
        beams=beams,
    )
    for _ in made:
        pass
    return made.completions[0]


def _ids(found: Opened, prompt: str | Sequence[int]) -> list[int]:
    if not isinstance(prompt, str):
        return list(prompt)
    if found.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="prompt", allowed=msg("token ids"))
    return found.tokenizer.encode(prompt)
