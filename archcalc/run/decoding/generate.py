"""`archcalc.generate`: from a source and a prompt to a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archcalc.errors import InputError
from archcalc.run.decoding.completion import Completion
from archcalc.run.decoding.generation import Generation, generation_workload
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.loading.source import LoadedModel, ModelSource, Quantize, open_source
from archcalc.words import msg


def generate(
    source: str | LoadedModel,
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
    """Return the continuation of a prompt: of a text as text, of token ids as ids.

    `source` is a folder in Hugging Face layout, a .gguf file or a repo id; any architecture with `random_weights`; or a
    model in memory (`open_source(…).load(…)`), whose device, dtype and weights are used as they are. Greedy, unless a
    temperature is given. `Generation` continues several prompts at once and streams text.

    Raise InputError for a source without weights or with broken ones, and for a prompt that the model cannot read;
    TooLargeError if the model does not fit into memory.
    """
    if isinstance(source, LoadedModel):
        model_source = source.source
    else:
        model_source = open_source(source, random_weights=random_weights)
    ids, as_ids = _ids(model_source, prompt), not isinstance(prompt, str)
    if isinstance(source, LoadedModel):
        loaded_model = source
    else:
        work = generation_workload(model_source.spec, [ids], max_tokens, beams or 1)
        loaded_model = model_source.load(work, device=device, dtype=dtype, quantize=quantize, seed=seed)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
    )
    generation = Generation(
        loaded_model,
        [ids],
        max_tokens=max_tokens,
        sampling=sampling,
        seed=seed,
        stops=stops,
        ignore_eos=ignore_eos,
        as_ids=as_ids,
        beams=beams,
    )
    for _ in generation:
        pass
    return generation.completions[0]


def _ids(source: ModelSource, prompt: str | Sequence[int]) -> list[int]:
    if not isinstance(prompt, str):
        return list(prompt)
    if source.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="prompt", allowed=msg("token ids"))
    return source.tokenizer.encode(prompt)
