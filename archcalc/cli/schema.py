"""`archcalc schema`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from archcalc.cli.language import emit, lang
from archcalc.cli.options import FILE
from archcalc.render.meanings import MEANINGS
from archcalc.render.page import Page
from archcalc.results import json_schema
from archcalc.spec import schema as spec_schema

# What each command prints as JSON.
RESULTS: Final = {
    "memory": "archcalc.analysis.inference_memory:InferenceMemory",
    "patch": "archcalc.interp.patch.result:ActivationPatching",
    "patchscope": "archcalc.interp.patchscope.result:PatchscopeResult",
}


@click.command("schema")
@click.argument("result", type=click.Choice(["spec", *RESULTS]), default="spec")
@click.option("-o", "--output", type=FILE, help="Write to this file instead of standard output.")
@lang
def command(result: str, output: str | None) -> None:
    """Print the JSON Schema of a spec, for editors that validate and complete YAML.

    RESULT chooses the JSON that a command prints instead: `archcalc schema memory` is that of
    `archcalc memory --format json`.
    """
    emit(lambda: Page("schema"), lambda: schema(result), "json", output=output)


def schema(result: str) -> dict[str, Any]:
    """Return the schema of a spec or of a command's JSON; fields are described as in the dashboard and in tables."""
    if result == "spec":
        return spec_schema.json_schema({name: str(meaning) for name, meaning in MEANINGS.items()})
    module, name = RESULTS[result].split(":")
    return json_schema(getattr(import_module(module), name))
