"""Demonstrations as pages: what to see in a sentence or two, and the numbers that show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from archcalc.interp.demos.results import (
    TITLES,
    CostDemo,
    Demo,
    DemoList,
    DemoTitle,
    DropoutDemo,
    DropoutEntry,
    PositionsCase,
    PositionsDemo,
    SoftmaxDemo,
    SoftmaxTemperature,
    SoftmaxToken,
    StepToken,
    TokenCost,
    TrainingStepDemo,
)
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg

EXPLANATIONS = {
    "softmax": msg(
        "Softmax makes probabilities of any numbers: each in (0, 1), their sum 1, their order kept, gaps widened. "
        "Argmax takes the largest; sampling takes each as often as its probability says. A low temperature comes near "
        "to argmax, a high one to even odds. Of two logits softmax is the logistic function of their difference."
    ),
    "dropout": msg(
        "In training a value is dropped with probability p, and what stays is scaled by 1/(1 − p): no draw is the "
        "vector itself, but their mean is. So nothing has to be scaled at inference, where dropout does nothing."
    ),
    "positions": msg(
        "Attention is a weighted sum over a set. Without positions, swapping the two tokens before the last one "
        "changes nothing at all after it; with them it does. A causal mask tells the order too, but only from the "
        "second layer on: there the first token has seen one token, and the second two."
    ),
    "step": msg(
        "The gradient of the loss with respect to the logits is the predicted probabilities minus the target, p − y. "
        "From it follow the gradients of the head; one step against them raises the right token's probability, and the "
        "loss falls. Autograd finds the same."
    ),
    "cost": msg(
        "The feed-forward network costs the same for every token. Attention's projections do too, but its scores and "
        "values meet every token of the text: what a token costs grows with the length, what the text costs with its "
        "square, and attention overtakes."
    ),
}
_CROSSINGS = {
    "crossing": msg("at {n:,} tokens, every key multiplied"),
    "crossing_causal": msg("at {n:,} tokens, only attended pairs counted"),
}


def list_view(result: DemoList, options: None = None) -> Page:
    """Return the page of all demonstrations by name."""
    subtitle = msg("archcalc demo NAME, each computed as it is shown")
    return Page(msg("Demonstrations"), subtitle, [table("", result.demos, DemoTitle)])


def view(result: Demo, options: None = None) -> Page:
    """Return the page of one demonstration."""
    seed = getattr(result, "seed", None)
    subtitle = (
        msg("summed from the ledger: exact")
        if seed is None
        else msg("computed just now by archcalc's own modules, in float64, seed {seed}: measured", seed=seed)
    )
    explanation = Text("", [EXPLANATIONS[result.name]])
    return Page(TITLES[result.name], subtitle, [explanation, *_BLOCKS[result.name](result)])


def _softmax(result: SoftmaxDemo) -> list[Block]:
    terms = ((f"{one.exp:.4f}/{result.sum:.4f}", one.probability) for one in result.tokens)
    equations = ", ".join(f"{term} = {p:.3f}" for term, p in terms)
    title = msg("Stage by stage; {n:,} draws", n=result.n_draws)
    return [
        table(title, result.tokens, SoftmaxToken, total=msg("sum"), without={"draws"}),
        Text("", [msg("softmax(z) = exp(z) / sum of exp: {equations}", equations=equations), _logistic(result)]),
        table(msg("Temperature: softmax(z / T)"), result.temperatures, SoftmaxTemperature),
    ]


def _logistic(result: SoftmaxDemo) -> Message:
    (a, b, *_), (p, q) = (one.logit for one in result.tokens), result.logistic.softmax
    return msg(
        "softmax({a}, {b}) = {p:.4f}, {q:.4f}; logistic({a} − {b}) = 1 / (1 + exp(−{x})) = {logistic:.4f}",
        a=a,
        b=b,
        p=p,
        q=q,
        x=result.logistic.difference,
        logistic=result.logistic.logistic,
    )


def _dropout(result: DropoutDemo) -> list[Block]:
    title = msg(
        "A feed-forward network's output on its way into the residual stream, p = {p}, 1/(1 − p) = {scale:.4f}",
        p=result.p,
        scale=result.scale,
    )
    lines = [
        msg("x is kept with probability 1 − p: the expectation is (1 − p) · x / (1 − p) = x"),
        msg("dropped in all {n:,} draws: {share:.2f} %", n=result.n_draws, share=100 * result.share_dropped),
    ]
    return [table(title, result.entries, DropoutEntry), Text("", lines)]


def _positions(result: PositionsDemo) -> list[Block]:
    in_order, swapped = (" ".join(map(str, ids)) for ids in (result.in_order, result.swapped))
    title = msg(
        "The first logit after {a} and after {b}, and the largest difference of them all", a=in_order, b=swapped
    )
    return [table(title, result.cases, PositionsCase)]


def _step(result: TrainingStepDemo) -> list[Block]:
    """Return the numbers, then where each comes from."""
    target, rate = result.tokens[result.target], f"{result.learning_rate:g}"
    prompt = " ".join(result.tokens[token].token for token in result.prompt)
    lines = [
        msg("h, the last state: {h}", h="[" + ", ".join(f"{value:.4f}" for value in result.state) + "]"),
        msg(
            "loss = −ln p({target}) = −ln {p:.4f} = {loss:.4f}",
            target=target.token,
            p=target.probability,
            loss=result.loss,
        ),
        msg("∂loss/∂z = p − y; ∂loss/∂W = (p − y)·hᵀ; ∂loss/∂b = p − y; ∂loss/∂h = Wᵀ·(p − y)"),
        msg(
            "largest difference from autograd's: z {logits:.1e}, W {weight:.1e}, b {bias:.1e}, h {state:.1e}",
            **structs.asdict(result.differences),
        ),
        msg("W ← W − {rate} · ∂loss/∂W, b ← b − {rate} · ∂loss/∂b; learning rate {rate}", rate=rate),
        msg(
            "new loss = −ln {p:.4f} = {loss:.4f}; the module says {module:.4f}",
            p=target.new_probability,
            loss=result.new_loss,
            module=result.new_module_loss,
        ),
        msg(
            "changed by {change:.4f}; −{rate} · |gradient|² = {expected:.4f} if the loss were a straight line",
            change=result.new_loss - result.loss,
            rate=rate,
            expected=result.expected_change,
        ),
    ]
    title = msg("{prompt} → {target}: before the step, and after it", prompt=prompt, target=target.token)
    return [table(title, result.tokens, StepToken), Text(msg("The step"), lines)]


def _cost(result: CostDemo) -> list[Block]:
    crossings = {name: getattr(result, name) for name in _CROSSINGS}
    lines = [_CROSSINGS[name].fill(n=n) for name, n in crossings.items() if n is not None]
    title = msg("{model}: forward FLOPs of a token, by the length of the prefill", model=result.label)
    return [table(title, result.points, TokenCost), Text(msg("Where attention overtakes"), lines)]


_BLOCKS: dict[str, Callable[[Any], list[Block]]] = {
    "softmax": _softmax,
    "dropout": _dropout,
    "positions": _positions,
    "step": _step,
    "cost": _cost,
}
