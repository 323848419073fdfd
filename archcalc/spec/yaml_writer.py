"""A spec as the text of a YAML file."""

from __future__ import annotations

from archcalc.spec.document import encode
from archcalc.spec.model import Spec


def as_yaml(spec: Spec) -> str:
    """YAML that `archcalc.load` reads as the same spec; every size that was resolved is in it."""
    import yaml

    text: str = yaml.safe_dump(encode(spec), sort_keys=False, allow_unicode=True)
    return text
