"""One call: the text or the ids that the parts give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import archcalc
from archcalc.errors import InputError
from archcalc.run.decoding.generation import Generation, generation_workload
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.loading.source import open_source
from tests.run.decoding.chat_model import save_chat_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_chat_model(tmp_path_factory.mktemp("talker")))


def test_a_text_goes_on_as_its_parts_make_it(folder: str) -> None:
    found = open_source(folder)
    assert found.tokenizer is not None
    ids = found.tokenizer.encode("Once upon")
    ready = found.load(generation_workload(found.spec, [ids], 12))
    made = Generation(ready, [ids], max_tokens=12, sampling=Sampling(temperature=1.0, top_k=9), seed=3)
    for _ in made:
        pass
    how = {"max_tokens": 12, "temperature": 1.0, "top_k": 9, "seed": 3}
    assert archcalc.generate(folder, "Once upon", **how) == made.completions[0]
    assert archcalc.generate(ready, "Once upon", **how) == made.completions[0]
    assert archcalc.generate(ready, ids, **how).ids == made.completions[0].ids


def test_ids_go_on_as_the_models_likeliest() -> None:
    found = archcalc.generate("tiny", [1, 2, 3], random_weights=True, max_tokens=4, seed=5)
    torch.manual_seed(5)
    model = archcalc.build(archcalc.load("tiny"), "cpu").eval()
    ids = [1, 2, 3]
    for _ in range(4):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    assert found.ids == ids[3:]
    assert found.text.split() == [str(token) for token in ids[3:]]


def test_what_cannot_be_read_is_one_line(folder: str) -> None:
    with pytest.raises(InputError, match=r"gpt2: has no weights"):
        archcalc.generate("gpt2", "x")
    found = open_source(folder)
    bare = replace(found.load(generation_workload(found.spec, [[1]], 1)), source=replace(found, tokenizer=None))
    with pytest.raises(InputError, match=r"prompt: there is no tokenizer; expected token ids"):
        archcalc.generate(bare, "x")
    with pytest.raises(InputError, match=r"dtype: found torch\.float64; expected torch\.float32, "):
        archcalc.generate(folder, "x", dtype=torch.float64)
