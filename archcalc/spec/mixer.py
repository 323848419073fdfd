"""Mixers: parts that mix tokens without softmax attention, with a state of fixed size."""

from __future__ import annotations

from archcalc.spec.base import Part, Size


class ShortConv(Part, frozen=True, kw_only=True, tag_field="kind", tag="short_conv"):
    """out(c · conv(b · x)) with b, c, x = in(x), each as wide as the model (LFM2, Liquid AI 2025).

    The convolution is causal and depthwise, over `d_conv` tokens. `bias` is that of both projections and of the
    convolution.
    """

    d_conv: Size = 3
    bias: bool = False


AnyMixer = ShortConv
