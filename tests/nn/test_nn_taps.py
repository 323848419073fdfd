"""Points of a forward pass: reading them changes nothing, and writing them means the same in every pass."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archcalc.errors import InputError
from archcalc.nn import build, taps
from archcalc.nn.execution import set_execution
from archcalc.nn.routed_attention import RoutedAttention
from archcalc.nn.sparse_attention import SparseAttention
from archcalc.nn.taps.points import OBSERVER_FACTORY
from archcalc.run.pack import pack
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches, arm_conv, arm_norm_out, arm_sum, borrowed_names, names, names_after
from archcalc.spec.execution import Execution, Kernel
from archcalc.spec.groups import layers_of, lender_indices, shared_arms, weight_indices
from archcalc.spec.layer import Arm, Branch, Stack
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.nn.test_nn_cache import (
    GQA,
    RMS,
    cached,
    drawn,
    filled,
    inputs,
    lengths,
    near,
    new_cache,
    one_layer,
    splits,
)
from tests.nn.test_nn_padding import alone_is_the_same, padded, rows_of
from tests.strategies import DECODERS, specs

KERNELS: tuple[Kernel, ...] = ("eager", "math", "flash")
ROPE = GQA | {"position": {"kind": "rope"}}
AT = st.none() | st.integers(0, 13) | st.lists(st.integers(0, 13)) | st.builds(slice, st.integers(0, 9), st.none())


def by(kernel: Kernel) -> Execution:
    return Execution(attention=kernel, device="cpu", experts="split")


def ids_of(spec: Spec, batch: int = 2) -> list[Tensor]:
    """What the model reads: the source's ids, if there are two stacks, and the text's."""
    if spec.family == "encoder":
        return [torch.randint(spec.vocab_size, (batch, lengths(spec)[0]))]
    text, sources = inputs(spec, batch)
    return [*sources, text]


def half(x: Tensor) -> Tensor:
    """Of a hidden key's weight too it makes what it was; experts are chosen in another order."""
    return x * 0.5 if x.is_floating_point() else x.flip(-1)


def with_edit(spec: Spec, data: st.DataObject) -> taps.Edit:
    site = data.draw(st.sampled_from(taps.sites(spec)))
    keys = data.draw(AT) if site.axes[-1] == "S" else None
    return taps.Edit(site.name, None, half, at=data.draw(AT), keys=keys)


def made(spec: Spec, kernel: Kernel = "eager") -> Any:
    """The same weights at every try of the same case."""
    torch.manual_seed(1)
    return filled(build(spec, "cpu", execution=by(kernel)))


@pytest.fixture
def model() -> Any:
    return made(one_layer(ROPE))


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(23, (2, 9))


# Reading.


@examples(40)
@given(spec=specs(), kernel=st.sampled_from(KERNELS), grad=st.booleans())
def test_reading_leaves_logits_bit_equal_and_comes_by_every_site(spec: Spec, kernel: Kernel, grad: bool) -> None:
    model, asked = made(spec, kernel), ids_of(spec)
    seq, source = asked[-1].shape[1], asked[0].shape[1] if len(asked) == 2 else None
    with torch.no_grad():
        expected = model(*asked)
    found = taps.record(model, *asked, grad=grad)
    assert torch.equal(found.logits, expected)
    assert found.logits.requires_grad == grad
    work = workload(spec, batch=2, seq=seq, source_seq=source)
    assert {name: x.shape for name, x in found.items()} == {site.name: site.shape(work) for site in taps.sites(spec)}
    assert list(found) == [site.name for site in taps.sites(spec)], "in the order of the pass"


@examples(40)
@given(spec=DECODERS, data=st.data())
def test_shapes_of_a_pass_with_a_cache(spec: Spec, data: st.DataObject) -> None:
    model = made(spec)
    text, source = inputs(spec)
    assume(text.shape[1] > 1)
    past = data.draw(st.integers(1, text.shape[1] - 1))
    cache = new_cache(model, text, source)
    before = taps.record(model, *source, text[:, :past], cache=cache)
    found = taps.record(model, *[None for _ in source], text[:, past:], cache=cache)
    n_source = source[0].shape[1] if source else None
    assert set(before) == {site.name for site in taps.sites(spec)}
    work = workload(spec, batch=2, seq=text.shape[1] - past, past=past, source_seq=n_source)
    listed = {site.name: site.shape(work) for site in taps.sites(spec)}
    assert {name: x.shape for name, x in found.items()} == {name: x for name, x in listed.items() if x is not None}


def _output(arm: Arm, here: Mapping[str, Tensor]) -> Tensor:
    """What an arm gives: with its input, or after its norm, or times its scale."""
    if name := arm_sum(arm) or arm_norm_out(arm):
        return here[name]
    y = here[arm_conv(arm) or f"{arm.name}.out"]
    return y if arm.scale == 1 else y * arm.scale


def _given(branch: Branch, here: Mapping[str, Tensor]) -> Tensor:
    """What a branch gives: the norm of its arms' sum, or that sum, times its scale."""
    own = names(branch)
    outputs = [here[own.norm_out]] if own.norm_out else [_output(arm, here) for arm in branch.arms]
    return sum(y if branch.scale == 1 else y * branch.scale for y in outputs)


@examples(40)
@given(spec=specs())
def test_the_residual_stream_is_the_sum_of_what_joins_it(spec: Spec) -> None:
    model = made(spec)
    found = taps.record(model, *ids_of(spec))
    for prefix, stack in ((own.prefix, own.stack) for own in spec.stacks):
        before = found[f"{prefix}embed"]
        for turn, layer in enumerate(layers_of(stack)):
            here = {name.removeprefix(f"{prefix}layers.{turn}."): x for name, x in found.items()}
            assert torch.equal(here["resid_pre"], before)
            x = before = here["resid_pre"]
            for branch, left in zip(active_branches(layer), names_after(layer), strict=True):
                own = names(branch)
                if left is None:
                    given = _given(branch, here)
                    assert torch.equal(here[own.next], x + given if branch.joins == "next_sum" else given)
                    continue
                skip = here[own.in_gate or own.norm_in] if branch.skip_reads == "normed" else x
                owner = borrowed_names(layer).get(own.skip, weight_indices(stack)[turn])
                owner = f"{prefix}layers.{owner}."
                if own.skip:
                    shift = model.state_dict().get(f"{owner}{own.skip}.bias", 0.0)
                    skip = (skip + shift) * model.state_dict()[f"{owner}{own.skip}.weight"]
                outputs = [_output(arm, here) for arm in branch.arms]
                joins = [here[own.norm_out]] if own.norm_out else outputs
                x = skip if branch.skip == 1 else skip * branch.skip
                for y in joins:
                    x = x + (y if branch.scale == 1 else y * branch.scale)
                if own.sum:
                    assert torch.equal(here[own.sum], x)
                    x = here[own.norm_after]
                if layer.out_scalar and left == "resid_post":
                    x = x * model.state_dict()[f"{owner}out_scalar"]
                assert torch.equal(here[left], x)
            assert torch.equal(here["resid_post"], x)
            before = here["resid_post"]


@examples(40)
@given(spec=specs(), kernel=st.sampled_from(KERNELS))
def test_patterns_are_the_softmax_of_scores_and_weigh_the_values(spec: Spec, kernel: Kernel) -> None:
    model = drawn(spec, execution=by(kernel))
    found = taps.record(model, *ids_of(spec))
    for name in (name for name in found if name.endswith(".scores")):
        scores, pattern = found[name], found[name.replace("scores", "pattern")]
        assert (pattern[scores == -torch.inf] == 0).all()
        part = model.get_submodule(_owner(spec, name))
        if getattr(part, "sinks", None) is not None:
            sinks = part.sinks.view(-1, 1, 1).expand(*scores.shape[:-1], 1)
            scores = torch.cat((scores, sinks), -1)
        if getattr(part, "sink", None) is not None:  # computed by each token
            continue
        expected = (scores - scores.logsumexp(-1, keepdim=True)).exp()
        assert (pattern - expected[..., : pattern.shape[-1]]).abs().max() <= 1e-6
        v, values = found[_values_of(spec, name)], found[name.replace("scores", "values")]
        if getattr(part, "differences", None) is not None:  # two heads half of all apart are one
            v = torch.cat(v.chunk(2, 1), -1).repeat(1, 2, 1, 1)
        if isinstance(part, RoutedAttention):
            v = v.repeat(1, part.part.n_active, 1, 1)
        v = v.repeat_interleave(values.shape[1] // v.shape[1], 1)
        if isinstance(part, SparseAttention):  # whose first tokens, and summaries, have values that are no sites
            first = part.part.n_global
            values, pattern = values[:, :, first:], pattern[:, :, first:]
            if part.part.summaries is not None:
                continue
        assert ((values - pattern @ v).abs() <= 1e-5 * v.abs().max()).all()


def _owner(spec: Spec, name: str) -> str:
    """The module of a site of an attention: layers that share weights share it."""

    before, _, after = name.partition("layers.")
    turn, slot, _ = after.split(".")
    stack = _stack(spec, before)
    owner = borrowed_names(layers_of(stack)[int(turn)]).get(slot, weight_indices(stack)[int(turn)])
    return f"{before}layers.{owner}.{slot}"


def _stack(spec: Spec, prefix: str) -> Stack:
    (stack,) = (own.stack for own in spec.stacks if own.prefix == prefix)
    return stack


def _values_of(spec: Spec, name: str) -> str:
    """The site of the values that an attention reads: its own, or those of the layer whose values it shares."""
    before, _, after = name.partition("layers.")
    turn, slot, _ = after.split(".")
    stack = _stack(spec, before)
    lender = lender_indices(stack)[int(turn)]
    reads = slot in shared_arms(layers_of(stack)[int(turn)])
    return f"{before}layers.{lender if reads else turn}.{slot}.v"


@pytest.mark.parametrize("kernel", KERNELS)
def test_columns_say_which_keys_they_are_of(kernel: Kernel) -> None:
    """A cache of a window holds the last keys alone, and rows are padded."""
    model = made(one_layer(ROPE | {"window": 4}), kernel)
    rows = [torch.randint(23, (n,)) for n in (11, 7)]
    ids, padding = padded(rows, left=True, vocab_size=23)
    cache = model.new_cache(2, 11)
    model(ids[:, :9], cache=cache, padding_BT=padding[:, :9])
    found, name = taps.record(model, ids[:, 9:], cache=cache), "layers.1.attn.pattern"
    assert found.positions(name).tolist() == [[9, 10], [5, 6]]
    assert found.key_positions(name).tolist() == [[6, 7, 8, 9, 10], [2, 3, 4, 5, 6]]
    assert found.positions("layers.1.attn.k").tolist() == [[9, 10], [5, 6]]
    for b, row in enumerate(rows):
        whole = taps.record(model, row[None], sites=name)
        columns = whole[name][0][:, found.positions(name)[b]][:, :, found.key_positions(name)[b]]
        torch.testing.assert_close(found[name][b], columns, rtol=1e-4, atol=1e-6)
    begun = taps.record(model, ids, padding_BT=padding, sites="*.pattern")
    assert begun.key_positions(name)[1].tolist() == [-1] * 4 + list(range(7))


def test_gradients_at_the_sites(model: Any, ids: Tensor) -> None:
    found = taps.record(model, ids, grad=True)
    (slope,) = torch.autograd.grad(found.logits[0, 3, 5], found["layers.1.resid_mid"])
    assert slope[0, 3].abs().sum() > 0
    assert slope[0, 4:].abs().sum() == slope[1].abs().sum() == 0
    assert not taps.record(model, ids)["embed"].requires_grad


# Writing.


@examples(70)
@given(spec=DECODERS, data=st.data())
def test_an_edit_means_the_same_with_a_cache(spec: Spec, data: st.DataObject) -> None:
    model = drawn(spec)
    text, source = inputs(spec)
    edit, chunks = with_edit(spec, data), data.draw(splits(text.shape[1]))
    with taps.edit(model, edit), torch.no_grad():
        expected = model(*source, text)
        found = cached(model, text, source, new_cache(model, text, source), chunks)
    assert near(found, expected)


@examples(40)
@given(spec=specs(family="decoder", per_token=True), data=st.data(), left=st.booleans())
def test_positions_are_a_rows_own(spec: Spec, data: st.DataObject, left: bool) -> None:
    model = drawn(spec)
    rows = rows_of(data, spec.vocab_size, lengths(spec)[0])
    ids, padding = padded(rows, left=left, vocab_size=spec.vocab_size)
    with taps.edit(model, with_edit(spec, data)), torch.no_grad():
        assert alone_is_the_same(model, rows, model(ids, padding_BT=padding), padding)


@examples(40)
@given(spec=specs(family="decoder", per_token=True), data=st.data())
def test_positions_are_a_rows_own_with_a_cache(spec: Spec, data: st.DataObject) -> None:
    """A prompt padded on the left, then token by token."""
    model = drawn(spec)
    rows = rows_of(data, spec.vocab_size, lengths(spec)[0])
    ids, padding = padded(rows, left=True, vocab_size=spec.vocab_size)
    told = int(padding.sum(1).max())
    cache = model.new_cache(*ids.shape)
    with taps.edit(model, with_edit(spec, data)), torch.no_grad():
        chunks = [model(ids[:, :told], cache=cache, padding_BT=padding[:, :told])] if told else []
        chunks += [model(ids[:, t : t + 1], cache=cache) for t in range(told, ids.shape[1])]
        assert alone_is_the_same(model, rows, torch.cat(chunks, 1), padding)


@examples(30)
@given(spec=specs(family="encoder-decoder", per_token=True), data=st.data(), left=st.booleans(), caches=st.booleans())
def test_positions_of_a_padded_source_are_its_own(spec: Spec, data: st.DataObject, left: bool, caches: bool) -> None:
    model = drawn(spec)
    sources = rows_of(data, spec.vocab_size, lengths(spec)[1])
    targets = inputs(spec, len(sources))[0]
    source, padding = padded(sources, left=left, vocab_size=spec.vocab_size)
    with taps.edit(model, with_edit(spec, data)), torch.no_grad():
        if caches:
            cache = model.new_cache(*targets.shape, source=source.shape[1])
            model.encode(source, cache=cache, source_padding_BS=padding)
            found = torch.cat([model(None, part, cache=cache) for part in targets.split(2, 1)], 1)
        else:
            found = model(source, targets, source_padding_BS=padding)
        for row, target, of_batch in zip(sources, targets, found, strict=True):
            assert near(of_batch, model(row[None], target[None])[0])


@examples(40)
@given(spec=specs(), data=st.data(), kernel=st.sampled_from(KERNELS))
def test_a_value_put_into_its_own_place_changes_nothing(spec: Spec, data: st.DataObject, kernel: Kernel) -> None:
    """Bit for bit; of scores and patterns, what the eager kernel gives."""
    model, asked = made(spec, kernel), ids_of(spec)
    site, at = data.draw(st.sampled_from(taps.sites(spec))), data.draw(AT)
    if site.is_recomputed:
        set_execution(model, by("eager"))
    found = taps.record(model, *asked)
    edit = taps.Edit(site.name, None, lambda x: found[site.name], at=at)
    assert torch.equal(taps.record(model, *asked, edits=[edit]).logits, found.logits)


@pytest.mark.parametrize("kernel", ["math", "flash"])
@pytest.mark.parametrize("site", ["attn.scores", "attn.pattern"])
def test_editing_a_pattern_is_the_eager_run_and_says_so(kernel: Kernel, site: str, model: Any, ids: Tensor) -> None:
    eager = build(model.spec, "cpu", execution=by("eager")).eval()
    eager.load_state_dict(model.state_dict())
    set_execution(model, by(kernel))
    with pytest.warns(taps.EagerAttentionWarning, match=rf"layers\.1\.attn: .* in place of {kernel}") as told:
        found = taps.record(model, ids, edits=[taps.Edit(site, 1, lambda x: x)])
    assert len(told) == 1, "the other layer's attention stays as it is"
    same_start = taps.Edit("resid_pre", 1, lambda x: found["layers.1.resid_pre"])
    assert torch.equal(taps.record(eager, ids, edits=[same_start]).logits, found.logits)


def test_eager_attention_says_nothing_and_other_edits_leave_the_kernel(model: Any, ids: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taps.record(model, ids, edits=[taps.Edit("attn.pattern", 0, half)])
        set_execution(model, by("flash"))
        taps.record(model, ids, edits=[taps.Edit("attn.q", 0, half)])


@examples(30)
@given(spec=specs(), data=st.data())
def test_an_attention_that_gives_nothing_is_one_whose_last_matrix_is_zero(spec: Spec, data: st.DataObject) -> None:
    model, asked = made(spec), ids_of(spec)
    outs = [site.name for site in taps.sites(spec) if site.name.endswith((".attn.out", ".cross.out"))]
    assume(outs)
    name = data.draw(st.sampled_from(outs))
    part = model.get_submodule(_owner(spec, name))
    assume(getattr(part, "out_bias", None) is None)
    matrix = part.out
    alike = [other for other in outs if model.get_submodule(_owner(spec, other)).out is matrix]
    edits = [taps.Edit(other, None, torch.zeros_like) for other in alike]
    found = taps.record(model, *asked, edits=edits).logits
    with torch.no_grad():
        for tensor in matrix.parameters():
            tensor.zero_()
        assert torch.equal(found, model(*asked))


def test_a_key_that_is_knocked_out_is_not_seen(model: Any, ids: Tensor) -> None:
    """From token 4 on, nobody sees token 2; the same token by token."""
    knock = taps.Edit("layers.*.attn.scores", None, lambda x: torch.full_like(x, -torch.inf), at=slice(4, None), keys=2)
    found = taps.record(model, ids, edits=[knock])
    pattern = found["layers.1.attn.pattern"]
    assert (pattern[:, :, 4:, 2] == 0).all()
    assert (pattern[:, :, 2:4, 2] > 0).all()
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 3, 9))
    with taps.edit(model, knock):
        steps = cached(model, ids, [], model.new_cache(2, 9), [1] * 9)
    torch.testing.assert_close(steps, found.logits, rtol=1e-5, atol=1e-5)


def test_only_the_positions_asked_for_change(model: Any, ids: Tensor) -> None:
    plain = taps.record(model, ids, sites="layers.0.ffn.hidden")["layers.0.ffn.hidden"]
    for at, places in ((5, [5]), ((1, 6), [1, 6]), (slice(2, 8, 3), [2, 5]), (range(7, 20), [7, 8]), ([], [])):
        edit = taps.Edit("ffn.hidden", 0, lambda x: x + 1, at=at)
        found = taps.record(model, ids, edits=[edit])["layers.0.ffn.hidden"]
        assert sorted({t for _, t, _ in (found != plain).nonzero().tolist()}) == places


@pytest.mark.parametrize("site", ["final_norm", "logits", "layers.1.resid_post"])
def test_the_last_logits_alone_stand_last(site: str) -> None:
    model, ids = made(one_layer(ROPE, final_norm=RMS)), torch.randint(23, (2, 9))
    edit = taps.Edit(site, None, half, at=[0, 7])
    whole, last = (taps.record(model, ids, edits=[edit], n_logits=n) for n in (None, 3))
    torch.testing.assert_close(last.logits, whole.logits[:, -3:], rtol=1e-5, atol=1e-5)
    assert last.positions("logits").tolist() == [6, 7, 8]
    plain = model(ids)
    assert [not torch.equal(whole.logits[:, t], plain[:, t]) for t in (0, 6, 7, 8)] == [True, False, True, False]


@pytest.mark.parametrize("site", ["encoder.embed", "decoder.cross.k", "decoder.cross.v", "decoder.cross.scores"])
@pytest.mark.parametrize("caches", [False, True])
def test_a_source_that_is_padded_stands_where_it_does_alone(site: str, caches: bool) -> None:
    model = made(load("t5-small", {"n_layers": 2, "d_model": 8, "vocab_size": 23}))
    rows, target = [torch.randint(23, (n,)) for n in (6, 4)], torch.randint(23, (2, 5))
    source, padding = padded(rows, left=True, vocab_size=23)
    keys = 1 if site.endswith("scores") else None
    layer = None if site == "encoder.embed" else 1
    edit = taps.Edit(site, layer, lambda x: x * 0 - 3, at=3 if keys else 1, keys=keys)
    with taps.edit(model, edit) as editing, torch.no_grad():
        if caches:
            cache = model.new_cache(2, 5, source=6)
            model.encode(source, cache=cache, source_padding_BS=padding)
            found = torch.cat([model(None, part, cache=cache) for part in target.split(2, 1)], 1)
        else:
            found = model(source, target, source_padding_BS=padding)
        assert editing.applied == [1]
        for row, alone, of_batch in zip(rows, target, found, strict=True):
            assert near(of_batch, model(row[None], alone[None])[0])
    for b in range(2):
        assert not near(found[b], model(rows[b][None], target[b][None])[0])


def test_edits_come_in_their_order_and_an_outer_one_first(model: Any, ids: Tensor) -> None:
    def edit(fn: Callable[[Tensor], Tensor]) -> taps.Edit:
        return taps.Edit("resid_mid", 1, fn)

    name = "layers.1.resid_mid"
    plain = taps.record(model, ids)
    with taps.edit(model, edit(lambda x: x + 1), edit(lambda x: x * 2)) as outer:
        assert torch.equal(taps.record(model, ids)[name], (plain[name] + 1) * 2), "what is read is what goes on"
        with taps.edit(model, edit(lambda x: x - 3)):
            found = taps.record(model, ids, edits=[edit(lambda x: x / 4)])
            assert torch.equal(found[name], ((plain[name] + 1) * 2 - 3) / 4)
        assert torch.equal(taps.record(model, ids)[name], (plain[name] + 1) * 2)
    assert outer.applied == [3, 3]
    assert torch.equal(model(ids), plain.logits)


def test_a_change_in_place_stays_in_the_edit(model: Any, ids: Tensor) -> None:
    plain = taps.record(model, ids)
    found = taps.record(model, ids, edits=[taps.Edit("resid_pre", 1, lambda x: x.zero_())])
    assert torch.equal(found["layers.0.resid_post"], plain["layers.0.resid_post"])
    assert (found["layers.1.resid_pre"] == 0).all()


def test_an_edit_that_no_pass_comes_by_says_so(model: Any, ids: Tensor) -> None:
    calls = []
    with taps.edit(model, taps.Edit("embed", None, lambda x: calls.append(x) or x, at=9)) as editing:
        model(ids)
    assert (editing.applied, calls) == ([0], [])


def test_what_an_edit_runs_is_not_edited(model: Any, ids: Tensor) -> None:
    plain = model(ids)
    seen = []

    def run(x: Tensor) -> Tensor:
        seen.append(model(ids))
        return x * 0

    found = taps.record(model, ids, edits=[taps.Edit("layers.*.attn.out", None, run)])
    assert all(torch.equal(logits, plain) for logits in seen)
    assert not torch.equal(found.logits, plain)


def test_further_tokens_follow_from_edited_states() -> None:
    """The modules' own points are none, and those before them are as in any pass."""
    model = made(one_layer(ROPE, n_mtp=2, final_norm=RMS))
    ids = torch.randint(23, (1, 6))
    plain, calls = model.multi_token_logits(ids), []
    with taps.edit(model, taps.Edit("*", None, lambda x: calls.append(x) or x)):
        assert all(torch.equal(a, b) for a, b in zip(model.multi_token_logits(ids), plain, strict=True))
    assert len(calls) == len(taps.sites(model.spec)) - 2, "all but the final norm and the logits"
    with taps.edit(model, taps.Edit("resid_post", 1, lambda x: x * 0)):
        assert not torch.equal(model.multi_token_logits(ids)[0], plain[0])


# Nothing is left behind, and nothing is paid.


def test_the_model_is_as_it_was(model: Any, ids: Tensor) -> None:
    def fails(x: Tensor) -> Tensor:
        raise KeyError("mine")

    before = _state(model)
    plain = model(ids)
    with pytest.raises(KeyError, match="mine"), taps.edit(model, taps.Edit("attn.k", 1, fails)):
        model(ids)
    assert OBSERVER_FACTORY.get() is None
    assert torch.equal(model(ids), plain)
    taps.record(model, ids)
    assert _state(model) == before


def _state(model: nn.Module) -> list[Any]:
    return [
        (name, type(module), sorted(vars(module)), [len(hooks) for hooks in (module._forward_hooks, module._buffers)])
        for name, module in model.named_modules()
    ] + [(name, tensor.sum().item()) for name, tensor in model.state_dict().items()]


def test_sessions_end_in_any_order(model: Any, ids: Tensor) -> None:
    plain = model(ids)
    first, second = (taps.edit(model, taps.Edit("embed", None, lambda x, n=n: x + n)) for n in (1, 2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    added = taps.record(model, ids)["embed"]
    second.__exit__(None, None, None)
    torch.testing.assert_close(added, taps.record(model, ids)["embed"] + 2)
    assert torch.equal(model(ids), plain)


def test_another_model_and_another_thread_are_not_watched(model: Any, ids: Tensor) -> None:
    other = made(model.spec)
    plain, found = other(ids), []
    with taps.edit(model, taps.Edit("embed", None, torch.zeros_like)):
        assert torch.equal(other(ids), plain)
        thread = threading.Thread(target=lambda: found.append(model(ids)))
        thread.start()
        thread.join()
        assert not torch.equal(model(ids), plain)
    assert torch.equal(found[0], plain)


class Operations(TorchDispatchMode):
    """The operations that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def operations(run: Callable[[], object]) -> list[str]:
    with Operations() as mode, torch.no_grad():
        run()
    return mode.found


@examples(20)
@given(spec=specs(), kernel=st.sampled_from(KERNELS))
def test_what_is_free_costs_no_operation(spec: Spec, kernel: Kernel) -> None:
    """Other views of what is there move nothing: of where tokens stand, and of a mixture's rows."""
    model, asked = made(spec, kernel), ids_of(spec)
    free = [site.name for site in taps.sites(spec) if not site.is_recomputed]
    plain = operations(lambda: model(*asked))
    read = operations(lambda: taps.record(model, *asked, sites=free))
    views = ("aten.view.default", "aten._unsafe_view.default", "aten.slice.Tensor", "aten.alias.default")
    views = (*views, "aten.constant_pad_nd.default")  # where keys that are summaries stand
    assert [name for name in read if name not in views] == [name for name in plain if name not in views]
    with taps.edit(made(load("tiny")), taps.Edit("embed", None, half)):
        assert operations(lambda: model(*asked)) == plain


def test_compilers_see_through_points_that_nobody_looks_at(ids: Tensor) -> None:
    model = made(one_layer(GQA))
    with torch.no_grad():
        assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(ids), model(ids))


def test_scores_are_computed_only_where_they_are_read(model: Any, ids: Tensor) -> None:
    set_execution(model, by("flash"))
    softmaxes = [
        operations(lambda sites=sites: taps.record(model, ids, sites=sites)).count("aten._softmax.default")
        for sites in ("embed", "layers.0.attn.pattern", "*.scores")
    ]
    assert softmaxes == [0, 1, 2]


# What is refused.


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            taps.Edit("attn.patern", 0, half),
            r"'layers.0.attn.patern' is not a site \(did you mean 'layers.0.attn.pattern'",
        ),
        (taps.Edit("attn.q", 2, half), "layer: found 2; expected 0 to 1"),
        (taps.Edit("attn.q", -1, half), "layer: found -1"),
        (taps.Edit("attn.q", None, half), "'attn.q' is not a site"),
        (taps.Edit("resid_mid", 0, half, at="2"), "resid_mid: at: found '2'"),
        (taps.Edit("resid_mid", 0, half, at=[1, -1]), "resid_mid: at: found a list"),
        (taps.Edit("resid_mid", 0, half, at=slice(-2, None)), "resid_mid: at: found slice"),
        (taps.Edit("resid_mid", 0, half, at=slice(0, 4, 0)), "resid_mid: at: found slice"),
        (taps.Edit("resid_mid", 0, half, keys=1), "layers.0.resid_mid: keys: its columns are not keys"),
        (taps.Edit("attn.q", 1, lambda x: x[:1]), r"layers.1.attn.q: the edit returns \[1, 3, 9, 4\] of torch.float32"),
        (taps.Edit("attn.q", 1, lambda x: x.double()), "of torch.float64 on cpu; expected .* of torch.float32"),
        (taps.Edit("attn.q", 1, lambda x: None), "the edit returns None"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.site,
)
def test_edits_that_cannot_be(edit: taps.Edit, message: str, model: Any, ids: Tensor) -> None:
    with pytest.raises(InputError, match=message) as error:
        taps.record(model, ids, edits=[edit])
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=message), taps.edit(model, edit):
        model(ids)


def test_a_site_that_is_not_there_or_not_passed(model: Any, ids: Tensor) -> None:
    with pytest.raises(InputError, match="'embedd' is not a site"):
        taps.record(model, ids, sites=["logits", "embedd"])
    with pytest.raises(InputError, match="embed: has no axis of keys"):
        taps.record(model, ids).key_positions("embed")
    pair = made(load("t5-small", {"n_layers": 1, "d_model": 8, "vocab_size": 23}))
    with pytest.raises(InputError, match=r"'attn.q' is in no stack; expected 'encoder.' or 'decoder.' before it"):
        taps.record(pair, ids, ids, edits=[taps.Edit("attn.q", 0, half)])
    cache = pair.new_cache(2, 9)
    pair.encode(ids, cache=cache)
    with pytest.raises(InputError, match=r"encoder\.embed: this pass does not come by it"):
        taps.record(pair, None, ids, cache=cache, sites="encoder.embed")


def test_a_packed_model_is_refused(model: Any, ids: Tensor) -> None:
    packed = pack(model)
    for wrong in (packed, packed.model, nn.Linear(2, 2)):
        with pytest.raises(InputError, match=r"model: found .*; expected a model as it is built or loaded, not packed"):
            taps.record(wrong, ids)
        with pytest.raises(InputError, match="not packed"), taps.edit(wrong, taps.Edit("embed", None, half)):
            pass


@pytest.mark.parametrize("recompute", ["full", "selective"])
def test_recomputation_in_training_is_refused(recompute: Any, model: Any, ids: Tensor) -> None:
    set_execution(model, Execution(recompute=recompute))
    plain = model(ids)
    with taps.edit(model, taps.Edit("embed", None, lambda x: x)):
        assert torch.equal(model(ids), plain)
        model.train()
        with pytest.raises(InputError, match="recompute: recomputation in the backward pass would apply edits twice"):
            model(ids)
    model(ids)
