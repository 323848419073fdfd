"""The page of several structures: every step is drawn, in both languages, and nothing is fetched."""

from __future__ import annotations

import json
import re

import pytest

import archcalc
from archcalc import presets
from archcalc.analysis.token_path import token_paths
from archcalc.render.diagram import drawing
from archcalc.render.diagram.shapes import Box, Plus
from archcalc.sources import load
from archcalc.words import LANGS


def models_of(page: str) -> list[dict]:
    found = re.search(r"const models = (\[.*?\]), texts = ", page)
    assert found is not None
    return json.loads(found[1])


def test_every_preset_has_each_part_of_a_path_drawn() -> None:
    for name in presets.names():
        spec = load(name)
        shapes, *_ = drawing(spec)
        drawn = {shape.text.path for shape in shapes if isinstance(shape, Box)}
        drawn |= {shape.path for shape in shapes if isinstance(shape, Plus)}
        boxes = {step.box for step in token_paths([spec]).steps if not step.path.endswith("ids")}
        # After a norm on the stream, the stream has no shape of its own.
        missing = {box for box in boxes - drawn if ".resid_" not in box}
        assert not missing, name


@pytest.mark.parametrize("lang", LANGS)
def test_a_page_has_every_model_and_step_and_loads_nothing(lang: str) -> None:
    specs = [load(name) for name in ("gpt2", "bert-base", "t5-small")]
    page = archcalc.structures_page(specs, lang=lang)
    models = models_of(page)
    assert [len(model["texts"]) for model in models] == [1, 1, 2]
    paths = archcalc.structures(specs)
    for model in models:
        n_steps = sum(len(stage["steps"]) for stage in model["stages"])
        assert n_steps == sum(step["model"] == model["name"] for step in paths["steps"])
        for stage in model["stages"]:
            assert f'data-path="{stage["box"]}"' in page or stage["box"].endswith("ids")
    assert page.count("<svg") == 3
    assert not re.search(r"(?:src|href)=|url\(|fetch\(|import ", page)
    assert f'<html lang="{lang}">' in page
