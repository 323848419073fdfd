"""A mixer for tests alone: an exponential moving average of a projection, which keeps one vector between steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward
from archcalc.ledger.leaves import State as StateLeaf
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor as SymbolicTensor
from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec.base import Part, Size
from archcalc.spec.layer import Arm, Branch, Layer, Run, Stack
from archcalc.spec.norm import RMSNorm
from archcalc.spec.resolve import resolve
from archcalc.spec.sites import Site
from archcalc.spec.variants import VARIANTS, Variant

DECAY = 0.75
D_STATE = 5


class Ema(Part, frozen=True, kw_only=True, tag_field="kind", tag="ema"):
    """h = DECAY·h + down(x); the output is up(h)."""

    d_state: Size


class Module(nn.Module):
    def __init__(self, part: Ema, model: Spec) -> None:
        super().__init__()
        self.part = part
        self.down = Linear(model.d_model, part.d_state, bias=False)
        self.up = Linear(part.d_state, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        x_BTH = self.down(x_BTD)
        state = context.cache if isinstance(context.cache, RecurrentState) else None
        state_BH = torch.zeros_like(x_BTH[:, 0]) if state is None else state.read(context.past)[0].to(x_BTH.dtype)
        is_padding_BT = context.query_padding
        outputs = []
        for t in range(x_BTH.shape[1]):
            new_BH = DECAY * state_BH + x_BTH[:, t]
            state_BH = new_BH if is_padding_BT is None else torch.where(is_padding_BT[:, t, None], state_BH, new_BH)
            outputs.append(state_BH)
        if state is not None:
            state.write(state_BH)
        y_BTD: Tensor = self.up(tap("states", torch.stack(outputs, 1)))
        return y_BTD


def leaves(part: Ema, d: Symbols, x: SymbolicTensor, ctx: ForwardContext) -> Forward[SymbolicTensor]:
    down = yield from linear("down", x, d.d_state, "mixer", bias=False)
    yield StateLeaf("state", (d.d_state,))
    return (yield from linear("up", down.new("states"), d.d_model, "mixer", bias=False))


def cache(part: Ema, config: CacheConfig) -> RecurrentState:
    return RecurrentState(config.zero_state(part.d_state))


def sites(part: Ema, width: dict[str, int], crosses: bool) -> Iterator[Site]:
    yield Site(name="states", axes="BTH", description="the averages", sizes={"H": part.d_state})
    yield Site(name="out", axes="BTD", description="the output", sizes=width)


def as_it_is(part: Ema, spec: Spec, where: str) -> Ema:
    return part


RECORD = Variant(
    component="mixer",
    mixes_tokens=True,
    roles=("decoder",),
    resolve="tests.nn.ema:as_it_is",
    ledger="tests.nn.ema:leaves",
    module="tests.nn.ema:Module",
    query_module=None,
    cache="tests.nn.ema:cache",
    source_cache=None,
    sites="tests.nn.ema:sites",
    steps="tests.nn.ema:none",
    label="tests.nn.ema:none",
    heads=None,
    rank=None,
    split={},
    fast=None,
)


@pytest.fixture
def ema_spec(monkeypatch: pytest.MonkeyPatch) -> Spec:
    """A decoder of three layers: an average, then attention, side by side with an average, then an average alone."""
    monkeypatch.setitem(VARIANTS, Ema, RECORD)
    from archcalc.spec.attention import Attention
    from archcalc.spec.ffn import Gated

    norm = RMSNorm()
    mixer = Arm(name="mixer", part=Ema(d_state=D_STATE))
    attention = Arm(name="attn", part=Attention(n_heads=3, n_kv_heads=1, d_head=4))
    ffn = Branch(norm_in=norm, arms=(Arm(name="ffn", part=Gated(d_ff=7)),))
    patterns = ((mixer,), (attention, mixer), (mixer,))
    layers = tuple(Layer(branches=(Branch(norm_in=norm, arms=arms), ffn)) for arms in patterns)
    stack = Stack(runs=(Run(count=3, pattern=layers),), final_norm=norm)
    return resolve(Spec(name="averages", vocab_size=23, n_ctx=32, d_model=6, decoder=stack))
