"""Direct logit attribution: what each part of a model adds to a logit (Elhage et al. 2021; Wang et al. 2022).

With the scales of norms frozen at their values in the recorded pass, a logit is a sum over the parts that write to the
residual stream. A direction is pulled back from the logit through the final norm and through every branch; a part's
contribution is the product of its output and the direction there. So models with norms after branches or sums, with
multipliers, with bottlenecks and with several residual streams are exact too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from archcalc.errors import InputError
from archcalc.interp.checks import check_position
from archcalc.interp.heads.arms import AttentionArm, attention_arms, check_memory
from archcalc.interp.heads.attribution_reading import Reading, added_branches, branch_sites
from archcalc.interp.heads.contributions import Attribution
from archcalc.interp.model_inputs import model_inputs
from archcalc.interp.readout import read_stack
from archcalc.nn.taps import record
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.spec.branches import arms, stream_names, stream_start
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Layer
from archcalc.spec.model import ModelStack
from archcalc.spec.stream_variants import stream_implementation
from archcalc.words import msg


@torch.inference_mode()
def attribute(
    model: Any,
    ids: Sequence[int],
    target: Sequence[int] | None = None,
    *,
    position: int | None = None,
    token: int | None = None,
    against: int | None = None,
    n_promoted: int = 3,
    progress: Callable[[int], object] = lambda n: None,
) -> Attribution:
    """Return what the embedding, each head, attention bias, feed-forward and mixer add to a logit at a position.

    `model` comes from `archcalc.load_model` or `archcalc.random_model`. An encoder-decoder reads `ids` as its
    source and `target` as the decoder's tokens, of which `position` is one (default: the last). `token` is the one
    whose logit is attributed (default: the likeliest), less that of `against` if it is given. A head's contribution
    is split by key token: its weight times the value of that token. An attention whose output is no sum over heads
    (subtracted in pairs, rotated back, projected by experts, convolved) is one part. A branch whose output the next
    one only reads writes nothing to the residual stream, and is left out. The scales of norms are frozen; so are
    patterns, hidden units, gates and the weights of several streams, as in any direct attribution, and the activation
    of a head that has one (BERT). `n_promoted`: the tokens that each head's output raises most. `progress` is called
    with 1 after each layer.

    Raises InputError for invalid ids, a packed model, and a model that predicts no tokens; TooLargeError before memory
    runs out.
    """
    spec = canonical_spec(model)
    stack = read_stack(spec)
    _check_layers(layers_of(stack.stack))
    texts = model_inputs(model, ids, target)
    place = check_position(position, texts[-1].shape[1])
    summed = set(_summed_arms(stack))
    arms = {arm.path: arm for arm in attention_arms(spec) if arm.adds_heads and arm.path in summed}
    sites = [*_stack_sites(stack), *_attention_sites(arms)]
    check_memory(model, sites, texts)
    values = record(model, *texts, sites=sites)
    return Reading(model, spec, values, arms, place, n_promoted).attribute(token, against, progress)


def _check_layers(layers: Sequence[Layer]) -> None:
    """Raise InputError for an arm that adds the input of an earlier branch."""
    if any(arm.skip and arm.input_of for layer in layers for arm in arms(layer)):
        raise InputError(msg("an arm adds the input of an earlier branch"), where="skip", allowed="false")


def _summed_arms(stack: ModelStack) -> Iterator[str]:
    """Yield the path of each arm that is added to a stream as it is, without a convolution."""
    for i, layer in enumerate(layers_of(stack.stack)):
        for branch in added_branches(layer):
            yield from (f"{stack.prefix}layers.{i}.{arm.name}" for arm in branch.arms if not arm.d_out_conv)


def _stack_sites(stack: ModelStack) -> Iterator[str]:
    """Yield the sites of the residual stream, and of what branches add to it."""
    streams = stack.stack.streams
    of_layer = _layer_sites if streams is None else stream_implementation(streams, "attribution").layer_sites
    yield from (stack.prefix + name for name in ("embed", *(("split", "merged") if streams else ())))
    for i, layer in enumerate(layers_of(stack.stack)):
        branches = (name for branch in added_branches(layer) for name in branch_sites(branch))
        yield from (f"{stack.prefix}layers.{i}.{name}" for name in dict.fromkeys((*of_layer(layer), *branches)))


def _layer_sites(layer: Layer) -> Iterator[str]:
    """Yield the sites of the residual stream in a layer, and of that of its branches."""
    yield from ("resid_pre", stream_start(layer), *stream_names(layer), "resid_post")
    if layer.bottleneck is not None and layer.bottleneck.norm is not None:
        yield "widened"


def _attention_sites(arms: dict[str, AttentionArm]) -> Iterator[str]:
    for path, arm in arms.items():
        yield from (f"{path}.values", f"{path}.pattern", f"{arm.key_path}.v")
        if arm.n_global:
            yield f"{path}.global_v"
        if getattr(arm.part, "gate", None) is not None:
            yield f"{path}.gate"
