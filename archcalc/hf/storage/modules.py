"""Which modules have a format: matrices by their role, less those that a pattern keeps in the model's dtype."""

from __future__ import annotations

from archcalc.formats.layouts import Layout
from archcalc.formats.packings import PackingName
from archcalc.formats.policy import Role
from archcalc.hf.storage.patterns import skipped
from archcalc.hf.storage.quantization import Quantization
from archcalc.spec.storage import StoredFormat

# An expert's matrix counts as a Linear of its own, as files have it.
LINEARS: tuple[Role, ...] = ("linear", "experts", "gate")
WITH_HEAD: tuple[Role, ...] = (*LINEARS, "head")
ROUTED: tuple[Role, ...] = (*WITH_HEAD, "router")


def kept(settings: Quantization, pattern: str | None) -> list[StoredFormat]:
    """Return the format of modules that stay as they are; none without a pattern."""
    return [StoredFormat(name=settings.dtype, pattern=pattern)] if pattern else []


def linears(
    settings: Quantization,
    name: str,
    layout: Layout,
    skip: str = "modules_to_not_convert",
    packing: PackingName | None = None,
) -> list[StoredFormat]:
    """Return the format of every Linear but those that the setting `skip` names.

    As in transformers, the head is left out if `skip` is absent.
    """
    keys = settings.words(skip)
    roles = LINEARS if keys is None else WITH_HEAD
    pattern = skipped(keys, settings.where(skip)) if keys else None
    return [*kept(settings, pattern), StoredFormat(name=name, layout=layout, roles=roles, packing=packing)]
