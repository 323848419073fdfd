"""Against transformers' own models: names and shapes of every tensor, counted once where they are tied."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import transformers
from hf_configs import CONFIGS

from archcalc.errors import InputError
from archcalc.hf import from_config, model_types, tensor_map, to_config
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.hf.same import same_architecture
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.document import decode

FOLDER = Path(os.environ.get("ARCHCALC_ORACLE", Path(__file__).parents[3] / "shared" / "oracle"))


def _lines(file: str) -> dict[str, dict]:
    path = FOLDER / file
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {line.get("name") or line["class"]: line for line in lines if line["model_type"] in model_types()}


PUBLISHED, DEFAULTS = _lines("published.jsonl"), _lines("defaults.jsonl")
# A decoder that attends to a source without an encoder is no spec.
REFUSED = {"MarianForCausalLM"}
# Published models that need what a spec cannot say yet.
REFUSED_YET = {"Phi-3.5-mini (128k)": "unknown key", "Command-R+ (104B)": "use_qk_norm: found True"}
# transformers forces mT5's tie and keeps no trace of what the file said.
FORGETS_THE_TIE = {"mT5-small"}


def stored(spec: Spec) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in build(spec).tensors() if tensor.kind != "buffer"}


def collapsed(shapes: dict[str, tuple[int, ...]]) -> Counter[str]:
    return Counter(
        f"{re.sub(r'[.][0-9]+(?=[.]|$)', '.*', name)} [{','.join(map(str, shape))}]" for name, shape in shapes.items()
    )


def listed(lines: list[str]) -> Counter[str]:
    return Counter(
        {match[1]: int(match[2] or 1) for line in lines if (match := re.match(r"(.*?\])(?: x(\d+))?$", line))}
    )


@pytest.mark.parametrize("name", [name for name in (*PUBLISHED, *DEFAULTS) if name not in REFUSED | REFUSED_YET.keys()])
def test_every_tensor_of_a_listed_model(name: str) -> None:
    line = PUBLISHED.get(name) or DEFAULTS[name]
    spec = decode(from_config(line["config"]))
    ours = stored(spec)
    assert collapsed(tensor_map(line["config"]).shapes(ours)) == listed(line["tensors"])
    assert sum(map(math.prod, ours.values())) == line["total_params"]
    assert same_architecture(decode(from_config(to_config(spec))), spec)


@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - FORGETS_THE_TIE - REFUSED_YET.keys()))
def test_both_spellings_of_a_listed_model(name: str) -> None:
    stated, resolved = (decode(from_config(PUBLISHED[name][key])) for key in ("config", "config_resolved"))
    assert same_architecture(stated, resolved)


@pytest.mark.parametrize("name", [name for name in REFUSED_YET if name in PUBLISHED])
def test_what_is_not_read_yet_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED_YET[name]):
        from_config(PUBLISHED[name]["config"])


@pytest.mark.skipif("MarianForCausalLM" not in DEFAULTS, reason="the oracle is not here")
def test_a_decoder_without_its_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="no encoder to attend to"):
        from_config(DEFAULTS["MarianForCausalLM"]["config"])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_of_transformers_model(name: str) -> None:
    config = CONFIGS[name]
    shapes, ties = reference_shapes(build_reference(config))
    ours = stored(decode(from_config(config)))
    assert tensor_map(config).shapes(ours) == shapes
    assert set(ties.values()) <= set(shapes)


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers_reads_what_is_written(name: str) -> None:
    config = to_config(decode(from_config(CONFIGS[name])))
    ours = stored(decode(from_config(config)))
    shapes, _ = reference_shapes(build_reference(config))
    assert tensor_map(config).shapes(ours) == shapes


def test_defaults_are_those_of_the_classes() -> None:
    """What an absent key means is a fact of transformers: its own default config says the same in full."""
    for model_type in model_types():
        full = transformers.AutoConfig.for_model(model_type).to_dict()
        full = {key: value for key, value in full.items() if key != "architectures"}
        assert same_architecture(decode(from_config({"model_type": model_type})), decode(from_config(full))), model_type


def test_a_reference_that_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="transformers refuses it"):
        build_reference({"model_type": "llama", "hidden_size": "x"})
