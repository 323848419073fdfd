"""What taps read is what transformers has: hidden states, attentions, and what its parts make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archcalc.checkpoint import open_checkpoint
from archcalc.nn import taps
from tests.checkpoint.conftest import Pair
from tests.checkpoint.random_models import FUSED, random_model

PROJECTED = ("opt", "opt with norms after")  # their last hidden states are those behind the projection before the head
# Their attentions are those before the sinks take their share.
BEFORE_SINKS = ("granite_swa", "granitemoe_swa")
# Their attentions have the states of their mixers among them.
WITH_STATES = ("minimax",)
# Their encoder's attentions are of blocks of keys, in another shape; the states that they give are compared.
IN_BLOCKS = ("longformer", "led", "longt5", "big_bird", "bigbird_pegasus", "pegasus_x")
# Their encoder's states are padded to whole blocks; the last are a pair with those of global tokens.
WITH_GLOBAL = ("pegasus_x",)
# Their class gives no attentions.
NO_PATTERNS = ("longcat_flash", "mra")
# Their class gives scores for attentions.
SCORES = ("squeezebert",)
# Their class leaves out the rows of the soft prompt.
TEXT_ALONE = ("cpmant",)
WITHOUT_PATTERNS = BEFORE_SINKS + WITH_STATES + NO_PATTERNS + IN_BLOCKS + SCORES + TEXT_ALONE
# Their hidden states are those after each layer.
AFTER_LAYERS = ("mamba", "falcon_mamba", "mamba2", "rwkv")
# Their hidden states are the first layer's input and those after each layer.
BETWEEN_LAYERS = ("hrm_text",)
# Its hidden states are the newest of several streams.
SET_ASIDE = "inkling2_text"
# Their hidden states are several streams: the order of axes that gives ours, [B, T, J, D], and whether the last states
# are those after the last norm, not after the last layer.
STREAMS = {"gemma3n_text": ((1, 2, 0, 3), 0), "hy_v4": ((0, 1, 2, 3), 1), "deepseek_v4": ((0, 1, 2, 3), 1)}
STREAMS[SET_ASIDE] = (0, 1, 2), 1
# The class of transformers 5.23 fails when it is asked for its attentions, or halves its states.
FAILS = ("flaubert with norms before", "rwkv rescaled")
ALIKE = ("llama biased and tied", "qwen2", "qwen3", "phi with normed queries", "mt5", "gpt_neox in series")


def near(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


def check_states(found: taps.Recording, prefix: str, states: Sequence[Tensor], last: bool = True) -> None:
    """What each layer reads, and what stands after the last norm."""
    n_layers = len(states) - 1
    for layer in range(n_layers):
        assert near(found[f"{prefix}layers.{layer}.resid_pre"][:, : states[layer].shape[1]], states[layer])
    end = found.get(f"{prefix}final_norm", found[f"{prefix}layers.{n_layers - 1}.resid_post"])
    assert near(end, states[-1]) or not last


def without_global(states: Sequence[Any], n_tokens: int) -> tuple[list[Tensor], Tensor]:
    """The states of a text's tokens, and the last ones of global tokens."""
    *before, (last, of_global) = states
    return [*(each[:, :n_tokens] for each in before), last], of_global


def check_patterns(found: taps.Recording, part: str, patterns: Sequence[Tensor]) -> None:
    """The patterns of all layers with this attention, in order: a hybrid's other layers have none."""
    assert len(patterns) > 1
    before, _, slot = part.rpartition(".")
    name = re.compile(rf"{before}{'.' * bool(before)}layers\.\d+\.{slot}\.pattern")
    for site, pattern in zip(filter(name.fullmatch, found), patterns, strict=True):
        assert near(found[site], pattern)


def check_encoder(name: str, found: taps.Recording, states: Sequence[Any], n_tokens: int) -> None:
    """The states of an encoder beside a decoder."""
    if name.split()[0] in WITH_GLOBAL:
        states, of_global = without_global(states, n_tokens)
        last = max(site for site in found if site.startswith("encoder.layers.") and site.endswith("resid_post"))
        assert near(found[last][:, n_tokens:], of_global)
    check_states(found, "encoder.", states)


def check_decoder(name: str, found: taps.Recording, hidden: Sequence[Tensor]) -> None:
    """The states of a model with one stack."""
    if name.split()[0] in AFTER_LAYERS:
        for layer, states in enumerate(hidden[:-1]):
            assert near(found[f"layers.{layer}.resid_post"], states)
        assert near(found["final_norm"], hidden[-1])
    elif name.split()[0] in BETWEEN_LAYERS:
        for layer, states in enumerate(hidden[1:-1]):
            assert near(found[f"layers.{layer}.resid_post"], states)
        assert near(found["final_norm"], hidden[-1])
    elif name.split()[0] in TEXT_ALONE:
        for layer, states in enumerate(hidden[:-1]):
            assert near(found[f"layers.{layer}.resid_pre"][:, -states.shape[1] :], states)
        assert near(found["final_norm"], hidden[-1])
    elif name.split()[0] in STREAMS:
        order, last = STREAMS[name.split()[0]]
        for layer, states in enumerate(hidden[1 : -last or None]):
            streams = found[f"layers.{layer}.streams"]
            assert near(streams[:, :, -1] if name.startswith(SET_ASIDE) else streams, states.permute(order))
        assert not last or near(found["final_norm"], hidden[-1])
    else:
        check_states(found, "", hidden, last=name not in PROJECTED)


@torch.no_grad()
def test_states_and_patterns_are_those_of_transformers(pair: Pair) -> None:
    name, theirs, _, ours = pair
    if name in FUSED + ALIKE + FAILS:
        return
    ids, source = torch.randint(6, 96, (2, 11)), torch.randint(6, 96, (2, 7))
    asked = {"output_hidden_states": True, "output_attentions": True}
    if theirs.config.is_encoder_decoder:
        wanted: Any = theirs(input_ids=source, decoder_input_ids=ids, **asked)
        found = taps.record(ours, source, ids)
        check_encoder(name, found, wanted.encoder_hidden_states, source.shape[1])
        check_states(found, "decoder.", wanted.decoder_hidden_states)
        if name.split()[0] not in IN_BLOCKS:
            check_patterns(found, "encoder.attn", wanted.encoder_attentions)
        check_patterns(found, "decoder.attn", wanted.decoder_attentions)
        check_patterns(found, "decoder.cross", wanted.cross_attentions)
    else:
        wanted = theirs(input_ids=ids, **asked)
        found = taps.record(ours, ids)
        check_decoder(name, found, wanted.hidden_states)
        if any(site.endswith("pattern") for site in found) and name.split()[0] not in WITHOUT_PATTERNS:
            check_patterns(found, "attn", wanted.attentions)
    assert near(found.logits, wanted.logits)


# Where transformers' modules make what stands at a site.
MODULES = {"attn_norm": "input_layernorm", "attn.out": "self_attn", "ffn.out": "mlp"}
PARTS: dict[str, dict[str, str]] = {
    "llama": MODULES | {"ffn_norm": "post_attention_layernorm", "attn.v": "self_attn.v_proj"},
    "gemma2": MODULES
    | {"attn_out_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm"}
    | {"ffn_out_norm": "post_feedforward_layernorm"},
    "deepseek_v3": MODULES | {"ffn_norm": "post_attention_layernorm", "attn.latent": "self_attn.kv_a_layernorm"},
    "phi": {"attn_norm": "input_layernorm", "attn.out": "self_attn", "ffn.out": "mlp"},
}


@pytest.mark.parametrize("name", PARTS)
@torch.no_grad()
def test_parts_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    found = taps.record(open_checkpoint(str(tmp_path)).load(), ids := torch.randint(1, 96, (2, 11)))
    made: dict[str, Tensor] = {}

    def keep(module: nn.Module, name: str) -> None:
        module.register_forward_hook(lambda _, args, y: made.update({name: y[0] if isinstance(y, tuple) else y}))

    for layer, block in enumerate(theirs.model.layers):
        for site, path in PARTS[name].items():
            keep(block.get_submodule(path), f"layers.{layer}.{site}")
    theirs(input_ids=ids)
    assert len(made) == 3 * len(PARTS[name])
    for site, value in made.items():
        ours = found[site].transpose(1, 2).flatten(2) if site.endswith(".v") else found[site]
        assert near(ours, value), site
