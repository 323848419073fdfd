"""Steering: its laws on models of every family, and against hooks of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import archcalc
from archcalc.errors import InputError
from archcalc.inside import (
    Contrast,
    Direction,
    direction,
    load_direction,
    save_direction,
    steer,
    steered_text,
)
from archcalc.interp.steer.layers import ranges
from archcalc.interp.steer.states import prompt_states
from archcalc.nn import taps
from archcalc.nn.build import build
from archcalc.run.decoding.decoding_state import prefill
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.spec import Spec
from archcalc.spec.sites import find_sites
from tests.checkpoint import random_models
from tests.examples import examples
from tests.strategies import specs

POSITIVE, NEGATIVE = [[1, 2, 0, 2], [2, 2]], [[1, 0, 2, 0], [0, 1, 1]]
N_NEW = 3


def random_model(spec: Spec, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(spec, "cpu").eval().requires_grad_(False)


def continues_texts(spec: Spec) -> bool:
    models = [stack.model for stack in spec.stacks]
    is_long = all(model.vocab_size >= 3 and model.n_ctx >= 4 + N_NEW for model in models)
    return is_long and spec.decoder is not None and spec.predicts_tokens


def reads_the_prompts(spec: Spec) -> bool:
    return all(stack.model.vocab_size >= 3 and stack.model.n_ctx >= 4 for stack in spec.stacks)


READERS = specs(per_token=True).filter(reads_the_prompts)
WRITERS = specs(per_token=True).filter(continues_texts)


def random_direction(spec: Spec, seed: int = 0) -> Direction:
    """Return a direction with a random vector in every layer of the last stack."""
    stack, generator = spec.stacks[-1], torch.Generator().manual_seed(seed)
    layers = range(stack.stack.n_layers or 0)
    vectors = {layer: torch.randn(stack.model.d_model, generator=generator) for layer in layers}
    contrasts = {layer: Contrast(1.0 + layer, 1.0, 1.0) for layer in layers}
    return Direction(vectors, contrasts, "decoder" if spec.family == "encoder-decoder" else None)


def inputs(spec: Spec, text: list[int]) -> list[torch.Tensor]:
    source = [POSITIVE[0]] if spec.family == "encoder-decoder" else []
    return [torch.tensor([ids]) for ids in (*source, text)]


def unit(vector_D: torch.Tensor) -> torch.Tensor:
    return vector_D.double() / vector_D.double().norm()


@examples(10)
@given(WRITERS, st.data())
def test_projecting_out_leaves_no_component(spec: Spec, data: st.DataObject) -> None:
    model, found = random_model(spec), random_direction(spec)
    layer = data.draw(st.sampled_from(found.layers))
    prefix = f"{found.stack}." if found.stack else ""
    edits = steer(found, project_out=True, layers=[layer], at=slice(1, None))
    names = [site.name for site in find_sites(spec, f"{prefix}layers.{layer}.resid_*")]
    assert len(names) >= 2
    recording = taps.record(model, *inputs(spec, [1, 2, 0, 1]), sites=names, edits=edits)
    before = taps.record(model, *inputs(spec, [1, 2, 0, 1]), sites=names)
    for name in names:
        x_TD = recording[name][0].double()
        component_T = (x_TD @ unit(found.vectors[layer])).abs()
        assert (component_T[1:] <= 2e-7 * x_TD.norm(dim=-1)[1:] + 1e-30).all(), name
        assert torch.equal(recording[name][0, 0], before[name][0, 0]), "the first token is not steered"


@examples(10)
@given(WRITERS, st.floats(-2, 2), st.data())
def test_adding_adds_the_strength_times_the_norm(spec: Spec, strength: float, data: st.DataObject) -> None:
    model, found = random_model(spec), random_direction(spec)
    layer = data.draw(st.sampled_from(found.layers))
    name = f"{found.stack + '.' if found.stack else ''}layers.{layer}.resid_post"
    ids = inputs(spec, [1, 2, 0, 1])
    plain_TD = taps.record(model, *ids, sites=name)[name][0]
    edits = steer(found, strength, layers=[layer], at=slice(2, None))
    steered_TD = taps.record(model, *ids, sites=name, edits=edits)[name][0]
    expected_D = strength * (1.0 + layer) * unit(found.vectors[layer])
    assert torch.equal(steered_TD[:2], plain_TD[:2])
    torch.testing.assert_close(steered_TD[2:], (plain_TD[2:].double() + expected_D).float(), rtol=1e-6, atol=1e-7)


@examples(10)
@given(WRITERS)
def test_strength_0_is_the_plain_text(spec: Spec) -> None:
    """Bit for bit, and with a divergence of exactly 0."""
    model, found = random_model(spec), random_direction(spec)
    plain = steered_text(model, POSITIVE[0], max_tokens=N_NEW, start_id=0)
    zero = steered_text(model, POSITIVE[0], steer(found, 0.0), max_tokens=N_NEW, start_id=0)
    assert zero == plain
    assert plain.kl_nats == 0
    assert plain.prompt_kl_nats == (None if spec.family == "encoder-decoder" else 0)
    state = prefill(model, [POSITIVE[0]], N_NEW, 0)
    assert plain.ids[0] == int(state.logits_BV.argmax())


@examples(10)
@given(WRITERS, st.booleans(), st.integers(0, 5))
def test_the_same_with_and_without_a_cache(spec: Spec, project_out: bool, first: int) -> None:
    """The logits of every step, from a position in the prompt or in the text on."""
    model, found = random_model(spec).double(), random_direction(spec)
    edits = steer(found, None if project_out else 0.7, project_out=project_out, at=slice(first, None))
    with torch.no_grad():  # what projecting out leaves has the rounding of what was there
        size = float(model(*inputs(spec, POSITIVE[0])).abs().max())
    with taps.edit(model, *edits), torch.no_grad():
        state = prefill(model, [POSITIVE[0]], N_NEW, 0)
        text = list(state.token_ids[0])
        for _ in range(N_NEW):
            whole_V = model(*inputs(spec, text))[0, -1]
            torch.testing.assert_close(
                state.logits_BV[0], whole_V, rtol=1e-8, atol=1e-8 * max(size, float(whole_V.abs().max()))
            )
            token = int(whole_V.argmax())
            text.append(token)
            state.append([token])


@examples(10)
@given(WRITERS, st.floats(0.01, 1))
def test_adding_and_subtracting_is_plain(spec: Spec, strength: float) -> None:
    model, found = random_model(spec).double(), random_direction(spec)
    name = f"{found.stack + '.' if found.stack else ''}layers.{found.layers[-1]}.resid_post"
    add, subtract = steer(found, strength), steer(found, -strength)
    plain_TD, added_TD, both_TD = (
        taps.record(model, *inputs(spec, [1, 2, 0, 1]), sites=name, edits=edits)[name][0]
        for edits in ((), add, (*add, *subtract))
    )
    torch.testing.assert_close(both_TD, plain_TD, rtol=1e-8, atol=1e-8 * float(plain_TD.abs().max()))
    assert not torch.equal(added_TD, plain_TD)


@examples(12)
@given(READERS)
def test_a_direction_is_the_difference_of_means(spec: Spec) -> None:
    """Of every family: the states as taps record them, one prompt at a time."""
    model = random_model(spec).double()
    pair = spec.family == "encoder-decoder"
    stack = "encoder" if pair else None
    try:
        found = direction(model, POSITIVE, NEGATIVE, stack=stack, tokens="all")  # type: ignore[arg-type]
    except InputError:
        assume(False)

    def states(layer: int, ids: list[int]) -> torch.Tensor:
        name = f"{'encoder.' if pair else ''}layers.{layer}.resid_post"
        texts = [torch.tensor([ids]), torch.tensor([[0]])] if pair else [torch.tensor([ids])]
        return taps.record(model, *texts, sites=name)[name][0].double()

    for layer, vector_D in found.vectors.items():
        groups = [[states(layer, ids) for ids in group] for group in (POSITIVE, NEGATIVE)]
        positive_D, negative_D = (torch.stack([x_TD.mean(0) for x_TD in group]).mean(0) for group in groups)
        difference_D = positive_D - negative_D
        norms = [float(x_TD.norm(dim=-1).mean()) for group in groups for x_TD in group]
        contrast = found.contrasts[layer]
        assert contrast.norm == pytest.approx(sum(norms) / 4)
        assert contrast.difference_norm == pytest.approx(float(difference_D.norm()), rel=1e-6)
        assert float(vector_D.double() @ unit(difference_D)) == pytest.approx(1, abs=1e-6)
        assert float(vector_D.norm()) == pytest.approx(1, abs=1e-6)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return archcalc.load_model("tiny")


PAIRS = [[295, 258, 407], [20, 31, 9], [400, 12]], [[295, 258, 335], [20, 31, 7], [400, 500]]


@pytest.fixture(scope="module")
def king(tiny: Any) -> Direction:
    return direction(tiny, *PAIRS)


def last_states(model: Any, group: list[list[int]], layer: int) -> torch.Tensor:
    name = f"layers.{layer}.resid_post"
    return torch.stack([taps.record(model, torch.tensor([ids]), sites=name)[name][0, -1].double() for ids in group])


def test_the_principal_component(tiny: Any) -> None:
    """The eigenvector of the largest eigenvalue of Σ dᵢdᵢᵀ, towards the positive prompts."""
    found = direction(tiny, *PAIRS, method="pca")
    for layer in range(4):
        positive_PD, negative_PD = (last_states(tiny, group, layer) for group in PAIRS)
        differences_PD = positive_PD - negative_PD
        vector_D = torch.linalg.eigh(differences_PD.T @ differences_PD).eigenvectors[:, -1]
        vector_D *= torch.sign(vector_D @ differences_PD.mean(0))
        torch.testing.assert_close(found.vectors[layer].double(), vector_D, rtol=1e-3, atol=1e-5)
    one, mean = (direction(tiny, PAIRS[0][:1], PAIRS[1][:1], method=method) for method in ("pca", "mean"))  # type: ignore[arg-type]
    torch.testing.assert_close(one.vectors[2], mean.vectors[2], rtol=1e-5, atol=1e-6)
    back = direction(tiny, PAIRS[1], PAIRS[0], method="pca")
    torch.testing.assert_close(back.vectors[2], -found.vectors[2], rtol=1e-5, atol=1e-6)


def test_separation_counts_pairs(tiny: Any, king: Direction) -> None:
    for layer in range(4):
        positive_P, negative_P = (last_states(tiny, group, layer) @ king.vectors[layer].double() for group in PAIRS)
        n_right = sum(float(p > n) for p in positive_P for n in negative_P)
        assert king.contrasts[layer].separation == pytest.approx(n_right / 9)
    same = direction(tiny, [[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [7, 8]])
    assert 0.5 < same.contrasts[3].separation < 1, "equal states count half"


def test_tokens_select_states(tiny: Any) -> None:
    """A slice that keeps one token is that token; prompts of one token have only a last one."""
    second = direction(tiny, [[5, 6, 7]], [[8, 9, 7]], tokens=slice(1, 2))
    short = direction(tiny, [[5, 6]], [[8, 9]])
    torch.testing.assert_close(second.vectors[3], short.vectors[3], rtol=1e-4, atol=1e-5)
    assert second.origin["tokens"] == "1:2"
    one = direction(tiny, [[5]], [[6]], tokens="all")
    torch.testing.assert_close(one.vectors[0], direction(tiny, [[5]], [[6]]).vectors[0])


def test_prompts_in_batches_are_prompts_alone(tiny: Any, king: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.interp.steer.states.MAX_BATCH_TOKENS", 1)
    done: list[int] = []
    alone = direction(tiny, *PAIRS, progress=done.append)
    assert done == [1] * 6
    for layer in range(4):
        torch.testing.assert_close(alone.vectors[layer], king.vectors[layer], rtol=1e-4, atol=1e-5)


def test_layers_without_a_difference_have_no_vector() -> None:
    """In a decoder, the first token sees nothing of what follows."""
    model = random_model(archcalc.load("tiny"))
    with pytest.raises(InputError, match="positive, negative: they give the same states"):
        direction(model, [[5, 6, 7]], [[5, 8, 9]], tokens=slice(0, 1))


def test_one_direction_in_all_layers(tiny: Any, king: Direction) -> None:
    """Arditi et al. 2024: the direction of one layer is removed from every state of the stream."""
    edits = steer(king, project_out=True, from_layer=2)
    recording = taps.record(tiny, torch.tensor([[1, 2, 3]]), sites="layers.*.resid_*", edits=edits)
    assert len(recording) == 4 * 3
    for x_BTD in recording.values():
        assert ((x_BTD[0].double() @ unit(king.vectors[2])).abs() <= 2e-7 * x_BTD[0].norm(dim=-1)).all()
    (only,) = steer(king, project_out=True, layers=[0], from_layer=2)
    assert only.layer == 0
    added = steer(king, 0.5, layers=[1], from_layer=2)[0].fn(torch.zeros(1, 1, 192))[0, 0]
    torch.testing.assert_close(added, 0.5 * king.contrasts[1].norm * king.vectors[2], rtol=1e-5, atol=1e-6)


def test_figures_of_a_text(tiny: Any, king: Direction) -> None:
    """KL and perplexity as torch computes them from the logits of two full passes."""
    prompt, edits = [295, 258], steer(king, 0.8, layers=[2], at=slice(1, None))
    found = steered_text(tiny, prompt, edits, max_tokens=5)
    ids_BT = torch.tensor([[*prompt, *found.ids]])
    with torch.no_grad():
        plain_TV = tiny(ids_BT)[0, :-1].double().log_softmax(-1)
        with taps.edit(tiny, *edits):
            steered_TV = tiny(ids_BT)[0, :-1].double().log_softmax(-1)
    kl_T = torch.nn.functional.kl_div(plain_TV, steered_TV, log_target=True, reduction="none").sum(-1)
    assert found.kl_nats == pytest.approx(float(kl_T[1:].mean()), rel=1e-4)
    assert found.kl_nats > 0.1
    assert found.prompt_kl_nats == pytest.approx(float(kl_T[0]), abs=1e-9) == 0
    loss = torch.nn.functional.nll_loss(plain_TV[1:], ids_BT[0, 2:])
    assert found.perplexity == pytest.approx(float(loss.exp()), rel=1e-4)
    assert found.ids == tuple(steered_TV[1:].argmax(-1).tolist())


def test_parts_of_logits_give_the_same(tiny: Any, king: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = steered_text(tiny, [295, 258], steer(king, 0.5), max_tokens=4)
    monkeypatch.setattr("archcalc.interp.steer.texts.MAX_LOGITS", 1)
    parts = steered_text(tiny, [295, 258], steer(king, 0.5), max_tokens=4)
    assert parts.ids == whole.ids
    assert parts.kl_nats == pytest.approx(whole.kl_nats, rel=1e-4)
    assert parts.perplexity == pytest.approx(whole.perplexity, rel=1e-4)


def test_a_text_ends_at_its_end_token(tiny: Any) -> None:
    plain = steered_text(tiny, [295, 258], max_tokens=6)
    assert len(plain.ids) == 6
    end = steered_text(tiny, [295, 258], max_tokens=6, eos_ids=[plain.ids[2]])
    assert end.ids == plain.ids[:3]
    full = steered_text(tiny, [1] * (tiny.spec.n_ctx - 2), max_tokens=6)
    assert len(full.ids) == 2, "no longer than the context"


def test_equal_seeds_draw_alike(tiny: Any, king: Direction) -> None:
    drawn = Sampling(temperature=1.0)
    texts = [steered_text(tiny, [295], max_tokens=8, sampling=drawn, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(tiny: Any, king: Direction, dtype: torch.dtype) -> None:
    """What rounding leaves is a rounding error of the dtype, at most."""
    x_BTD = torch.randn(1, 5, 192, generator=torch.Generator().manual_seed(0)).to(dtype)
    y_BTD = steer(king, project_out=True, layers=[1])[0].fn(x_BTD)
    assert y_BTD.dtype == dtype
    component_T = (y_BTD[0].double() @ unit(king.vectors[1])).abs()
    assert (component_T <= 2 * torch.finfo(dtype).eps * x_BTD[0].double().norm(dim=-1)).all()
    assert steer(king, 1.0, layers=[1])[0].fn(x_BTD).dtype == dtype


def test_a_file_gives_the_direction_back(tiny: Any, king: Direction, tmp_path: Path) -> None:
    path = str(tmp_path / "king.safetensors")
    save_direction(king, path)
    back = load_direction(path, tiny.spec)
    assert back.contrasts == king.contrasts
    assert back.origin == king.origin
    assert back.origin["positive"] == PAIRS[0]
    assert back.origin["model"] == "tiny"
    assert back.stack is None
    for layer in king.layers:
        torch.testing.assert_close(back.vectors[layer], king.vectors[layer], rtol=1e-6, atol=1e-7)
    assert set(load_file(path)) == {f"layers.{layer}.resid_post" for layer in range(4)}


def test_a_file_names_its_stack(tmp_path: Path) -> None:
    model, path = random_model(archcalc.load("tiny-seq2seq")), str(tmp_path / "d.safetensors")
    found = direction(model, POSITIVE, NEGATIVE, start_id=0)
    assert found.stack == "decoder"
    save_direction(found, path)
    back = load_direction(path, model.spec)
    assert (back.stack, back.layers) == ("decoder", found.layers)
    with pytest.raises(InputError, match=r"d\.safetensors: stack: found for a model with one stack"):
        load_direction(path, archcalc.load("tiny"))


def test_broken_files_are_one_line(tiny: Any, king: Direction, tmp_path: Path) -> None:
    path = str(tmp_path / "d.safetensors")

    def error(spec: Spec | None = None) -> str:
        with pytest.raises(InputError) as found:
            load_direction(path, spec)
        assert "\n" not in str(found.value)
        return str(found.value).removeprefix(f"{path}: ")

    assert error().startswith("cannot be read")
    Path(path).write_bytes(b"no")
    assert error().endswith("expected a direction as safetensors")
    tensors = {"layers.1.resid_post": torch.ones(192)}
    save_file(tensors, path)
    assert error().startswith("has no direction in its metadata (archcalc.direction: None)")
    about = '{"contrasts": {"layers.1.resid_post": {"norm": 2, "difference_norm": 1, "separation": 1}}, "origin": {}}'
    for bad in ("{}", '{"contrasts": {}, "origin": 3}', "[", about[:-1]):
        save_file(tensors, path, {"archcalc.direction": bad})
        assert error().startswith("has no direction in its metadata")
    save_file({"layers.1.resid_post": torch.zeros(192)}, path, {"archcalc.direction": about})
    assert error().startswith("layers.1.resid_post: found [192] of torch.float32")
    save_file({"layers.1.resid_post": torch.full((192,), torch.nan)}, path, {"archcalc.direction": about})
    assert error().startswith("layers.1.resid_post: found [192]")
    save_file({"layers.1.resid_post": torch.ones(2, 192)}, path, {"archcalc.direction": about})
    assert error().startswith("layers.1.resid_post: found [2, 192]")
    save_file({"weight": torch.ones(192)}, path, {"archcalc.direction": about})
    assert error().startswith("'weight': is not a site")
    save_file({"layers.2.resid_post": torch.ones(192)}, path, {"archcalc.direction": about})
    assert error().startswith("its vectors and norms do not belong together")
    save_file(tensors, path, {"archcalc.direction": about})
    assert load_direction(path, tiny.spec).contrasts == {1: Contrast(2, 1, 1)}
    assert error(archcalc.load("happy")) == "direction: found vectors of width 192; expected 3, the model's d_model"
    assert error(archcalc.load("tiny-seq2seq")).startswith("direction: found one of a model with one stack")


def steer_error(found: Direction, *args: Any, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        steer(found, *args, **options)
    return str(error.value)


def test_errors_of_steer(tiny: Any, king: Direction) -> None:
    assert steer_error(king) == "strength, project_out: neither; expected one of them"
    assert steer_error(king, 1.0, project_out=True) == "strength, project_out: both; expected one of them"
    assert steer_error(king, float("inf")).startswith("strength: found inf")
    assert steer_error(king, 1.0, layers=[9]) == "layers: found 9; expected 0-3"
    assert steer_error(king, 1.0, layers=[True]).startswith("layers: found True")
    assert steer_error(king, 1.0, layers=[]).startswith("layers: found none")
    assert steer_error(king, 1.0, from_layer=7) == "from_layer: found 7; expected 0-3"
    wide = Direction({1: torch.ones(5)}, {1: Contrast(1, 1, 1)})
    with pytest.raises(InputError, match="direction: found vectors of width 5; expected 192"):
        steered_text(tiny, [1], steer(wide, 1.0))


DIRECTION_ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"positive": []}, "positive: found none"),
    ({"negative": [[1], [9999]]}, "negative 2: found id 9999"),
    ({"positive": [[]]}, "positive: has 0 tokens"),
    ({"method": "median"}, "method: found 'median'"),
    ({"method": "pca", "positive": [[1], [2]]}, "positive, negative: found 2 and 1 prompts"),
    ({"tokens": "first"}, "tokens: found 'first'"),
    ({"tokens": slice(0, None, 2)}, "tokens: found slice"),
    ({"tokens": slice(4, None)}, "positive: has 2 tokens"),
    ({"layers": [4]}, "layers: found 4; expected 0-3"),
    ({"stack": "decoder"}, "stack: found for a model with one stack"),
    ({"negative": [[1, 2]]}, "positive, negative: they give the same states"),
]


@pytest.mark.parametrize(("options", "error"), DIRECTION_ERRORS)
def test_errors_of_a_direction(tiny: Any, options: dict[str, Any], error: str) -> None:
    prompts = {"positive": [[1, 2]], "negative": [[3, 4]]}
    with pytest.raises(InputError) as found:
        direction(tiny, **{**prompts, **options})
    assert str(found.value).startswith(error)


def test_errors_of_encoder_decoders() -> None:
    model = random_model(archcalc.load("tiny-seq2seq"))
    with pytest.raises(InputError, match="decoder_start_token_id: not known"):
        direction(model, POSITIVE, NEGATIVE)
    with pytest.raises(InputError, match="stack: found 'middle'"):
        direction(model, POSITIVE, NEGATIVE, stack="middle")  # type: ignore[arg-type]


def test_the_encoder_of_an_encoder_decoder_can_be_steered() -> None:
    model = random_model(archcalc.load("tiny-seq2seq"))
    found = direction(model, POSITIVE, NEGATIVE, stack="encoder")
    plain = steered_text(model, [1, 2, 3], max_tokens=3, start_id=0)
    steered = steered_text(model, [1, 2, 3], steer(found, 2.0), max_tokens=3, start_id=0)
    assert steered.kl_nats > 0 == plain.kl_nats


def test_layers_as_ranges() -> None:
    assert ranges([3, 4, 5, 9, 11]) == "3-5,9,11"
    assert ranges([2]) == "2"
    assert ranges([]) == ""


CONFIGS = {
    "llama": transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3, eos_token_id=None, bos_token_id=None,
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=3, n_head=4, n_positions=32, initializer_range=0.3, eos_token_id=None,
        bos_token_id=None,
    ),
    "qwen3": transformers.Qwen3Config(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.3, eos_token_id=None, bos_token_id=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_like_hooks_of_transformers(name: str, tmp_path: Path) -> None:
    """The direction from hidden states, and greedy texts with forward hooks on a layer."""
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    theirs.save_pretrained(tmp_path)
    ours = archcalc.load_model(str(tmp_path))
    positive, negative, prompt = [[5, 6, 7], [5, 8]], [[5, 9, 7], [4, 2]], [5, 6, 3]
    found = direction(ours, positive, negative)

    @torch.no_grad()
    def states(group: list[list[int]], layer: int) -> torch.Tensor:
        passes = [theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states for ids in group]
        return torch.stack([hidden[layer + 1][0, -1].double() for hidden in passes])

    for layer in (0, 1):
        positive_PD, negative_PD = states(positive, layer), states(negative, layer)
        expected_D = unit(positive_PD.mean(0) - negative_PD.mean(0))
        torch.testing.assert_close(found.vectors[layer].double(), expected_D, rtol=1e-4, atol=1e-5)
        norm = float(torch.cat([positive_PD, negative_PD]).norm(dim=-1).mean())
        assert found.contrasts[layer].norm == pytest.approx(norm, rel=1e-5)

    vector_D = unit(found.vectors[1])

    def add(_: Any, __: Any, output: Any) -> Any:
        x_BTD = output[0] if isinstance(output, tuple) else output
        y_BTD = (x_BTD.double() + 1.5 * found.contrasts[1].norm * vector_D).float()
        return (y_BTD, *output[1:]) if isinstance(output, tuple) else y_BTD

    layers = theirs.transformer.h if name == "gpt2" else theirs.model.layers
    with layers[1].register_forward_hook(add), torch.no_grad():
        ids_BT = theirs.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)
        logits_TV = theirs(ids_BT).logits[0]
    edits = steer(found, 1.5, layers=[1])
    text = steered_text(ours, prompt, edits, max_tokens=8)
    assert list(text.ids) == ids_BT[0, 3:].tolist()
    with taps.edit(ours, *edits), torch.no_grad():
        ours_TV = ours(ids_BT)[0]
    assert float((ours_TV - logits_TV).abs().max()) <= 1e-5 * float(logits_TV.abs().max())


def test_the_last_token_is_that_of_the_text_and_no_global_one(tmp_path: Path) -> None:
    random_models.random_model("pegasus_x").save_pretrained(tmp_path)
    model = archcalc.load_model(tmp_path)
    groups = {"positive": [[5, 6, 7]], "negative": [[8, 9]]}
    found, _ = prompt_states(model, groups, [0], "last", stack="encoder")
    wanted = taps.record(model, torch.tensor([[5, 6, 7]]), torch.tensor([[2]]))["encoder.layers.0.resid_post"][0, 2]
    torch.testing.assert_close(found[0][0], wanted.double())
