"""`archcalc schema`."""

from __future__ import annotations

from typing import Any

import click

from archcalc.cli.language import emit, lang
from archcalc.cli.options import FILE
from archcalc.render.meanings import MEANINGS
from archcalc.render.page import Page
from archcalc.spec.schema import json_schema


@click.command("schema")
@click.option("-o", "--output", type=FILE, help="Write to this file instead of standard output.")
@lang
def command(output: str | None) -> None:
    """Print the JSON Schema of a spec, for editors that validate and complete YAML."""
    emit(lambda: Page("schema"), _schema, "json", output=output)


def _schema() -> dict[str, Any]:
    """Return the schema with the descriptions of the dashboard's form."""
    return json_schema({name: str(meaning) for name, meaning in MEANINGS.items()})
