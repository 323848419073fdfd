"""Text as it comes: stop strings are cut, and nothing is told that has to be taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.run.decoding.timing import Timing
from archcalc.run.decoding.transcript import Transcript
from archcalc.text.tokenizer import Stream

EOS = 0


class Pieces(Stream):
    """Id n stands for the nth piece; the end brings what no id completed."""

    def __init__(self, pieces: list[str], rest: str = "") -> None:
        self.pieces, self.held = pieces, rest

    def __call__(self, token_id: int) -> str:
        return self.pieces[token_id - 1]

    def rest(self) -> str:
        return self.held


def transcript(pieces: list[str], stops: list[str]) -> Transcript:
    return Transcript(Pieces(pieces), eos_ids=[EOS], stops=stops)


def told_of(row: Transcript, ids: list[int]) -> tuple[list[str], list[int]]:
    """What is told after each id, and at the end; the ids that were asked for."""
    told, taken = [], []
    for token in ids:
        taken.append(token)
        goes_on = row.add(token)
        told.append(row.new_text())
        if not goes_on:
            break
    return [*told, row.new_text(last=True)], taken


@given(
    st.lists(st.text("ab.", max_size=4), max_size=8),
    st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3),
)
def test_what_is_told_is_the_text_up_to_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    row = transcript(pieces, stops)
    told, taken = told_of(row, list(range(1, len(pieces) + 1)))
    came = "".join(pieces[: len(taken)])
    ends = [at for stop in stops if (at := came.find(stop)) >= 0]
    assert "".join(told) == row.text == came[: min(ends, default=len(came))]
    assert row.ended == ("stop" if ends else "length")
    earlier = "".join(pieces[: len(taken) - 1])
    assert not any(stop in earlier for stop in stops), "it ends at the first id that completes one"


def test_the_beginning_of_a_stop_string_is_held_back() -> None:
    row = transcript(["ab", "c", "d", "X"], ["bcX"])
    assert told_of(row, [1, 2, 3, 4])[0] == ["a", "", "bcd", "X", ""]


def test_an_end_token_ends_it_and_is_no_part_of_it() -> None:
    row = transcript(["a", "b"], ["bz"])
    assert told_of(row, [1, 2, EOS, 1])[0] == ["a", "", "", "b"]
    assert (row.ids, row.text, row.ended) == ([1, 2], "ab", "eos")


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(InputError, match="stop: found an empty text"):
        transcript([], [""])


def test_the_clock_counts_steps_and_tokens_but_not_the_first_ones() -> None:
    timing = Timing(5, 2)
    assert timing.tokens_per_second is None
    assert list(timing.timed([[1, 2], [3, None], [4, None]])) == [[1, 2], [3, None], [4, None]]
    assert (timing.n_prompt_tokens, timing.n_steps, timing.n_decoded) == (5, 3, 2)
    assert timing.tokens_per_second == 2 / timing.decode_seconds
    assert timing.steps_per_second == 2 / timing.decode_seconds


def test_the_rest_of_a_broken_character_comes_last() -> None:
    row = Transcript(Pieces(["a"], rest="�"))
    assert told_of(row, [1])[0] == ["a", "�"]
    assert row.text == "a�"
