"""Patchscopes: the text that a model generates after a vector of another prompt (Ghandeharioun et al. 2024).

Axes: B batch, T tokens, S tokens of the source prompt, P patched positions, D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_ids, check_one_stream, check_tokens
from archcalc.nn import taps
from archcalc.nn.taps import Edit
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.run.decoding.decoding_state import DecodingState, check_prompts, free_context, prefill
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.decoding.steps import decode_steps
from archcalc.spec import Spec
from archcalc.words import msg

# Texts of a batch and its tokens at most.
N_ROWS, N_BATCH_TOKENS = 32, 2048
# A source layer and a target layer, by the number of layers before the vector: 0 is the first layer's input.
LayerPair = tuple[int, int]


class PatchedText(msgspec.Struct, frozen=True):
    """The ids that a model generates with vectors of one layer put into another.

    `first_probability` is that of the first id; `answer_probability` and `answer_rank` are those of the answer as the
    first id, None without an answer.
    """

    layer: int
    target_layer: int
    ids: tuple[int, ...]
    first_probability: float
    answer_probability: float | None
    answer_rank: int | None


class Patchscope(msgspec.Struct, frozen=True):
    """The texts of each pair of layers; `plain` is the text without a patch, whose layers are −1."""

    source_ids: tuple[int, ...]
    source_positions: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    positions: tuple[int, ...]
    answer: int | None
    plain: PatchedText
    texts: tuple[PatchedText, ...]


@torch.no_grad()
def patchscope(
    model: Any,
    source_ids: Sequence[int],
    source_positions: Sequence[int],
    prompt_ids: Sequence[int],
    positions: Sequence[int],
    pairs: Sequence[LayerPair] | None = None,
    *,
    max_tokens: int = 10,
    answer: int | None = None,
    start_id: int | None = None,
    eos_ids: Sequence[int] = (),
    use_cache: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Patchscope:
    """Return the greedy continuation of a prompt with vectors of a source prompt put into it.

    The residual stream at each of `source_positions` replaces that at the same element of `positions`. A pair (l, m)
    reads the vectors before layer l and writes them before layer m, from 0 to the number of layers, which is after the
    last; `pairs` are all of them by default. An encoder-decoder reads both prompts with its encoder, and `start_id` is
    its decoder's first token. `answer` is a token whose probability as the first one is reported.

    Raises InputError for prompts, positions, layers and an answer that do not exist, for a model that does not continue
    texts, and for a packed model.
    """
    spec = canonical_spec(model)
    check(spec, source_ids, source_positions, prompt_ids, positions, pairs, answer)
    pairs = all_pairs(spec) if pairs is None else list(pairs)
    max_tokens = min(max_tokens, free_context(spec, [prompt_ids]))
    # Every pass has as many rows, so that a vector in its own place changes no bit.
    n_rows = max(1, min(len(pairs), N_ROWS, N_BATCH_TOKENS // (len(prompt_ids) + max_tokens)))
    layers = sorted({layer for layer, _ in pairs})
    vectors = _vectors(model, [source_ids] * n_rows, source_positions, layers, start_id)
    generate = _Generator(model, prompt_ids, max_tokens, answer, start_id, eos_ids, use_cache=use_cache)
    plain = generate([(-1, -1)] * n_rows, [])[0]
    texts: list[PatchedText] = []
    for first in range(0, len(pairs), n_rows):
        batch = pairs[first : first + n_rows]
        full = [*batch, *[batch[-1]] * (n_rows - len(batch))]
        texts += generate(full, _edits(spec, full, vectors, tuple(positions)))[: len(batch)]
        if progress is not None:
            progress(len(batch))
    return Patchscope(
        tuple(source_ids), tuple(source_positions), tuple(prompt_ids), tuple(positions), answer, plain, tuple(texts)
    )


def n_stream_layers(spec: Spec) -> int:
    """Return the number of layers of the stack that reads the prompt."""
    n_layers = spec.stacks[0].stack.n_layers
    assert n_layers is not None, "the spec is resolved"
    return n_layers


def all_pairs(spec: Spec) -> list[LayerPair]:
    """Return every pair of a source and a target layer."""
    layers = range(n_stream_layers(spec) + 1)
    return [(layer, target) for layer in layers for target in layers]


def check(
    spec: Spec,
    source_ids: Sequence[int],
    source_positions: Sequence[int],
    prompt_ids: Sequence[int],
    positions: Sequence[int],
    pairs: Sequence[LayerPair] | None,
    answer: int | None,
) -> None:
    """Raise InputError as `patchscope` does; this needs no weights."""
    check_one_stream(spec)
    check_prompts(spec, [prompt_ids])
    check_ids(spec.stacks[0], list(source_ids), "prompt")
    check_ids(spec.stacks[0], list(prompt_ids), "into")
    _check_positions(source_positions, len(source_ids), "source_positions")
    _check_positions(positions, len(prompt_ids), "positions")
    if len(source_positions) != len(positions):
        raise InputError(
            msg("{n} positions for {n_vectors} vectors", n=len(positions), n_vectors=len(source_positions)),
            where="positions",
            allowed=msg("one for each vector"),
        )
    n_layers = n_stream_layers(spec)
    for layer in [layer for pair in pairs or () for layer in pair]:
        if not 0 <= layer <= n_layers:
            raise InputError(
                msg("found {found}", found=layer), where="layer", allowed=msg("0 to {n_layers}", n_layers=n_layers)
            )
    check_tokens([answer], spec.n_scored, "answer")


def _check_positions(positions: Sequence[int], n_tokens: int, where: str) -> None:
    wrong = [position for position in positions if not 0 <= position < n_tokens]
    if wrong or not positions:
        raise InputError(
            msg("found {found}", found=wrong[0]) if wrong else msg("has no positions"),
            where=where,
            allowed=msg("positions from 0 to {last:,}", last=n_tokens - 1),
        )


def _site(spec: Spec, layer: int) -> str:
    """Return the site of the residual stream before a layer; after the last, for their number."""
    prefix, n_layers = f"{spec.stacks[0].prefix}layers.", n_stream_layers(spec)
    return f"{prefix}{layer}.resid_pre" if layer < n_layers else f"{prefix}{n_layers - 1}.resid_post"


def _vectors(
    model: Any, rows: Sequence[Sequence[int]], positions: Sequence[int], layers: Sequence[int], start_id: int | None
) -> dict[int, Tensor]:
    """Return the vectors [B, P, D] of each source layer."""
    spec, device = model.spec, model.embed.tokens.weight.device
    ids = [list(map(list, rows)), [[start_id or 0]] * len(rows)][: len(spec.stacks)]
    names = {layer: _site(spec, layer) for layer in layers}
    recorded = taps.record(
        model, *(torch.tensor(each, device=device) for each in ids), sites=list(dict.fromkeys(names.values()))
    )
    return {layer: recorded[name][:, list(positions)] for layer, name in names.items()}


def _edits(
    spec: Spec, batch: Sequence[LayerPair], vectors: dict[int, Tensor], positions: tuple[int, ...]
) -> list[Edit]:
    """Return the edits that put the vectors of each pair into its row of a batch."""
    rows: dict[int, list[int]] = {}
    for row, (_, target) in enumerate(batch):
        rows.setdefault(target, []).append(row)
    return [
        _placement(_site(spec, target), {row: vectors[batch[row][0]][row] for row in in_layer}, positions)
        for target, in_layer in rows.items()
    ]


def _placement(site: str, vectors: dict[int, Tensor], positions: tuple[int, ...]) -> Edit:
    """Return the edit of a site. Its positions are read in the pass that begins the text, with or without a cache."""

    def place(x_BTD: Tensor) -> Tensor:
        for row, vectors_PD in vectors.items():
            x_BTD[row, list(positions)] = vectors_PD.to(x_BTD)
        return x_BTD

    return Edit(site, None, place, at=positions)


class _Generator:
    """Continues the prompt in each row of a batch, greedily."""

    def __init__(
        self,
        model: Any,
        prompt: Sequence[int],
        max_tokens: int,
        answer: int | None,
        start_id: int | None,
        eos_ids: Sequence[int],
        *,
        use_cache: bool,
    ) -> None:
        self.model, self.prompt, self.max_tokens, self.start_id = model, list(prompt), max_tokens, start_id
        self.answer, self.eos_ids, self.use_cache = answer, frozenset(eos_ids), use_cache

    def __call__(self, batch: Sequence[LayerPair], edits: Sequence[Edit]) -> list[PatchedText]:
        """Return the text of each row, without its end token."""
        rows: list[list[int]] = [[] for _ in batch]

        def continue_row(row: int, token: int) -> bool:
            if token in self.eos_ids:
                return False
            rows[row].append(token)
            return True

        with taps.edit(self.model, *edits):
            state = self._state(len(batch))
            first_BV = state.logits_BV.double().softmax(-1).cpu()
            for _ in decode_steps(state, max_tokens=self.max_tokens, sampling=Sampling(), continue_row=continue_row):
                pass
        return [
            PatchedText(layer, target, tuple(ids), *self._first(p_V))
            for (layer, target), ids, p_V in zip(batch, rows, first_BV, strict=True)
        ]

    def _first(self, p_V: Tensor) -> tuple[float, float | None, int | None]:
        """Return the probability of the likeliest token, and that and the rank of the answer."""
        if self.answer is None:
            return float(p_V.max()), None, None
        return float(p_V.max()), float(p_V[self.answer]), 1 + int((p_V > p_V[self.answer]).sum())

    def _state(self, n_rows: int) -> DecodingState:
        prompts = [self.prompt] * n_rows
        if self.use_cache:
            return prefill(self.model, prompts, self.max_tokens, self.start_id)
        return _UncachedState(self.model, prompts, self.start_id)


class _UncachedState(DecodingState):
    """A state that reads the whole text again for each token."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], start_id: int | None) -> None:
        is_pair, self.model = len(model.spec.stacks) == 2, model
        self.device = model.embed.tokens.weight.device
        self.sources = [torch.tensor([list(ids) for ids in prompts], device=self.device)] if is_pair else []
        self.token_ids = [[start_id or 0] if is_pair else list(ids) for ids in prompts]
        self.logits_BV = self._next(torch.empty(0))

    def _next(self, ids_BT: Tensor) -> Tensor:
        text_BT = torch.tensor(self.token_ids, device=self.device)
        logits_B1V: Tensor = self.model(*self.sources, text_BT, n_logits=1)
        return logits_B1V[:, -1]

    def _tensor(self, rows: Sequence[Any]) -> Tensor:
        return torch.tensor(rows, device=self.device)
