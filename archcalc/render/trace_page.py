"""A trace as one self-contained HTML page that steps through it: nothing is fetched."""

from __future__ import annotations

from typing import Any

from archcalc.render.lang import Words, sentences


def as_html(data: dict[str, Any], say: Words) -> str:
    """The page of `archcalc.render.trace.data`."""
    from jinja2 import Environment, PackageLoader

    from archcalc.interp.demos import run

    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    template = environment.get_template("trace.html")
    last = next(reversed(data["tokens"].values()))
    subtitle = say("trace.subtitle", position=data["position"], token=repr(last[data["position"]]))
    told = {name: say(f"trace.{name}") for name, (english, _) in sentences("trace").items() if "{" not in english}
    return template.render(
        data=data,
        lang=say.lang,
        title=say("trace.title", model=data["model"]),
        subtitle=subtitle,
        functions={name: told[f"function.{name}"] for name in data["functions"]},
        words=told | {"token": say("common.token"), "probability": say("common.probability")},
        softmax=run("softmax", 0),
    )
