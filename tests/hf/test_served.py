"""Configs of served models as published: text models equal transformers', and the rest is refused in one sentence."""

from __future__ import annotations

import json

import pytest

import archcalc
from archcalc.errors import InputError
from archcalc.hf.classes import resolve
from archcalc.hf.registry import model_types
from tests.hf import oracle

LINES = oracle.served()
# Types that transformers does not have: read as another model type, or not at all.
TWINS = {"XiaomiMiMo/MiMo-7B-Base": 7_622_619_136, "moonshotai/Kimi-K2-Instruct": 1_026_408_209_408}
UNKNOWN = {
    "MiniMaxAI/MiniMax-M3": "found 'minimax_m3'",
    "moonshotai/Kimi-K3": "a model of several parts",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": "found 'nemotron-nas'",
    "sgl-project/DeepSeek-V4-Flash-FP8": "found 'deepseek_ref'",
    "sgl-project/DeepSeek-V4-Pro-FP8": "found 'deepseek_ref'",
}
# A published spelling of the settings that the class reads from keys of its own.
REFUSED = {"nvidia/MiniMax-M3-NVFP4": "sparse_attention_config: found a mapping; expected null"}


@pytest.mark.parametrize("name", LINES)
def test_a_served_model_is_counted_or_refused(name: str) -> None:
    config, total = LINES[name]["config"], LINES[name].get("text_params", TWINS.get(name))
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            archcalc.load(config)
        return
    if name not in UNKNOWN and resolve_type(config) in model_types():
        assert archcalc.report(archcalc.load(config))["params"]["total"] == total
        return
    if name in UNKNOWN and resolve_type(config) in model_types():
        return  # its class is read, under another model type
    sentence = "`report` counts its parameters with `engine` transformers" if total else UNKNOWN[name]
    with pytest.raises(InputError) as error:
        archcalc.load(config)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def resolve_type(config: dict[str, object]) -> object:
    """Return the model type that reads a config; that of the whole model if it is not read."""
    try:
        return resolve(config)[0]["model_type"]
    except InputError:
        return config["model_type"]


def test_all_of_them_are_there() -> None:
    assert len(LINES) == 89
    assert len(json.dumps([line["config"] for line in LINES.values()])) > 100_000
    assert {name for name, line in LINES.items() if "text_params" not in line} == TWINS.keys() | UNKNOWN.keys()
