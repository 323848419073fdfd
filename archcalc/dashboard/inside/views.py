"""The list of views. A new one is an entry here and a module beside this one."""

from __future__ import annotations

from typing import Final

from archcalc.dashboard.inside import attention, attribute, embed, lens, patch, patchscope, steer
from archcalc.dashboard.inside.view import View

# By their names in the URL; the first one is the default.
VIEWS: Final[dict[str, View]] = {
    "lens": lens.VIEW,
    "attention": attention.VIEW,
    "attribute": attribute.VIEW,
    "patch": patch.VIEW,
    "patchscope": patchscope.VIEW,
    "steer": steer.VIEW,
    "embed": embed.VIEW,
}
