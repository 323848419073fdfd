"""Demonstrations as pages: what to see in a sentence or two, and the numbers that show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import ENGLISH, Translator, msg

TITLES = {
    "softmax": msg("From logits to a choice"),
    "dropout": msg("Dropout in training and at inference"),
    "positions": msg("Without positions, order is lost"),
    "step": msg("One training step by hand"),
    "cost": msg("Cost against length"),
}
WHAT_TO_SEE = {
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
        "The gradient of the loss with respect to the logits is what the model said less what is right, p − y. From "
        "it follow the gradients of the head; one step against them raises the right token's probability, and the "
        "loss falls. Autograd finds the same."
    ),
    "cost": msg(
        "The feed-forward network costs the same for every token. Attention's projections do too, but its scores and "
        "values meet every token of the text: what a token costs grows with the length, what the text costs with its "
        "square, and attention overtakes."
    ),
}
_CASES = {
    "none": msg("decoder without positions"),
    "learned": msg("… with learned positions"),
    "rope": msg("… with rotary positions"),
    "encoder": msg("encoder without positions"),
    "mask": msg("decoder without positions"),
}
_CROSSINGS = {
    "crossing": msg("at {n:,} tokens, every key multiplied"),
    "crossing_causal": msg("at {n:,} tokens, only attended pairs counted"),
}


def listing(names: Iterable[str], say: Translator = ENGLISH) -> Page:
    """All demonstrations by name."""
    rows = [(name, say(TITLES[name])) for name in names]
    table = Table("", (Column(say(msg("name"))), Column(say(msg("what it shows")))), rows)
    return Page(
        say(msg("Demonstrations")), say(msg("archcalc demo NAME, each computed as it is shown")), [table], say.lang
    )


def listing_data(names: Iterable[str], say: Translator = ENGLISH) -> dict[str, Any]:
    """The same as plain data."""
    return {"demos": [{"name": name, "title": say(TITLES[name])} for name in names]}


def page(name: str, found: Any, say: Translator = ENGLISH) -> Page:
    """One demonstration: `found` is what it came to."""
    seed = getattr(found, "seed", None)
    subtitle = (
        say(msg("summed from the ledger: exact"))
        if seed is None
        else say(msg("computed just now by archcalc's own modules, in float64, seed {seed}: measured", seed=seed))
    )
    blocks = _BLOCKS[name](found, say)
    return Page(say(TITLES[name]), subtitle, [Text("", [say(WHAT_TO_SEE[name])]), *blocks], say.lang)


def data(name: str, found: Any, say: Translator = ENGLISH) -> dict[str, Any]:
    """The same as plain data: its keys are the same in any language."""
    kind = "measured" if hasattr(found, "seed") else "exact"
    told = {"demo": name, "title": say(TITLES[name]), "see": say(WHAT_TO_SEE[name]), "kind": kind}
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return told | plain


def _softmax(found: Any, say: Translator) -> list[Block]:
    columns = (
        Column(say(msg("token"))),
        Column("z", "decimal"),
        Column("exp(z)", "decimal"),
        Column("softmax(z)", "decimal"),
        Column("", "bar"),
        Column("argmax", "count"),
        Column(say(msg("drawn, of {n:,}", n=found.n_draws)), "decimal"),
    )
    told = zip(found.logits, found.exps, found.probabilities, found.argmax, found.frequencies, strict=True)
    rows: list[tuple[Any, ...]] = [(str(i), z, e, p, p, int(most), f) for i, (z, e, p, most, f) in enumerate(told, 1)]
    sums = (sum(found.probabilities), None, int(sum(found.argmax)), sum(found.frequencies))
    rows.append((say(msg("sum")), None, found.sum, *sums))
    by_hand = ", ".join(
        f"{e:.4f}/{found.sum:.4f} = {p:.3f}" for e, p in zip(found.exps, found.probabilities, strict=True)
    )
    return [
        Table(say(msg("Stage by stage")), columns, rows, n_sums=1),
        Text("", [say(msg("softmax(z) = exp(z) / sum of exp: {equations}", equations=by_hand)), _logistic(found, say)]),
        _temperatures(found, say),
    ]


def _temperatures(found: Any, say: Translator) -> Table:
    tokens = range(1, len(found.logits) + 1)
    columns = (
        Column("T"),
        *(Column(say(msg("p of token {n}", n=n)), "decimal") for n in tokens),
        Column(say(msg("entropy, nats")), "decimal"),
    )
    rows = [(f"{one.temperature:g}", *one.probabilities, one.entropy_nats) for one in found.temperatures]
    return Table(say(msg("Temperature: softmax(z / T)")), columns, rows)


def _logistic(found: Any, say: Translator) -> str:
    (a, b, *_), told = found.logits, found.logistic
    p, q = told.softmax
    return say(
        msg(
            "softmax({a}, {b}) = {p:.4f}, {q:.4f}; logistic({a} − {b}) = 1 / (1 + exp(−{x})) = {logistic:.4f}",
            a=a,
            b=b,
            p=p,
            q=q,
            x=told.difference,
            logistic=told.logistic,
        )
    )


def _dropout(found: Any, say: Translator) -> list[Block]:
    columns = (
        Column(say(msg("entry"))),
        Column(say(msg("inference")), "decimal"),
        *(Column(say(msg("train {n}", n=n)), "decimal") for n in range(1, len(found.training) + 1)),
        Column(say(msg("mean of {n:,}", n=found.n_draws)), "decimal"),
        Column(say(msg("± by theory")), "decimal"),
    )
    told = zip(found.inference, *found.training, found.mean, found.deviation, strict=True)
    rows = [(f"x{i}", *values) for i, values in enumerate(told, 1)]
    title = say(
        msg(
            "A feed-forward network's output on its way into the residual stream, p = {p}, 1/(1 − p) = {scale:.4f}",
            p=found.p,
            scale=found.scale,
        )
    )
    share = say(msg("dropped in all draws: {share:.2f} %", share=100 * found.share_dropped))
    return [
        Table(title, columns, rows),
        Text("", [say(msg("x is kept with probability 1 − p: the expectation is (1 − p) · x / (1 − p) = x")), share]),
    ]


def _positions(found: Any, say: Translator) -> list[Block]:
    orders = [" ".join(map(str, ids)) for ids in (found.in_order, found.swapped)]
    columns = (
        Column(say(msg("model"))),
        Column(say(msg("layers")), "count"),
        *(Column(ids, "decimal") for ids in orders),
        Column(say(msg("largest difference")), "decimal"),
        Column(say(msg("same"))),
    )
    rows = [
        (
            say(_CASES[case.name]),
            case.n_layers,
            case.in_order[0],
            case.swapped[0],
            case.difference,
            say(msg("yes") if case.same else msg("no")),
        )
        for case in found.cases
    ]
    return [
        Table(
            say(
                msg(
                    "The first logit after {a} and after {b}, and the largest difference of them all",
                    a=orders[0],
                    b=orders[1],
                )
            ),
            columns,
            rows,
        )
    ]


def _step(found: Any, say: Translator) -> list[Block]:
    """Numbers first, then where each comes from."""
    columns = (
        Column(say(msg("token"))),
        *(Column(name, "decimal") for name in ("z", "p", "y", "p − y", say(msg("autograd")))),
        Column(say(msg("z after")), "decimal"),
        Column(say(msg("p after")), "decimal"),
    )
    right = [float(token == found.target) for token in range(len(found.tokens))]
    told = (found.tokens, found.logits, found.probabilities, right, found.gradient, found.autograd)
    rows = list(zip(*told, found.new_logits, found.new_probabilities, strict=True))
    prompt, target = " ".join(found.tokens[token] for token in found.prompt), found.tokens[found.target]
    rate, p, new_p = (
        f"{found.learning_rate:g}",
        *(row[found.target] for row in (found.probabilities, found.new_probabilities)),
    )
    state = "[" + ", ".join(f"{value:.4f}" for value in found.state) + "]"
    lines = [
        say(msg("h, the last state: {h}", h=state)),
        say(msg("loss = −ln p({target}) = −ln {p:.4f} = {loss:.4f}", target=target, p=p, loss=found.loss)),
        say(msg("∂loss/∂z = p − y; ∂loss/∂W = (p − y)·hᵀ; ∂loss/∂b = p − y; ∂loss/∂h = Wᵀ·(p − y)")),
        say(
            msg(
                "largest difference from autograd's: z {logits:.1e}, W {weight:.1e}, b {bias:.1e}, h {state:.1e}",
                **msgspec.structs.asdict(found.differences),
            )
        ),
        say(msg("W ← W − {rate} · ∂loss/∂W, b ← b − {rate} · ∂loss/∂b; learning rate {rate}", rate=rate)),
        say(
            msg(
                "new loss = −ln {p:.4f} = {loss:.4f}; the module says {module:.4f}",
                p=new_p,
                loss=found.new_loss,
                module=found.new_module_loss,
            )
        ),
        say(
            msg(
                "changed by {change:.4f}; −{rate} · |gradient|² = {expected:.4f} if the loss were a straight line",
                change=found.new_loss - found.loss,
                rate=rate,
                expected=found.expected_change,
            )
        ),
    ]
    return [
        Table(
            say(msg("{prompt} → {target}: before the step, and after it", prompt=prompt, target=target)), columns, rows
        ),
        Text(say(msg("The step")), lines),
    ]


def _cost(found: Any, say: Translator) -> list[Block]:
    columns = (
        Column(say(msg("tokens")), "count"),
        Column(say(msg("attention")), "count"),
        Column(say(msg("feed-forward")), "count"),
        Column(say(msg("attention's share")), "percent"),
        Column("", "bar"),
    )
    rows = []
    for point in found.points:
        share = point.attention_flops / (point.attention_flops + point.ffn_flops)
        rows.append((point.tokens, point.attention_flops, point.ffn_flops, share, share))
    crossings = {name: getattr(found, name) for name in ("crossing", "crossing_causal")}
    lines = [say(_CROSSINGS[name].fill(n=n)) for name, n in crossings.items() if n is not None]
    return [
        Table(
            say(msg("{model}: forward FLOPs of a token, by the length of the prefill", model=found.model)),
            columns,
            rows,
        ),
        Text(say(msg("Where attention overtakes")), lines),
    ]


_BLOCKS: dict[str, Callable[[Any, Translator], list[Block]]] = {
    "softmax": _softmax,
    "dropout": _dropout,
    "positions": _positions,
    "step": _step,
    "cost": _cost,
}
