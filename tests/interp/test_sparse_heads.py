"""Patterns of sparse attention equal those that transformers returns, and give what the heads read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

import archcalc
from archcalc.inside import attention, attribute
from archcalc.interp.heads.attention_result import attentions
from archcalc.interp.heads.patterns import AttentionReading
from archcalc.nn import build
from archcalc.nn.taps import record
from archcalc.run.loading.source import ModelSource, open_source
from archcalc.spec import Spec
from archcalc.spec.sparse import GlobalWindow
from tests.checkpoint.random_models import random_model
from tests.interp.test_attribution import logits_of

N_TOKENS, TARGET = 22, [1, 8, 9]


def with_global(spec: Spec, n_global: int) -> Spec:
    """The spec with so many global tokens: transformers takes them as a mask, not from the config."""
    stack = spec.stacks[0].stack

    def changed(layer: Any) -> Any:
        pattern = replace(layer.attention.pattern, n_global=n_global)
        return replace(layer, attention=replace(layer.attention, pattern=pattern))

    runs = tuple(replace(run, pattern=tuple(map(changed, run.pattern))) for run in stack.runs)
    return replace(spec, encoder=replace(stack, runs=runs))


def both(name: str, folder: Path, n_global: int) -> tuple[Any, Any, ModelSource]:
    """A random model of transformers, ours with its weights, and the source."""
    theirs = random_model(name)
    theirs.save_pretrained(folder)
    source, ours = open_source(str(folder)), archcalc.load_model(folder)
    if n_global:
        marked: Any = build(with_global(ours.spec, n_global), "cpu").eval()
        marked.load_state_dict(ours.state_dict())
        ours = marked
    return theirs, ours, source


def windows(pattern_NTW: Tensor, columns_NTg: Tensor | None) -> Tensor:
    """Longformer's weights [N, T, T] of keys beside each query; first those of global tokens, as queries in columns."""
    n_global, n_tokens = 0 if columns_NTg is None else columns_NTg.shape[-1], pattern_NTW.shape[1]
    reach = (pattern_NTW.shape[-1] - n_global) // 2
    dense = pattern_NTW.new_zeros(pattern_NTW.shape[0], n_tokens, n_tokens)
    for t in range(n_tokens):
        for s in range(max(0, t - reach), min(n_tokens, t + reach + 1)):
            dense[:, t, s] = pattern_NTW[:, t, n_global + s - t + reach]
    dense[:, :, :n_global] += pattern_NTW[:, :, :n_global]
    if columns_NTg is not None:
        dense[:, :n_global] = columns_NTg.transpose(1, 2)
    return dense


def blocks(pattern_bNtW: Tensor) -> Tensor:
    """LongT5's weights of the keys in three blocks, [N, T, T], then of summaries."""
    _, n_heads, size, width = pattern_bNtW.shape
    n_more = width - 3 * size
    dense = pattern_bNtW.new_zeros(n_heads, N_TOKENS, N_TOKENS + n_more)
    for t in range(N_TOKENS):
        row_NW = pattern_bNtW[t // size, :, t % size]
        first = (t // size - 1) * size
        for j in range(3 * size):
            if 0 <= first + j < N_TOKENS:
                dense[:, t, first + j] = row_NW[:, j]
        dense[:, t, N_TOKENS:] = row_NW[:, 3 * size :]
    return dense


def expected(out: Any, is_pair: bool) -> list[Tensor]:
    found, prefix = (out.encoder_attentions, "encoder_") if is_pair else (out.attentions, "")
    global_columns = getattr(out, f"{prefix}global_attentions", None) or [None] * len(found)
    dense = []
    for x, columns in zip(found, global_columns, strict=True):
        if x.dim() == 5:
            dense.append(blocks(x[0]))
        elif x.shape[-1] == N_TOKENS:
            dense.append(x[0].clone())
            # Inner blocks (of one token here) read the first twice; the class returns the weight of one reading.
            dense[-1][:, 1:-1, 0] *= 2
        else:
            dense.append(windows(x[0], None if columns is None else columns[0, :, :N_TOKENS]))
    return dense


@pytest.mark.parametrize(
    ("name", "n_global"),
    [
        ("longformer", 0),
        ("longformer", 2),
        ("led", 1),
        ("longt5", 0),
        ("longt5 transient", 0),
        ("big_bird", 0),
        ("bigbird_pegasus", 0),
    ],
)
def test_patterns_equal_transformers(name: str, n_global: int, tmp_path: Path) -> None:
    theirs, ours, source = both(name, tmp_path, n_global)
    torch.manual_seed(3)
    ids, is_pair = torch.randint(6, 96, (1, N_TOKENS)), ours.spec.family == "encoder-decoder"
    more = {"decoder_input_ids": torch.tensor([TARGET])} if is_pair else {}
    if n_global:
        more["global_attention_mask"] = (torch.arange(N_TOKENS) < n_global).long().unsqueeze(0)
    with torch.no_grad():
        out = theirs(ids, output_attentions=True, **more)
    texts = [ids[0].tolist(), *([TARGET] if is_pair else [])]
    reading = attention(ours, *texts)
    paths = [path for path, arm in reading.arms.items() if arm.text == 0]
    for path, pattern in zip(paths, expected(out, is_pair), strict=True):
        assert (reading.patterns[path] - pattern).abs().max() < 1e-5, path
        assert (reading.patterns[path].sum(-1) - 1).abs().max() < 1e-5
    heads_read(ours, reading, texts, paths)
    products(reading, paths[0])
    if not is_pair:
        edges(ours, texts[0], n_global)
    rows = attentions(source, reading, texts, (paths[0], 1)).selected
    assert rows is not None
    n_keys = reading.patterns[paths[0]].shape[-1]
    assert [row.token for row in rows.weights[N_TOKENS:n_keys]] == [f"Σ {i}" for i in range(n_keys - N_TOKENS)]


@torch.no_grad()
def heads_read(model: Any, reading: AttentionReading, texts: list[list[int]], paths: list[str]) -> None:
    """Weights times values are what the heads read."""
    recording = record(model, *(torch.tensor([row]) for row in texts))
    for path in paths:
        pattern_NTS, n_global = reading.patterns[path], reading.arms[path].n_global
        values_NTH = pattern_NTS @ recording[f"{path}.v"][0]
        if n_global:
            values_NTH[:, :n_global] = pattern_NTS[:, :n_global] @ recording[f"{path}.global_v"][0]
        torch.testing.assert_close(values_NTH, recording[f"{path}.values"][0], rtol=1e-5, atol=1e-6)


def products(reading: AttentionReading, path: str) -> None:
    """Products of dimensions sum to the score, for a global token too, less the bias of a position or of blocks."""
    for query, key in ((0, 5), (0, 1), (9, 9), (9, reading.patterns[path].shape[-1] - 1)):
        if reading.scores[path][2, query, key] > -1e30:
            found = reading.products(path, 2, query, key)
            is_biased = not isinstance(getattr(reading.arms[path].part, "pattern", None), GlobalWindow)
            assert is_biased or abs(found.rest) < 1e-5


def edges(model: Any, ids: list[int], n_global: int) -> None:
    """Of a global token, of one beside them, and of the last."""
    for position in (0, n_global, N_TOKENS - 1):
        found = attribute(model, ids, position=position, token=17, against=4)
        logits = logits_of(model, [ids], position)
        total, size = (sum(map(f, (one.value for one in found.contributions))) for f in (float, abs))
        assert total == pytest.approx(float(logits[17] - logits[4]), abs=1e-5 * size)
        heads = [one for one in found.contributions if one.head is not None]
        assert len(heads) == sum(arm.n_heads for arm in found.arms.values())
        for one in heads:
            assert float(found.edges[one.path][one.head].sum()) == pytest.approx(one.value, rel=1e-4, abs=1e-5 * size)
