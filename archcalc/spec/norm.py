"""Normalization variants."""

from archcalc.spec.base import Part, Positive


class LayerNorm(Part, frozen=True, kw_only=True, tag_field="kind", tag="layernorm"):
    """Ba et al. 2016. `weight` and `bias` are optional (OLMo has neither).

    `unit_offset` scales by 1 + weight (Nemotron), with the same number of parameters.
    """

    weight: bool = True
    bias: bool = True
    unit_offset: bool = False
    eps: Positive = 1e-5


class RMSNorm(Part, frozen=True, kw_only=True, tag_field="kind", tag="rmsnorm"):
    """Zhang & Sennrich 2019. `unit_offset` scales by 1 + weight (Gemma), with the same number of parameters.

    A `bias` may be added (xLSTM).
    """

    weight: bool = True
    bias: bool = False
    unit_offset: bool = False
    eps: Positive = 1e-6


class Affine(Part, frozen=True, kw_only=True, tag_field="kind", tag="affine"):
    """weight · x + bias, with no statistics of x (MobileBERT, Sun et al. 2020, section 3.3).

    `unit_offset` scales by 1 + weight. With `bias_first` it is weight · (x + bias) (ZAYA1).
    """

    weight: bool = True
    bias: bool = True
    unit_offset: bool = False
    bias_first: bool = False


Norm = LayerNorm | RMSNorm | Affine
