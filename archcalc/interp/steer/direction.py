"""Directions of the residual stream, from contrasting prompts.

Mean difference: Rimsky et al. 2024, section 3; Arditi et al. 2024, section 2.3. First principal component of the
differences: Zou et al. 2023, section 3.1.

Axes: P prompts, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.steer.layers import StackName, check_layers, stack_of
from archcalc.interp.steer.states import Tokens, prompt_states
from archcalc.spec import Spec
from archcalc.words import msg

Method = Literal["mean", "pca"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Contrast:
    """How far apart the two groups of prompts are at one layer.

    `norm` is the mean norm of the residual stream after the layer, over the tokens that the direction was taken from.
    `difference_norm` is the norm of the difference of the groups' mean states. `separation` is the share of pairs of a
    positive and a negative prompt whose states the direction orders rightly: 1 for all, ½ by chance.
    """

    norm: float
    difference_norm: float
    separation: float


@dataclass(frozen=True)
class Direction:
    """Unit vectors [D] of a stack's residual stream after layers, in float32, and the contrast at each.

    Layers at which the prompts do not differ have no vector. `stack` is the stack of an encoder-decoder. `origin` says
    what the direction was made of: model, method, tokens, prompts.
    """

    vectors: Mapping[int, Tensor]
    contrasts: Mapping[int, Contrast]
    stack: StackName | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """Return the layers that have a vector, in order."""
        return tuple(sorted(self.vectors))

    @property
    def width(self) -> int:
        """Return the length of the vectors: d_model."""
        return next(iter(self.vectors.values())).numel()

    def check_fits(self, spec: Spec) -> None:
        """Raise InputError unless the model has this stack, these layers and this width."""
        stack, _ = stack_of(spec, self.stack)
        if self.stack is None and spec.family == "encoder-decoder":
            raise InputError(
                msg("found one of a model with one stack"),
                where="direction",
                allowed=msg("one of an encoder-decoder"),
            )
        check_width(self.width, stack.model.d_model)
        check_layers(sorted(self.contrasts), range(stack.stack.n_layers or 0))


def check_width(found: int, d_model: int) -> None:
    """Raise InputError for vectors of another width than the model's."""
    if found != d_model:
        raise InputError(
            msg("found vectors of width {found:,}", found=found),
            where="direction",
            allowed=msg("{d_model:,}, the model's d_model", d_model=d_model),
        )


def direction(
    model: Any,
    positive: Sequence[Sequence[int]],
    negative: Sequence[Sequence[int]],
    *,
    method: Method = "mean",
    tokens: Tokens = "last",
    layers: Sequence[int] | None = None,
    stack: StackName | None = None,
    start_id: int | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> Direction:
    """Return the direction from the `negative` to the `positive` prompts, given as token ids, for each layer.

    method: "mean" is the difference of the groups' mean states; "pca" the first principal component, about 0, of the
    differences of the pairs, pointing to the positive ones. tokens: which tokens' states are read: the "last" one,
    "all", or a slice, averaged over a prompt. layers: from 0; all if left out. stack: of an encoder-decoder, whose
    prompts are sources: the "decoder", at its first token `start_id` (the default), or the "encoder". `progress` is
    called with the number of prompts that have been read.

    Raises InputError for no prompts, ids that the model cannot read, a prompt without the selected tokens, unequal
    groups with "pca", and prompts that do not differ.
    """
    model_stack, stack = stack_of(model.spec, stack)
    read = check_layers(layers, range(model_stack.stack.n_layers or 0))
    _check(positive, negative, method)
    groups = {"positive": positive, "negative": negative}
    states, norms = prompt_states(model, groups, read, tokens, stack=stack, start_id=start_id, progress=progress)
    vectors, contrasts = {}, {}
    smallest = 4 * torch.finfo(model.embed.tokens.weight.dtype).eps
    for layer in read:
        positive_PD, negative_PD = states[layer][: len(positive)], states[layer][len(positive) :]
        mean_D = positive_PD.mean(0) - negative_PD.mean(0)
        vector_D = mean_D if method == "mean" else _principal_component(positive_PD - negative_PD)
        norm, length = float(norms[layer]), float(vector_D.norm())
        # Within rounding of the states, a difference is noise.
        if length > smallest * norm:
            vectors[layer] = (vector_D / length).float()
        contrasts[layer] = Contrast(norm, float(mean_D.norm()), _separation(positive_PD, negative_PD, vector_D))
    if not vectors:
        raise InputError(
            msg("they give the same states"), where="positive, negative", allowed=msg("prompts that differ")
        )
    origin = {
        "model": model.spec.name,
        "method": method,
        "tokens": _tokens_text(tokens),
        "positive": [list(ids) for ids in positive],
        "negative": [list(ids) for ids in negative],
    }
    return Direction(vectors, contrasts, stack, origin)


def _check(positive: Sequence[Sequence[int]], negative: Sequence[Sequence[int]], method: str) -> None:
    if method not in METHODS:
        raise InputError(
            msg("found {found}", found=shown(method)), where="method", allowed=", ".join(map(repr, METHODS))
        )
    for name, prompts in {"positive": positive, "negative": negative}.items():
        if not prompts:
            raise InputError(msg("found none"), where=name, allowed=msg("1 prompt or more"))
    if method == "pca" and len(positive) != len(negative):
        raise InputError(
            msg("found {n} and {m} prompts", n=len(positive), m=len(negative)),
            where="positive, negative",
            allowed=msg("as many of each, in pairs"),
        )


def _principal_component(differences_PD: Tensor) -> Tensor:
    """Return the first principal component of the differences and their negatives, which have mean 0.

    Its length is the largest singular value over √P; its sign is that of the mean difference.
    """
    _, values, vectors = torch.linalg.svd(differences_PD, full_matrices=False)
    vector_D: Tensor = vectors[0] * values[0] / len(differences_PD) ** 0.5
    return -vector_D if float(vector_D @ differences_PD.mean(0)) < 0 else vector_D


def _separation(positive_PD: Tensor, negative_PD: Tensor, vector_D: Tensor) -> float:
    """Return the share of pairs in which the positive state lies further along the vector; equal ones count half."""
    gaps = (positive_PD @ vector_D).unsqueeze(1) - (negative_PD @ vector_D)
    return float((gaps.sign() + 1).mean() / 2)


def _tokens_text(tokens: Tokens) -> str:
    if isinstance(tokens, str):
        return tokens
    return ":".join("" if part is None else str(part) for part in (tokens.start, tokens.stop))
