"""Hypothesis strategies: small valid specs of every variant, with sizes that differ from each other.

`specs()` draws resolved specs; `PARTS` has a strategy for each type of part. All are valid by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import get_args

from hypothesis import strategies as st
from msgspec import structs

from archcalc.formats.layouts import Grouped, PerRow, PerTensor, Tiled
from archcalc.spec import Spec
from archcalc.spec.about import About, Provenance, StoredMtp
from archcalc.spec.activation import CappedSwish, ClampedSwish
from archcalc.spec.assumption import Assumption
from archcalc.spec.attention import (
    AnyAttention,
    Attention,
    Differential,
    Gate,
    Indexer,
    KeyBias,
    LatentAttention,
    LateTemperature,
    LogTemperature,
    PowerTemperature,
    QkNorm,
    SharedSelection,
    lends_selection,
)
from archcalc.spec.base import Activation, Part
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.branches import norms, parts, reads_embedding
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.claim import Claim
from archcalc.spec.compressed import CompressedAttention, Compression, EntryIndexer
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.embedding import Embedding, ExtraTable, Factor, Join, TokenDropout
from archcalc.spec.ffn import (
    Adapters,
    AnyFfn,
    Gated,
    MoE,
    PerLayerGate,
    Plain,
    ProductKeys,
    RouterMlp,
    StateProjection,
)
from archcalc.spec.groups import layers_of, lender_indices, weight_indices
from archcalc.spec.layer import (
    Arm,
    Branch,
    Cycles,
    GlobalTokens,
    Layer,
    PerLayerEmbedding,
    Placement,
    Prompts,
    Run,
    Shares,
    SoftPrompt,
    Stack,
)
from archcalc.spec.low_rank import LowRank
from archcalc.spec.mixer import (
    AnyMixer,
    ChannelMix,
    Fourier,
    GatedDelta,
    Lightning,
    Mamba1,
    Mamba2,
    MLstm,
    Multipliers,
    RgLru,
    ShortConv,
    SpanConv,
    TimeMix,
)
from archcalc.spec.model import Axis, Dropout, Extra, Family, Head, Labels, Pooler, Transform
from archcalc.spec.norm import Affine, LayerNorm, Norm, RMSNorm
from archcalc.spec.position import (
    Alibi,
    AttentionPosition,
    ContentBias,
    Disentangled,
    DynamicScaling,
    Learned,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    ProportionalScaling,
    RelativeBias,
    Rope,
    RopeScaling,
    Sinusoidal,
    YarnScaling,
)
from archcalc.spec.resolve import resolve
from archcalc.spec.resolve_split import split_problem
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sparse import BlockSummaries, GlobalWindow, LocalBlocks, RandomBlocks, SparseAttention
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.spec.streams import AltUp, HyperConnections, SetAside, Sinkhorn
from archcalc.spec.xl import XlAttention

# Mostly primes, so that confusing two sizes changes every count.
SIZES = st.sampled_from((3, 5, 7, 2, 11, 13, 4, 6, 1, 12))
EVEN = st.sampled_from((2, 4, 6, 10, 8, 14))
FACTORS = st.sampled_from((2.0, 8.0, 1.5, 40.0))
SCALES = st.sampled_from((0.25, 1.0, 2.5))
OPTIONAL_SCALES = st.sampled_from((None, None, None, 0.25, 1.0, 2.5))
ACTIVATIONS = st.sampled_from(get_args(Activation))
_CLAMPED_SWISHES = [
    ClampedSwish(limit=limit, alpha=a, up_offset=b) for limit, a, b in product((0.7, 9.0), (1.0, 2.0), (0.0, 1.0))
]
CLAMPED = st.sampled_from(_CLAMPED_SWISHES)
CAPPED = st.builds(CappedSwish, cap=st.sampled_from((0.5, 4.0)), up_cap=st.sampled_from((0.7, 25.0)))
_WITH_PARAMETERS = (*_CLAMPED_SWISHES[:2], CappedSwish(cap=0.5, up_cap=0.7))
FIXED_ACTIVATIONS = st.sampled_from((*get_args(Activation), *_WITH_PARAMETERS))
ANY_ACTIVATION = st.sampled_from((*get_args(Activation), *_WITH_PARAMETERS, "xielu"))

_DISTANCES = Disentangled(n_distances=3)


@dataclass(frozen=True)
class Place:
    """What a part must agree with: the model's width, the stack's bias table and role, whether there is a source."""

    d_model: int = 6
    table: tuple[int, RelativeBias] = (3, RelativeBias(n_buckets=8, max_distance=12))
    has_source: bool = False
    is_idle: bool = False
    is_decoder: bool = False
    d_rotary: int = 2
    distances: Disentangled = _DISTANCES


@cache
def optional(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


@cache
def flags(*names: str) -> st.SearchStrategy[dict[str, bool]]:
    """Draw a value for each of these flags with one choice."""
    return st.integers(0, 2 ** len(names) - 1).map(
        lambda bits: {name: bool(bits >> i & 1) for i, name in enumerate(names)}
    )


# Small parts are drawn from a list of all of them, because each choice costs time.
_EACH = tuple(product((True, False), (True, False), (1e-5, 1e-6, 1e-12)))
_LAYER_NORMS = [
    LayerNorm(weight=weight, bias=bias, unit_offset=offset, eps=eps)
    for (weight, bias, eps), offset in product(_EACH, (False, True))
]
_RMS_NORMS = [RMSNorm(weight=weight, unit_offset=offset, eps=eps) for weight, offset, eps in _EACH]
_RMS_NORMS += [RMSNorm(weight=weight, bias=True) for weight in (True, False)]
_AFFINES = [
    Affine(weight=weight, bias=bias, unit_offset=offset, bias_first=first)
    for weight, bias, offset, first in product((True, False), repeat=4)
]
AFFINES = st.sampled_from(_AFFINES)
_NORMS: list[Norm] = [*_LAYER_NORMS, *_RMS_NORMS]
LAYER_NORMS, RMS_NORMS, NORMS = st.sampled_from(_LAYER_NORMS), st.sampled_from(_RMS_NORMS), st.sampled_from(_NORMS)
_OVER = (("head", "before"), ("head", "after"), ("each", "before"), ("each", "after"), ("full", "before"))
QK_NORMS = st.sampled_from([QkNorm(norm=norm, over=over, when=when) for norm, (over, when) in product(_NORMS, _OVER)])
GATES = st.builds(
    Gate,
    over=st.sampled_from(("head", "channel")),
    activation=st.sampled_from(("sigmoid", "softplus")),
    bias=st.booleans(),
    projection_bias=st.booleans(),
)
LOG_TEMPERATURES = st.builds(LogTemperature, factor=SCALES, n_tokens=st.sampled_from((2, 3)), from_one=st.booleans())
POWER_TEMPERATURES = st.builds(
    PowerTemperature, exponent=SCALES, n_tokens=st.sampled_from((2, 3)), from_one=st.booleans()
)

LATE_TEMPERATURES = st.builds(LateTemperature, factor=SCALES, n_tokens=st.sampled_from((2, 3)))

LEARNED = st.builds(Learned, n_extra=st.sampled_from((0, 2, 3)))
SINUSOIDAL = st.builds(
    Sinusoidal,
    stored=st.booleans(),
    order=st.sampled_from(("alternating", "halves", "fairseq")),
    n_extra=st.sampled_from((0, 2)),
)
LINEAR_SCALINGS = st.builds(LinearScaling, factor=FACTORS)
LLAMA3_SCALINGS = st.builds(
    Llama3Scaling,
    factor=FACTORS,
    low_freq_factor=st.sampled_from((1.0, 2.0)),
    high_freq_factor=st.sampled_from((4.0, 3.0)),
    n_ctx_original=st.sampled_from((8, 64, 8192)),
)
YARN_SCALINGS = st.builds(
    YarnScaling,
    factor=FACTORS,
    n_ctx_original=st.sampled_from((8, 64, 4096)),
    beta_fast=st.sampled_from((32.0, 4.0)),
    beta_slow=st.sampled_from((1.0, 2.0)),
    attention_factor=OPTIONAL_SCALES,
    mscale=OPTIONAL_SCALES,
    mscale_all_dim=OPTIONAL_SCALES,
    truncate=st.booleans(),
)
# Beyond n_ctx_original, cached keys are not recomputed, so laws about caches hold on either side only.
LONG = st.sampled_from((64, 4096))
DYNAMIC_SCALINGS = st.builds(DynamicScaling, factor=FACTORS, n_ctx_original=LONG)
ALIBI = st.builds(Alibi, scaled=st.booleans(), max_bias=st.sampled_from((8.0, 4.0)))
RELATIVE = st.builds(
    RelativeBias,
    n_buckets=st.sampled_from((8, 5, 32)),
    max_distance=st.sampled_from((12, 7, 128)),
    shared=st.sampled_from(("stack", "layer")),
)

DISENTANGLED = st.builds(
    Disentangled,
    n_distances=st.sampled_from((3, 5, 9)),
    max_distance=st.sampled_from((None, None, 7, 31)),
    **{name: st.booleans() for name in ("content_to_position", "position_to_content", "shares_projections")},
    key_bias=st.booleans(),
    query_bias=st.booleans(),
    norm=st.sampled_from((None, *_NORMS)),
    rows=st.sampled_from(("all", "near")),
)


@cache
def longropes(n_pairs: int) -> st.SearchStrategy[LongRopeScaling]:
    factors = st.tuples(*[st.sampled_from((1.0, 1.5, 4.0))] * n_pairs)
    return st.builds(
        LongRopeScaling,
        factor=FACTORS,
        short=factors,
        long=factors,
        n_ctx_original=LONG,
        attention_factor=OPTIONAL_SCALES,
        long_attention_factor=OPTIONAL_SCALES,
    )


@cache
def proportionals(n_pairs: int) -> st.SearchStrategy[ProportionalScaling]:
    return st.builds(ProportionalScaling, n_pairs=st.integers(1, n_pairs), factor=st.sampled_from((1.0, 4.0)))


@cache
def scalings(d_rotary: int) -> st.SearchStrategy[RopeScaling]:
    found = LINEAR_SCALINGS | LLAMA3_SCALINGS | YARN_SCALINGS | longropes(d_rotary // 2) | proportionals(d_rotary // 2)
    return found | DYNAMIC_SCALINGS if d_rotary > 2 else found


@cache
def ropes(width: int, partial: bool = True) -> st.SearchStrategy[Rope]:
    """Draw ropes of heads of this width; unless `partial`, all dimensions are rotated."""
    part = st.integers(1, width // 2).map(lambda half: 2 * half)
    whole = st.just(width) | st.none() if width % 2 == 0 else st.just(width - 1)
    return (whole | part if partial else whole).flatmap(
        lambda d_rotary: st.builds(
            Rope,
            theta=st.sampled_from((10_000.0, 500_000.0, 1000.0)),
            d_rotary=st.just(d_rotary),
            interleaved=st.booleans(),
            scaling=optional(scalings(d_rotary or width)),
            values=st.booleans() if partial else st.just(False),
        )
    )


@cache
def stored_ropes(d_rotary: int) -> st.SearchStrategy[Rope]:
    """Draw ropes with stored angles, which share one table for each width."""
    return st.builds(
        Rope,
        d_rotary=st.just(d_rotary),
        interleaved=st.booleans(),
        stored=st.just(True),
        values=st.booleans(),
    )


@cache
def positions(width: int, place: Place, n_heads: int, n_kv_heads: int) -> st.SearchStrategy[AttentionPosition | None]:
    """Draw positions that an attention with such heads may have in this place."""
    found = st.none() | ALIBI | (RELATIVE.filter(lambda part: part.shared == "layer"))
    if width > 1:
        found |= ropes(width)
    if n_heads == n_kv_heads:
        found |= st.just(place.distances)
    if width >= place.d_rotary:
        found |= stored_ropes(place.d_rotary)
    if place.is_decoder:
        found |= CONTENT
    return found | st.just(place.table[1]) if n_heads == place.table[0] else found


CONTENT = st.builds(
    ContentBias,
    d_rel=st.sampled_from((2, 3, 5)),
    n_distances=st.sampled_from((1, 3, 4, 9)),
    clip=st.sampled_from((None, 0.05)),
)
KEY_BIASES = st.builds(KeyBias, bias=st.booleans(), n_kept=st.sampled_from((None, None, 1, 2, 4)))
DIFFERENTIAL = st.builds(Differential, offset=st.sampled_from((0.25, 0.8)), norm=NORMS)
HEADS_EACH = st.sampled_from(((2, 3), (1, 3), (3, 1), (2, 1), (1, 1), (5, 1)))  # n_kv_heads, query heads of each
WINDOWS = st.sampled_from((*[None] * 9, *range(1, 10)))
SOFTCAPS = st.sampled_from((None, None, 50.0, 2.0))
ATTENTION_FLAGS = flags("q_bias", "k_bias", "v_bias", "out_bias", "sinks")
TEMPERATURES = st.none() | st.none() | LOG_TEMPERATURES | POWER_TEMPERATURES | LATE_TEMPERATURES
_NO_EXTRAS: dict[str, object] = dict.fromkeys(("value_scale", "clip", "gate", "out_norm", "v_norm", "qk_clip"))
ATTENTION_EXTRAS = st.just(_NO_EXTRAS) | st.fixed_dictionaries(
    {
        "value_scale": OPTIONAL_SCALES,
        "clip": st.sampled_from((None, 0.5)),
        "gate": optional(GATES),
        "out_norm": optional(NORMS),
        "v_norm": optional(NORMS),
        "qk_clip": st.sampled_from((None, 0.05)),
    }
)
_NO_CONVOLUTION: dict[str, object] = {"d_conv": None}
CONVOLUTIONS = st.just(_NO_CONVOLUTION) | st.fixed_dictionaries(
    {"d_conv": st.sampled_from((1, 3)), "conv_scale": SCALES, "conv_by_token": st.booleans()}
)


def _blocks(d_in: int, d_out: int) -> list[int]:
    """The channels that an output may read, where groups divide a projection."""
    return [d_in // n for n in range(1, d_in + 1) if d_in % n == 0 and d_out % n == 0]


@st.composite
def low_ranks(draw: st.DrawFn) -> LowRank:
    n_pairs = draw(st.integers(1, 3))
    return LowRank(pair_rank=draw(SIZES), n_pairs=n_pairs, active=draw(st.integers(0, n_pairs - 1)))


@st.composite
def attentions(draw: st.DrawFn, place: Place = Place(), cross: bool = False) -> Attention:
    n_kv_heads, n_each = draw(HEADS_EACH)
    n_heads = n_kv_heads * n_each
    even = place.d_model % n_heads == 0
    d_head = draw(optional(SIZES)) if even else draw(SIZES)
    width = d_head or place.d_model // n_heads
    d_value = draw(st.none() | st.none() | SIZES)
    position = None if cross else draw(positions(min(width, d_value or width), place, n_heads, n_kv_heads))
    if isinstance(position, Rope) and position.d_rotary is None and width != min(width, d_value or width):
        position = None
    window = None if cross else draw(WINDOWS)
    flags, extras = draw(ATTENTION_FLAGS), draw(ATTENTION_EXTRAS)
    has_pairs = n_kv_heads % 2 == 0 and extras["gate"] is None
    may_share = extras["v_norm"] is not None and not flags["v_bias"] and d_value is None
    value_is_key = may_share and draw(st.booleans())
    d_source = draw(optional(SIZES)) if place.is_idle and cross else None
    widths = {"q": (place.d_model, n_heads * width), "out": (n_heads * (d_value or width), place.d_model)}
    if not cross:  # a source may be of another width
        widths |= {"k": (place.d_model, n_kv_heads * width), "v": (place.d_model, n_kv_heads * (d_value or width))}
    is_grouped = draw(st.sampled_from((False, False, False, True)))
    blocks = {
        f"{name}_block": draw(st.sampled_from((None, *_blocks(*each)))) for name, each in widths.items() if is_grouped
    }
    window_kind = "sliding" if window is None else draw(st.sampled_from(("sliding", "chunked")))
    key_bias = draw(st.none() | st.none() | KEY_BIASES) if place.is_decoder and not cross else None
    if key_bias and window_kind == "chunked":
        key_bias = structs.replace(key_bias, n_kept=None)
    return Attention(
        value_is_key=value_is_key,
        **(blocks | {"v_block": None} if value_is_key else blocks),
        n_heads=n_heads,
        n_kv_heads=None if n_each == 1 and draw(st.booleans()) else n_kv_heads,
        d_head=d_head,
        d_value=d_value,
        qk_norm=draw(optional(QK_NORMS)),
        position=position,
        window=window,
        window_kind=window_kind,
        key_bias=key_bias,
        **(draw(CONVOLUTIONS) if place.is_decoder and not cross and not value_is_key else {}),
        token_sinks=not flags["sinks"] and draw(st.sampled_from((False, False, True))),
        softcap=draw(SOFTCAPS),
        scale=draw(OPTIONAL_SCALES),
        **flags,
        **extras,
        temperature=None if cross else draw(TEMPERATURES),
        differential=draw(optional(DIFFERENTIAL)) if has_pairs else None,
        d_source=d_source,
        low_rank=None if cross or value_is_key or any(blocks.values()) else draw(st.none() | st.none() | low_ranks()),
    )


@cache
def indexers(d_rope: int) -> st.SearchStrategy[Indexer]:
    """Draw indexers of a latent attention with this rotary width."""
    return st.builds(
        Indexer,
        n_index_heads=SIZES,
        d_index=SIZES.map(lambda width: d_rope + width - 1),
        n_selected=st.sampled_from((1, 2, 3, 4, 7, 40)),
        norm=NORMS,
        rotated=st.sampled_from(("first", "last")),
        interleaved=st.booleans(),
    )


@st.composite
def latent_attentions(draw: st.DrawFn) -> LatentAttention:
    d_rope = draw(EVEN)
    q_rank, position = draw(optional(SIZES)), draw(optional(ropes(d_rope, partial=False)))
    indexer = draw(optional(indexers(d_rope))) if q_rank and position else None
    return LatentAttention(
        n_heads=draw(SIZES),
        kv_rank=draw(SIZES),
        d_nope=draw(SIZES),
        d_rope=d_rope,
        d_v=draw(SIZES),
        q_rank=q_rank,
        norm=draw(NORMS),
        **draw(flags("down_bias", "out_bias", "sinks")),
        position=position,
        scale=draw(OPTIONAL_SCALES),
        gate=draw(optional(GATES)),
        indexer=indexer,
        window=None if indexer else draw(st.sampled_from((None, None, 1, 3, 5))),
        key_norm=draw(st.sampled_from((None, None, *_NORMS))),
        scale_latents=draw(st.booleans()),
        raw_latent=q_rank is not None and draw(st.booleans()),
    )


_DENSE = {
    "d_ff": SIZES,
    "activation": ANY_ACTIVATION,
    "bias": st.booleans(),
    "down_bias": st.sampled_from((None, False, True)),
    "down_norm": st.sampled_from((None, None, *_NORMS)),
}
PLAIN = st.builds(Plain, **_DENSE)


GATED = st.builds(
    Gated,
    **_DENSE,
    low_rank=st.none() | st.none() | low_ranks(),
    gate_scale=st.sampled_from((1.0, 1.0, 0.5, 2.5)),
    sparsity=st.sampled_from((None, None, 0.95, 0.5)),
    out_scale=st.sampled_from((False, False, True)),
)


# Groups, experts of each, active groups, active experts.
EXPERTS = st.sampled_from(((1, 5), (2, 3), (3, 2), (4, 1), (1, 1))).flatmap(
    lambda sizes: st.sampled_from(
        [(*sizes, groups, n) for groups in range(1, sizes[0] + 1) for n in range(1, groups * sizes[1] + 1)]
    )
)
MIXTURE_FLAGS = flags("gated", "expert_bias", "router_bias", "out_bias")
_ROUTERS = [
    {"choose": choose, "weigh": weigh, "correction": correction}
    for choose, weigh, correction in product(
        ("softmax", "sigmoid", "logits"),
        ("score", "softmax", "sigmoid", "sparsemixer"),
        ("none", "buffer", "parameter"),
    )
    if (choose, weigh) != ("logits", "score")
]
ROUTERS = st.sampled_from(_ROUTERS)
# Whether the weights are normalized, and the minimum of their sum.
SUMS = st.sampled_from(({"normalize": False}, {"normalize": True}, {"normalize": True, "normalize_min": 0.7}))
ROUTER_INPUTS = st.just({}) | st.fixed_dictionaries(
    {
        "input_norm": optional(NORMS),
        "router_norm": optional(NORMS),
        "router_scale": SCALES,
        "expert_scales": st.booleans(),
    }
)
SHARED_EXPERTS = st.fixed_dictionaries(
    {
        "d_shared": st.none() | SIZES,
        "shared_activation": st.none() | FIXED_ACTIVATIONS,
        "shared_bias": st.sampled_from((None, False, True)),
        "shared_gate": st.booleans(),
        "shared_combine": st.sampled_from(("sum", "average")),
    }
)


@st.composite
def mixtures(draw: st.DrawFn) -> MoE:
    n_groups, n_each, n_active_groups, n_active = draw(EXPERTS)
    n_shared, router = draw(st.sampled_from((0, 1, 2))), draw(ROUTERS)
    weight_on = draw(st.sampled_from(("output", "input")))
    may_return_input = n_groups == 1 and weight_on == "output"
    n_zero = draw(st.sampled_from((0, 0, 2, 3))) if may_return_input else 0
    return MoE(
        n_experts=n_groups * n_each,
        n_active=n_active,
        d_expert=draw(SIZES),
        activation=draw(FIXED_ACTIVATIONS),
        router_softcap=draw(SOFTCAPS),
        scale=draw(SCALES),
        weight_on=weight_on,
        n_zero=n_zero,
        zero_stored=n_zero > 0 and draw(st.booleans()),
        # More than any text has tokens: what fits depends on the pass.
        capacity=draw(st.sampled_from((None, None, 99))) if weight_on == "output" else None,
        n_groups=n_groups,
        n_active_groups=n_active_groups,
        n_shared=n_shared,
        group_score=draw(st.sampled_from((None, "best", "two_best"))) if n_groups > 1 else None,
        d_latent=(d_latent := draw(st.sampled_from((None, None, 3)))),
        latent_bias=d_latent is not None and draw(st.booleans()),
        jitter=draw(st.sampled_from((None, 0.0, 0.3))) if router["weigh"] == "sparsemixer" else None,
        **draw(ROUTER_INPUTS),
        **router,
        **draw(SUMS),
        **(draw(SHARED_EXPERTS) if n_shared else {}),
        **draw(MIXTURE_FLAGS),
    )


WEIGHTED_SHARED = st.builds(
    MoE,
    n_experts=st.sampled_from((5, 3)),
    n_active=st.sampled_from((2, 1, 3)),
    d_expert=SIZES,
    n_shared=st.sampled_from((1, 2, 3)),
    d_shared=st.none() | SIZES,
    activation=FIXED_ACTIVATIONS,
    choose=st.just("sigmoid"),
    normalize=st.booleans(),
    scale=SCALES,
    correction=st.sampled_from(("none", "buffer")),
    scores_shared=st.just(True),
    weight_scale=st.booleans(),
    router_norm=optional(NORMS),
    router_bias=st.booleans(),
    d_latent=st.sampled_from((None, 3)),
)
ADAPTERS = st.sampled_from((1, 2, 3)).flatmap(
    lambda n: st.builds(
        Adapters,
        n_adapters=st.just(n),
        d_adapter=SIZES,
        activation=FIXED_ACTIVATIONS,
        active=st.integers(0, n - 1),
        bias=st.booleans(),
    )
)
PRODUCT_KEYS = st.sampled_from(((5, 3), (4, 4), (9, 2), (1, 1), (12, 1))).flatmap(
    lambda sizes: st.builds(
        ProductKeys, n_experts=st.just(sizes[0]), n_active=st.just(sizes[1]), activation=FIXED_ACTIVATIONS
    )
)
FFNS: st.SearchStrategy[AnyFfn] = PLAIN | GATED | mixtures() | PRODUCT_KEYS | WEIGHTED_SHARED


@st.composite
def grouped_ffns(draw: st.DrawFn, d_model: int) -> Plain:
    """Draw a feed-forward whose outputs read channels of their own."""
    part = draw(PLAIN)
    blocks = {"up_block": (d_model, part.d_ff), "down_block": (part.d_ff, d_model)}
    return structs.replace(
        part, **{name: draw(st.sampled_from((None, *_blocks(*each)))) for name, each in blocks.items()}
    )


GLOBAL_WINDOWS = st.builds(GlobalWindow, window=st.integers(1, 5), n_global=st.sampled_from((0, 1, 2, 30)))
RANDOM_BLOCKS = st.builds(RandomBlocks, n_block=st.sampled_from((1, 2)), n_random=st.sampled_from((0, 1, 3)))


LOCAL_BLOCKS = st.builds(LocalBlocks, n_block=st.sampled_from((1, 2, 3, 5, 30)), staggered=st.booleans())


@cache
def block_summaries(place: Place, n_heads: int) -> st.SearchStrategy[BlockSummaries]:
    """Draw a pattern with summaries; those with a bias share the stack's tables, so they have its blocks."""
    bias, pattern = place.table[1], {"window": st.integers(1, 5), "norm": st.sampled_from((None, *_NORMS))}
    found = st.builds(BlockSummaries, n_block=st.sampled_from((2, 3, 30)), **pattern)
    if n_heads != place.table[0] or bias.shared != "stack":
        return found
    return found | st.builds(BlockSummaries, n_block=st.just(2), position=st.just(bias), **pattern)


@st.composite
def sparse_attentions(draw: st.DrawFn, place: Place = Place()) -> SparseAttention:
    n_heads = draw(st.sampled_from((1, 2, 3, 6)))
    return SparseAttention(
        n_heads=n_heads,
        d_head=draw(SIZES),
        pattern=draw(GLOBAL_WINDOWS | RANDOM_BLOCKS | LOCAL_BLOCKS | block_summaries(place, n_heads)),
        scale=draw(OPTIONAL_SCALES),
        **draw(flags("q_bias", "k_bias", "v_bias", "out_bias")),
    )


@st.composite
def convolved_attentions(draw: st.DrawFn) -> ConvolvedAttention:
    n_hashes = draw(st.sampled_from((None, None, 1, 4)))
    return ConvolvedAttention(
        n_heads=draw(st.sampled_from((1, 2, 3))),
        d_head=draw(st.sampled_from((3, 2, 5))),
        d_value_conv=draw(st.sampled_from((None, 3, 1, 5))),
        d_span_conv=draw(st.sampled_from((None, 3, 1, 5))),
        n_hashes=n_hashes,
        scale=draw(OPTIONAL_SCALES) if n_hashes is None else None,
        **draw(flags("q_bias", "k_bias", "v_bias", "out_bias")),
    )


@cache
def xl_attentions(place: Place) -> st.SearchStrategy[XlAttention]:
    """Draw attentions by projected positions, which need an even width."""
    heads = {"n_heads": st.sampled_from((1, 2, 3)), "d_head": st.sampled_from((3, 2, 5))}
    found = st.builds(XlAttention, **heads, max_distance=st.sampled_from((None, 1, 3)))
    return found if place.d_model % 2 == 0 else st.nothing()


@cache
def routed_attentions() -> st.SearchStrategy[RoutedAttention]:
    """Draw attentions whose queries and outputs are projected by experts."""
    return st.tuples(EVEN, st.sampled_from(((4, 2), (3, 1), (2, 2), (5, 3)))).flatmap(
        lambda drawn: st.builds(
            RoutedAttention,
            n_experts=st.just(drawn[1][0]),
            n_active=st.just(drawn[1][1]),
            n_kv_heads=st.sampled_from((1, 2, 3)),
            d_head=st.just(drawn[0]),
            position=optional(ropes(drawn[0], partial=False)),
            scale=OPTIONAL_SCALES,
            out_bias=st.booleans(),
        )
    )


@cache
def convolutional_attentions() -> st.SearchStrategy[ConvolutionalAttention]:
    """Draw attentions whose queries and keys are convolved."""
    return EVEN.flatmap(
        lambda d_head: st.sampled_from(((1, None), (2, 1), (4, 2), (3, 3))).flatmap(
            lambda heads: st.builds(
                ConvolutionalAttention,
                n_heads=st.just(heads[0]),
                n_kv_heads=st.just(heads[1]),
                d_head=st.just(d_head),
                d_conv=st.sampled_from((2, 1, 3)),
                d_group_conv=st.sampled_from((2, 1, 4)),
                d_before=st.sampled_from((None, None, 1)),
                norm=RMS_NORMS,
                position=optional(ropes(d_head).map(lambda part: structs.replace(part, values=False))),
                window=st.sampled_from((None, 1, 3)),
                scale=OPTIONAL_SCALES,
                bias=st.booleans(),
                out_bias=st.booleans(),
            )
        )
    )


@cache
def any_attentions(place: Place) -> st.SearchStrategy[AnyAttention]:
    found = attentions(place) | latent_attentions() | routed_attentions()
    return found if place.is_decoder else found | sparse_attentions(place)


SHORT_CONVS = st.builds(ShortConv, d_conv=st.sampled_from((3, 2, 4, 1)), bias=st.booleans())


@st.composite
def gated_deltas(draw: st.DrawFn) -> GatedDelta:
    """Draw a gated delta rule, often with fewer key heads than heads."""
    n_key_heads, per_key_head = draw(st.sampled_from(((2, 1), (1, 2), (2, 2), (1, 1))))
    return GatedDelta(
        n_heads=n_key_heads * per_key_head,
        n_key_heads=n_key_heads if per_key_head > 1 else draw(st.sampled_from((None, n_key_heads))),
        d_key=draw(st.sampled_from((3, 4))),
        d_value=draw(st.sampled_from((None, 2, 5))),
        d_conv=draw(st.sampled_from((3, 2, 4, 1))),
        chunk=draw(st.sampled_from((2, 4, 3, 64))),
        negative=draw(st.booleans()),
        decay_over=draw(st.sampled_from(("head", "channel"))),
        decay_rank=draw(st.sampled_from((None, 3))),
        decay_bound=draw(st.sampled_from((None, 0.7, 5.0))),
        gate_rank=draw(st.sampled_from((None, 4))),
        gate_activation=draw(st.sampled_from(("silu", "sigmoid"))),
        norm=draw(st.builds(RMSNorm, eps=st.sampled_from((1e-6, 1e-5)))),
    )


LIGHTNING = st.builds(
    Lightning,
    n_heads=st.sampled_from((2, 1, 3)),
    d_head=st.sampled_from((4, 3)),
    chunk=st.sampled_from((2, 3, 64, 1)),
    rate=st.sampled_from((1.0, 0.3, 5.0)),
    norm=st.builds(RMSNorm, eps=st.sampled_from((1e-6, 1e-5))),
)
D_CONVS = st.sampled_from((3, 2, 4, 1))
MAMBA1 = st.builds(
    Mamba1,
    d_inner=optional(SIZES),
    d_state=SIZES,
    d_conv=D_CONVS,
    dt_rank=optional(SIZES),
    bias=st.booleans(),
    conv_bias=st.booleans(),
    norm=st.sampled_from((None, *_NORMS)),
) | st.builds(
    Mamba1,
    n_heads=st.sampled_from((2, 1, 3)),
    d_head=st.sampled_from((3, 2)),
    d_state=SIZES,
    dt_rank=optional(SIZES),
    bias=st.booleans(),
    norm=st.sampled_from((None, None, *_NORMS)),
)
MLSTM = st.builds(
    MLstm,
    n_heads=SIZES,
    d_key=SIZES,
    d_value=optional(SIZES),
    chunk=st.sampled_from((2, 4, 3, 1, 64)),
    gate_cap=st.sampled_from((None, 15.0, 1.5)),
    bias=st.booleans(),
    norm=NORMS,
)
RG_LRU = st.builds(RgLru, n_blocks=st.sampled_from((2, 1, 3)), d_block=SIZES, d_conv=D_CONVS, activation=ACTIVATIONS)
TIME_MIX, CHANNEL_MIX = st.builds(TimeMix, d_inner=optional(SIZES)), st.builds(ChannelMix, d_ff=SIZES)

MULTIPLIERS = st.builds(Multipliers, **dict.fromkeys(("z", "v", "b", "c", "delta"), st.sampled_from((0.5, 1.0, 2.5))))


@st.composite
def mamba2s(draw: st.DrawFn) -> Mamba2:
    """Draw a Mamba-2 mixer, often with fewer groups than heads, and limits of steps that some are beyond."""
    n_groups, per_group = draw(st.sampled_from(((2, 1), (1, 2), (2, 2), (1, 1))))
    bias, norm = draw(st.booleans()), draw(optional(RMS_NORMS))
    return Mamba2(
        n_heads=n_groups * per_group,
        d_head=draw(st.sampled_from((3, 4))),
        n_state_groups=n_groups,
        d_state=draw(st.sampled_from((2, 5, 4))),
        d_conv=draw(D_CONVS),
        chunk=draw(st.sampled_from((2, 4, 3, 64))),
        step_min=draw(st.sampled_from((None, 0.69))),
        step_max=draw(st.sampled_from((None, 0.7))),
        bias=bias,
        out_bias=draw(st.sampled_from((None, not bias))),
        conv_bias=draw(st.booleans()),
        norm=norm,
        multipliers=draw(optional(MULTIPLIERS)),
        norm_when=draw(st.sampled_from(("after", "before"))) if norm else "after",
    )


MIXERS: st.SearchStrategy[AnyMixer] = (
    SHORT_CONVS | MAMBA1 | gated_deltas() | mamba2s() | LIGHTNING | MLSTM | RG_LRU | TIME_MIX | CHANNEL_MIX
)
SPAN_CONVS = st.builds(SpanConv, d_conv=st.sampled_from((3, 1, 5)), activation=FIXED_ACTIVATIONS)
FOURIER = st.builds(Fourier)
ENCODER_MIXERS: st.SearchStrategy[AnyMixer] = SPAN_CONVS | FOURIER


@cache
def token_mixers(place: Place) -> st.SearchStrategy[AnyAttention | AnyMixer]:
    """Draw an attention, or a mixer, often in a decoder."""
    return any_attentions(place) | (MIXERS if place.is_decoder else ENCODER_MIXERS)


RESIDUALS = st.sampled_from(
    [{"scale": scale, "skip": skip} for scale, skip in ((1.0, 1.0), (1.0, 1.0), (0.25, 1.0), (1.0, 0.5), (2.5, 0.75))]
)


@st.composite
def arms(draw: st.DrawFn, name: str, place: Place = Place(), source: bool = False, norm: bool = False) -> Arm:
    """Draw an arm of this name, with its own norm if `norm`."""
    mixers = token_mixers(place)
    own = {"ffn": FFNS, "experts": FFNS | ADAPTERS, "more": mixers | FFNS | ADAPTERS, "mixer": mixers}.get(
        name, any_attentions(place)
    )
    part = draw(attentions(place, cross=True) if source else own)
    reads = "stream" if not source else "nothing" if place.is_idle else "source"
    norm_out = draw(st.sampled_from((None, None, *_NORMS)))
    scales = draw(st.sampled_from(({}, {}, {"in_scale": 0.5}, {"scale": 2.5}, {"in_scale": 1.5, "scale": 0.25})))
    d_out_conv = draw(st.sampled_from((None, None, 1, 3))) if place.is_decoder and reads != "nothing" else None
    own_norm = draw(NORMS) if norm else None
    return Arm(name=name, part=part, norm=own_norm, norm_out=norm_out, reads=reads, d_out_conv=d_out_conv, **scales)


@st.composite
def branches(draw: st.DrawFn, names: tuple[str, ...] = ("attn",), place: Place = Place(), source: str = "") -> Branch:
    """Draw a branch with an arm for each name; the one named `source` reads a source."""
    norm_in = draw(optional(NORMS))
    own = [False if norm_in else draw(st.booleans()) for _ in names]
    skip_reads = draw(st.sampled_from(("stream", "normed"))) if norm_in else "stream"
    branch = Branch(
        arms=tuple(draw(arms(name, place, name == source, norm)) for name, norm in zip(names, own, strict=True)),
        norm_in=norm_in,
        norm_out=draw(optional(NORMS)),
        norm_after=draw(optional(NORMS)),
        skip_reads=skip_reads,
        in_gate_rank=draw(st.sampled_from((None, None, 1, 3))),
        skip_weight=draw(st.sampled_from((False, False, True))),
        **draw(RESIDUALS),
    )
    return structs.replace(branch, splits_input=split_problem(branch) is None and draw(st.booleans()))


# The arms of each branch of a layer; 'cross' attends to a source.
EXPLICIT = st.sampled_from(((("attn", "mixer"), ("ffn",)), (("attn",), ("ffn", "experts"), ("more",)), (("more",),)))
CROSSING = st.sampled_from(((("attn",), ("cross", "ffn")), (("cross",),), (("attn", "cross"), ("ffn",))))
IDLING = st.sampled_from(((("attn",), ("cross",), ("ffn",)), (("attn", "mixer"), ("cross",)), (("cross",), ("ffn",))))


@st.composite
def with_shortcut(draw: st.DrawFn, branch: Branch, earlier: tuple[Branch, ...]) -> Branch:
    """Draw the branch with its last arm reading the input of an earlier one, if any is computed."""
    names = [other.arms[0].name for other in earlier if other.arms[0].reads != "nothing"]
    *others, last = branch.arms
    if not names or last.reads == "nothing":
        return branch
    if not others and branch.skip_reads == "stream":
        branch = structs.replace(branch, norm_in=None)  # nothing would read it
    branch = structs.replace(branch, splits_input=False)
    reader = structs.replace(last, input_of=draw(st.sampled_from(names)))
    return structs.replace(branch, arms=(*others, reader), in_gate_rank=branch.in_gate_rank if others else None)


@st.composite
def with_tied_norms(draw: st.DrawFn, branch: Branch, earlier: tuple[Branch, ...]) -> Branch:
    """Draw the branch with all its norms those of an earlier branch, or of itself."""
    branch = structs.replace(branch, splits_input=False)
    owner = draw(st.sampled_from((*earlier, branch)))
    part = next((part for _, part in norms(owner)), None)
    if part is None or len([*norms(branch)]) < 1 + (owner is branch):
        return branch
    arms = tuple(structs.replace(arm, norm=arm.norm and part, norm_out=arm.norm_out and part) for arm in branch.arms)
    own = {name: getattr(branch, name) and part for name in ("norm_in", "norm_out", "norm_after")}
    return structs.replace(branch, arms=arms, norm_of=owner.arms[0].name, **own)


@st.composite
def explicit_layers(draw: st.DrawFn, place: Place, has_source: bool) -> Layer:
    """Draw a layer in the explicit form."""
    groups = draw(IDLING if has_source and place.is_idle else CROSSING if has_source else EXPLICIT)
    drawn = tuple(draw(branches(group, place, "cross" if has_source else "")) for group in groups)
    if len(drawn) > 1 and draw(st.booleans()):
        drawn = (*drawn[:-1], draw(with_shortcut(drawn[-1], drawn[:-1])))
    if draw(st.integers(0, 2)) == 0:
        drawn = (*drawn[:-1], draw(with_tied_norms(drawn[-1], drawn[:-1])))
    return Layer(branches=drawn, out_scalar=draw(st.booleans()))


@st.composite
def layers(draw: st.DrawFn, place: Place = Place(), cross: bool | None = None) -> Layer:
    """Draw a layer in either form; `cross` fixes whether it attends to a source."""
    has_source = (draw(st.booleans()) if cross is None else cross) and (place.has_source or place.is_idle)
    if draw(st.integers(0, 3)) == 0:
        return draw(explicit_layers(place, has_source))
    placement = draw(st.sampled_from(get_args(Placement)[:4] if has_source else get_args(Placement)))
    parts = draw(st.sampled_from(("attention ffn", "attention", "ffn", "")))
    if placement.startswith("parallel") or not (parts or (has_source and not place.is_idle)):
        parts = "attention ffn"
    mixer = draw(st.none() | MIXERS) if place.is_decoder and "attention" in parts else None
    has_norm_in = placement in ("pre", "sandwich", "parallel")
    return Layer(
        norm=draw(NORMS),
        placement=placement,
        skip_reads=draw(st.sampled_from(("stream", "stream", "normed"))) if has_norm_in else "stream",
        **draw(RESIDUALS),
        attention=draw(any_attentions(place)) if "attention" in parts and mixer is None else None,
        mixer=mixer,
        cross=draw(attentions(place, cross=True)) if has_source else None,
        cross_reads="nothing" if has_source and place.is_idle else "source",
        **draw(flags("skip_weight", "out_scalar")),
        ffn=draw(FFNS | grouped_ffns(place.d_model)) if "ffn" in parts else None,
    )


@st.composite
def runs(draw: st.DrawFn, place: Place = Place(), cross: bool | None = None) -> Run:
    pattern = draw(st.lists(layers(place, cross), min_size=1, max_size=3))
    return Run(count=draw(st.integers(1, 3)), pattern=tuple(pattern), share_weights=draw(st.booleans()))


@st.composite
def chained_runs(draw: st.DrawFn, place: Place, n_before: int) -> list[Run]:
    """Draw layers whose first branches are read by the next ones, and others that use the weights of these."""
    attention = structs.replace(draw(attentions(place)), gate=None, **dict.fromkeys(("q_block", "k_block", "v_block")))
    if isinstance(attention.position, ContentBias | Disentangled):
        attention = structs.replace(attention, position=None)
    wide = draw(st.booleans())
    read = Branch(
        arms=(Arm(name="attn", part=structs.replace(attention, reads_embedding=wide)),),
        norm_in=draw(optional(NORMS)),
        norm_out=draw(optional(NORMS)),
        joins=draw(st.sampled_from(("next", "next_sum"))),
        scale=draw(st.sampled_from((1.0, 0.5))),
    )
    link = Arm(name="link", part=draw(PROJECTIONS))
    after = draw(branches(("ffn", "link"), place))
    joined = Branch(arms=(structs.replace(after.arms[0], norm=None), link), joins="next_sum", norm_in=after.norm_in)
    last = draw(branches(("more",), place))
    last = structs.replace(last, skip_reads="stream")
    parts = (read, joined, last)
    shared = draw(st.lists(st.sampled_from(range(3)), min_size=1, unique=True))
    reader = tuple(structs.replace(b, weights_of=n_before) if i in shared else b for i, b in enumerate(parts))
    n_readers = draw(st.integers(1, 2))
    return [Run(count=1, pattern=(Layer(branches=parts),)), Run(count=n_readers, pattern=(Layer(branches=reader),))]


@st.composite
def sharing_runs(draw: st.DrawFn, found: list[Run]) -> list[Run]:
    """Draw a run of layers that share weights, or keys and values, with an earlier layer."""
    turns = [layer for run in found for layer in (run.pattern * run.count)[: run.count]]
    owners, lenders = weight_indices(stack := Stack(runs=tuple(found), n_layers=len(turns))), lender_indices(stack)
    makers = [i for i, layer in enumerate(turns) if lenders[i] is None and _lending_arms(layer)]
    selectors = [i for i, layer in enumerate(turns) if lenders[i] is None and _selecting_arms(layer)]
    if selectors and draw(st.booleans()):
        turn = draw(st.sampled_from(selectors))
        more = [selection_reader(turns[turn], turn)]
    elif makers and draw(st.integers(0, 2)):
        turn = draw(st.sampled_from(makers))
        more = draw(st.lists(sharing_layers(turns[turn], turn), min_size=1, max_size=2))
    else:
        turn = draw(st.sampled_from(sorted(set(owners))))
        lent = turns[turn].shares and {"selection": turns[turn].shares.selection}
        lent = lent or {"keys_values": lenders[turn]}
        more = [Layer(**_fields(turns[turn]) | {"name": None, "shares": Shares(weights=turn, **lent)})]
    run = Run(count=draw(st.integers(1, 3)), pattern=tuple(more), share_weights=draw(st.booleans()))
    return [*found, run]


@st.composite
def sharing_layers(draw: st.DrawFn, layer: Layer, turn: int) -> Layer:
    """Draw a copy of the layer that reads its keys and values, with other query heads and norms."""
    fields = _fields(layer) | {"name": None, "shares": Shares(keys_values=turn)}
    if not layer.branches:
        return Layer(**fields | {"attention": draw(queries(layer.attention))})
    lent = _lending_arms(layer)
    which = draw(st.lists(st.sampled_from(lent), min_size=1, unique=True))
    changed = [
        Branch(
            **_fields(branch)
            | {"splits_input": branch.splits_input and branch.arms[0].name not in which}
            | {"arms": tuple([draw(_reader(arm)) if arm.name in which else arm for arm in branch.arms])}
        )
        for branch in layer.branches
    ]
    return Layer(**fields | {"branches": tuple(changed)})


def selection_reader(layer: Layer, turn: int) -> Layer:
    """Return a copy of the layer that reads the selections of its indexers."""
    names = _selecting_arms(layer)

    def reader(part: LatentAttention) -> LatentAttention:
        return structs.replace(part, indexer=SharedSelection(n_selected=part.indexer.n_selected))

    def change(arm: Arm) -> Arm:
        return structs.replace(arm, part=reader(arm.part)) if arm.name in names else arm

    fields = _fields(layer) | {"name": None, "shares": Shares(selection=turn)}
    if not layer.branches:
        return Layer(**fields | {"attention": reader(layer.attention)})
    changed = [structs.replace(branch, arms=tuple(map(change, branch.arms))) for branch in layer.branches]
    return Layer(**fields | {"branches": tuple(changed)})


def _selecting_arms(layer: Layer) -> list[str]:
    return [name for name, part in parts(layer).items() if lends_selection(part)]


def _lending_arms(layer: Layer) -> list[str]:
    """Return the arms whose keys and values a later layer may read."""
    if not layer.branches:
        return ["attn"] if _lends(layer.attention) else []
    every = [arm for branch in layer.branches for arm in branch.arms]
    return [arm.name for arm in every if arm.reads == "stream" and _lends(arm.part)]


def _lends(part: object) -> bool:
    return isinstance(part, Attention) and not isinstance(part.position, Disentangled)


def _reader(arm: Arm) -> st.SearchStrategy[Arm]:
    return queries(arm.part).map(lambda part: Arm(**_fields(arm) | {"part": part, "reads": "shared"}))


@st.composite
def queries(draw: st.DrawFn, part: Attention) -> Attention:
    """Draw an attention that may read the keys and values of this one."""
    fields = _fields(part) | {"k_bias": False, "v_bias": False, "value_scale": None}
    fields |= {"v_norm": None, "value_is_key": False}
    fields |= dict.fromkeys(("q_block", "k_block", "v_block", "out_block", "low_rank"))
    fields |= {"softcap": draw(SOFTCAPS), "sinks": draw(st.booleans()), "qk_norm": draw(optional(QK_NORMS))}
    fields |= {"token_sinks": part.token_sinks and not fields["sinks"]}
    if part.d_head is not None and (not isinstance(part.position, RelativeBias)):
        n_kv_heads = part.n_kv_heads or part.n_heads
        fields |= {"n_kv_heads": n_kv_heads, "n_heads": n_kv_heads * draw(st.sampled_from((1, 2, 3)))}
    return Attention(**fields)


def _fields(part: Part) -> dict[str, object]:
    return {field: getattr(part, field) for field in part.__struct_fields__}


@st.composite
def stacks(draw: st.DrawFn, place: Place = Place(), is_decoder: bool = True) -> Stack:
    """Draw a stack; if there is a source, at least one layer attends to it."""
    found = draw(st.lists(runs(place), min_size=1, max_size=2))
    if draw(st.integers(0, 5)) == 0:
        found = draw(sharing_runs(found))
    if draw(st.integers(0, 5)) == 0:
        found += draw(chained_runs(place, sum(run.count for run in found)))
    if place.has_source:
        found.append(draw(runs(place, cross=True)))
    n_layers = sum(run.count for run in found)
    last = found[-1].pattern[(found[-1].count - 1) % len(found[-1].pattern)]
    reads_keys = last.shares is not None and (last.shares.keys_values, last.shares.selection) != (None, None)
    reads_keys = reads_keys or any(b.weights_of is not None or reads_embedding(b) for b in last.branches)
    stated = draw(st.booleans())
    if stated and draw(st.booleans()):
        found[-1] = Run(count=None, pattern=found[-1].pattern, share_weights=found[-1].share_weights)
    embed_norm = draw(optional(NORMS))
    stack = Stack(
        n_layers=n_layers if stated else None,
        runs=_named(found) if draw(st.booleans()) else tuple(found),
        position=draw(optional(LEARNED | SINUSOIDAL)),
        embed_norm=embed_norm,
        embed_norm_reads=draw(st.sampled_from(("sum", "tokens"))) if embed_norm else "sum",
        final_norm=draw(optional(NORMS)),
        n_mtp=draw(st.sampled_from((0, 1, 2))) if is_decoder and not reads_keys else 0,
    )
    return draw(with_per_layer(stack)) if draw(st.integers(0, 2)) == 0 else stack


PER_LAYER = st.builds(PerLayerEmbedding, d_per_layer=SIZES, n_rows=st.sampled_from((None, 7, 31)), norm=optional(NORMS))
PROJECTIONS = st.builds(StateProjection, bias=st.booleans())
PER_LAYER_GATES = st.builds(PerLayerGate, d_per_layer=SIZES, activation=FIXED_ACTIVATIONS)


@st.composite
def with_per_layer(draw: st.DrawFn, stack: Stack) -> Stack:
    """Return the stack with per-layer embeddings, which its layers in the explicit form read."""
    part = draw(PER_LAYER)
    gate = structs.replace(draw(PER_LAYER_GATES), d_per_layer=draw(st.sampled_from((None, part.d_per_layer))))
    branch = Branch(arms=(Arm(name="own", part=gate),), norm_in=draw(optional(NORMS)), norm_out=draw(optional(NORMS)))

    def changed(layer: Layer) -> Layer:
        return structs.replace(layer, branches=(*layer.branches, branch)) if layer.branches else layer

    runs = tuple(structs.replace(run, pattern=tuple(map(changed, run.pattern))) for run in stack.runs)
    n_counted = sum(run.count or 0 for run in stack.runs)
    counts = [run.count or stack.n_layers - n_counted for run in stack.runs]
    used = [layer for run, count in zip(stack.runs, counts, strict=True) for layer in run.pattern[:count]]
    return (
        stack
        if not any(layer.branches for layer in used)
        else structs.replace(stack, runs=runs, per_layer=part, n_mtp=0)
    )


def _named(found: list[Run]) -> tuple[Run, ...]:
    """Return the runs with unique layer names."""
    named = []
    for r, run in enumerate(found):
        pattern = (
            Layer(name=f"run{r}_place{p}", **{f: getattr(layer, f) for f in layer.__struct_fields__ if f != "name"})
            for p, layer in enumerate(run.pattern)
        )
        named.append(Run(count=run.count, pattern=tuple(pattern), share_weights=run.share_weights))
    return tuple(named)


EMBEDDING_FACTORS = st.builds(
    Factor, d_embed=SIZES, bias=st.booleans(), widen=st.sampled_from(("before_positions", "after_positions"))
)
TABLES = st.builds(
    ExtraTable,
    name=st.sampled_from(("task", "language")),
    n_rows=st.sampled_from((3, 5)),
    default_row=st.none() | st.just(2),
    n_reads=st.sampled_from((1, 2)),
)
JOINED_TABLES = st.builds(
    ExtraTable,
    name=st.sampled_from(("shape", "sound")),
    n_rows=st.just(3),
    default_row=st.just(2),
    use=st.sampled_from(("joined", "stored")),
    d_table=st.sampled_from((3, 6)),
)
JOINS = st.builds(Join, bias=st.booleans())
TOKEN_DROPOUTS = st.builds(TokenDropout, mask_id=st.sampled_from((0, 3)), share=st.sampled_from((0.12, 0.3)))


@st.composite
def embeddings(draw: st.DrawFn, reads_whole_text: bool = False) -> Embedding:
    factor = draw(optional(EMBEDDING_FACTORS))
    join = draw(st.sampled_from((False, False, False, True))) if factor is None else False
    return Embedding(
        factor=factor,
        n_token_types=draw(st.sampled_from((0, 2, 3))),
        tables=draw(st.sampled_from((0, 0, 0, 1, 2)).flatmap(_tables)) + (draw(JOINED_LISTS) if join else ()),
        join=draw(JOINS) if join else None,
        scale=draw(OPTIONAL_SCALES),
        token_dropout=draw(optional(TOKEN_DROPOUTS)) if reads_whole_text else None,
    )


JOINED_LISTS = st.lists(JOINED_TABLES, max_size=2, unique_by=lambda table: table.name).map(tuple)


@cache
def _tables(n: int) -> st.SearchStrategy[tuple[ExtraTable, ...]]:
    return st.lists(TABLES, min_size=n, max_size=n, unique_by=lambda table: table.name).map(tuple)


TRANSFORMS = st.builds(
    Transform, activation=ACTIVATIONS, norm=optional(NORMS), bias=st.booleans(), d_hidden=optional(SIZES)
)
POOLERS = st.builds(Pooler, activation=ACTIVATIONS)
EXTRAS = st.builds(
    Extra,
    name=st.sampled_from(("contact.weight", "contact.bias", "unused_bias")),
    axes=st.lists(SIZES | st.sampled_from(get_args(Axis)), min_size=1, max_size=3).map(tuple),
    component=st.sampled_from(("embedding", "head", "other")),
    storage=st.sampled_from(("trainable", "frozen", "buffer")),
)
EVERY_EXTRA = st.lists(EXTRAS, max_size=2, unique_by=lambda extra: extra.name).map(tuple)
LABELS = st.sampled_from(
    [
        Labels(n_labels=n, reads=reads, picks=picks)
        for n, (reads, picks) in product(
            (1, 2, 7),
            (
                ("every", "before"),
                ("last", "before"),
                ("last", "after"),
                ("first", "before"),
                ("first", "after"),
                ("mean", "before"),
                ("mean", "after"),
                ("pooled", "before"),
            ),
        )
    ]
)
TOKEN_LABELS = LABELS.filter(lambda labels: labels.reads == "every")
DECODER_LABELS = LABELS.filter(lambda labels: labels.reads in ("every", "last"))


@st.composite
def heads(draw: st.DrawFn, labels: st.SearchStrategy[Labels] = LABELS) -> Head:
    scored = draw(st.none() | st.none() | st.none() | labels)
    tied = scored is None and draw(st.booleans())
    return Head(
        tied=tied,
        bias=draw(st.booleans()),
        d_in=None if tied else draw(st.none() | st.none() | SIZES),
        transform=draw(optional(TRANSFORMS)),
        bias_buffer=scored is None and draw(st.sampled_from((False, False, True))),
        labels=scored,
        softcap=draw(optional(st.sampled_from((30.0, 2.0)))),
        scale=draw(OPTIONAL_SCALES),
    )


DROPOUTS = st.sampled_from(
    [
        Dropout(embedding=embedding, attention=attention, residual=residual, ffn=ffn)
        for embedding, attention, residual, ffn in product((0.0, 0.1, 0.5), repeat=4)
    ]
)
CLAIMS = st.builds(
    Claim,
    id=st.sampled_from(("size", "paper_table_1")),
    quantity=st.sampled_from(("total", "active")),
    value=st.sampled_from(("174.6 B", "0.7 M", "152")),
    where=st.just("table 1"),
    verdict=st.sampled_from(("holds", "truncates", "differs")),
)
ASSUMPTION = Assumption(kind="default", value="num_key_value_heads", of="num_key_value_head")
PROVENANCES = st.sampled_from(
    (Provenance(), Provenance(ignored=("use_mrope",)), Provenance(assumed=("the head", ASSUMPTION)))
)
STORED_MTP = st.sampled_from((StoredMtp(n_modules=1), StoredMtp(n_modules=2, has_tables=True)))
STORED_FORMATS = st.builds(
    StoredFormat,
    name=st.just("in eight bits"),
    layout=optional(st.sampled_from((PerTensor(1, 4), PerRow(1, 2, 1), Tiled(1, 3, 4, 2), Grouped(8, 0, 2)))),
    roles=st.sampled_from((("linear", "experts"), ("head", "embedding"))),
    pattern=st.sampled_from((None, ".*attn.*", r"(?:encoder\.|decoder\.|)layers\.0\..*")),
    packing=st.sampled_from((None, "scaled", "gptq")),
)
STORAGES = st.builds(
    Storage,
    dtype=st.sampled_from(("bf16", "fp32", "fp64")),
    stated_by=st.sampled_from(((), ("dtype",))),
    formats=st.lists(STORED_FORMATS, max_size=2).map(tuple),
)
ABOUTS = st.builds(
    About,
    title=st.sampled_from(("", "A model")),
    source=st.sampled_from(((), "a paper", ("a paper", "a file"))),
    note=st.sampled_from(("", "a note")),
    claims=optional(CLAIMS).map(lambda claim: () if claim is None else (claim,)),
    provenance=PROVENANCES,
    stored_mtp=optional(STORED_MTP),
    storage=st.just(Storage()) | STORAGES,
)
FAMILIES: st.SearchStrategy[Family] = st.sampled_from(get_args(Family))


# The own sizes of an encoder. Its vocabulary and context are larger, so that texts are valid for both stacks.
OWN_SIZES = (
    st.just({})
    | st.fixed_dictionaries({"n_ctx": st.sampled_from((20, 23))})
    | st.fixed_dictionaries(
        {"embedding": embeddings()},
        optional={"d_model": SIZES, "n_ctx": st.sampled_from((20, 23)), "vocab_size": st.sampled_from((31, 37))},
    )
)


@st.composite
def specs(draw: st.DrawFn, family: Family | None = None, per_token: bool = False) -> Spec:
    """Draw a resolved spec, of this family if given; with `per_token` its output is one for each token."""
    family = family or draw(FAMILIES)
    d_model, of_source = draw(SIZES), draw(OWN_SIZES) if family == "encoder-decoder" else {}
    places = {
        role: Place(
            of_source.get("d_model", d_model) if role == "encoder" else d_model,
            (draw(st.sampled_from((3, 6, 2))), draw(RELATIVE)),
            has_source=role != family and role == "decoder",
            is_idle=family == "decoder" and draw(st.integers(0, 3)) == 0,
            is_decoder=role == "decoder",
            d_rotary=draw(st.sampled_from((2, 4))),
            distances=draw(DISENTANGLED),
        )
        for role in family.split("-")
    }
    is_decoder = "decoder" in places
    head = draw(optional(heads(TOKEN_LABELS if per_token else DECODER_LABELS if is_decoder else LABELS)))
    labels = head.labels if head else None
    pools = (
        labels.reads == "pooled" if labels else head is None and not (is_decoder or per_token) and draw(st.booleans())
    )
    drawn = {role: draw(stacks(place, is_decoder=role == "decoder" and not labels)) for role, place in places.items()}
    if of_source:
        drawn["encoder"] = structs.replace(drawn["encoder"], **of_source)
    spec = Spec(
        name="drawn",
        about=draw(ABOUTS),
        vocab_size=draw(st.sampled_from((17, 23, 29))),
        n_ctx=draw(st.sampled_from((9, 5, 19, 1))),
        d_model=d_model,
        embedding=draw(embeddings(not is_decoder)),
        head=head,
        pooler=draw(POOLERS) if pools else None,
        extras=draw(st.just(()) | EVERY_EXTRA),
        dropout=draw(DROPOUTS),
        **drawn,
    )
    if not any("all_heads" in extra.axes for extra in spec.extras):
        return resolve(spec)
    bare = resolve(structs.replace(spec, extras=()))
    layers = [layer for own in bare.stacks for layer in layers_of(own.stack)]
    if any(hasattr(parts(layer).get("attn"), "n_heads") for layer in layers):
        return resolve(spec)
    return resolve(structs.replace(spec, extras=tuple(one for one in spec.extras if "all_heads" not in one.axes)))


@st.composite
def prompted_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec with prompts in a stack at least; no other strategy draws them."""
    n_heads, prompts = draw(st.sampled_from((1, 2, 4))), st.builds(Prompts, n_prompt=SIZES, d_prompt=SIZES)
    attention = Attention(n_heads=n_heads, d_head=draw(SIZES), n_kv_heads=draw(st.sampled_from((1, n_heads))))
    layer = Layer(norm=LayerNorm(), attention=attention, ffn=Plain(d_ff=draw(SIZES), activation="gelu"))
    decoder = Stack(runs=(Run(count=2, pattern=(structs.replace(layer, cross=attention),)),), prompts=draw(prompts))
    encoder = Stack(runs=(Run(count=3, pattern=(layer,)),), prompts=draw(optional(prompts)))
    return resolve(Spec(name="prompted", vocab_size=17, n_ctx=19, d_model=12, encoder=encoder, decoder=decoder))


@st.composite
def per_layer_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec with per-layer embeddings, which `specs` draws now and then."""
    attention, norm = Attention(n_heads=2, d_head=draw(SIZES)), RMSNorm()
    ffn = Branch(norm_in=norm, arms=(Arm(name="ffn", part=Gated(d_ff=draw(SIZES))),))
    layer = Layer(branches=(Branch(norm_in=norm, arms=(Arm(name="attn", part=attention),)), ffn))
    stack = draw(with_per_layer(Stack(runs=(Run(count=2, pattern=(layer,)),))))
    return resolve(Spec(name="per_layer", vocab_size=17, n_ctx=19, d_model=12, decoder=stack))


@st.composite
def adapter_specs(draw: st.DrawFn) -> Spec:
    """A resolved encoder with adapters, which `specs` draws in branches alone."""
    layer = Layer(norm=LayerNorm(), attention=Attention(n_heads=2, d_head=draw(SIZES)), ffn=draw(ADAPTERS))
    encoder = Stack(runs=(Run(count=2, pattern=(layer,)),))
    return resolve(Spec(name="adapted", vocab_size=17, n_ctx=19, d_model=12, encoder=encoder))


ALTUPS = st.sampled_from((2, 3, 4)).flatmap(
    lambda n: st.builds(
        AltUp, n_streams=st.just(n), active=st.integers(0, n - 1), norm=RMS_NORMS, out_scale=st.booleans()
    )
)


@st.composite
def altup_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec with several residual streams, a skipped arm and per-layer embeddings; no other draws them."""
    norm, scaled = draw(RMS_NORMS), draw(st.sampled_from((1.0, 0.5)))
    attention = Attention(n_heads=2, n_kv_heads=1, d_head=draw(EVEN), window=draw(st.sampled_from((None, 3))))
    low = Plain(d_ff=draw(SIZES), activation="identity")
    arms = (
        Arm(name="attn", part=attention, norm_out=draw(optional(RMS_NORMS))),
        Arm(name="low", part=low, norm_out=draw(optional(RMS_NORMS)), skip=draw(st.booleans())),
    )
    first = Branch(norm_in=norm, arms=arms, scale=scaled, skip=scaled)
    ffn = draw(GATED)
    second = Branch(norm_in=norm, arms=(Arm(name="ffn", part=ffn),), norm_out=draw(optional(RMS_NORMS)))
    gate = Arm(name="own", part=draw(PER_LAYER_GATES).__class__(activation=draw(FIXED_ACTIVATIONS)))
    third = Branch(
        arms=(gate,), norm_out=draw(optional(RMS_NORMS)), joins=draw(st.sampled_from(("stream", "later_streams")))
    )
    layers = (Layer(branches=(first, second, third)), Layer(branches=(first, second)))
    runs = (Run(count=draw(st.integers(1, 3)), pattern=layers), Run(count=1, pattern=layers[1:]))
    stack = Stack(runs=runs, streams=draw(ALTUPS), per_layer=draw(PER_LAYER), final_norm=draw(optional(RMS_NORMS)))
    head = Head(tied=draw(st.booleans()))
    return resolve(Spec(name="streams", vocab_size=17, n_ctx=19, d_model=draw(SIZES), decoder=stack, head=head))


SINKHORNS = st.builds(Sinkhorn, n_turns=st.integers(1, 4))
HYPERS = st.builds(
    HyperConnections,
    n_streams=st.integers(1, 4),
    magnitude=FACTORS,
    eps=st.sampled_from((0.0, 0.01)),
    write_eps=st.sampled_from((0.0, 0.02)),
    mix=optional(SINKHORNS),
)


@st.composite
def hyper_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec whose branches read and write several residual streams; no other draws them."""
    norm, own = draw(RMS_NORMS), draw(RMS_NORMS)
    attention = Attention(n_heads=2, n_kv_heads=1, d_head=draw(EVEN), window=draw(st.sampled_from((None, 3))))
    arms = (
        Arm(name="attn", part=attention, norm_out=draw(optional(RMS_NORMS))),
        Arm(name="low", part=Plain(d_ff=draw(SIZES), activation="identity"), skip=draw(st.booleans())),
    )
    first = Branch(norm_in=norm, arms=arms[: draw(st.integers(1, 2))], scale=draw(st.sampled_from((1.0, 0.5))))
    second = Branch(norm_in=norm, arms=(Arm(name="ffn", part=draw(GATED)),), norm_out=draw(optional(RMS_NORMS)))
    short = Layer(norm=own, attention=attention, ffn=draw(GATED), placement=draw(st.sampled_from(("pre", "sandwich"))))
    runs = (Run(count=draw(st.integers(1, 3)), pattern=(Layer(branches=(first, second)), short)),)
    stack = Stack(runs=runs, streams=draw(HYPERS), final_norm=draw(optional(RMS_NORMS)))
    head = Head(tied=draw(st.booleans()))
    return resolve(Spec(name="streams", vocab_size=17, n_ctx=19, d_model=draw(SIZES), decoder=stack, head=head))


SET_ASIDE = st.builds(SetAside, n_block=st.integers(1, 4), eps=st.sampled_from((1e-6, 0.02)))


@st.composite
def set_aside_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec whose stream is set aside now and then; no other draws them."""
    norm, own = draw(RMS_NORMS), draw(RMS_NORMS)
    attention = Attention(n_heads=2, n_kv_heads=1, d_head=draw(EVEN), window=draw(st.sampled_from((None, 3))))
    convolved = structs.replace(attention, d_conv=2, conv_by_token=draw(st.booleans()), conv_scale=draw(SCALES))
    arms = (
        Arm(name="attn", part=convolved, norm_out=draw(optional(RMS_NORMS))),
        Arm(name="low", part=Plain(d_ff=draw(SIZES), activation="identity"), skip=draw(st.booleans())),
    )
    n_arms = draw(st.integers(1, 2))
    splits = n_arms == 1 and draw(st.booleans())
    scale = draw(st.sampled_from((1.0, 0.5)))
    first = Branch(norm_in=norm, arms=arms[:n_arms], splits_input=splits, scale=scale)
    second = Branch(norm_in=norm, arms=(Arm(name="ffn", part=draw(GATED)),), norm_out=draw(optional(RMS_NORMS)))
    short = Layer(norm=own, attention=attention, ffn=draw(GATED), placement=draw(st.sampled_from(("pre", "sandwich"))))
    runs = (Run(count=draw(st.integers(1, 5)), pattern=(Layer(branches=(first, second)), short)),)
    stack = Stack(runs=runs, streams=draw(SET_ASIDE), final_norm=draw(optional(RMS_NORMS)))
    head = Head(tied=draw(st.booleans()), softcap=draw(SOFTCAPS), n_scored=draw(st.sampled_from((None, 5, 11))))
    return resolve(Spec(name="streams", vocab_size=17, n_ctx=19, d_model=draw(SIZES), decoder=stack, head=head))


ENTRY_INDEXERS = st.builds(EntryIndexer, n_index_heads=SIZES, d_index=st.sampled_from((8, 9, 13)), n_selected=SIZES)
COMPRESSIONS = st.builds(
    Compression, n_pool=st.sampled_from((2, 3, 4)), overlap=st.booleans(), indexer=optional(ENTRY_INDEXERS)
)


@st.composite
def compressed_attentions(draw: st.DrawFn) -> CompressedAttention:
    n_groups, n_each, d_rope = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.sampled_from((2, 4, 6)))
    scaling = LinearScaling(factor=4.0) if draw(st.booleans()) else None
    return CompressedAttention(
        n_heads=n_groups * n_each,
        d_head=draw(st.sampled_from((7, 10, 6))),
        q_rank=draw(SIZES),
        d_rope=d_rope,
        window=draw(st.sampled_from((1, 3, 4, 30))),
        n_out_groups=n_groups,
        out_rank=draw(SIZES),
        norm=draw(RMS_NORMS),
        position=Rope(theta=500.0, interleaved=draw(st.booleans()), scaling=scaling),
        compression=draw(optional(COMPRESSIONS)),
    )


@st.composite
def compressed_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec with compressed attention, and experts that tokens choose; no other draws them."""
    n_active, choose = draw(st.integers(1, 3)), draw(st.sampled_from(("sqrt_softplus", "sigmoid", "softmax")))
    experts = MoE(n_experts=5, n_active=n_active, d_expert=draw(SIZES), choose=choose, by_token=draw(st.booleans()))
    layer = Layer(norm=draw(RMS_NORMS), attention=draw(compressed_attentions()), ffn=experts)
    other = Layer(norm=draw(RMS_NORMS), attention=draw(compressed_attentions()), ffn=draw(GATED))
    stack = Stack(runs=(Run(count=draw(st.integers(1, 3)), pattern=(layer, other)),), streams=draw(optional(HYPERS)))
    dropout = Dropout(attention=draw(st.sampled_from((0.0, 0.1))))
    sizes = {"vocab_size": 17, "n_ctx": 19, "d_model": draw(SIZES)}
    return resolve(
        Spec(name="compressed", decoder=stack, head=Head(tied=draw(st.booleans())), dropout=dropout, **sizes)
    )


@st.composite
def selecting_specs(draw: st.DrawFn) -> Spec:
    """A resolved spec whose last layer reads the selection of an indexer, which few other draws have."""
    indexer = Indexer(n_index_heads=draw(SIZES), d_index=12, n_selected=draw(SIZES))
    sizes = {name: draw(SIZES) for name in ("n_heads", "kv_rank", "d_nope", "d_v", "q_rank")}
    attention = LatentAttention(d_rope=draw(st.sampled_from((2, 4))), indexer=indexer, **sizes)
    layer = Layer(norm=RMSNorm(), attention=attention, ffn=Gated(d_ff=draw(SIZES), activation="silu"))
    runs = Run(count=2, pattern=(layer,)), Run(count=1, pattern=(selection_reader(layer, 0),))
    return resolve(Spec(name="selecting", vocab_size=17, n_ctx=19, d_model=12, decoder=Stack(runs=runs)))


@st.composite
def sparse_specs(draw: st.DrawFn, patterns: st.SearchStrategy | None = None) -> Spec:
    """A resolved encoder whose attention has one of these patterns."""
    found = (
        GLOBAL_WINDOWS | RANDOM_BLOCKS | LOCAL_BLOCKS | block_summaries(Place(), 3) if patterns is None else patterns
    )
    attention = SparseAttention(n_heads=3, d_head=draw(SIZES), pattern=draw(found))
    layer = Layer(norm=RMSNorm(), attention=attention, ffn=Plain(d_ff=draw(SIZES), activation="gelu"))
    encoder = Stack(runs=(Run(count=2, pattern=(layer,)),))
    return resolve(Spec(name="sparse", vocab_size=17, n_ctx=19, d_model=12, encoder=encoder))


GLOBAL_TOKENS = st.builds(GlobalTokens, n_tokens=SIZES, own_norm=st.booleans())


@st.composite
def global_token_specs(draw: st.DrawFn, is_alone: bool | None = None) -> Spec:
    """A resolved spec whose encoder has global tokens; no other draws them."""
    heads = draw(st.sampled_from((1, 2, 3)))
    attention = SparseAttention(
        n_heads=heads, d_head=draw(SIZES), pattern=draw(LOCAL_BLOCKS), out_bias=draw(st.booleans())
    )
    placement = draw(st.sampled_from(("pre", "post", "sandwich", "parallel", "parallel_two")))
    layer = Layer(norm=draw(NORMS), placement=placement, attention=attention, ffn=draw(FFNS))
    other = structs.replace(layer, attention=structs.replace(attention, pattern=draw(LOCAL_BLOCKS)))
    runs = (Run(count=draw(st.integers(1, 3)), pattern=(layer, other)),)
    encoder = Stack(runs=runs, global_tokens=draw(GLOBAL_TOKENS), final_norm=draw(optional(NORMS)))
    own = Attention(n_heads=2, d_head=3)
    reader = Layer(norm=RMSNorm(), attention=own, cross=own, ffn=Plain(d_ff=5, activation="gelu"))
    is_single = draw(st.booleans()) if is_alone is None else is_alone
    decoder = None if is_single else Stack(runs=(Run(count=2, pattern=(reader,)),))
    spec = Spec(name="global", vocab_size=17, n_ctx=19, d_model=draw(SIZES), encoder=encoder, decoder=decoder)
    return resolve(structs.replace(spec, dropout=draw(DROPOUTS)))


CYCLES = st.builds(Cycles, n_low=st.integers(1, 3), n_high=st.integers(1, 2))


@st.composite
def cycle_specs(draw: st.DrawFn) -> Spec:
    """A resolved decoder whose layers run in cycles; no other draws them."""
    cycles, n_layers, d_model = draw(CYCLES), draw(st.integers(1, 2)), draw(SIZES)
    attention = draw(attentions(Place(d_model, is_decoder=True)))
    kinds = {"attention": None, "mixer": draw(MIXERS)} if draw(st.booleans()) else {"attention": attention}
    placement = draw(st.sampled_from(get_args(Placement)))
    graded = Layer(norm=draw(NORMS), placement=placement, ffn=draw(FFNS), name="graded", **kinds)
    detached = structs.replace(graded, detached=True, name="detached")
    runs: list[Run] = []
    for _ in range(cycles.n_high):
        n_detached = draw(st.integers(0, cycles.n_low))
        for low in range(cycles.n_low):
            layer = detached if low < n_detached else graded
            runs.append(Run(count=n_layers, pattern=(layer,), weights_of=0 if runs else None))
        is_first = len(runs) == cycles.n_low
        runs.append(Run(count=n_layers, pattern=(graded,), weights_of=None if is_first else cycles.n_low))
    has_prefix = graded.attention is not None and draw(st.booleans())
    stack = Stack(runs=tuple(runs), cycles=cycles, final_norm=draw(optional(NORMS)), prefix=has_prefix)
    head = Head(tied=draw(st.booleans()))
    sizes = {"vocab_size": 17, "n_ctx": 19, "d_model": d_model}
    return resolve(Spec(name="cycles", decoder=stack, head=head, dropout=draw(DROPOUTS), **sizes))


SOFT_PROMPTS = st.builds(
    SoftPrompt, n_tokens=st.integers(1, 3), n_rows=st.integers(5, 9), first=st.integers(0, 2), segment=st.integers(0, 1)
)


@st.composite
def soft_prompt_specs(draw: st.DrawFn) -> Spec:
    """A resolved decoder whose passes see themselves, with a soft prompt before every text or without; no other has."""
    prompt, n_segments = draw(optional(SOFT_PROMPTS)), draw(st.integers(3, 4))
    has_segments = prompt is not None and draw(st.booleans())
    relative = RelativeBias(
        n_buckets=draw(st.sampled_from((1, 5, 8))), max_distance=9, n_segments=n_segments if has_segments else 0
    )
    position = relative if has_segments or (prompt is None and draw(st.booleans())) else None
    heads = {"n_heads": 2, "n_kv_heads": draw(st.sampled_from((1, 2))), "d_head": draw(SIZES)}
    layer = Layer(
        norm=draw(NORMS),
        placement=draw(st.sampled_from(get_args(Placement))),
        attention=Attention(position=position, **heads, **draw(flags("q_bias", "sinks"))),
        ffn=draw(FFNS),
    )
    table = ExtraTable(name="segments", n_rows=n_segments, default_row=2)
    is_first = prompt is not None and (has_segments or prompt.segment or draw(st.booleans()))
    stack = Stack(runs=(Run(count=2, pattern=(layer,)),), reads_pass=True, soft_prompt=prompt)
    embedding = Embedding(tables=(table,) if is_first else (), n_token_types=draw(st.sampled_from((0, 2))))
    sizes = {"vocab_size": 17, "n_ctx": 19, "d_model": draw(SIZES)}
    stack = structs.replace(stack, final_norm=draw(optional(NORMS)))
    return resolve(Spec(name="soft", decoder=stack, embedding=embedding, head=Head(tied=draw(st.booleans())), **sizes))


@st.composite
def shared_run_specs(draw: st.DrawFn) -> Spec:
    """A resolved decoder of equal runs, of which the last uses the weights of another; few other draws have one."""
    attention = Attention(n_heads=2, d_head=draw(SIZES))
    layer = Layer(norm=RMSNorm(), attention=attention, ffn=Gated(d_ff=draw(SIZES), activation="silu"))
    run = Run(count=draw(st.integers(1, 2)), pattern=(layer,))
    runs = (*[run] * 4, structs.replace(run, weights_of=draw(st.integers(0, 3))))
    return resolve(Spec(name="runs", vocab_size=17, n_ctx=19, d_model=12, decoder=Stack(runs=runs)))


@st.composite
def convolved_specs(draw: st.DrawFn) -> Spec:
    """A resolved encoder whose attention has convolutions, or XLNet's; no other draws them."""
    own = convolved_attentions() | xl_attentions(Place(d_model=12))
    layer = Layer(norm=RMSNorm(), attention=draw(own), ffn=draw(grouped_ffns(12)))
    encoder = Stack(runs=(Run(count=2, pattern=(layer,)),))
    return resolve(Spec(name="convolved", vocab_size=17, n_ctx=19, d_model=12, encoder=encoder))


ROUTER_MLPS = st.builds(
    RouterMlp, d_router=SIZES, norm=RMS_NORMS, activation=FIXED_ACTIVATIONS, adds_previous=st.booleans()
)


@st.composite
def router_specs(draw: st.DrawFn) -> Spec:
    """A resolved decoder with convolved queries and keys, routers with states, biases of skips; no other draws them."""
    d_model, router = draw(SIZES), draw(ROUTER_MLPS)
    kinds = convolutional_attentions() | attentions(Place(d_model, is_decoder=True))
    pattern, n_routers = [], draw(st.integers(1, 3))
    for i in range(n_routers):
        mixture = draw(mixtures())
        own = structs.replace(router, adds_previous=i > 0 and draw(st.booleans()))
        returns = draw(st.sampled_from(("input", "nothing"))) if mixture.n_zero else "input"
        ffn = structs.replace(mixture, router_mlp=own, zero_returns=returns)
        sides = {"skip_weight": True, "skip_bias": draw(st.booleans())} if draw(st.booleans()) else {}
        if draw(st.booleans()):
            pattern.append(Layer(norm=draw(NORMS), attention=draw(kinds), ffn=ffn, **sides))
            continue
        arms_ = (Arm(name="attn", part=draw(kinds)), Arm(name="ffn", part=ffn))
        norms_ = {"norm_in": draw(NORMS), "norm_out": draw(optional(AFFINES))}
        pattern.append(Layer(branches=tuple(Branch(arms=(arm,), **norms_, **sides) for arm in arms_)))
    if draw(st.booleans()):
        pattern.insert(draw(st.integers(0, n_routers)), Layer(norm=draw(NORMS), ffn=draw(GATED)))
    runs = (
        Run(count=len(pattern) * draw(st.integers(1, 2)), pattern=tuple(pattern), share_weights=draw(st.booleans())),
    )
    stack = Stack(runs=runs, embed_norm=draw(optional(AFFINES)), final_norm=draw(optional(NORMS)))
    sizes = {"vocab_size": 17, "n_ctx": 19, "d_model": d_model}
    return resolve(Spec(name="routers", decoder=stack, head=Head(tied=draw(st.booleans())), **sizes))


BOTTLENECKS = st.builds(
    Bottleneck,
    d_bottleneck=SIZES,
    norm=optional(AFFINES | NORMS),
    keys=st.sampled_from(("stream", "own", "own", "stored")),
)


@st.composite
def bottleneck_specs(draw: st.DrawFn) -> Spec:
    """A resolved encoder whose layers have bottlenecks, and a table with neighbors and columns; no other draws them."""
    norm, bottleneck, d_model = draw(AFFINES | NORMS), draw(BOTTLENECKS), draw(st.sampled_from((12, 14)))
    attention = draw(attentions(Place(bottleneck.d_bottleneck)))
    plain = {"value_is_key": False, "v_block": None, "low_rank": None} if bottleneck.splits_attention else {}
    position = None if isinstance(attention.position, Disentangled) else attention.position
    attention = structs.replace(attention, position=position, **plain)
    ffns = [Arm(name=name, part=draw(FFNS)) for name in ("ffn_0", "ffn")[: draw(st.integers(1, 2))]]
    arms_ = (Arm(name="attn", part=attention), *ffns)
    layer = Layer(bottleneck=bottleneck, branches=tuple(Branch(arms=(arm,), norm_after=norm) for arm in arms_))
    short = Layer(norm=norm, placement="post", attention=attention, ffn=ffns[0].part, bottleneck=bottleneck)
    wide = Layer(norm=draw(NORMS), attention=Attention(n_heads=2, d_head=draw(SIZES)), ffn=draw(FFNS))
    chosen = draw(st.sampled_from(((layer,), (layer, wide), (short,))))
    run = Run(count=2, pattern=chosen, share_weights=draw(st.booleans()))
    factor = Factor(
        d_embed=draw(st.sampled_from((3, 5))), bias=draw(st.booleans()), n_neighbors=draw(st.integers(0, 2))
    )
    tied = draw(st.booleans())
    columns = {
        "tied": tied,
        "d_in": None if tied else draw(st.sampled_from((4, 7))),
        "own_columns": draw(st.booleans()),
    }
    head = Head(**columns, bias=draw(st.booleans()), transform=draw(optional(TRANSFORMS)))
    encoder = Stack(runs=(run,), final_norm=draw(optional(AFFINES)))
    embedding = Embedding(factor=factor, n_token_types=draw(st.sampled_from((0, 2))))
    spec = Spec(name="narrow", vocab_size=17, n_ctx=19, d_model=d_model, encoder=encoder, head=head)
    return resolve(structs.replace(spec, embedding=embedding, dropout=draw(DROPOUTS)))


DECODING = st.sampled_from(("decoder", "encoder-decoder"))
ANY_DECODERS = DECODING.flatmap(lambda family: specs(family=family))
DECODERS = DECODING.flatmap(lambda family: specs(family=family, per_token=True))

PARTS: dict[type[Part], st.SearchStrategy] = {
    StoredMtp: STORED_MTP,
    StoredFormat: STORED_FORMATS,
    Storage: STORAGES,
    LayerNorm: LAYER_NORMS,
    RMSNorm: RMS_NORMS,
    Affine: AFFINES,
    Bottleneck: BOTTLENECKS,
    QkNorm: QK_NORMS,
    Gate: GATES,
    Differential: DIFFERENTIAL,
    LowRank: low_ranks(),
    KeyBias: KEY_BIASES,
    ContentBias: CONTENT,
    LateTemperature: LATE_TEMPERATURES,
    ProductKeys: PRODUCT_KEYS,
    LogTemperature: LOG_TEMPERATURES,
    PowerTemperature: POWER_TEMPERATURES,
    Learned: LEARNED,
    Sinusoidal: SINUSOIDAL,
    LinearScaling: LINEAR_SCALINGS,
    Llama3Scaling: LLAMA3_SCALINGS,
    YarnScaling: YARN_SCALINGS,
    LongRopeScaling: longropes(3),
    DynamicScaling: DYNAMIC_SCALINGS,
    ProportionalScaling: proportionals(3),
    Rope: EVEN.flatmap(ropes),
    Alibi: ALIBI,
    RelativeBias: RELATIVE,
    Disentangled: DISENTANGLED,
    Attention: attentions(),
    LatentAttention: latent_attentions(),
    SparseAttention: sparse_attentions(),
    ConvolvedAttention: convolved_attentions(),
    XlAttention: xl_attentions(Place()),
    RoutedAttention: routed_attentions(),
    ConvolutionalAttention: convolutional_attentions(),
    RouterMlp: ROUTER_MLPS,
    GlobalWindow: GLOBAL_WINDOWS,
    BlockSummaries: block_summaries(Place(), 3),
    RandomBlocks: RANDOM_BLOCKS,
    LocalBlocks: LOCAL_BLOCKS,
    ShortConv: SHORT_CONVS,
    SpanConv: SPAN_CONVS,
    Fourier: FOURIER,
    GatedDelta: gated_deltas(),
    Lightning: LIGHTNING,
    Mamba1: MAMBA1,
    MLstm: MLSTM,
    RgLru: RG_LRU,
    TimeMix: TIME_MIX,
    ChannelMix: CHANNEL_MIX,
    Mamba2: mamba2s(),
    Multipliers: MULTIPLIERS,
    ClampedSwish: CLAMPED,
    CappedSwish: CAPPED,
    Plain: PLAIN,
    Gated: GATED,
    MoE: mixtures(),
    PerLayerGate: PER_LAYER_GATES,
    Adapters: ADAPTERS,
    StateProjection: PROJECTIONS,
    PerLayerEmbedding: PER_LAYER,
    AltUp: ALTUPS,
    GlobalTokens: GLOBAL_TOKENS,
    SoftPrompt: SOFT_PROMPTS,
    Cycles: CYCLES,
    HyperConnections: HYPERS,
    SetAside: SET_ASIDE,
    CompressedAttention: compressed_attentions(),
    Compression: COMPRESSIONS,
    EntryIndexer: ENTRY_INDEXERS,
    Sinkhorn: SINKHORNS,
    Arm: arms("attn"),
    Branch: branches(),
    Layer: layers(),
    Run: runs(),
    Shares: st.builds(Shares, weights=st.none() | st.integers(0, 3), keys_values=st.integers(0, 3)),
    Indexer: indexers(2),
    SharedSelection: st.builds(SharedSelection, n_selected=SIZES),
    Prompts: st.builds(Prompts, n_prompt=SIZES, d_prompt=SIZES),
    Stack: stacks(),
    Factor: EMBEDDING_FACTORS,
    ExtraTable: TABLES | JOINED_TABLES,
    Join: JOINS,
    TokenDropout: TOKEN_DROPOUTS,
    Embedding: embeddings(),
    Transform: TRANSFORMS,
    Head: heads(),
    Labels: LABELS,
    Pooler: POOLERS,
    Extra: EXTRAS,
    Dropout: DROPOUTS,
    Claim: CLAIMS,
    About: ABOUTS,
    Assumption: st.just(ASSUMPTION),
    Provenance: PROVENANCES,
    Spec: specs(),
}
