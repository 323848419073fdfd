"""`archcalc memory --tp N`, `--fsdp N`: each rank's bytes add up, and are the whole model's where all is split."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize(("option", "n"), [("--tp", 4), ("--tp", 16), ("--fsdp", 3)])
def test_tensors_add_up_to_ranks(option: str, n: int, good: Callable[..., str]) -> None:
    found = json.loads(good("memory", "gpt-oss-20b", option, str(n), "--seq", "100", "--format", "json"))
    assert [rank["rank"] for rank in found["ranks"]] == list(range(n))
    for rank in found["ranks"]:
        own = sum(line["rank_bytes"][rank["rank"]] for line in found["weights"])
        assert rank["weights_bytes"] + rank["buffers_bytes"] == own
        assert rank["kv_cache_bytes"] == sum(line["rank_bytes"][rank["rank"]] for line in found["caches"])
        assert rank["bytes"] == own + rank["kv_cache_bytes"]
    for line in found["weights"] + found["caches"]:
        assert (line["first_rank_bytes"], line["last_rank_bytes"]) == (line["rank_bytes"][0], line["rank_bytes"][-1])
        assert line["formula"].rpartition(" = ")[2] == f"{line['first_rank_bytes']:,}"


def test_what_is_split_is_there_once_and_the_cache_everywhere(good: Callable[..., str]) -> None:
    whole = json.loads(good("memory", "gpt2", "--format", "json"))
    found = json.loads(good("memory", "gpt2", "--fsdp", "5", "--format", "json"))
    assert sum(rank["weights_bytes"] for rank in found["ranks"]) == whole["weights_bytes"]
    assert {rank["kv_cache_bytes"] for rank in found["ranks"]} == {whole["kv_cache_bytes"]}
    found = json.loads(good("memory", "gpt2", "--tp", "4", "--format", "json"))
    assert sum(rank["kv_cache_bytes"] for rank in found["ranks"]) == whole["kv_cache_bytes"]


def test_the_table_says_what_is_split_and_by_which_formula(good: Callable[..., str]) -> None:
    text = good("memory", "gpt2", "--tp", "4", "--dtype", "fp32")
    (line,) = (line for line in text.splitlines() if line.strip().startswith("embed.tokens.weight"))
    assert line.split()[:3] == ["embed.tokens.weight", "1", "vocab_size"]
    numbers, formula = line.split()[3:5], " ".join(line.split()[5:])
    assert numbers == ["38,599,680", "38,590,464"]
    assert formula == "⌈vocab_size / 4⌉·4·d_model = ⌈50257 / 4⌉·4·768 = 38,599,680"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (("--tp", "5"), "--tp: found 5, which does not divide n_heads = 12; expected 1, 2, 3, 4, 6, 12"),
        (("--tp", "2", "--fsdp", "2"), "--tp, --fsdp: both; expected one of them"),
        (("--tp", "2", "--dtype", "int4"), "--dtype: found 'int4'; expected fp32, fp16, bf16, fp8"),
        (("--tp", "2", "--view", "layers"), "--view has no effect with --tp or --fsdp. Leave out --view."),
        (("--train", "--tp", "2"), "--tp has no effect with --train. Leave out --tp."),
    ],
)
def test_what_cannot_be_is_refused(call: tuple[str, ...], line: str, cli: Cli) -> None:
    found = cli("memory", "gpt2", *call)
    assert (found.code, found.err) == (2, f"archcalc: {line}\n")
