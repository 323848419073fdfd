"""Gradients of our module are those of transformers' with the same weights: what a model learns is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from archcalc.checkpoint.tensor_views import view_pairs
from archcalc.hf import tensor_map
from archcalc.hf.tensors import TensorEntry
from archcalc.spec import Spec
from archcalc.spec.branches import parts
from archcalc.spec.groups import layers_of
from tests.checkpoint.conftest import Pair


def groups(spec: Spec, held: TensorEntry) -> int:
    """Return by how many heads, or blocks, rows are told apart."""
    if held.order == "in_four":
        return 4
    if held.order not in ("by_head", "by_query_head", "swapped"):
        return 1
    layers = layers_of(spec.decoder or spec.encoder)
    if ".mixer." in held.ours[0]:
        mixer: Any = next(parts(layer)["mixer"] for layer in layers if "mixer" in parts(layer))
        return getattr(mixer, "n_key_heads", mixer.n_heads)
    attention: Any = next(found["attn"] for layer in layers if "attn" in (found := dict(parts(layer))))
    if held.order == "by_query_head":
        return attention.n_heads
    own = held.order == "swapped" and ".attn.q." in held.ours[0]
    return attention.n_heads if own else attention.n_kv_heads


def whole(held: TensorEntry, theirs: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor | None:
    """Return the gradient of what holds ours, its rows joined where each is a tensor of its own."""
    rows = held.rows(shape)
    if not rows:
        return theirs.get(held.name)
    none = torch.zeros(shape[1:])  # of an expert that no token took
    return torch.stack([theirs.get(name, none) for name in rows])


# The class changes its state in place, which no backward pass allows.
CHANGES_ITS_STATE = ("rwkv default switches", "xlstm plain")
# A large `eps` makes the outputs depend on the largest exponent, which is a constant to our backward pass.
CONSTANT_EXPONENT = ("xlstm other switches",)
# The class halves its weights in place, so its gradients are those of halved ones.
HALVED = ("rwkv rescaled",)
# The class has a bound in the place of the gradient (Zeng et al. 2021, section 3.2).
BOUNDED = ("yoso", "yoso convolved")


@pytest.fixture
def learning(pair: Pair) -> Iterator[Pair]:
    """Our module with gradients, which the tests beside this one must not find."""
    pair.ours.requires_grad_(True)
    yield pair
    pair.ours.requires_grad_(False).zero_grad()
    pair.theirs.zero_grad()


@pytest.mark.slow
def test_gradients_are_those_of_transformers(learning: Pair) -> None:
    name, theirs, checkpoint, ours = learning
    if name in (*HALVED, *BOUNDED, *CONSTANT_EXPONENT):
        return
    tensors = tensor_map(theirs.config.to_dict())
    # The row of a padding token gets no gradient in transformers.
    ids, source = torch.randint(6, 96, (2, 9)), torch.randint(6, 96, (2, 7))
    weight_of_logits = torch.randn(2, 9, 96)
    if theirs.config.is_encoder_decoder:
        logits, wanted = ours(source, ids), theirs(input_ids=source, decoder_input_ids=ids).logits
    else:
        without_state = {"use_cache": False} if name in CHANGES_ITS_STATE else {}
        logits, wanted = ours(ids), theirs(input_ids=ids, **without_state).logits
    weight_of_logits = weight_of_logits[..., : logits.shape[-1]]  # some classes cut those of rows that pad the table
    (logits * weight_of_logits).sum().backward()
    (wanted * weight_of_logits).sum().backward()
    found, expected = (
        {key: weight.grad for key, weight in model.named_parameters() if weight.grad is not None}
        for model in (ours, theirs)
    )
    # Some are zero but for rounding: softmax does not see what a bias of the keys adds.
    noise = 2e-7 * max(gradient.abs().max() for gradient in expected.values())
    n_compared = 0
    for held in tensors.placed(dict(ours.state_dict())):
        if held.ours[0] not in found:
            continue
        stored = whole(held, expected, found[held.ours[0]].shape)
        if stored is not None:
            parts = view_pairs(held, stored, [found[part] for part in held.ours], groups(checkpoint.spec, held))
            for a, b in parts:
                assert (a - b).abs().max() <= 2e-5 * b.abs().max() + noise, held.name
            n_compared += len(held.ours)
    left = set(found) - {part for held in tensors.placed(found) for part in held.ours}
    assert not left
    assert n_compared >= len(found) - 2, "all but what one of the two holds as a constant"
