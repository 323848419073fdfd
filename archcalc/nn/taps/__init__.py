"""Record and edit named points of a forward pass, without changing the model.

recording = taps.record(model, ids_BT, sites=["layers.*.attn.pattern", "layers.3.resid_post"])
recording["layers.3.resid_post"]
with taps.edit(model, taps.Edit("resid_post", 3, lambda x_BTD: x_BTD + vector_D, at=slice(4, None))):
    model(ids_BT)
"""

from archcalc.nn.taps.edits import Edit
from archcalc.nn.taps.points import EagerAttentionWarning
from archcalc.nn.taps.record import Recording, edit, record
from archcalc.spec.sites import Site, sites

__all__ = ["EagerAttentionWarning", "Edit", "Recording", "Site", "edit", "record", "sites"]
