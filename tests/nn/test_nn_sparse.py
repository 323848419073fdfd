"""Sparse attention against transformers: global tokens, padding, long texts in blocks; what specs cannot have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from archcalc.analysis import flops
from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.ledger.build import build as build_ledger
from archcalc.nn import build
from archcalc.nn.taps import record
from archcalc.sources import load
from archcalc.spec.workload import workload
from tests.checkpoint.random_models import random_model


def both(name: str, folder: Path, **more: Any) -> tuple[Any, Any]:
    """A random model of transformers, and ours with its weights."""
    theirs = random_model(name, **more)
    theirs.save_pretrained(folder)
    return theirs, open_checkpoint(str(folder)).load()


def padded(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of texts of these lengths, padded on the right, and where they are padded."""
    ids = torch.randint(6, 96, (len(lengths), max(lengths)))
    return ids, torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1)


def near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-5 * wanted.abs().max())


@pytest.mark.parametrize("n_global", [0, 1, 3])
@torch.no_grad()
def test_global_tokens_of_padded_texts(n_global: int, tmp_path: Path) -> None:
    """Longformer's class takes global tokens as a mask."""
    theirs, ours = both("longformer", tmp_path)
    for layer in ours.layers.values():
        layer.attn.part = replace(layer.attn.part, pattern=replace(layer.attn.part.pattern, n_global=n_global))
    ids, padding = padded(23, 9, 4)
    marked = (torch.arange(23) < n_global).expand(3, -1).long()
    wanted = theirs(ids, attention_mask=(~padding).long(), global_attention_mask=marked).logits
    assert near(ours(ids, padding_BT=padding)[~padding], wanted[~padding])


@pytest.mark.parametrize("name", ["led", "longt5", "longt5 transient", "bigbird_pegasus"])
@torch.no_grad()
def test_padded_sources(name: str, tmp_path: Path) -> None:
    theirs, ours = both(name, tmp_path)
    (source, padding), target = padded(23, 9, 4), torch.randint(6, 96, (3, 5))
    if name == "bigbird_pegasus":  # whose class numbers the blocks of padded texts by the longest
        source, padding = source[:1], padding[:1]
        target = target[:1]
    wanted = theirs(source, attention_mask=(~padding).long(), decoder_input_ids=target).logits
    assert near(ours(source, target, source_padding_BS=padding), wanted)


@pytest.mark.parametrize(("block", "n_random", "length"), [(2, 1, 15), (2, 1, 14), (3, 1, 32), (1, 3, 13)])
@torch.no_grad()
def test_blocks_of_long_texts(block: int, n_random: int, length: int, tmp_path: Path) -> None:
    """The last block is cut; up to 5 + 2 · n_random blocks are read as a whole."""
    theirs, ours = both("big_bird", tmp_path, block_size=block, num_random_blocks=n_random)
    ids = torch.randint(6, 96, (2, length))
    wanted = theirs(ids).logits
    assert near(ours(ids), wanted)
    is_long = length > (5 + 2 * n_random) * block
    theirs.bert.set_attention_type("original_full")
    assert near(theirs(ids).logits, wanted) != is_long


PATTERN = {"kind": "summaries", "window": 3, "n_block": 4}
BIAS = {"kind": "relative", "n_buckets": 8, "max_distance": 9}


def document(pattern: dict[str, Any], stack: str = "encoder", *more: dict[str, Any]) -> dict[str, Any]:
    layers = [
        {"norm": {"kind": "rmsnorm"}, "attention": {"kind": "sparse", "n_heads": 3, "pattern": each}}
        for each in (pattern, *more)
    ]
    sizes = {"vocab_size": 23, "n_ctx": 40, "d_model": 12}
    return {"name": "x", **sizes, stack: {"n_layers": len(layers), "runs": [{"pattern": layers}]}}


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        (document(PATTERN, "decoder"), "decoder.*attention: reads later tokens; expected a part of a decoder"),
        (document(PATTERN | {"position": BIAS | {"shared": "layer"}}), "pattern.position.shared: found 'layer'"),
        (
            document(PATTERN | {"position": BIAS}, "encoder", PATTERN | {"position": BIAS, "n_block": 5}),
            "layers with a relative bias of summaries differ in n_block",
        ),
    ],
)
def test_what_is_refused(refused: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(refused)


@pytest.mark.parametrize(
    ("pattern", "n_first"),
    [
        ({"kind": "global_window", "window": 3}, 0),
        ({"kind": "global_window", "window": 3, "n_global": 2}, 2),
        ({"kind": "global_window", "window": 3, "n_global": 30}, 19),
        (PATTERN, 0),
        (PATTERN | {"n_block": 30}, 0),
        ({"kind": "random_blocks", "n_block": 2, "n_random": 0}, 0),
        ({"kind": "random_blocks", "n_block": 4, "n_random": 0}, 0),
    ],
)
def test_attended_pairs_are_those_of_the_mask(pattern: dict[str, Any], n_first: int) -> None:
    """Scores that are not −∞; global tokens have products of their own, and masked ones that nobody reads."""
    spec = load(document(pattern))
    model: Any = build(spec, "cpu")
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    scores_NTS = record(model, torch.randint(23, (1, 19)), sites="layers.0.attn.scores")["layers.0.attn.scores"][0]
    n_seen = int((~scores_NTS[0, n_first:].isneginf()).sum())
    found = flops.summary(build_ledger(spec), workload(spec, seq=19))
    products = 2 * spec.encoder.runs[0].pattern[0].attention.n_heads * 4 * 2
    assert found["forward"] - found["forward_causal"] == products * (19 * scores_NTS.shape[-1] - n_seen)
