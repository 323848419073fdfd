"""Generation on tiny random models: transformers' tokens, rows that do not disturb each other, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.run.decoding.generation import Generation
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.loading.memory_check import TooLargeError
from archcalc.run.loading.source import LoadedModel, ModelSource, open_source
from archcalc.run.loading.weight_traffic import step_bytes
from archcalc.run.pack import pack
from archcalc.spec.workload import Workload
from tests.nn import test_nn_transformers as theirs
from tests.run.decoding.test_beam import CASES, both, generated, prompts_of


def ready(ours: Any, start: int | None = None, ends: tuple[int, ...] = ()) -> LoadedModel:
    opened = ModelSource(ours.spec, "x", None, None, start, ends)
    return LoadedModel(pack(ours.requires_grad_(False)), opened, torch.device("cpu"))


def made(ready: LoadedModel, prompts: list[list[int]], **how: Any) -> list[list[int]]:
    found = Generation(ready, prompts, **how)
    for _ in found:
        pass
    return [one.ids for one in found.completions]


@pytest.mark.parametrize("make", [*CASES, theirs.gemma2, theirs.deepseek_v3], ids=lambda make: make.__name__)
def test_the_likeliest_tokens_are_those_of_transformers(make: Callable[[], theirs.Case]) -> None:
    lengths = set()
    for seed in range(6):
        model, ours, start = both(make, seed)
        ends, prompts = torch.randint(2, 37, (8,)).tolist(), prompts_of(5, 3, 7)
        expected, _ = generated(model, prompts, ends, beams=1, max_tokens=9)
        wanted = [[token for token in row if token not in ends] for row in expected]
        assert made(ready(ours, start, tuple(ends)), prompts, max_tokens=9) == wanted
        lengths |= {len(row) for row in wanted}
    assert len(lengths) >= 2, "some end earlier than others"


@pytest.mark.parametrize("make", [theirs.llama, theirs.gpt2], ids=lambda make: make.__name__)
def test_a_row_is_what_it_is_alone(make: Callable[[], theirs.Case]) -> None:
    """Row b draws by seed + b."""
    model = ready(both(make, 2)[1])
    prompts, how = prompts_of(6, 2, 4), {"max_tokens": 10, "sampling": Sampling(temperature=1.0, top_p=0.9)}
    rows = made(model, prompts, seed=7, **how)
    assert rows == [made(model, [ids], seed=7 + row, **how)[0] for row, ids in enumerate(prompts)]
    assert rows == made(model, prompts, seed=7, **how)
    assert rows != made(model, prompts, seed=70, **how)


def test_max_tokens_is_cut_to_the_context_and_end_tokens_can_be_ignored() -> None:
    model = ready(both(theirs.llama, 0)[1], None, tuple(range(37)))
    assert made(model, [[3, 4]], max_tokens=99) == [[]]
    (ids,) = made(model, [[3, 4]], max_tokens=99, ignore_eos=True)
    assert len(ids) == model.source.spec.n_ctx - 2


def test_nothing_comes_after_a_stop() -> None:
    model = ready(both(theirs.llama, 0)[1])
    (ids,) = made(model, [[3, 4]], max_tokens=9)
    found = Generation(model, [[3, 4]], max_tokens=9, stops=[f" {ids[4]} "])
    told = "".join(piece for _, piece in found)
    (one,) = found.completions
    first = ids.index(ids[4], 1)
    assert (one.ended, one.text, told) == ("stop", *[" ".join(map(str, ids[:first]))] * 2)


@pytest.mark.parametrize(
    ("prompts", "found"),
    [([[]], "has no tokens"), ([[1], [37]], "prompt 2: found id 37"), ([[1] * 24], "has 24 tokens")],
)
def test_prompts_that_cannot_be_read_are_refused(prompts: list[list[int]], found: str) -> None:
    _, ours, _ = both(theirs.llama, 0)
    with pytest.raises(InputError, match=found) as caught:
        made(ready(ours), prompts)
    assert "\n" not in str(caught.value)


def test_what_cannot_fit_is_refused() -> None:
    problem = r"gpt3-175b needs 698\.4 GB \(650\.5 GiB\) of weights in fp32 and .* free on cpu"
    with pytest.raises(TooLargeError, match=problem):
        open_source("gpt3", random_weights=True).load(Workload(seq=8))


# Widths that fill whole panels, but for a router's: 8 outputs in a panel of 32.
FULL = {"d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_head": 16, "vocab_size": 320, "n_layers": 2}


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_reads_every_weight_but_a_table_that_is_looked_up(tied: bool) -> None:
    opened = open_source("tiny", random_weights=True, changes=FULL | {"d_ff": 96, "tied": tied})
    n_all = sum(tensor.numel() for tensor in build(opened.spec).parameters())
    found = step_bytes(opened.load(Workload()).model)
    assert found == 4 * (n_all if tied else n_all - 320 * 64)
    assert step_bytes(build(opened.spec, "cpu")) == found, "packed or not"


def test_a_step_leaves_out_experts_that_are_not_chosen() -> None:
    opened = open_source("mixtral-8x7b", random_weights=True, changes=FULL | {"d_expert": 96})
    model = opened.load(Workload()).model
    filling, expert = 2 * (32 - 8) * 64, 2 * 3 * 64 * 96
    n_all = sum(tensor.numel() for tensor in build(opened.spec).parameters()) - 320 * 64 + filling
    assert step_bytes(model) == 4 * (n_all - 6 * expert)
    assert step_bytes(model, batch=3) == 4 * (n_all - 2 * expert)
    assert step_bytes(model, batch=9) == 4 * n_all
