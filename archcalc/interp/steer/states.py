"""States of prompts in the residual stream, reduced to one vector a prompt while the model runs.

Axes: B prompts of one length, P all prompts, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.checks import check_ids, check_one_stream
from archcalc.interp.steer.layers import StackName, site_name
from archcalc.nn.taps.model_tap import ModelTap, attached, canonical_spec
from archcalc.run.decoding.prompts import decoder_start
from archcalc.spec import Spec
from archcalc.spec.sites import Site
from archcalc.words import msg

# The tokens of a prompt whose states are averaged.
Tokens = Literal["last", "all"] | slice
# Prompts of equal length run together, up to so many tokens.
MAX_BATCH_TOKENS = 1024


@torch.inference_mode()
def prompt_states(
    model: Any,
    groups: Mapping[str, Sequence[Sequence[int]]],
    layers: Sequence[int],
    tokens: Tokens,
    *,
    stack: StackName | None = None,
    start_id: int | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Return, by layer, the states [P, D] of all groups' prompts in order, and the mean norm of a token's state.

    States are float64, averaged over a prompt's `tokens`; norms are averaged over its tokens, then over the prompts.
    """
    canonical_spec(model)
    check_prompts(model.spec, groups, tokens, stack)
    prompts = [list(ids) for group in groups.values() for ids in group]
    selection = as_slice(tokens)
    reads_source = stack == "encoder"
    collected = _StatesByLayer(selection if stack != "decoder" else slice(None))
    sites = frozenset(site_name(stack, f"layers.{layer}.resid_post") for layer in layers)
    order: list[int] = []
    for rows in _batches([len(ids) for ids in prompts]):
        with attached(ModelTap(model, (), sites, collected.add)):
            _run(model, [prompts[row] for row in rows], reads_source=reads_source, start_id=start_id)
        order += rows
        progress(len(rows))
    inverse_P = torch.tensor(order).argsort()
    states = {layer: torch.cat(parts)[inverse_P] for layer, parts in collected.states.items()}
    return states, {layer: torch.cat(parts).mean() for layer, parts in collected.norms.items()}


def check_prompts(
    spec: Spec, groups: Mapping[str, Sequence[Sequence[int]]], tokens: Tokens, stack: StackName | None
) -> None:
    """Raise InputError for ids that the model cannot read, and for a prompt that has none of the tokens."""
    check_one_stream(spec)
    selection = as_slice(tokens)
    for group, prompts in groups.items():
        for number, ids in enumerate(prompts, 1):
            where = group if len(prompts) == 1 else f"{group} {number}"
            check_ids(spec.stacks[0], list(ids), where)
            if stack != "decoder" and not ids[selection]:
                raise InputError(
                    msg("has {n:,} tokens", n=len(ids)), where=where, allowed=msg("more, for these `tokens`")
                )


class _StatesByLayer:
    """The states of the prompts so far, averaged over the selected tokens, and their norms."""

    def __init__(self, selection: slice) -> None:
        self.selection = selection
        self.states: dict[int, list[Tensor]] = {}
        self.norms: dict[int, list[Tensor]] = {}

    def add(self, site: Site, x_BTD: Tensor, positions: Tensor, keys: Tensor | None) -> None:
        """Add the states of a batch after one layer."""
        assert site.layer is not None, "a site after a layer"
        text_BTD = x_BTD[:, : x_BTD.shape[1] - site.n_global]
        read_BTD = text_BTD[:, self.selection].double().cpu()
        self.states.setdefault(site.layer, []).append(read_BTD.mean(1))
        self.norms.setdefault(site.layer, []).append(read_BTD.norm(dim=-1).mean(1))


def _run(model: Any, prompts: Sequence[Sequence[int]], *, reads_source: bool, start_id: int | None) -> None:
    """Run the part of the model that the states need."""
    ids_BT = torch.tensor(prompts, device=model.embed.tokens.weight.device)
    if model.spec.family != "encoder-decoder":
        model(ids_BT, n_logits=None if model.spec.reads_text else 1)
    elif reads_source:
        model.encode(ids_BT)
    else:
        model(ids_BT, ids_BT.new_full((len(prompts), 1), decoder_start(start_id)), n_logits=1)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of prompts that run together."""
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        by_length.setdefault(length, []).append(row)
    for length, rows in by_length.items():
        n_rows = max(1, MAX_BATCH_TOKENS // length)
        yield from (rows[i : i + n_rows] for i in range(0, len(rows), n_rows))


def as_slice(tokens: Tokens) -> slice:
    """Return the tokens as a slice. Raises InputError for another word, and for a slice with a step."""
    if isinstance(tokens, slice) and tokens.step is None:
        return tokens
    if tokens in ("last", "all"):
        return slice(-1, None) if tokens == "last" else slice(None)
    raise InputError(
        msg("found {found}", found=shown(tokens)), where="tokens", allowed=msg("'last', 'all', or a slice of tokens")
    )
