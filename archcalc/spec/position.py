"""Position encodings: tables added to the embedding, or inside attention."""

from typing import Annotated, Literal

import msgspec

from archcalc.spec.base import Count, Part, Positive, Size
from archcalc.spec.norm import Norm


class Learned(Part, frozen=True, kw_only=True, tag_field="kind", tag="learned"):
    """A trained table of n_ctx + n_extra rows (OPT and RoBERTa have 2 extra rows)."""

    n_extra: Count = 0

    @property
    def is_table(self) -> bool:
        """Return whether its rows bound the positions."""
        return True


class Sinusoidal(Part, frozen=True, kw_only=True, tag_field="kind", tag="sinusoidal"):
    """Vaswani et al. 2017, section 3.5. `stored`: the table is a frozen parameter (Marian); else it is computed.

    `order`: sines and cosines in alternating columns, sines in the first half (CTRL, Marian), or fairseq: halves with
    wavelengths up to exactly 10,000·2π. Position p reads row p + n_extra (M2M-100: 2).
    """

    stored: bool = False
    order: Literal["alternating", "halves", "fairseq"] = "alternating"
    n_extra: Count = 0

    @property
    def is_table(self) -> bool:
        """Return whether its rows bound the positions."""
        return self.stored


TablePosition = Learned | Sinusoidal


class LinearScaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="linear"):
    """Divide positions by `factor` (Chen et al. 2023)."""

    factor: Positive


class Llama3Scaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="llama3"):
    """Llama 3.1: divide the frequencies of long wavelengths by `factor`, keep short ones, interpolate between."""

    factor: Positive
    low_freq_factor: Positive = 1.0
    high_freq_factor: Positive = 4.0
    n_ctx_original: Size = 8192


class YarnScaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="yarn"):
    """Peng et al. 2023. `attention_factor` scales cos and sin (default: 0.1·ln(factor) + 1).

    DeepSeek states it by `mscale` and `mscale_all_dim`. `truncate` rounds the ends of the ramp to whole dimensions.
    """

    factor: Positive
    n_ctx_original: Size
    beta_fast: Positive = 32.0
    beta_slow: Positive = 1.0
    attention_factor: Positive | None = None
    mscale: Positive | None = None
    mscale_all_dim: Positive | None = None
    truncate: bool = True


class LongRopeScaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="longrope"):
    """Ding et al. 2024: divide the frequency of each pair of dimensions by its own factor.

    A pass beyond n_ctx_original uses the `long` factors for all its tokens, else the `short` ones; cached keys do not
    change. `attention_factor` scales cos and sin (default: √(1 + ln factor / ln n_ctx_original)); beyond n_ctx_original
    `long_attention_factor` replaces it (PhiMoE).
    """

    factor: Positive
    short: tuple[Positive, ...]
    long: tuple[Positive, ...]
    n_ctx_original: Size
    attention_factor: Positive | None = None
    long_attention_factor: Positive | None = None


class DynamicScaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="dynamic"):
    """NTK-aware scaling: theta grows with the tokens of a pass beyond n_ctx_original; cached keys do not change."""

    factor: Annotated[float, msgspec.Meta(ge=1, le=1e30)]
    n_ctx_original: Size


class ProportionalScaling(Part, frozen=True, kw_only=True, tag_field="kind", tag="proportional"):
    """Only the first `n_pairs` pairs of dimensions rotate, with the frequencies of the whole width (Gemma 4).

    Their frequencies are divided by `factor`.
    """

    n_pairs: Size
    factor: Positive = 1.0


RopeScaling = LinearScaling | Llama3Scaling | YarnScaling | LongRopeScaling | DynamicScaling | ProportionalScaling


class Rope(Part, frozen=True, kw_only=True, tag_field="kind", tag="rope"):
    """Su et al. 2021: rotate queries and keys by their position; no weights.

    The first `d_rotary` dimensions of each head rotate (default: all). `interleaved` pairs dimensions (0,1), (2,3) … as
    the paper does; otherwise (0, d/2), (1, d/2+1) … as GPT-NeoX does. `stored`: sines and cosines are read from a
    frozen table of n_ctx rows, one for the stack (RoFormer). `values`: values are rotated too.
    """

    theta: Annotated[float, msgspec.Meta(gt=1, le=1e30)] = 10_000.0
    d_rotary: Size | None = None
    interleaved: bool = False
    scaling: RopeScaling | None = None
    stored: bool = False
    values: bool = False


class Alibi(Part, frozen=True, kw_only=True, tag_field="kind", tag="alibi"):
    """Press et al. 2021: a penalty on scores that is linear in distance, with a fixed slope per head; no weights.

    `scaled`: the attention's scale multiplies it too (Falcon); otherwise it is added after scaling (BLOOM). The last
    slope is 2^−max_bias.
    """

    scaled: bool = False
    max_bias: Positive = 8.0


class RelativeBias(Part, frozen=True, kw_only=True, tag_field="kind", tag="relative"):
    """Raffel et al. 2020 (T5), section 2.1: a learned bias on scores for each bucket of distances and each head.

    `shared`: one table for all layers of a stack, or one table per layer (UMT5). With `n_segments` a query and a key of
    different segments have a bias for this pair of segments, whatever their distance: further rows of the table
    (CPM-Ant). The segments are those of the stack's soft prompt and of the text.
    """

    n_buckets: Size = 32
    max_distance: Size = 128
    n_segments: Count = 0
    shared: Literal["stack", "layer"] = "stack"


class Disentangled(Part, frozen=True, kw_only=True, tag_field="kind", tag="disentangled"):
    """He et al. 2020 (DeBERTa), section 3.1: scores also have products of contents and relative positions.

    The stack has a table of 2·n_distances rows, normalized by `norm`; larger distances share the outer rows. With
    `max_distance`, distances beyond n_distances / 2 have rows in logarithmic steps (DeBERTa-v2). The rows become keys
    for the queries (`content_to_position`) and queries for the keys (`position_to_content`), by projections of each
    layer with `key_bias` and `query_bias`, or by those of the contents (`shares_projections`). `rows`: all are
    projected, or those of the distances in the text only. The scale of the scores is 1/√(n·d_head) with n products.
    """

    n_distances: Size
    max_distance: Size | None = None
    content_to_position: bool = True
    position_to_content: bool = True
    shares_projections: bool = False
    key_bias: bool = True
    query_bias: bool = True
    norm: Norm | None = None
    rows: Literal["all", "near"] = "all"

    @property
    def n_products(self) -> int:
        """Return the number of products that a score is the sum of."""
        return 1 + self.content_to_position + self.position_to_content


class ContentBias(Part, frozen=True, kw_only=True, tag_field="kind", tag="content"):
    """A bias on scores for each distance that the query's token decides (Inkling).

    A projection of the layer's input gives d_rel numbers for each head, which mix d_rel learned profiles over the
    distances 0 … n_distances − 1. Keys further away have no bias. With a `clip` the numbers of a head are multiplied by
    learned ones and scaled down where they are longer than that, as a vector (Inkling 2). A temperature of the queries
    multiplies them too.
    """

    d_rel: Size
    n_distances: Size
    clip: Positive | None = None


AttentionPosition = Rope | Alibi | RelativeBias | Disentangled | ContentBias
AttentionPositionKind = Literal["rope", "alibi", "relative", "disentangled", "content"]
