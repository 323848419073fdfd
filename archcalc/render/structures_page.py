"""Several models side by side as one self-contained HTML page: diagrams, and the path of one token to step through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from archcalc.analysis.token_path import READS, TokenPaths, TokenStep, token_paths
from archcalc.render.diagram import drawing
from archcalc.render.diagram.shapes import Box, Plus, Shape, as_svg
from archcalc.render.html import table_as_html
from archcalc.render.structures import FAMILIES, NOTES, TITLE, step_tables, subtitle
from archcalc.spec import Spec
from archcalc.units import ranges
from archcalc.words import ENGLISH, Translator, in_context, msg

# Six tokens of an example; longer texts go on with numbers.
_SOURCE = msg("the cat sat on the mat")
_TARGET = msg("<start> le chat était assis sur")
_MASK = "[MASK]"

_TEXTS = {
    "previous": msg("Previous"),
    "next": msg("Next"),
    "step": in_context("of a trace", "step"),
    "hint": msg("Click a token to follow it, or a part of a diagram to go there. Arrow keys step through all models."),
    "source": msg("source"),
    "target": msg("target"),
    "text": msg("text"),
    "reads": msg("reads"),
    "out": msg("what comes out"),
    "layers": in_context("by number", "layers"),
    "window": msg("at most {n} away"),
    "number": msg("one number"),
    "all_steps": msg("All steps as a table"),
    **{f"reads.{name}": meaning for name, meaning in READS.items()},
}


def as_html(
    specs: Sequence[Spec], seq: int | None = None, position: int | None = None, say: Translator = ENGLISH
) -> str:
    """Return the page in a language; raises as `token_paths` does."""
    from jinja2 import Environment, PackageLoader

    result = token_paths(specs, seq, position)
    drawings = [drawing(spec, say) for spec in specs]
    models = [
        _model(result, i, spec, shapes, say) for i, (spec, (shapes, *_)) in enumerate(zip(specs, drawings, strict=True))
    ]
    svgs = [
        Markup(as_svg(*parts, say(msg("{name}: diagram of the layers", name=spec.label))))  # noqa: S704 - our own
        for spec, parts in zip(specs, drawings, strict=True)
    ]
    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    return environment.get_template("structures.html").render(
        models=models,
        svgs=svgs,
        tables=[Markup(table_as_html(say.within(one))) for one in step_tables(result)],  # noqa: S704 - our own
        position=result.position,
        lang=say.lang,
        title=say(TITLE),
        subtitle=say(subtitle(result)),
        notes=[say(note) for note in NOTES],
        texts={name: say(_filled(message)) for name, message in _TEXTS.items()},
    )


def _filled(message: Any) -> Any:
    return message.fill(n="{n}") if "{n}" in message.text else message


def _model(result: TokenPaths, index: int, spec: Spec, shapes: Sequence[Shape], say: Translator) -> dict[str, Any]:
    """Return what the script shows of a model."""
    model = result.models[index]
    steps = [step for step in result.steps if step.model == model.name]
    return {
        "name": model.name,
        "label": model.label,
        "family": say(FAMILIES[model.family]),
        "output": say(model.output),
        "texts": [
            [one.role, _tokens(result.n_tokens, say(_TARGET if one.is_causal and one.is_pair else _SOURCE))]
            for one in spec.stacks
        ],
        "mask": _MASK if model.family == "encoder" and spec.predicts_tokens else None,
        "stages": list(_stages(steps, shapes, say)),
    }


def _name(step: TokenStep, box: str) -> str:
    """Return the name of a step within its part, or its last name."""
    return step.path.removeprefix(f"{box}.") if step.path.startswith(f"{box}.") else step.path.rpartition(".")[2]


def _tokens(n: int, text: str) -> list[str]:
    words = text.split()
    return [words[i] if i < len(words) else f"·{i}" for i in range(n)]


def _stages(steps: Sequence[TokenStep], shapes: Sequence[Shape], say: Translator) -> Iterator[dict[str, Any]]:
    """Yield the parts of the diagram in the order of the path, each with its steps."""
    titles = {shape.text.path: shape.text.title for shape in shapes if isinstance(shape, Box)}
    titles |= {shape.path: say(msg("sum on the residual stream")) for shape in shapes if isinstance(shape, Plus)}
    boxes: list[str] = []
    for step in steps:
        # A state that no part computes, such as the stream after a norm, belongs to the part before it.
        is_drawn = step.box in titles or not boxes or step.path.endswith("ids")
        boxes.append(step.box if is_drawn else boxes[-1])
    for box, pairs in groupby(zip(boxes, steps, strict=True), lambda pair: pair[0]):
        own = [step for _, step in pairs]
        reader = max(own, key=lambda step: step.reads != "token")
        yield {
            "box": box,
            "title": titles.get(box) or say(own[0].description),
            "role": own[0].role,
            "layers": ranges(own[0].layer_indices) if own[0].layer_indices else "",
            "reads": reader.reads,
            "window": reader.window,
            "steps": [
                {"name": _name(step, box), "axes": step.axes, "shape": step.shape, "what": say(step.description)}
                for step in own
            ],
        }
