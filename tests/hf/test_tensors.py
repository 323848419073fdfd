"""Maps of tensors: nothing skipped, nothing held twice."""

from __future__ import annotations

import pytest

from archcalc.hf import tensor_map
from archcalc.hf.tensors import TensorEntry, TensorMapError, table

Q, K = "layers.{i}.q.weight", "layers.{i}.k.weight"


def test_parts_are_joined_along_what_they_give() -> None:
    fused = table(TensorEntry("h.{i}.qk", (Q, K), transposed=True))
    assert fused.shapes({"layers.7.q.weight": (8, 4), "layers.7.k.weight": (2, 4)}) == {"h.7.qk": (4, 10)}


def test_a_tensor_without_a_place_is_an_error() -> None:
    with pytest.raises(TensorMapError, match="nothing holds other"):
        tensor_map("llama").shapes({"other": (1,)})


def test_a_part_without_its_others_is_an_error() -> None:
    with pytest.raises(TensorMapError, match=r"holds layers\.0\.k\.weight, which is not there"):
        table(TensorEntry("h.{i}.qk", (Q, K))).shapes({"layers.0.q.weight": (8, 4)})


def test_parts_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(TensorMapError, match="cannot be joined"):
        table(TensorEntry("h.{i}.qk", (Q, K))).shapes({"layers.0.q.weight": (8, 4), "layers.0.k.weight": (2, 5)})


def test_a_row_may_ask_for_another_tensor() -> None:
    rows = table(
        TensorEntry("wi_1", ("up",), requires="gate"), TensorEntry("wi", ("up",)), TensorEntry("wi_0", ("gate",))
    )
    assert rows.shapes({"up": (1,)}) == {"wi": (1,)}
    assert rows.shapes({"up": (1,), "gate": (2,)}) == {"wi_1": (1,), "wi_0": (2,)}
