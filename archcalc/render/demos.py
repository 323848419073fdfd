"""Demonstrations as pages: what to see in a sentence or two, and the numbers that show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from archcalc.render.lang import ENGLISH, Words
from archcalc.render.page import Block, Column, Page, Table, Text


def listing(names: Iterable[str], say: Words = ENGLISH) -> Page:
    """All demonstrations by name."""
    rows = [(name, say(f"demo.{name}.title")) for name in names]
    table = Table("", (Column(say("demo.name")), Column(say("demo.shows"))), rows)
    return Page(say("demo.list"), say("demo.list_subtitle"), [table], say.lang)


def listing_data(names: Iterable[str], say: Words = ENGLISH) -> dict[str, Any]:
    """The same as plain data."""
    return {"demos": [{"name": name, "title": say(f"demo.{name}.title")} for name in names]}


def page(name: str, found: Any, say: Words = ENGLISH) -> Page:
    """One demonstration: `found` is what it came to."""
    seed = getattr(found, "seed", None)
    subtitle = say("demo.exact") if seed is None else say("demo.seeded", seed=seed)
    blocks = _BLOCKS[name](found, say)
    return Page(say(f"demo.{name}.title"), subtitle, [Text("", [say(f"demo.{name}.see")]), *blocks], say.lang)


def data(name: str, found: Any, say: Words = ENGLISH) -> dict[str, Any]:
    """The same as plain data: its keys are the same in any language."""
    kind = "measured" if hasattr(found, "seed") else "exact"
    told = {"demo": name, "title": say(f"demo.{name}.title"), "see": say(f"demo.{name}.see"), "kind": kind}
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return told | plain


def _softmax(found: Any, say: Words) -> list[Block]:
    columns = (
        Column(say("common.token")),
        Column("z", "decimal"),
        Column("exp(z)", "decimal"),
        Column("softmax(z)", "decimal"),
        Column("", "bar"),
        Column("argmax", "count"),
        Column(say("demo.softmax.drawn", n=found.n_draws), "decimal"),
    )
    told = zip(found.logits, found.exps, found.probabilities, found.argmax, found.frequencies, strict=True)
    rows: list[tuple[Any, ...]] = [(str(i), z, e, p, p, int(most), f) for i, (z, e, p, most, f) in enumerate(told, 1)]
    sums = (sum(found.probabilities), None, int(sum(found.argmax)), sum(found.frequencies))
    rows.append((say("demo.softmax.sum"), None, found.sum, *sums))
    by_hand = ", ".join(
        f"{e:.4f}/{found.sum:.4f} = {p:.3f}" for e, p in zip(found.exps, found.probabilities, strict=True)
    )
    return [
        Table(say("demo.softmax.stages"), columns, rows, n_sums=1),
        Text("", [say("demo.softmax.by_hand", equations=by_hand), _logistic(found, say)]),
        _temperatures(found, say),
    ]


def _temperatures(found: Any, say: Words) -> Table:
    tokens = range(1, len(found.logits) + 1)
    columns = (
        Column("T"),
        *(Column(say("demo.softmax.p", n=n), "decimal") for n in tokens),
        Column(say("demo.softmax.entropy"), "decimal"),
    )
    rows = [(f"{one.temperature:g}", *one.probabilities, one.entropy_nats) for one in found.temperatures]
    return Table(say("demo.softmax.temperature"), columns, rows)


def _logistic(found: Any, say: Words) -> str:
    (a, b, *_), told = found.logits, found.logistic
    p, q = told.softmax
    return say("demo.softmax.logistic_formula", a=a, b=b, p=p, q=q, x=told.difference, logistic=told.logistic)


def _dropout(found: Any, say: Words) -> list[Block]:
    columns = (
        Column(say("demo.dropout.entry")),
        Column(say("demo.dropout.inference"), "decimal"),
        *(Column(say("demo.dropout.training", n=n), "decimal") for n in range(1, len(found.training) + 1)),
        Column(say("demo.dropout.mean", n=found.n_draws), "decimal"),
        Column(say("demo.dropout.deviation"), "decimal"),
    )
    told = zip(found.inference, *found.training, found.mean, found.deviation, strict=True)
    rows = [(f"x{i}", *values) for i, values in enumerate(told, 1)]
    title = say("demo.dropout.table", p=found.p, scale=found.scale)
    share = say("demo.dropout.share", share=100 * found.share_dropped)
    return [Table(title, columns, rows), Text("", [say("demo.dropout.formula"), share])]


def _positions(found: Any, say: Words) -> list[Block]:
    orders = [" ".join(map(str, ids)) for ids in (found.in_order, found.swapped)]
    columns = (
        Column(say("demo.positions.model")),
        Column(say("demo.positions.layers"), "count"),
        *(Column(ids, "decimal") for ids in orders),
        Column(say("demo.positions.difference"), "decimal"),
        Column(say("demo.positions.same")),
    )
    rows = [
        (
            say(f"demo.positions.case.{case.name}"),
            case.n_layers,
            case.in_order[0],
            case.swapped[0],
            case.difference,
            say("demo.positions.yes" if case.same else "demo.positions.no"),
        )
        for case in found.cases
    ]
    return [Table(say("demo.positions.table", a=orders[0], b=orders[1]), columns, rows)]


def _step(found: Any, say: Words) -> list[Block]:
    """Numbers first, then where each comes from."""
    columns = (
        Column(say("common.token")),
        *(Column(name, "decimal") for name in ("z", "p", "y", "p − y", say("demo.step.autograd"))),
        Column(say("demo.step.new_z"), "decimal"),
        Column(say("demo.step.new_p"), "decimal"),
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
        say("demo.step.state", h=state),
        say("demo.step.loss", target=target, p=p, loss=found.loss),
        say("demo.step.gradients"),
        say("demo.step.apart", **msgspec.structs.asdict(found.differences)),
        say("demo.step.update", rate=rate),
        say("demo.step.new_loss", p=new_p, loss=found.new_loss, module=found.new_module_loss),
        say("demo.step.expected", change=found.new_loss - found.loss, rate=rate, expected=found.expected_change),
    ]
    return [
        Table(say("demo.step.table", prompt=prompt, target=target), columns, rows),
        Text(say("demo.step.steps"), lines),
    ]


def _cost(found: Any, say: Words) -> list[Block]:
    columns = (
        Column(say("demo.cost.tokens"), "count"),
        *(Column(say(f"demo.cost.{part}"), "count") for part in ("attention", "ffn")),
        Column(say("demo.cost.share"), "percent"),
        Column("", "bar"),
    )
    rows = []
    for point in found.points:
        share = point.attention_flops / (point.attention_flops + point.ffn_flops)
        rows.append((point.tokens, point.attention_flops, point.ffn_flops, share, share))
    crossings = {name: getattr(found, name) for name in ("crossing", "crossing_causal")}
    lines = [say(f"demo.cost.{name}", n=n) for name, n in crossings.items() if n is not None]
    return [Table(say("demo.cost.table", model=found.model), columns, rows), Text(say("demo.cost.crossings"), lines)]


_BLOCKS: dict[str, Callable[[Any, Words], list[Block]]] = {
    "softmax": _softmax,
    "dropout": _dropout,
    "positions": _positions,
    "step": _step,
    "cost": _cost,
}
