"""Activation patching: its laws on models of every family, and against transformers' hooks."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

import archcalc
from archcalc.errors import InputError
from archcalc.inside import Noise, Patching, patch
from archcalc.interp.patch.cells import batches, cells
from archcalc.interp.patch.result import correlation
from archcalc.interp.patch.run import EffectMap
from archcalc.interp.patch.targets import COMPONENTS, targets
from archcalc.nn import taps
from archcalc.nn.build import build
from archcalc.spec import Spec
from archcalc.spec.ffn import MoE
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sites import sites
from tests.examples import examples
from tests.strategies import specs

CLEAN, CORRUPTED, TARGET = [1, 2, 0, 2], [1, 0, 2, 2], [0, 1]


def random_model(spec: Spec, seed: int = 0) -> Any:
    """Return a model with weights so large that the predictions of two prompts differ."""
    torch.manual_seed(seed)
    model = build(spec, "cpu").eval().requires_grad_(False)
    for weight in model.parameters():
        weight.copy_(torch.randn_like(weight) * 0.7)
    return model


def run(model: Any, corrupted: Any = CORRUPTED, **options: Any) -> Patching:
    pair = {"target": TARGET} if model.spec.family == "encoder-decoder" else {}
    return patch(model, CLEAN, corrupted, **pair, **options)


def tensors(found: Patching, name: str) -> list[torch.Tensor]:
    return [getattr(each, name) for each in found.maps]


def reads_the_prompts(spec: Spec) -> bool:
    models = [stack.model for stack in spec.stacks]
    return spec.predicts_tokens and all(model.vocab_size >= 3 and model.n_ctx >= len(CLEAN) for model in models)


READERS = specs(per_token=True).filter(reads_the_prompts)


@examples(20)
@given(READERS)
def test_a_vector_in_its_own_place_changes_nothing(spec: Spec) -> None:
    """Bit for bit: exact values, and estimates of 0."""
    found = run(random_model(spec), CLEAN)
    for values_RP in tensors(found, "values_RP"):
        assert torch.equal(values_RP, torch.full_like(values_RP, float(values_RP[0, 0])))
    assert all(effects_RP.isnan().all() for effects_RP in tensors(found, "effects_RP"))
    assert found.clean == found.corrupted


@examples(15)
@given(READERS)
def test_effects_are_0_where_nothing_changes_and_1_where_everything_is_restored(spec: Spec) -> None:
    found = run(random_model(spec), components=["residual"])
    assume(abs(found.clean - found.corrupted) > 1e-3 * abs(found.clean))
    first, last = found.map("residual", 0), found.map("residual").effects_RP
    # A mixture computes tokens of all rows together, so that rounding depends on the other rows.
    near = 1e-2 if any(isinstance(part, MoE | RoutedAttention) for part in _parts(spec)) else 0
    assert first.targets[0].name.endswith("layers.0.resid_pre")
    reads_more = any(getattr(part, "reads_embedding", False) for part in _parts(spec))
    if not reads_more and not any(own.stack.per_layer for own in spec.stacks):  # they read the corrupted tokens too
        assert float(first.effects_RP[0, -1]) == pytest.approx(1, abs=near)
    if spec.family == "decoder":
        assert float(last[-1, -1]) == pytest.approx(1, abs=near)
        assert last[:, 0].tolist() == pytest.approx([0.0] * len(last), abs=near), "the first tokens are equal"
        assert last[-1, :-2].tolist() == pytest.approx([0.0] * 3, abs=near), "only the last position is read"


def _parts(spec: Spec) -> list[object]:
    from archcalc.spec.branches import parts
    from archcalc.spec.groups import layers_of

    return [part for stack in spec.stacks for layer in layers_of(stack.stack) for part in parts(layer).values()]


@examples(20)
@given(READERS, st.sampled_from(COMPONENTS), st.data())
def test_an_effect_is_that_of_an_edit_of_a_full_pass(spec: Spec, component: str, draw: st.DataObject) -> None:
    """Every value, by recording and editing with taps; passes that begin later give the same."""
    model = random_model(spec)
    assume(targets(spec, [component]))
    found = run(model, components=[component])
    each = draw.draw(st.sampled_from(found.maps))
    row = draw.draw(st.integers(0, len(each.targets) - 1))
    column = draw.draw(st.integers(0, len(found.texts[each.stack]) - 1))
    logits_V = _patched_logits(model, found, each, row, column)
    expected = float(found.metric(logits_V[None])[0])
    assert float(each.values_RP[row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def _patched_logits(model: Any, found: Patching, each: EffectMap, row: int, column: int) -> torch.Tensor:
    clean, corrupted = ([torch.tensor([ids]) for ids in texts] for texts in (found.texts, found.corrupted_texts))
    target, recorded = each.targets[row], taps.record(model, *clean)
    edits = [
        taps.Edit(site.name, None, _replacement(recorded[site.name], target.axis, site.axes, target.index), at=column)
        for site in target.sites
    ]
    with taps.edit(model, *edits), torch.no_grad():
        logits_TV: torch.Tensor = model(*corrupted)[0]
    return logits_TV[found.position]


def _replacement(clean: torch.Tensor, axis: str, axes: str, index: int | None) -> Any:
    def replace(x: torch.Tensor) -> torch.Tensor:
        if index is None:
            return clean.clone()
        place = axes.index(axis)
        x.select(place, index).copy_(clean.select(place, index))
        return x

    return replace


@examples(20)
@given(READERS)
def test_estimates_are_the_derivative_of_the_metric(spec: Spec) -> None:
    """A small step from the corrupted towards the clean value, in float64, times its inverse."""
    model = random_model(spec).double()
    found, step = run(model, components=["residual"], method="attribution"), 1e-6
    assert tensors(found, "values_RP") == tensors(found, "effects_RP") == [None] * len(found.maps)
    assume(found.clean != found.corrupted)
    each = found.map("residual")
    clean, corrupted = ([torch.tensor([ids]) for ids in texts] for texts in (found.texts, found.corrupted_texts))
    name = each.targets[-1].name
    clean_BTD = taps.record(model, *clean, sites=name)[name]

    def metric(share: float) -> float:
        edit = taps.Edit(name, None, lambda x_BTD: x_BTD + share * (clean_BTD - x_BTD), at=found.position)
        with taps.edit(model, edit), torch.no_grad():
            logits_TV: torch.Tensor = model(*corrupted)[0]
        return float(found.metric(logits_TV[None, found.position])[0])

    slope = (metric(step) - metric(-step)) / (2 * step)
    estimate = float(each.estimates_RP[-1, found.position]) * (found.clean - found.corrupted)
    assert estimate == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return archcalc.load_model("tiny")


PROMPTS = [295, 258, 407, 20, 31], [295, 258, 335, 20, 31]


def test_the_number_of_rows_of_a_batch_does_not_matter(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = patch(tiny, *PROMPTS, components=["attention", "head"])
    monkeypatch.setattr("archcalc.interp.patch.run.N_BATCH_TOKENS", 1)
    for a, b in zip(wide.maps, patch(tiny, *PROMPTS, components=["attention", "head"]).maps, strict=True):
        torch.testing.assert_close(a.effects_RP, b.effects_RP, rtol=0, atol=1e-4)


def test_all_heads_together_are_the_attention_output(tiny: Any) -> None:
    """Attribution is linear, so the estimates of the heads of a layer sum to that of its output."""
    found = patch(tiny, *PROMPTS, components=["attention", "head"], method="attribution")
    by_layer_RP = found.map("head").estimates_RP.unflatten(0, (4, 6)).sum(1)
    torch.testing.assert_close(by_layer_RP, found.map("attention").estimates_RP, rtol=1e-4, atol=1e-5)


def test_neurons(tiny: Any) -> None:
    """A neuron changes one hidden unit: all of them together are the FFN output."""
    width = next(site for site in sites(tiny.spec) if site.name == "layers.1.ffn.hidden").sizes["F"]
    units = [(1, index) for index in range(width)]
    found = patch(tiny, *PROMPTS, components=["ffn"], neurons=units, method="attribution")
    torch.testing.assert_close(
        found.map("neuron").estimates_RP.sum(0), found.map("ffn").estimates_RP[1], rtol=1e-4, atol=1e-5
    )
    exact = patch(tiny, *PROMPTS, components=[], neurons=[(1, 3)])
    assert [each.index for each in exact.maps[0].targets] == [3]
    assert exact.map("neuron").effects_RP.shape == (1, 6)


def test_a_window_restores_neighboring_layers(tiny: Any) -> None:
    whole = patch(tiny, *PROMPTS, components=["attention", "ffn"], window=99)
    assert {site.name for site in whole.map("ffn").targets[0].sites} == {f"layers.{i}.ffn.out" for i in range(4)}
    (two,) = [each for each in targets(tiny.spec, ["ffn"], window=2) if each.layer == 2]
    assert [site.layer for site in two.sites] == [1, 2]
    (three,) = [each for each in targets(tiny.spec, ["ffn"], window=3) if each.layer == 2]
    assert [site.layer for site in three.sites] == [1, 2, 3]
    assert three.first_layer == 1


def test_noise_is_seeded_and_stays_at_its_positions(tiny: Any) -> None:
    noise = Noise((2,), n_samples=2, seed=3)
    found, again = (patch(tiny, PROMPTS[0], noise, components=["residual"]) for _ in range(2))
    assert found.corrupted == again.corrupted
    effects_RP = found.map("residual").effects_RP
    assert torch.equal(effects_RP, again.map("residual").effects_RP)
    assert (effects_RP[:, :2] == 0).all()
    assert effects_RP[0, 2] == effects_RP[0, -1] == 1, "restoring the noisy embedding restores everything"
    other = patch(tiny, PROMPTS[0], Noise((2,), n_samples=2, seed=4), components=["residual"])
    assert other.corrupted != found.corrupted
    assert found.corrupted_probabilities_V.sum() == pytest.approx(1)


def test_noise_has_its_deviation(tiny: Any) -> None:
    from archcalc.interp.patch.corruption import noise_edits

    clean_TD = torch.randn(3, 20_000) * 0.5
    (edit,) = noise_edits(Noise((1,), scale=2, n_samples=1), "", clean_TD)
    noise_TD = edit.fn(torch.zeros(3, 20_000))
    assert float(noise_TD[1].std()) == pytest.approx(1.0, rel=0.03)
    assert not noise_TD[[0, 2]].any()


def test_the_difference_of_logits(tiny: Any) -> None:
    found = patch(tiny, *PROMPTS, components=["residual"], answer=5, wrong=9)
    with torch.no_grad():
        logits_V = tiny(torch.tensor([PROMPTS[0]]))[0, -1].double()
    assert found.clean == pytest.approx(float(logits_V[5] - logits_V[9]), abs=1e-4)
    assert patch(tiny, *PROMPTS, components=["residual"]).metric.answer == int(logits_V.argmax())


def test_cells_run_once_each(tiny: Any) -> None:
    every = cells(targets(tiny.spec, COMPONENTS), [3])
    in_batches = [cell for batch in batches(every, 7) for cell in batch]
    assert sorted((cell.row, cell.column) for cell in in_batches) == list(product(range(5 + 4 + 4 + 24), range(4)))
    done: list[int] = []
    patch(tiny, *PROMPTS, components=["ffn"], progress=done.append)
    assert sum(done) == 4 * 6


def test_the_correlation_is_pearsons() -> None:
    x, y = torch.randn(2, 30, dtype=torch.float64)
    assert correlation(x, y) == pytest.approx(float(torch.corrcoef(torch.stack([x, y]))[0, 1]))
    assert correlation(x, 3 - 2 * x) == pytest.approx(-1)
    assert correlation(x, torch.ones_like(x)) is None


def test_like_hooks_of_transformers(tmp_path: Path) -> None:
    """Restore the output of a layer, and one head before the output projection, with forward hooks."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = archcalc.load_model(str(tmp_path))
    prompts = [5, 6, 7, 8], [5, 9, 7, 3]
    found = patch(ours, *prompts, answer=4, components=["residual", "head"])
    clean, corrupted = (torch.tensor([ids]) for ids in prompts)
    layers = theirs.model.layers

    @torch.no_grad()
    def restored(module: torch.nn.Module, place: tuple[Any, ...], *, of_input: bool) -> float:
        kept: list[torch.Tensor] = []

        def swap(x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            x[place] = kept[0][place]
            return x

        with module.register_forward_hook(lambda _, inputs, output: kept.append(inputs[0] if of_input else output)):
            theirs(clean)
        if of_input:
            hook = module.register_forward_pre_hook(lambda _, inputs: (swap(inputs[0]),))
        else:
            hook = module.register_forward_hook(lambda _, inputs, output: swap(output))
        with hook:
            return float(theirs(corrupted).logits[0, -1].double().softmax(-1)[4])

    residual, head = found.map("residual"), found.map("head")
    for layer, position in product(range(3), range(4)):
        expected = restored(layers[layer], (0, position), of_input=False)
        assert float(residual.values_RP[layer + 1, position]) == pytest.approx(expected, rel=1e-4)
        n = (layer + position) % 4
        place = (0, position, slice(4 * n, 4 * n + 4))
        expected = restored(layers[layer].self_attn.o_proj, place, of_input=True)
        assert float(head.values_RP[4 * layer + n, position]) == pytest.approx(expected, rel=1e-4)


ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"corrupted": [1, 2]}, "corrupted: has 2 tokens"),
    ({"corrupted": [1, 2, 3, 4, 9999]}, "corrupted: found id 9999"),
    ({"corrupted": Noise((9,))}, "noise: found 9"),
    ({"corrupted": Noise(())}, "noise: has no positions"),
    ({"corrupted": Noise((1,), scale=0)}, "noise_scale: found 0"),
    ({"corrupted": Noise((1,), n_samples=0)}, "noise_samples: found 0"),
    ({"answer": 2048}, "answer: found id 2048"),
    ({"answer": 3, "wrong": 3}, "wrong: found the answer"),
    ({"wrong": -1}, "wrong: found id -1"),
    ({"position": 5}, "position: found 5"),
    ({"components": ["resid"]}, "components: found 'resid'"),
    ({"neurons": [(9, 0)]}, "neurons: layer 9 has no hidden units"),
    ({"neurons": [(0, 10**6)]}, "neurons: found neuron 1000000"),
    ({"components": []}, "components: there are none"),
    ({"window": 0}, "window: found 0"),
    ({"target": [1]}, "target: found for a model with one stack"),
]


@pytest.mark.parametrize(("options", "error"), ERRORS)
def test_errors(tiny: Any, options: dict[str, Any], error: str) -> None:
    corrupted = options.pop("corrupted", PROMPTS[1])
    with pytest.raises(InputError) as found:
        patch(tiny, PROMPTS[0], corrupted, **options)
    assert str(found.value).startswith(error)


def test_an_encoder_is_read_at_its_mask() -> None:
    model = random_model(archcalc.load("tiny-encoder"))
    found = patch(model, [1, 2, 3], [1, 5, 3], components=["residual"], position=1)
    assert found.map("residual").effects_RP[-1].tolist() == [0, 1, 0, 1], "the last layer's state at the mask"


def test_a_model_without_a_head_is_refused() -> None:
    model = random_model(structs.replace(archcalc.load("tiny-encoder"), head=None))
    with pytest.raises(InputError, match="predicts no tokens"):
        patch(model, [1], [2])
