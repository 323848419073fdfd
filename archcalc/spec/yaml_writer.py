"""Write specs as YAML."""

from __future__ import annotations

from archcalc.spec.document import encode
from archcalc.spec.model import Spec


def as_yaml(spec: Spec) -> str:
    """Return YAML that `archcalc.load` reads as the same spec, with all resolved sizes."""
    import yaml

    text: str = yaml.safe_dump(encode(spec), sort_keys=False, allow_unicode=True)
    return text
