"""Softmax attention variants."""

from typing import Literal

from archcalc.spec.base import Part, Positive, Size
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.low_rank import LowRank
from archcalc.spec.norm import LayerNorm, Norm, RMSNorm
from archcalc.spec.position import AttentionPosition, Disentangled, RelativeBias, Rope
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sparse import SparseAttention, summary_bias
from archcalc.spec.xl import XlAttention


class QkNorm(Part, frozen=True, kw_only=True):
    """A norm of queries and keys before their product.

    `over`: each head's width with one weight for all heads (head: Qwen3) or one weight per head (each: Cohere), or all
    heads at once (full: OLMo 2). `when`: before or after the rotation (HunYuan: after).
    """

    norm: Norm
    over: Literal["head", "each", "full"] = "head"
    when: Literal["before", "after"] = "before"


class Gate(Part, frozen=True, kw_only=True):
    """An output gate: an activated projection of the layer's input multiplies the heads' outputs.

    `over`: one number per head, or one per channel of each head. `bias`: one learned number per head is added (Beam);
    `projection_bias`: the projection has a bias.
    """

    over: Literal["head", "channel"] = "channel"
    activation: Literal["sigmoid", "softplus"] = "sigmoid"
    bias: bool = False
    projection_bias: bool = False


class LogTemperature(Part, frozen=True, kw_only=True, tag_field="kind", tag="log"):
    """The query at position p is multiplied by 1 + factor·ln(1 + ⌊p / n_tokens⌋) (Ministral 3).

    `from_one`: positions count from 1 (Llama 4).
    """

    factor: Positive
    n_tokens: Size
    from_one: bool = False


class PowerTemperature(Part, frozen=True, kw_only=True, tag_field="kind", tag="power"):
    """The query at position p is multiplied by (1 + p / n_tokens)^exponent (Beam, whose positions count `from_one`)."""

    exponent: Positive
    n_tokens: Size
    from_one: bool = False


class LateTemperature(Part, frozen=True, kw_only=True, tag_field="kind", tag="late"):
    """The query at position p, from 1, is multiplied by 1 + factor·ln(p / n_tokens) from n_tokens on (Inkling)."""

    factor: Positive
    n_tokens: Size


Temperature = LogTemperature | PowerTemperature | LateTemperature


class Differential(Part, frozen=True, kw_only=True):
    """Differential attention (Ye et al. 2024, "Differential Transformer", section 2.1): half the heads are subtracted.

    The values of two key-value heads, half of all heads apart, are one, twice as wide. Both read it. So a query head of
    the first half and the one half of all heads after it make a pair, which gives a·v − λ·b·v, where a and b are their
    patterns. λ is exp(lambda_q1 · lambda_k1) − exp(lambda_q2 · lambda_k2) + `offset` with four learned vectors of
    d_head numbers. A pair's output is normalized by `norm` and multiplied by 1 − `offset`. Each half of the wide values
    is weighted by a pattern computed again, so that kernels for values as wide as keys apply (DiffLlama). `n_pairs` is
    n_heads / 2.
    """

    offset: Positive = 0.8
    norm: Norm = RMSNorm(weight=False)
    n_pairs: Size | None = None


class KeyBias(Part, frozen=True, kw_only=True):
    """A bias of each key on its scores, computed from the values: exp(rate · softplus(W·v + b)) (Doge's dynamic mask).

    v are the values of all heads at the key's position. There is a number, and a learned rate, for each key-value head.
    `bias`: W has a bias b. With `n_kept`, a query attends only to the n_kept keys with the largest biases among those
    that it sees. No gradient passes through that choice.
    """

    bias: bool = False
    n_kept: Size | None = None


class Attention(Part, frozen=True, kw_only=True, tag_field="kind", tag="gqa"):
    """Grouped-query attention (Ainslie et al. 2023); n_kv_heads = n_heads is MHA, 1 is MQA.

    With a `window`, a query attends to the last so many tokens, itself included, or (`window_kind: chunked`, Llama 4)
    to those of its own chunk, the text being cut into chunks of that length.

    Defaults: `n_kv_heads` is n_heads, `d_head` is d_model / n_heads, `d_value` (the width of values) is d_head, `scale`
    (of the scores) is 1/√d_head. `v_norm` normalizes each head's values, `value_scale` multiplies them. With
    `value_is_key` the keys before their norm are also the values before `v_norm`, so there is no v (Gemma 4). Queries,
    keys and values are clamped to ±`clip`, after a norm but before the rotation. With `d_conv`, a causal convolution of
    each channel over the last d_conv tokens is added to projected keys and to values, before all that (Inkling), and
    the sum multiplied by `conv_scale`. With `conv_by_token` a projection of what keys, and one of what values are
    projected from gives each token and head d_conv numbers, which are added to the weights of its channels (Inkling 2).
    Where a head's query, times learned numbers, or its key is longer than `qk_clip`, it is scaled down to this length,
    after any clamp. `sinks` are learned scores of each head that join its softmax without a value; `token_sinks` follow
    from a projection of the layer's input. `out_norm` is after the gate and before the out projection. With
    `differential`, pairs of heads are subtracted; with a `key_bias`, each key has a bias of its own. `d_source` is the
    width of the source, if it is not d_model; `d_value_source` that of what values are projected from, if it is not
    that of keys (in a layer whose bottleneck splits attention). Whether a file stores q, k and v fused or split is not
    part of the spec.

    A projection with a block (`q_block` …) is grouped: its outputs are in groups, each of which reads so many channels
    of its own (SqueezeBERT, Iandola et al. 2020, section 3.1).

    With `reads_embedding` the input is [x, e], 2 · d_model wide: e is the input of the stack's first layer (Zamba). The
    norm before the branch is as wide. `low_rank` is beside q, k and v, a pair for each.
    """

    n_heads: Size
    n_kv_heads: Size | None = None
    d_head: Size | None = None
    d_value: Size | None = None
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False
    qk_norm: QkNorm | None = None
    position: AttentionPosition | None = None
    window: Size | None = None
    window_kind: Literal["sliding", "chunked"] = "sliding"
    sinks: bool = False
    token_sinks: bool = False
    v_norm: Norm | None = None
    value_is_key: bool = False
    softcap: Positive | None = None
    scale: Positive | None = None
    value_scale: Positive | None = None
    clip: Positive | None = None
    qk_clip: Positive | None = None
    temperature: Temperature | None = None
    gate: Gate | None = None
    out_norm: Norm | None = None
    differential: Differential | None = None
    key_bias: KeyBias | None = None
    d_conv: Size | None = None
    conv_scale: Positive = 1.0
    conv_by_token: bool = False
    d_source: Size | None = None
    d_value_source: Size | None = None
    q_block: Size | None = None
    k_block: Size | None = None
    v_block: Size | None = None
    out_block: Size | None = None
    reads_embedding: bool = False
    low_rank: LowRank | None = None

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        if self.scale is not None:
            return self.scale
        assert self.d_head is not None, "the spec is resolved"
        n_products = self.position.n_products if isinstance(self.position, Disentangled) else 1
        return float((self.d_head * n_products) ** -0.5)

    @property
    def is_grouped(self) -> bool:
        """Return whether any of its projections is grouped."""
        return any(block is not None for block in (self.q_block, self.k_block, self.v_block, self.out_block))

    @property
    def has_key_per_head(self) -> bool:
        """Return whether each query head has its own keys and values (MHA)."""
        return self.n_kv_heads is None or self.n_kv_heads == self.n_heads

    @property
    def has_one_head(self) -> bool:
        """Return whether there is a single query head."""
        return self.n_heads == 1

    @property
    def keeps_fewest(self) -> bool:
        """Return whether its key bias, rather than a window, says how many keys a query reads at most."""
        n_kept = None if self.key_bias is None else self.key_bias.n_kept
        return n_kept is not None and (self.window is None or n_kept < self.window)

    @property
    def is_chunked(self) -> bool:
        """Return whether its window is a chunk of the text."""
        return self.window_kind == "chunked"


class Indexer(Part, frozen=True, kw_only=True, tag_field="kind", tag="tokens"):
    """A small attention that selects the keys of each query (DeepSeek-V3.2's lightning indexer).

    The score of a key is Σ w·relu(q·k) over n_index_heads heads of width d_index: q from the latent of queries, one
    normed k for all heads, w from the layer's input. The query attends to the n_selected keys with the largest scores.
    d_rope dimensions, the `rotated` ones, are rotated as those of the attention, but `interleaved` by its own choice. A
    cache keeps the keys. No gradient passes through a selection.
    """

    n_index_heads: Size
    d_index: Size
    n_selected: Size
    norm: Norm = LayerNorm(eps=1e-6)
    rotated: Literal["first", "last"] = "first"
    interleaved: bool = False


class SharedSelection(Part, frozen=True, kw_only=True, tag_field="kind", tag="shared"):
    """The keys that the indexer of an earlier layer selects; the layer's `shares` names that layer (GLM-5)."""

    n_selected: Size


AnyIndexer = Indexer | SharedSelection


class LatentAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="mla"):
    """Multi-head latent attention (DeepSeek-V2, Liu et al. 2024, section 2.1).

    Keys and values pass through a latent of width kv_rank, queries through one of q_rank (None: no latent). A head's
    query and key have d_nope dimensions without position and d_rope with it; its value has d_v. `down_bias` is the bias
    of the projections into the latents, `out_bias` of the output. With `scale_latents` the normed latents are
    multiplied by √(d_model / rank) (LongCat-Flash). An `indexer` selects the keys of each query. Without a `position`
    nothing is rotated (Kimi Linear). A `gate` multiplies the heads' values. `sinks`: a learned score for each head that
    joins its softmax without a value (Hunyuan 4). With `raw_latent` queries and the gate are projected from the latent
    of queries as normed, beside it as it was before the norm (A.X K2). `key_norm` is on the rotary key, before the
    rotation. With a `window` a query attends to the last so many tokens, itself included (Dots 3).
    """

    n_heads: Size
    kv_rank: Size
    d_nope: Size
    d_rope: Size
    d_v: Size
    q_rank: Size | None = None
    norm: Norm = RMSNorm()
    down_bias: bool = False
    out_bias: bool = False
    position: Rope | None = Rope()
    scale: Positive | None = None
    gate: Gate | None = None
    sinks: bool = False
    scale_latents: bool = False
    raw_latent: bool = False
    key_norm: Norm | None = None
    window: Size | None = None
    indexer: AnyIndexer | None = None


AnyAttention = (
    Attention
    | LatentAttention
    | CompressedAttention
    | SparseAttention
    | ConvolvedAttention
    | XlAttention
    | RoutedAttention
    | ConvolutionalAttention
)


def stored_rope(part: object) -> Rope | None:
    """Return the rotary position of an attention that reads its angles from the stack's table, else None."""
    position = part.position if isinstance(part, Attention) else None
    return position if isinstance(position, Rope) and position.stored else None


def disentangled(part: object) -> Disentangled | None:
    """Return the relative positions of an attention that reads the stack's table of distances, else None."""
    position = part.position if isinstance(part, Attention) else None
    return position if isinstance(position, Disentangled) else None


def stack_bias(part: object) -> RelativeBias | None:
    """Return the relative bias of an attention that reads the stack's table, else None."""
    position = part.position if isinstance(part, Attention) else summary_bias(part)
    return position if isinstance(position, RelativeBias) and position.shared == "stack" else None


def lends_selection(part: object) -> bool:
    """Return whether an attention selects keys by an indexer of its own."""
    return isinstance(part, LatentAttention) and isinstance(part.indexer, Indexer)


def reads_selection(part: object) -> bool:
    """Return whether an attention reads the keys that an earlier layer selects."""
    return isinstance(part, LatentAttention) and isinstance(part.indexer, SharedSelection)
