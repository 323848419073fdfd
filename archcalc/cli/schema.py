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
@click.option("-o", "--output", type=FILE, help="Write to this file instead.")
@lang
def command(output: str | None) -> None:
    """The JSON Schema of a spec, for editors that check and complete YAML as it is typed."""
    emit(lambda: Page("schema"), _described, "json", output=output)


def _described() -> dict[str, Any]:
    """The schema, each field described by what the dashboard's form says of it."""
    return json_schema({name: str(meaning) for name, meaning in MEANINGS.items()})
