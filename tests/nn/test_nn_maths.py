"""Each module's arithmetic against the plainest way to say the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Attention

from archcalc.nn import bias, build, moe, rope
from archcalc.nn.activation import ACTIVATIONS, activation, gated
from archcalc.nn.attention import Attention
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.initialization import initialize
from archcalc.nn.moe import MoE
from archcalc.nn.norm import norm
from archcalc.nn.position import sinusoids
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec import attention as spec
from archcalc.spec.activation import ClampedSwish
from archcalc.spec.execution import Execution
from archcalc.spec.ffn import MoE as MoEPart
from archcalc.spec.norm import LayerNorm, RMSNorm
from archcalc.spec.position import Alibi, LinearScaling, RelativeBias, Rope

ATTENTION = {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 6}
FFN = {"kind": "gated", "d_ff": 7}
RMS = {"kind": "rmsnorm"}


def model_of(layer: dict[str, Any], role: str = "decoder", n_layers: int = 1, **more: Any) -> Spec:
    stack = {"n_layers": n_layers, "runs": [{"pattern": [{"norm": RMS} | layer]}]} | more.pop("stack", {})
    return load({"name": "x", "vocab_size": 19, "n_ctx": 16, "d_model": 10, role: stack} | more)


def filled(module: nn.Module, scale: float = 0.5) -> nn.Module:
    """The module with every weight random."""
    torch.manual_seed(3)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(torch.randn_like(tensor) * scale)
    return module.requires_grad_(False).eval()


def context(seq: int, causal: bool = True, start: int = 0) -> AttentionContext:
    places = torch.arange(start, start + seq)
    return AttentionContext(places, places, causal)


def changed(model: nn.Module, place: int, seq: int = 12) -> list[int]:
    """The places whose output changes when the token at `place` does."""
    ids = torch.arange(seq)[None] % 19
    other = ids.clone()
    other[0, place] = (ids[0, place] + 5) % 19
    with torch.no_grad():
        differs = (model(ids) - model(other)).abs().amax(-1)[0] > 1e-6
    return differs.nonzero().flatten().tolist()


POSITIONS = [None, {"kind": "rope"}, {"kind": "alibi"}, {"kind": "relative", "n_buckets": 8, "max_distance": 9}]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_decoder_never_sees_ahead(position: dict[str, Any] | None) -> None:
    layer = {"attention": ATTENTION | {"position": position, "sinks": True}, "ffn": FFN}
    model = filled(build(model_of(layer, n_layers=2), "cpu"))
    assert changed(model, 4) == list(range(4, 12))


def test_latent_attention_never_sees_ahead() -> None:
    mla = {"kind": "mla", "n_heads": 3, "kv_rank": 5, "d_nope": 4, "d_rope": 2, "d_v": 7}
    assert changed(filled(build(model_of({"attention": mla}), "cpu")), 4) == list(range(4, 12))


def test_an_encoder_sees_all() -> None:
    model = filled(build(model_of({"attention": ATTENTION}, "encoder"), "cpu"))
    assert changed(model, 4) == list(range(12))


def test_a_causal_window_ends_before_its_width() -> None:
    model = filled(build(model_of({"attention": ATTENTION | {"window": 3}}), "cpu"))
    assert changed(model, 4) == [4, 5, 6]


def test_a_bidirectional_window_reaches_both_ways() -> None:
    model = filled(build(model_of({"attention": ATTENTION | {"window": 3}}, "encoder"), "cpu"))
    assert changed(model, 4) == [2, 3, 4, 5, 6]


def test_every_target_sees_the_whole_source() -> None:
    encoder = {"runs": [{"count": 1, "pattern": [{"norm": RMS, "ffn": FFN}]}]}
    decoder = {"runs": [{"count": 1, "pattern": [{"norm": RMS, "cross": ATTENTION}]}]}
    sizes = {"name": "x", "vocab_size": 19, "n_ctx": 16, "d_model": 10}
    model = filled(build(load(sizes | {"encoder": encoder, "decoder": decoder}), "cpu"))
    source, target = torch.arange(5)[None], torch.arange(7)[None]
    other = source.clone()
    other[0, 4] = 11
    assert ((model(source, target) - model(other, target)).abs().amax(-1) > 1e-6).all()


def test_grouped_query_attention_is_multi_head_with_repeated_heads() -> None:
    few = filled(Attention(spec.Attention(n_heads=6, n_kv_heads=2, d_head=4), model_of({"attention": ATTENTION})))
    many = Attention(spec.Attention(n_heads=6, n_kv_heads=6, d_head=4), model_of({"attention": ATTENTION}))
    state = few.state_dict()
    for name in ("k.weight", "v.weight"):
        state[name] = state[name].view(2, 4, 10).repeat_interleave(3, 0).view(24, 10)
    many.load_state_dict(state)
    x = torch.randn(2, 5, 10)
    torch.testing.assert_close(few(x, context(5)), many.eval()(x, context(5)))


def test_multi_head_attention_is_torchs() -> None:
    ours = filled(Attention(spec.Attention(n_heads=5, n_kv_heads=5, d_head=2), model_of({"attention": ATTENTION})))
    theirs = nn.MultiheadAttention(10, 5, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = torch.randn(2, 5, 10)
    mask = torch.ones(5, 5).triu(1).bool()
    torch.testing.assert_close(ours(x, context(5)), theirs(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_a_sink_takes_weight_and_gives_no_value() -> None:
    q, k, v = (torch.randn(1, 2, 3, 4) for _ in range(3))
    sinks = torch.tensor([0.7, -1.0])
    found = attend(SoftmaxConfig(n_heads=2, scale=0.5), q, k, v, context(3, causal=False), Execution(), sinks_N=sinks)
    for n in range(2):
        for t in range(3):
            powers = [math.exp(0.5 * float(q[0, n, t] @ k[0, n, s])) for s in range(3)]
            whole = sum(powers) + math.exp(sinks[n])
            expected = sum((p / whole * v[0, n, s] for s, p in enumerate(powers)), torch.zeros(4))
            torch.testing.assert_close(found[0, n, t], expected)


def test_softcap_bounds_scores() -> None:
    q = k = torch.full((1, 1, 2, 1), 100.0)
    k, v = k * torch.tensor([1.0, 0.0]).view(1, 1, 2, 1), torch.eye(2).view(1, 1, 2, 2)
    found = attend(SoftmaxConfig(n_heads=1, scale=1.0, softcap=2.0), q, k, v, context(2, causal=False), Execution())
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([2.0, 0.0]).softmax(-1))


@pytest.mark.parametrize("window", [None, 3])
def test_what_a_gpus_flash_kernel_cannot_do_is_done_by_math(window: int | None) -> None:
    """As values of another width than the keys', which no flash kernel of PyTorch supports."""
    q, k, v = (torch.randn(1, 2, 5, width) for width in (8, 8, 6))
    how = SoftmaxConfig(n_heads=2, scale=0.5, window=window, has_value_width=True)
    found = attend(how, q, k, v, context(5), Execution(dtype="fp32", attention="flash", device="cuda"))
    torch.testing.assert_close(found, attend(how, q, k, v, context(5), Execution(dtype="fp32")))


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_depends_on_distance_alone_and_keeps_lengths(interleaved: bool) -> None:
    part = Rope(d_rotary=6, interleaved=interleaved, theta=100.0)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def turned(x: Tensor, place: int) -> Tensor:
        return rope.rotate(x, rope.rotary_tables(part, torch.tensor([place])), interleaved)

    scores = [(turned(q, 5 + shift) * turned(k, 2 + shift)).sum() for shift in (0, 7, 100)]
    torch.testing.assert_close(scores[1:], [scores[0]] * 2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned(q, 9).norm(), q.norm())
    assert torch.equal(turned(q, 9)[..., 6:], q[..., 6:])
    assert not torch.allclose(turned(q, 9)[..., :6], q[..., :6])


def test_interleaved_rope_turns_neighbors() -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4)
    part = Rope(d_rotary=4, interleaved=True, theta=100.0)
    found = rope.rotate(x, rope.rotary_tables(part, torch.tensor([3])), True).flatten()
    slow = 3 / 10  # 100^(-2/4)
    torch.testing.assert_close(found, torch.tensor([math.cos(3), math.sin(3), -math.sin(slow), math.cos(slow)]))


def test_linear_scaling_divides_positions() -> None:
    plain, scaled = Rope(d_rotary=6), Rope(d_rotary=6, scaling=LinearScaling(factor=4.0))
    for ours, theirs in zip(
        rope.rotary_tables(scaled, torch.tensor([8])), rope.rotary_tables(plain, torch.tensor([2])), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("n_heads", "slopes"),
    [
        (8, [2**-i for i in range(1, 9)]),
        (16, [2 ** (-i / 2) for i in range(1, 17)]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (1, [2**-8]),
    ],
)
def test_alibi_slopes(n_heads: int, slopes: list[float]) -> None:
    assert bias.alibi_slopes(n_heads) == pytest.approx(slopes)


def test_alibi_grows_with_distance() -> None:
    distance = torch.arange(3).unsqueeze(-1) - torch.arange(3)
    expected = -torch.tensor([[0, 1, 2], [1, 0, 1], [2, 1, 0]]) / 256
    torch.testing.assert_close(bias.alibi_bias(distance, 1)[0], expected)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (8, 20), (16, 64), (32, 9)])
def test_relative_buckets_are_t5s(causal: bool, n_buckets: int, max_distance: int) -> None:
    places = torch.arange(200)
    relative = places - places.unsqueeze(-1)  # key minus query
    theirs = T5Attention._relative_position_bucket(relative, not causal, n_buckets, max_distance)
    ours = bias.buckets(-relative, RelativeBias(n_buckets=n_buckets, max_distance=max_distance), causal)
    # Steps that lead back may end before the first row, where the class stops with an error.
    assert torch.equal(ours, theirs.clamp(min=0))


@pytest.mark.parametrize("n_buckets", [1, 2, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_the_fewest_buckets_still_hold_every_distance(n_buckets: int, causal: bool) -> None:
    found = bias.buckets(torch.arange(-9, 10), RelativeBias(n_buckets=n_buckets, max_distance=1), causal)
    assert 0 <= found.min() <= found.max() < n_buckets


def test_sinusoids() -> None:
    found = sinusoids(torch.tensor([0, 5]), 5)
    slow = 5 / 10_000 ** (2 / 5)
    expected = [math.sin(5), math.cos(5), math.sin(slow), math.cos(slow), math.sin(5 / 10_000 ** (4 / 5))]
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0], expected]))


def test_norms() -> None:
    x = torch.randn(2, 3, 10)
    theirs = nn.LayerNorm(10)
    torch.testing.assert_close(filled_norm(LayerNorm(), 1.0)(x), theirs(x))
    torch.testing.assert_close(norm(LayerNorm(weight=False, bias=False), 10)(x), theirs(x))
    torch.testing.assert_close(norm(RMSNorm(), 10).weight.shape, torch.Size([10]))
    torch.testing.assert_close(filled_norm(RMSNorm(), 2.0)(x), F.rms_norm(x, (10,), eps=1e-6) * 2)
    torch.testing.assert_close(filled_norm(RMSNorm(unit_offset=True), 2.0)(x), F.rms_norm(x, (10,), eps=1e-6) * 3)


def filled_norm(part: LayerNorm | RMSNorm, weight: float) -> nn.Module:
    module = norm(part, 10)
    initialize(module)
    nn.init.constant_(module.weight, weight)
    return module


def rounded(found: Tensor, exact: Tensor) -> bool:
    """Rounded once to a narrow dtype, by half a step; float32 and float64 round at every operation."""
    kind = torch.finfo(found.dtype)
    steps = 0.51 if kind.bits < 32 else 8
    return bool(((found - exact).abs() <= steps * kind.eps * exact.abs()).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_norms_softmax_and_routing_are_computed_in_float32_or_finer(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    x_SH = torch.randn(64, 10).to(dtype)
    for unit_offset in (False, True):
        found = filled_norm(RMSNorm(unit_offset=unit_offset), 1.0).to(dtype)(x_SH)
        assert found.dtype == dtype
        assert rounded(found, F.rms_norm(x_SH.double(), (10,), eps=1e-6) * (1 + unit_offset))

    # Queries and values that pick one number each, so that scores are those of x and the output is the pattern.
    q, k, v = (x.to(dtype).view(1, 1, *x.shape) for x in (torch.eye(10), x_SH, torch.eye(64)))
    for sinks in (None, torch.zeros(1, dtype=dtype)):
        scores = F.pad(x_SH.double().T, (0, 0 if sinks is None else 1))
        found = attend(
            SoftmaxConfig(n_heads=1, scale=1.0), q, k, v, context(64, causal=False), Execution(), sinks_N=sinks
        )
        assert found.dtype == dtype
        assert rounded(found, scores.softmax(-1)[:, :64])

    experts = MoE(MoEPart(n_experts=10, n_active=10, d_expert=5, router_bias=False), model_of({"ffn": FFN}))
    experts.router.weight = nn.Parameter(torch.eye(10, dtype=dtype), requires_grad=False)
    weights_Qk, experts_Qk, _ = experts.route(x_SH, len(x_SH))
    assert weights_Qk.dtype == torch.promote_types(dtype, torch.float32)
    assert rounded(weights_Qk, x_SH.double().softmax(-1).gather(-1, experts_Qk))


@pytest.mark.parametrize("placement", ["pre", "post", "sandwich", "output", "parallel", "parallel_two"])
def test_placements(placement: str) -> None:
    """The formulas of archcalc.spec.layer.Layer, written out."""
    layer = {"placement": placement, "attention": ATTENTION, "ffn": FFN}
    model = filled(build(model_of(layer, head=None), "cpu"))
    block = model.layers["0"]
    ids = torch.arange(6)[None]
    x = model.embed.tokens(ids)

    def a(y: Tensor) -> Tensor:
        return block.attn(y, context(6))

    f, n = block.ffn, dict(block.named_children())
    if placement == "pre":
        x = x + a(n["attn_norm"](x))
        x = x + f(n["ffn_norm"](x))
    elif placement == "post":
        x = n["attn_norm"](x + a(x))
        x = n["ffn_norm"](x + f(x))
    elif placement == "sandwich":
        x = x + n["attn_out_norm"](a(n["attn_norm"](x)))
        x = x + n["ffn_out_norm"](f(n["ffn_norm"](x)))
    elif placement == "output":
        x = x + n["attn_out_norm"](a(x))
        x = x + n["ffn_out_norm"](f(x))
    else:
        second = n["attn_norm"] if placement == "parallel" else n["ffn_norm"]
        x = x + a(n["attn_norm"](x)) + f(second(x))
    torch.testing.assert_close(model(ids), x)


def chosen(part: MoEPart, scores: Tensor, correction: Tensor | None) -> list[int]:
    """The experts one token goes to, by sorting."""
    by = scores if correction is None else scores + correction
    each = part.n_experts // part.n_groups
    groups = [by[g * each : (g + 1) * each].sort(descending=True).values for g in range(part.n_groups)]
    worth = [float(group[: 2 if part.group_score == "two_best" else 1].sum()) for group in groups]
    best = sorted(range(part.n_groups), key=lambda g: -worth[g])[: part.n_active_groups]
    allowed = [e for e in range(part.n_experts) if e // each in best]
    return sorted(allowed, key=lambda e: -float(by[e]))[: part.n_active]


ROUTERS = [
    (choose, weigh)
    for choose in ("softmax", "sigmoid", "logits")
    for weigh in ("score", "softmax", "sigmoid", "sparsemixer")
    if (choose, weigh) != ("logits", "score")
]


@pytest.mark.parametrize(("choose", "weigh"), ROUTERS)
@pytest.mark.parametrize("correction", ["none", "buffer", "parameter"])
@pytest.mark.parametrize(
    "more",
    [
        {"normalize": True},
        {"gated": False, "group_score": "best", "router_softcap": 0.8},
        {"normalize": True, "normalize_min": 0.9, "shared_combine": "average", "group_score": "two_best"},
        {"weight_on": "input"},
    ],
    ids=str,
)
def test_a_mixture_is_a_loop_over_tokens_and_experts(
    choose: str, weigh: str, correction: str, more: dict[str, Any]
) -> None:
    part = resolved(
        n_experts=12,
        n_active=3,
        d_expert=5,
        expert_bias=True,
        router_bias=True,
        choose=choose,
        weigh=weigh,
        correction=correction,
        jitter=0.2 if weigh == "sparsemixer" else None,
        scale=1.5,
        n_groups=4,
        n_active_groups=2,
        n_shared=2,
        d_shared=3,
        shared_bias=False,
        shared_gate=True,
        **more,
    )
    module = filled(MoE(part, model_of({"ffn": FFN})))
    x = torch.randn(2, 4, 10)
    torch.testing.assert_close(module(x), by_loop(module, part, x), rtol=1e-4, atol=1e-5)


def resolved(**fields: Any) -> MoEPart:
    """The part as a resolved spec has it."""
    layer = model_of({"ffn": {"kind": "moe"} | fields}).decoder.runs[0].pattern[0]
    return layer.ffn


def weighed(part: MoEPart, logits: Tensor, scores: Tensor, experts: list[int]) -> Tensor:
    """The chosen experts' weights, one after the other."""
    if part.weigh != "sparsemixer":
        return {"score": scores, "softmax": logits[experts].softmax(-1), "sigmoid": logits.sigmoid()}[part.weigh][
            experts if part.weigh != "softmax" else slice(None)
        ]
    weights, left = [], set(range(part.n_experts))
    for e in experts:
        best = float(logits[e])
        near = [i for i in left if (best - float(logits[i])) / max(abs(float(logits[i])), best) <= 2 * part.jitter]
        weights.append(logits[e].exp() / logits[near].exp().sum())
        left.remove(e)
    return torch.stack(weights)


def by_loop(module: MoE, part: MoEPart, x: Tensor) -> Tensor:
    rows = []
    for token in x.flatten(0, 1):
        logits = module.router.weight @ token + module.router.bias
        if part.router_softcap:
            logits = part.router_softcap * torch.tanh(logits / part.router_softcap)
        scores = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "logits": logits}[part.choose]
        experts = chosen(part, scores, module.correction_bias)
        weights = weighed(part, logits, scores, experts)
        if part.normalize:
            weights = weights / max(float(weights.sum()), part.normalize_min or 0)
        y = module.shared(token) * torch.sigmoid(module.shared_gate.weight @ token)
        for e, weight in zip(experts, weights * part.scale, strict=True):
            read, factor = (weight * token, 1) if part.weight_on == "input" else (token, weight)
            up = module.experts.up.weight[e] @ read + module.experts.up.bias[e]
            hidden = F.silu(up)
            if part.gated:
                hidden = F.silu(module.experts.gate.weight[e] @ read + module.experts.gate.bias[e]) * up
            y = y + factor * (module.experts.down.weight[e] @ hidden + module.experts.down.bias[e])
        rows.append(y / 2 if part.shared_combine == "average" else y)
    return torch.stack(rows).view_as(x)


def test_a_mixture_runs_the_same_on_meta() -> None:
    part = MoEPart(n_experts=4, n_active=2, d_expert=5)
    with torch.device("meta"):
        module = MoE(part, model_of({"ffn": FFN}))
    assert module(torch.empty(2, 3, 10, device="meta")).shape == (2, 3, 10)


@pytest.mark.parametrize(
    ("device", "execution", "ran"),
    [
        ("cpu", None, "split"),
        ("meta", None, "gather"),
        ("cpu", Execution(experts="gather"), "gather"),
        ("cpu", Execution(experts="split"), "split"),
    ],
    ids=str,
)
def test_experts_run_by_the_device_unless_told(
    device: str, execution: Execution | None, ran: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model_of({"attention": ATTENTION, "ffn": {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 5}})
    called = []
    for name, formulation in moe.FORMULATIONS.items():
        monkeypatch.setitem(
            moe.FORMULATIONS, name, lambda *x, name=name, run=formulation: called.append(name) or run(*x)
        )
    build(spec, device, execution=execution)(torch.zeros(1, 3, dtype=torch.long, device=device))
    assert set(called) == {ran}


def test_activations() -> None:
    x = torch.tensor([-9.0, -1.0, 0.5, 9.0])
    torch.testing.assert_close(ACTIVATIONS["gelu"](x), x * (1 + torch.erf(x / 2**0.5)) / 2)
    torch.testing.assert_close(
        ACTIVATIONS["gelu_tanh"](x), x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2
    )
    torch.testing.assert_close(ACTIVATIONS["quick_gelu"](x), x / (1 + (-1.702 * x).exp()))
    torch.testing.assert_close(ACTIVATIONS["tanh"](x), 1 - 2 / ((2 * x).exp() + 1))
    torch.testing.assert_close(ACTIVATIONS["relu2"](x), torch.tensor([0, 0, 0.25, 81]))
    swish = torch.tensor([-9.0, 7.0]) * torch.sigmoid(1.702 * torch.tensor([-9.0, 7.0]))
    gate, up = torch.tensor([-9.0, 9.0]), torch.tensor([-9.0, 9.0])
    torch.testing.assert_close(gated(ACTIVATIONS["clamped_swish"], gate, up), swish * torch.tensor([-6.0, 8.0]))
    torch.testing.assert_close(gated(F.silu, x, x), F.silu(x) * x)
    clamped = activation(ClampedSwish(limit=2.0, alpha=1.0, up_offset=0.0))
    swiglu = F.silu(torch.tensor([-9.0, 2.0])) * torch.tensor([-2.0, 2.0])
    torch.testing.assert_close(gated(clamped, gate, up), swiglu)


def test_positions_may_start_anywhere() -> None:
    model = filled(build(model_of({"attention": ATTENTION}, stack={"position": {"kind": "learned"}}), "cpu"))
    ids = torch.arange(5)[None]
    assert torch.equal(model(ids), model(ids, positions=torch.arange(5)))
    assert not torch.allclose(model(ids), model(ids, positions=torch.arange(5) + 3))


def test_relative_positions_do_not_know_where_they_start() -> None:
    for position in (Rope(d_rotary=6), Alibi(), RelativeBias(n_buckets=8)):
        part = spec.Attention(n_heads=2, n_kv_heads=1, d_head=6, position=position)
        module = filled(Attention(part, model_of({"attention": ATTENTION})))
        table = filled(bias.RelativeBias(RelativeBias(n_buckets=8), 2))
        x = torch.randn(1, 5, 10)
        near, far = (
            module(x, AttentionContext(places, places, True, relative_bias=table))
            for places in (torch.arange(5), torch.arange(5) + 40)
        )
        torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-5)


def test_multi_token_prediction_sees_no_further_than_its_tokens() -> None:
    """Module m at place t knows the tokens up to t + m + 1, and predicts the one after."""
    layer = {"attention": ATTENTION | {"position": {"kind": "rope"}}, "ffn": FFN}
    model = filled(build(model_of(layer, stack={"n_mtp": 2, "final_norm": RMS}), "cpu"))
    ids = torch.arange(9)[None]
    other = ids.clone()
    other[0, 5] = 17
    for m, (one, two) in enumerate(zip(model.multi_token_logits(ids), model.multi_token_logits(other), strict=True)):
        differs = ((one - two).abs().amax(-1) > 1e-6)[0]
        assert differs.tolist() == [t + m + 1 >= 5 for t in range(9 - 1 - m)]


@pytest.mark.parametrize("place", ["embedding", "attention", "residual", "ffn"])
def test_dropout_acts_in_training_alone(place: str) -> None:
    layer = {"attention": ATTENTION, "ffn": FFN}
    model = filled(build(model_of(layer, dropout={place: 0.5}), "cpu"))
    ids = torch.arange(9)[None]
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))


def test_first_values() -> None:
    layer = {"norm": RMS | {"unit_offset": True}, "attention": ATTENTION | {"q_bias": True, "sinks": True}}
    stack = {"position": {"kind": "sinusoidal", "stored": True}, "final_norm": {"kind": "layernorm"}}
    model = build(model_of(layer, stack=stack), "cpu")
    found = dict(model.named_parameters())
    assert not found["layers.0.attn_norm.weight"].any()
    assert not found["layers.0.attn.q.bias"].any()
    assert not found["layers.0.attn.sinks"].any()
    assert (found["final_norm.weight"] == 1).all()
    assert found["layers.0.attn.q.weight"].std().item() == pytest.approx(0.02, rel=0.3)
    assert torch.equal(found["positions.weight"], sinusoids(torch.arange(16), 10))
    assert not found["positions.weight"].requires_grad
