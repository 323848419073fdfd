"""What saved tensors are called where people read them: in English as the ledger has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from archcalc.words import Message, in_context, joined, msg

_NAMES: Final = {
    str(name): name
    for name in (
        in_context("tensor", "1 + weight"),
        in_context("tensor", "1/deviation"),
        in_context("tensor", "1/root of the mean square"),
        in_context("tensor", "C by head"),
        in_context("tensor", "above the threshold"),
        in_context("tensor", "activated"),
        in_context("tensor", "attended"),
        in_context("tensor", "back in order"),
        in_context("tensor", "before the text"),
        in_context("tensor", "beyond capacity"),
        in_context("tensor", "bias of each key"),
        in_context("tensor", "both latents"),
        in_context("tensor", "both halves"),
        in_context("tensor", "buckets"),
        in_context("tensor", "capped"),
        in_context("tensor", "capped up"),
        in_context("tensor", "chosen experts"),
        in_context("tensor", "clamped"),
        in_context("tensor", "clamped up"),
        in_context("tensor", "cosines and sines"),
        in_context("tensor", "decay of a chunk"),
        in_context("tensor", "decayed b"),
        in_context("tensor", "decayed c"),
        in_context("tensor", "decayed keys"),
        in_context("tensor", "decayed queries"),
        in_context("tensor", "decays of chunks"),
        in_context("tensor", "decays of queries and keys"),
        in_context("tensor", "denominator sums"),
        in_context("tensor", "divisors"),
        in_context("tensor", "dropout mask"),
        in_context("tensor", "earlier chunks"),
        in_context("tensor", "earlier tokens"),
        in_context("tensor", "exp(rest of decays)"),
        in_context("tensor", "exp(sum of decays)"),
        in_context("tensor", "expert of each choice"),
        in_context("tensor", "gated"),
        in_context("tensor", "global states"),
        in_context("tensor", "half of the values"),
        in_context("tensor", "has no weights"),
        in_context("tensor", "hidden experts"),
        in_context("tensor", "is first"),
        in_context("tensor", "is positive"),
        in_context("tensor", "joined states"),
        in_context("tensor", "keys"),
        in_context("tensor", "later chunks"),
        in_context("tensor", "later tokens"),
        in_context("tensor", "log of the sums"),
        in_context("tensor", "mask"),
        in_context("tensor", "mean"),
        in_context("tensor", "mean squares"),
        in_context("tensor", "mixed"),
        in_context("tensor", "new values, decayed keys"),
        in_context("tensor", "normed"),
        in_context("tensor", "numerator sums"),
        in_context("tensor", "outputs"),
        in_context("tensor", "own weights"),
        in_context("tensor", "pattern"),
        in_context("tensor", "per-layer embeddings"),
        in_context("tensor", "places"),
        in_context("tensor", "previous token"),
        in_context("tensor", "prompt rows"),
        in_context("tensor", "queries"),
        in_context("tensor", "queries and keys"),
        in_context("tensor", "relative keys"),
        in_context("tensor", "relative queries"),
        in_context("tensor", "rescaled projections"),
        in_context("tensor", "rescaling"),
        in_context("tensor", "rest of decays"),
        in_context("tensor", "rows of each token"),
        in_context("tensor", "scaled"),
        in_context("tensor", "scaled gate"),
        in_context("tensor", "scaled keys"),
        in_context("tensor", "scaled latent"),
        in_context("tensor", "scaled queries"),
        in_context("tensor", "scales of the chosen experts"),
        in_context("tensor", "scores"),
        in_context("tensor", "scores of all rows"),
        in_context("tensor", "shares"),
        in_context("tensor", "shifted"),
        in_context("tensor", "softmax of each choice"),
        in_context("tensor", "sorted by expert"),
        in_context("tensor", "source states"),
        in_context("tensor", "squared"),
        in_context("tensor", "state of the router"),
        in_context("tensor", "states"),
        in_context("tensor", "states of each choice"),
        in_context("tensor", "sum"),
        in_context("tensor", "sum of decays"),
        in_context("tensor", "sum of the arms"),
        in_context("tensor", "sum of the shares"),
        in_context("tensor", "sum of the shares, clamped"),
        in_context("tensor", "sum with the input"),
        in_context("tensor", "sums of keys"),
        in_context("tensor", "sums of the blocks"),
        in_context("tensor", "tanh of the gate"),
        in_context("tensor", "tanh of the logits"),
        in_context("tensor", "tanh of the scores"),
        in_context("tensor", "temperatures"),
        in_context("tensor", "token ids"),
        in_context("tensor", "token of each choice"),
        in_context("tensor", "token types"),
        in_context("tensor", "states and embedding"),
        in_context("tensor", "tokens"),
        in_context("tensor", "tokens of the blocks"),
        in_context("tensor", "values"),
        in_context("tensor", "weights of each choice"),
        in_context("tensor", "weights of earlier tokens"),
        in_context("tensor", "widened"),
        in_context("tensor", "written states"),
        in_context("tensor", "written values"),
        in_context("tensor", "Δ by head"),
        in_context("tensor", "q with its pair"),
        in_context("tensor", "k with its pair"),
        in_context("tensor", "v with its pair"),
        in_context("tensor", "gate with its pair"),
        in_context("tensor", "tanh of up"),
        in_context("tensor", "tokens with padding"),
        in_context("tensor", "up with its pair"),
        in_context("tensor", "values of all heads"),
        in_context("tensor", "biases of all distances"),
        in_context("tensor", "distances"),
        in_context("tensor", "distances beyond the last"),
        in_context("tensor", "sum with the convolution"),
        in_context("tensor", "weighted"),
    )
}
# What stands around another name.
_AROUND: Final[tuple[tuple[re.Pattern[str], Callable[[str], Message]], ...]] = (
    (re.compile("(.+) after prompts"), lambda name: msg("{tensor} after prompts", tensor=tensor_name(name))),
    (re.compile("(.+) of each head"), lambda name: msg("{tensor} of each head", tensor=tensor_name(name))),
    (re.compile("(.+) of each text"), lambda name: msg("{tensor} of each text", tensor=tensor_name(name))),
    (re.compile(r"keys of layer (\d+)"), lambda layer: msg("keys of layer {n}", n=layer)),
    (re.compile(r"values of layer (\d+)"), lambda layer: msg("values of layer {n}", n=layer)),
    (re.compile("mixture (.+)"), lambda name: msg("mixture {name}", name=name)),
    (re.compile("rows of (.+)"), lambda table: msg("rows of {table}", table=table)),
)


def tensor_name(label: str) -> str | Message:
    """Return the name of a tensor; a module's, whose result it is, stays.

    >>> str(tensor_name("keys of each head")), tensor_name("q_down")
    ('keys of each head', 'q_down')
    """
    for pattern, around in _AROUND:
        if found := pattern.fullmatch(label):
            return around(found[1])
    return _NAMES.get(label, label)


def module_name(path: str, label: str) -> str | Message:
    """Return the path of the module that saves a tensor of this label.

    A tensor that lasts over all layers of a stack stands for itself: 'decoder.mask 2'.
    """
    name = tensor_name(label)
    found = re.fullmatch(rf"(encoder\.|decoder\.|){re.escape(label)}( \d+|)", path)
    if not found or isinstance(name, str):
        return path
    return joined("", (found[1], name, found[2]))
