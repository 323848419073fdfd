"""Values of a spec as YAML on one line, as `--set` reads them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from archcalc.spec.document import Document
from archcalc.spec.yaml_loader import FLOAT


def as_settings(differences: Document) -> tuple[str, ...]:
    """Return the texts that `set_options.changes` reads as these differences.

    >>> as_settings({"n_layers": 48, "decoder.final_norm": {"kind": "rmsnorm", "eps": 1e-5}})
    ('n_layers=48', 'decoder.final_norm={kind: rmsnorm, eps: 1.0e-05}')
    """
    return tuple(f"{field}={inline_yaml(value)}" for field, value in differences.items())


def inline_yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return re.sub(r"\n(\.\.\.\n)?$", "", text)


class _Dumper(yaml.SafeDumper):
    """Writes repeated values in full, and quotes text that looks like a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote and escape text with line breaks or control characters, some of which folding would lose."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))
