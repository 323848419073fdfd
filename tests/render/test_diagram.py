"""The diagram of an architecture: nothing over another, texts in their boxes, every layer's numbers there."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given

from archcalc import presets
from archcalc.render.diagram import diagram, drawing
from archcalc.render.diagram.shapes import Box, Frame, Plus, Wire, text_width
from archcalc.render.diagram.stack_column import MAX_KINDS, ranges
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.about import About
from archcalc.spec.groups import groups
from archcalc.units import exact
from archcalc.words import LANGS, translator
from tests.examples import examples
from tests.strategies import specs


def check(spec: Spec, lang: str) -> None:
    shapes, width, height = drawing(spec, translator(lang))
    boxes = [shape for shape in shapes if isinstance(shape, Box)]
    for box in boxes:
        assert box.x >= 0
        assert box.x + box.width <= width
        assert box.bottom <= height
        assert max(map(text_width, (box.text.title, *box.text.lines))) <= box.width
    for a, b in combinations(boxes, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.bottom <= b.y or b.bottom <= a.y
        assert apart, (a.text, b.text)
    frames = [shape for shape in shapes if isinstance(shape, Frame)]
    assert len(frames) == sum(min(len(groups(stack)), MAX_KINDS) for stack in (own.stack for own in spec.stacks))
    for frame in frames:
        assert max(map(text_width, frame.lines)) + frame.inset <= frame.width
    for wire in (shape for shape in shapes if isinstance(shape, Wire)):
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in zip(wire.points, wire.points[1:], strict=False)), wire
    ElementTree.fromstring(diagram(spec, translator(lang)))  # noqa: S314 - our own text


@examples(60)
@given(specs())
def test_whatever_is_drawn_is_apart_and_well_formed(spec: Spec) -> None:
    check(spec, "en")


@pytest.mark.parametrize("lang", LANGS)
def test_every_preset_can_be_drawn(lang: str) -> None:
    for name in presets.names():
        check(load(name), lang)


def test_each_sum_of_a_layer_is_drawn_and_each_read_of_the_source() -> None:
    shapes, _, _ = drawing(load("t5-small"))
    assert sum(isinstance(shape, Plus) for shape in shapes) == 2 + 3
    dashed = [shape for shape in shapes if isinstance(shape, Wire) and shape.is_dashed]
    assert len(dashed) == 2  # the tied head, the encoder's last state


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpt3-175b", ("96 × layer", "96 heads × 128", "12,288 → 49,152 → 12,288", "tied to the token embedding")),
        ("llama-3-8b", ("grouped-query attention", "8 key/value heads", "RoPE, θ 500,000", "gated feed-forward")),
        ("deepseek-v3", ("3 of 61 × dense: layers 0–2", "8 of 256 experts per token", "latents: kv 512, q 1,536")),
        ("gemma-2-9b", ("causal · window of 4,096", "softcap 50", "softcap 30")),
    ],
)
def test_a_layers_numbers_stand_in_it(name: str, told: tuple[str, ...]) -> None:
    text = diagram(load(name))
    assert all(one in text for one in told), [one for one in told if one not in text]


def test_a_hostile_name_is_only_a_name() -> None:
    spec = msgspec.structs.replace(load("tiny"), about=About(title='</title><script>alert("1")</script>\x1b'))
    assert "<script" not in diagram(spec)
    ElementTree.fromstring(diagram(spec))  # noqa: S314 - our own text


def test_ranges_in_words() -> None:
    assert ranges((0, 1, 2, 4)) == "0–2, 4"
    assert ranges((0, 2, 4, 6)) == "0, 2, 4, …"
    assert exact(3) in ranges((3,))
