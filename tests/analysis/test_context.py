"""Cost against context length: every point is the fold's, and the crossing the first of all lengths, each tried."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.analysis.context import ATTENTION, FAR_TOKENS, PAIRS, PHASES, SHORTEST, ContextFlops, Phase, context
from archcalc.analysis.flops import by_component, by_op, summary
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.workload import Workload, workload
from tests.examples import examples
from tests.strategies import specs

each_phase = pytest.mark.parametrize("phase", PHASES)


def work_of(spec: Spec, phase: Phase, tokens: int) -> Workload:
    source = tokens if spec.family == "encoder-decoder" else None
    sizes = {"seq": tokens} if phase == "prefill" else {"seq": 1, "past": tokens - 1}
    return workload(spec, source_seq=source, **sizes)


def overtaken(spec: Spec, phase: Phase, tokens: int, key: str) -> bool:
    costs = by_component(by_op(build(spec), work_of(spec, phase, tokens)))
    attention, ffn = (dict(costs[part])[key] if part in costs else 0 for part in ("attention", "ffn"))
    return attention > ffn


def check_points(spec: Spec, found: ContextFlops) -> None:
    ledger = build(spec)
    for point in found.points:
        work = work_of(spec, found.phase, point.tokens)
        told, components = summary(ledger, work), by_component(by_op(ledger, work))
        assert point.new_tokens == work.seq
        assert sum(point.forward.values()) == point.total == told["forward"]
        assert sum(point.forward_causal.values()) == point.total_causal == told["forward_causal"]
        assert sum(point.forward.get(part, 0) for part in ATTENTION) == components["attention"]["forward"]
        assert all(point.forward_causal[part] == cost for part, cost in point.forward.items() if part != PAIRS)
    lengths = [point.tokens for point in found.points]
    assert lengths == sorted(set(lengths))
    assert lengths[-1] == found.up_to
    assert lengths[0] >= SHORTEST[found.phase]


@each_phase
@examples(30)
@given(spec=specs(), up_to=st.integers(2, 24))
def test_the_crossing_is_the_first_length_of_all(phase: Phase, spec: Spec, up_to: int) -> None:
    assume(phase == "prefill" or spec.decoder is not None)
    assume(any(op.row.component == "attention" for op in by_op(build(spec), Workload())))
    up_to = min(up_to, spec.n_ctx)
    assume(up_to >= SHORTEST[phase])
    found = context(spec, phase, up_to)
    check_points(spec, found)
    for key, crossing in (("forward", found.crossing), ("forward_causal", found.crossing_causal)):
        past = [tokens for tokens in range(SHORTEST[phase], up_to + 1) if overtaken(spec, phase, tokens, key)]
        assert crossing == min(past, default=None)
        assert past == list(range(crossing or up_to + 1, up_to + 1)), "once overtaken, always"


@each_phase
@pytest.mark.parametrize("name", presets.names())
def test_crossings_of_presets(name: str, phase: Phase) -> None:
    spec = load(name)
    if phase == "decode" and spec.decoder is None:
        with pytest.raises(InputError, match="phase: an encoder caches nothing; expected prefill"):
            context(spec, phase)
        return
    found = context(spec, phase)
    check_points(spec, found)
    for key, crossing in (("forward", found.crossing), ("forward_causal", found.crossing_causal)):
        if crossing is None:
            assert not overtaken(spec, phase, found.up_to, key)
        else:
            assert overtaken(spec, phase, crossing, key)
            assert crossing == SHORTEST[phase] or not overtaken(spec, phase, crossing - 1, key)
            assert crossing in [point.tokens for point in found.points]


def test_llama_by_hand() -> None:
    """A token in a layer: 2·3·4096·14336 in the FFN; 2·2·4096·(4096 + 1024) and 4·4096·keys in attention."""
    ffn, projections, per_key = 2 * 3 * 4096 * 14_336, 2 * 4096 * (4096 + 1024) * 2, 4 * 4096
    first = (ffn - projections) // per_key + 1
    assert first == 16_385
    prefill, decode = (context(load("llama-3-8b"), phase) for phase in PHASES)
    assert (prefill.crossing, decode.crossing, decode.crossing_causal) == (first, first, first)
    assert prefill.crossing_causal == 2 * (first - 1)  # a token attends to (n + 1) / 2 keys on average
    assert not decode.is_causal
    assert prefill.is_causal


def test_how_far_it_goes() -> None:
    assert context(load("gpt3"), "prefill").up_to == 2048
    assert context(load("llama-3-8b"), "prefill").up_to == FAR_TOKENS
    assert context(load("deepseek-v3"), "prefill").up_to == 163_840
    lengths = [[point.tokens for point in context(load("llama-2-7b"), "decode", n).points] for n in (2000, 500, 2)]
    assert lengths == [[128, 256, 512, 1024, 2000], [32, 64, 128, 256, 500], [2]]


@pytest.mark.parametrize(
    ("name", "phase", "up_to", "told"),
    [
        ("gpt3", "prefill", 2049, "up_to: found 2049; expected from 1 to 2,048, the table of positions"),
        ("gpt3", "decode", 1, "up_to: found 1; expected from 2 to 2,048"),
        ("llama-3-8b", "prefill", 0, "up_to: found 0; expected 1 or more"),
        ("llama-3-8b", "prefill", 2**41, "expected an integer from 1 to 2\\^40"),
    ],
)
def test_what_is_refused(name: str, phase: Phase, up_to: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        context(load(name), phase, up_to)
