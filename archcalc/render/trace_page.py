"""A trace as one self-contained HTML page that steps through it: nothing is fetched."""

from __future__ import annotations

from typing import Any

from archcalc.render.trace_words import FUNCTIONS, STEP_KINDS
from archcalc.words import Translator, in_context, msg

# What the page says, by the names that the template has for it.
_WORDS = {
    "step": in_context("of a trace", "step"),
    "back": msg("back"),
    "forward": in_context("next", "on"),
    "keys": msg("arrow keys step through"),
    "printed": msg("As texts print it"),
    "published": msg("printed"),
    "found": msg("computed"),
    "verdict": msg("verdict"),
    "so": msg("as printed"),
    "not_so": msg("not so"),
    "softmax": msg("Softmax, on three numbers"),
    "functions": msg("Functions"),
    "mask": msg("hidden by the mask"),
    **{f"kind.{kind}": meaning for kind, meaning in STEP_KINDS.items()},
}


def as_html(data: dict[str, Any], say: Translator) -> str:
    """The page of `archcalc.render.trace.data`."""
    from jinja2 import Environment, PackageLoader

    from archcalc.interp.demos import run

    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    template = environment.get_template("trace.html")
    last = next(reversed(data["tokens"].values()))
    subtitle = say(
        msg(
            "values at place {position} ({token}), measured; formulas exact",
            position=data["position"],
            token=repr(last[data["position"]]),
        )
    )
    told = {name: say(message) for name, message in _WORDS.items()}
    return template.render(
        data=data,
        lang=say.lang,
        title=say(msg("{model}: a forward pass step by step", model=data["model"])),
        subtitle=subtitle,
        functions={name: say(FUNCTIONS[name].meaning) for name in data["functions"]},
        words=told | {"token": say(msg("token")), "probability": say(msg("probability"))},
        softmax=run("softmax", 0),
    )
