"""The JSON Schema of spec files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from archcalc.spec.model import Spec


def json_schema(meanings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of spec files: a whole Spec, or a base and what differs from it.

    `meanings` are descriptions of fields by 'Part.field'.
    """
    (whole,), definitions = msgspec.json.schema_components([Spec], ref_template="#/$defs/{name}")
    for name, meaning in (meanings or {}).items():
        part, _, field = name.partition(".")
        if field in (fields := definitions[part]["properties"]):
            fields[field] = {"description": meaning} | fields[field]
    definitions["Spec"]["properties"] |= definitions["About"]["properties"]  # which may also stand at the top level
    based = {
        "type": "object",
        "description": "Another spec, by name or path, and the fields that differ: by name, or by the tail of a path.",
        "properties": {"base": {"type": "string"}},
        "required": ["base"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "archcalc spec",
        "if": {"required": ["base"]},
        "then": based,
        "else": whole,
        "$defs": definitions,
    }
