"""Changes of a spec as the command line has them: 'n_layers=48', the value as YAML writes it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from archcalc.errors import InputError, shown
from archcalc.spec.document import Document
from archcalc.spec.yaml_reader import FLOAT, parse
from archcalc.words import msg


def changes(settings: tuple[str, ...]) -> Document:
    """'n_layers=48' … as a mapping; values are read as YAML reads them."""
    found: Document = {}
    for setting in settings:
        field, sign, text = setting.partition("=")
        field = field.strip()
        if not sign or not field:
            raise InputError(
                msg("found {setting}", setting=shown(setting)), where="settings", allowed=msg("FIELD=VALUE")
            )
        try:
            found[field] = parse(text.encode("utf-8", "surrogateescape")) if text.strip() else ""
        except InputError as error:
            raise InputError(error.problem, where=f"settings {field}", allowed=error.allowed) from None
    return found


def as_settings(differences: Document) -> tuple[str, ...]:
    """What `changes` reads as these differences again, a string each.

    >>> as_settings({"n_layers": 48, "decoder.final_norm": {"kind": "rmsnorm", "eps": 1e-5}})
    ('n_layers=48', 'decoder.final_norm={kind: rmsnorm, eps: 1.0e-05}')
    """
    return tuple(f"{field}={inline_yaml(value)}" for field, value in differences.items())


def inline_yaml(value: Any) -> str:
    """A value as YAML writes it on one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return re.sub(r"\n(\.\.\.\n)?$", "", text)


class _Dumper(yaml.SafeDumper):
    """Repeats what stands twice, and puts text that would be read as a number in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """What has breaks or control characters is escaped within quotes: folded, some would not come back."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))
