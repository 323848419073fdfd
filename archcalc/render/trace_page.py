"""A trace as one self-contained HTML page that steps through it; it loads nothing from the network."""

from __future__ import annotations

from archcalc.interp.trace.glossary import STEP_KINDS
from archcalc.interp.trace.result import VERDICTS, ForwardTrace
from archcalc.render.trace import subtitle, title
from archcalc.results import plain
from archcalc.words import Translator, in_context, msg

# The texts of the page, by their names in the template.
_TEXTS = {
    "step": in_context("of a trace", "step"),
    "previous": msg("Previous"),
    "next": msg("Next"),
    "keys": msg("arrow keys step through"),
    "published_values": msg("Published values"),
    "published": msg("published"),
    "computed": msg("computed"),
    "verdict": msg("verdict"),
    "softmax": msg("Softmax, on three numbers"),
    "functions": msg("Functions"),
    "masked": msg("hidden by the mask"),
    "token": msg("token"),
    "probability": msg("probability"),
    **{f"kind.{kind}": meaning for kind, meaning in STEP_KINDS.items()},
    **{f"verdict.{verdict}": meaning for verdict, meaning in VERDICTS.items()},
}


def as_html(result: ForwardTrace, say: Translator) -> str:
    """Return the page in a language."""
    from jinja2 import Environment, PackageLoader

    from archcalc.interp.demos import run

    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    return environment.get_template("trace.html").render(
        result=plain(result),
        lang=say.lang,
        title=say(title(result)),
        subtitle=say(subtitle(result)),
        functions={row.call: say(row.meaning) for row in result.functions},
        texts={name: say(message) for name, message in _TEXTS.items()},
        softmax=run("softmax", 0),
    )
