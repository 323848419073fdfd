"""Changes of a spec as text: 'n_layers=48', with the value in YAML."""

from __future__ import annotations

from archcalc.errors import InputError, shown
from archcalc.spec.document import Document
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg


def changes(settings: tuple[str, ...]) -> Document:
    """Return the changes of texts such as 'n_layers=48'; values are YAML."""
    values: Document = {}
    for setting in settings:
        field, sign, text = setting.partition("=")
        field = field.strip()
        if not sign or not field:
            raise InputError(msg("found {found}", found=shown(setting)), where="settings", allowed="FIELD=VALUE")
        try:
            values[field] = parse(text.encode("utf-8", "surrogateescape")) if text.strip() else ""
        except InputError as error:
            raise error.at(f"settings {field}") from None
    return values
