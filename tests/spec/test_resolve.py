"""What a resolved spec has filled in, and what it leaves alone."""

from __future__ import annotations

from hypothesis import given

from archcalc.spec import Spec
from archcalc.spec.attention import Attention
from archcalc.spec.document import decode
from archcalc.spec.ffn import MoE
from archcalc.spec.groups import layers_of
from archcalc.spec.position import Rope
from archcalc.spec.resolve import resolve
from tests.examples import examples
from tests.spec.documents import LAYER, changed, small
from tests.strategies import specs


def layer_of(document):
    return decode(document).decoder.runs[0].pattern[0]


def test_left_out_sizes_are_filled_in():
    layer = layer_of(small())
    assert (layer.attention.n_kv_heads, layer.attention.d_head) == (4, 4)
    assert layer.attention.position.d_rotary == 4
    assert decode(small()).decoder.n_layers == 2


def test_stated_sizes_stay():
    attention = {
        "kind": "gqa",
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_head": 10,
        "position": {"kind": "rope", "d_rotary": 6},
    }
    layer = layer_of(changed(f"{LAYER}.attention", attention))
    assert (layer.attention.n_kv_heads, layer.attention.d_head, layer.attention.position.d_rotary) == (2, 10, 6)


def test_heads_need_not_divide_where_their_width_is_stated():
    assert layer_of(changed(f"{LAYER}.attention", {"kind": "gqa", "n_heads": 3, "d_head": 5})).attention.d_head == 5


def test_latent_positions_turn_all_of_d_rope():
    mla = {"kind": "mla", "n_heads": 4, "kv_rank": 8, "d_nope": 4, "d_rope": 6, "d_v": 4}
    assert layer_of(changed(f"{LAYER}.attention", mla)).attention.position.d_rotary == 6


def test_shared_experts_are_as_wide_as_routed_ones_where_nothing_else_is_said():
    moe = {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 12}
    assert layer_of(changed(f"{LAYER}.ffn", moe)).ffn.d_shared is None
    assert layer_of(changed(f"{LAYER}.ffn", moe | {"n_shared": 2})).ffn.d_shared == 12
    assert layer_of(changed(f"{LAYER}.ffn", moe | {"n_shared": 2, "d_shared": 5})).ffn.d_shared == 5


def test_the_open_run_takes_what_remains():
    pattern = small()["decoder"]["runs"][0]["pattern"]
    stack = {"n_layers": 7, "runs": [{"count": 2, "pattern": pattern}, {"pattern": pattern}]}
    assert len(layers_of(decode(changed("decoder", stack)).decoder)) == 7


@examples(50)
@given(specs())
def test_every_size_is_explicit_and_resolving_again_changes_nothing(spec: Spec):
    assert resolve(spec) == spec
    for stack in (own.stack for own in spec.stacks):
        assert stack.n_layers == len(layers_of(stack))
        for layer in layers_of(stack):
            for part in (layer.attention, layer.cross):
                if isinstance(part, Attention):
                    assert part.d_head
                    assert part.n_heads % part.n_kv_heads == 0
                    assert not isinstance(part.position, Rope) or part.position.d_rotary
            if isinstance(layer.ffn, MoE):
                assert bool(layer.ffn.d_shared) == bool(layer.ffn.n_shared)
