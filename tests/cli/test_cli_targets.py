"""`--target-ids`: what the decoder of an encoder-decoder has read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli

Good = Callable[..., str]
PAIR = ["tiny-seq2seq", "--random-weights", "--ids", "5,6,7"]


@pytest.mark.parametrize("command", ["trace --summary", "lens", "attention --no-kinds", "attribute", "patch"])
def test_target_ids_are_read_as_they_are(good: Good, command: str) -> None:
    name, *options = command.split()
    corrupted = ["--corrupted-ids", "5,8,7", "--method", "attribution"] if name == "patch" else []
    shown = good(name, *PAIR, "--target-ids", "1,8,3", *options, *corrupted)
    assert shown != good(name, *PAIR, "--target-ids", "1,8,4", *options, *corrupted)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target-ids", "1", "--target", "a"], "--target, --target-ids: both; expected one of them"),
        (["--target-ids", "a"], "--target-ids: found 'a'; expected integers with commas between"),
        (["--target-ids", "99"], "--target: found id 99; expected 1 to 32 ids from 0 to 31"),
        (["--target", "a"], "--target: there is no tokenizer; expected --target-ids"),
    ],
)
def test_a_target_that_cannot_be_read_is_refused(cli: Cli, arguments: list[str], said: str) -> None:
    ran = cli("lens", *PAIR, *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
