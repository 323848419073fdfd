"""Layers gathered by likeness."""

from __future__ import annotations

import pytest
from hypothesis import given

from archcalc.errors import InputError
from archcalc.spec.ffn import Plain
from archcalc.spec.groups import groups, layers_of, run_counts, weight_indices
from archcalc.spec.layer import Layer, Run, Stack
from archcalc.spec.norm import RMSNorm
from tests.examples import examples
from tests.strategies import stacks

RELU = "relu"


def layer(d_ff: int, name: str | None = None) -> Layer:
    return Layer(name=name, norm=RMSNorm(), ffn=Plain(d_ff=d_ff, activation=RELU))


def stack(*runs: Run) -> Stack:
    return Stack(n_layers=sum(run.count or 0 for run in runs), runs=runs)


def run(count: int, *pattern: Layer, share: bool = False) -> Run:
    return Run(count=count, pattern=pattern, share_weights=share)


def seen(made: Stack) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(group.name, group.weight_indices, group.layer_indices) for group in groups(made)]


def test_one_kind_of_layer_is_one_group():
    assert seen(stack(run(3, layer(4)))) == [("layers", (0, 1, 2), (0, 1, 2))]


def test_a_pattern_is_cycled_through():
    made = stack(run(5, layer(4), layer(8)))
    assert seen(made) == [("like_0", (0, 2, 4), (0, 2, 4)), ("like_1", (1, 3), (1, 3))]


def test_equal_layers_of_two_runs_are_one_group():
    made = stack(run(2, layer(4)), run(1, layer(8)), run(2, layer(4)))
    assert seen(made) == [("like_0", (0, 1, 3, 4), (0, 1, 3, 4)), ("like_2", (2,), (2,))]


def test_names_are_kept_and_keep_groups_apart():
    made = stack(run(2, layer(4, "local"), layer(4, "global")))
    assert seen(made) == [("local", (0,), (0,)), ("global", (1,), (1,))]


def test_shared_weights_belong_to_the_first_turn():
    made = stack(run(1, layer(8)), run(5, layer(4), layer(6), share=True))
    assert seen(made) == [("like_0", (0,), (0,)), ("like_1", (1,), (1, 3, 5)), ("like_2", (2,), (2, 4))]
    assert weight_indices(made) == [0, 1, 2, 1, 2, 1]
    assert [group.own_weights for group in groups(made)] == [True, False, False]
    assert [group.last for group in groups(made)] == [0, 5, 4]


def test_each_sharing_run_has_weights_of_its_own():
    made = stack(run(2, layer(4), share=True), run(3, layer(4), share=True))
    assert weight_indices(made) == [0, 0, 2, 2, 2]
    assert seen(made) == [("layers", (0, 2), (0, 1, 2, 3, 4))]


def test_two_that_differ_cannot_have_one_name():
    with pytest.raises(InputError, match="two different layers are named 'a'; expected unique names"):
        groups(stack(run(2, layer(4, "a"), layer(8, "a"))))


@examples(50)
@given(stacks())
def test_groups_partition_the_layers(made: Stack):
    made = Stack(**{f: getattr(made, f) for f in made.__struct_fields__} | {"n_layers": made.n_layers or _sum(made)})
    every = layers_of(made)
    assert len(every) == sum(run_counts(made)) == made.n_layers
    found = groups(made)
    assert sorted(index for group in found for index in group.layer_indices) == list(range(len(every)))
    owners = weight_indices(made)
    assert sorted(index for group in found for index in group.weight_indices) == sorted(set(owners))
    assert all(owners[owner] == owner for owner in owners)
    assert [group.layer_indices[0] for group in found] == sorted(group.layer_indices[0] for group in found)
    for group in found:
        assert all(every[index] == group.layer for index in group.layer_indices)
        assert set(group.weight_indices) <= set(group.layer_indices)
        shared = group.layer.shares.weights if group.layer.shares else None
        assert {owners[index] for index in group.layer_indices} == ({shared} - {None} or set(group.weight_indices))
        assert shared is None or not group.weight_indices
    assert len({group.name for group in found}) == len(found)


def _sum(made: Stack) -> int:
    return sum(run.count or 0 for run in made.runs)
