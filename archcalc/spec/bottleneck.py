"""The bottleneck of a layer: projections into a width of its own and back."""

from typing import Literal

from archcalc.spec.base import Part, Size
from archcalc.spec.norm import Norm


class Bottleneck(Part, frozen=True, kw_only=True):
    """A layer whose branches work at a width of their own, d_bottleneck (MobileBERT, Sun et al. 2020, section 3.1).

    The stream of the branches begins as norm(D·x + b), where x is the layer's input. The layer's output is
    norm(x + U·stream + c) with the stream after the last branch. `keys`: the first branch reads the stream, or its
    queries and keys are projected from a third projection, norm(K·x + d), and its values from x itself (own). stored:
    it reads the stream, and the third projection is never computed.
    """

    d_bottleneck: Size
    norm: Norm | None = None
    keys: Literal["stream", "own", "stored"] = "stream"

    @property
    def splits_attention(self) -> bool:
        """Return whether queries and keys have another input than values."""
        return self.keys == "own"

    @property
    def has_keys(self) -> bool:
        """Return whether there is a projection for queries and keys."""
        return self.keys != "stream"
