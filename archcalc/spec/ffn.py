"""Feed-forward variants."""

from typing import Literal

from archcalc.spec.activation import AnyActivation, FixedActivation
from archcalc.spec.base import Count, Part, Positive, Probability, Share, Size
from archcalc.spec.low_rank import LowRank
from archcalc.spec.norm import Norm, RMSNorm


class Plain(Part, frozen=True, kw_only=True, tag_field="kind", tag="plain"):
    """down(activation(up(x))): two matrices (Vaswani et al. 2017, section 3.3).

    `down_bias` defaults to `bias`. `down_norm` is a norm of the input of the last matrix (Magneto, BitNet). With an
    `up_block` or a `down_block`, the outputs of that matrix are in groups, each of which reads so many channels of its
    own (SqueezeBERT, ConvBERT).
    """

    d_ff: Size
    activation: AnyActivation
    bias: bool = False
    down_bias: bool | None = None
    down_norm: Norm | None = None
    up_block: Size | None = None
    down_block: Size | None = None

    @property
    def is_grouped(self) -> bool:
        """Return whether any of its matrices is grouped."""
        return self.up_block is not None or self.down_block is not None


class Gated(Part, frozen=True, kw_only=True, tag_field="kind", tag="gated"):
    """down(activation(gate(x)) · up(x)): three matrices; silu makes it SwiGLU, gelu GeGLU (Shazeer 2020).

    `down_bias` and `down_norm` as in `Plain`. `gate_scale` multiplies gate(x) (Falcon-H1). With a `sparsity` s, the
    activation reads relu(g − (m + Φ⁻¹(s)·σ)) of gate(x) = g, whose mean and deviation are m and σ: if g is normally
    distributed, a share s is 0 (Gemma 3n). `low_rank` is beside gate and up, one pair for both. `out_scale`: a learned
    number multiplies the output (Inkling).
    """

    d_ff: Size
    activation: AnyActivation = "silu"
    bias: bool = False
    down_bias: bool | None = None
    down_norm: Norm | None = None
    gate_scale: Positive = 1.0
    sparsity: Share | None = None
    low_rank: LowRank | None = None
    out_scale: bool = False


class RouterMlp(Part, frozen=True, kw_only=True):
    """What a router reads in place of the hidden states: a state of its own, by a norm and two dense layers (ZAYA1).

    The state is a projection to the width d_router, with a bias. With `adds_previous` a learned vector times that of
    the last layer before with such a router is added; all of a stack are equal but for that. It is in float32.
    """

    d_router: Size
    norm: RMSNorm = RMSNorm()
    activation: FixedActivation = "gelu"
    adds_previous: bool = False


class MoE(Part, frozen=True, kw_only=True, tag_field="kind", tag="moe"):
    """n_experts routed experts of width d_expert, n_active of them for each token, and n_shared shared experts.

    The shared experts are one feed-forward of width n_shared · d_shared (default: d_expert), with a sigmoid gate if
    `shared_gate`; activation and biases are those of the routed experts unless `shared_activation` and `shared_bias`
    are set.

    Choice: the n_active largest scores, which are the logits, their softmax, their sigmoid or the root of their
    softplus (`choose`). With `by_token`, a table names the experts of each token of the vocabulary instead, a buffer
    (DeepSeek-V4). `correction` adds a number for each expert, for the choice only: a buffer (DeepSeek-V3) or a frozen
    parameter (ERNIE 4.5). With n_groups, experts are chosen from the n_active_groups best groups; `group_score` is the
    score of a group's best expert or the sum of its two best (default: two with a correction, else one).

    Weights: the scores of the chosen experts, or a softmax or a sigmoid of their logits (`weigh`), or SparseMixer's
    softmax over the logits within `jitter` of each choice (Liu et al. 2024, GRIN, section 2.2). They are divided by
    their sum (at least `normalize_min`) if `normalize`, then multiplied by `scale`. With a `capacity`, an expert takes
    at most so many tokens of a text in one pass, first choices first, then in order; the weights of others are 0.

    With `d_latent` the routed experts read a projection of the input of this width, and their sum is projected back
    (Nemotron-H); `latent_bias` is that of both projections. `out_bias` is added to their sum (JetMoE).
    `router_norm` is a norm of what the router reads, `input_norm` one of what all experts read; the router's logits are
    multiplied by `router_scale`, and the weight of each expert by a learned number if `expert_scales` (Gemma 4).
    With a `router_mlp` the router's matrix reads what that gives. The router has `n_zero` more choices: experts without
    weights, which return their input (LongCat-Flash) or nothing (`zero_returns`, ZAYA1). With `zero_stored` the first
    matrices have unused rows for them, as transformers' class allocates.

    With `scores_shared` the router scores the shared experts too, after the routed ones. Their scores are never chosen
    but are weights as those of the chosen experts are, and part of their sum. The weight of a shared expert multiplies
    its hidden units; their matrices are stacked. `weight_scale`: a learned number multiplies all weights (Inkling).
    """

    n_experts: Size
    n_active: Size
    d_expert: Size
    activation: FixedActivation = "silu"
    gated: bool = True
    expert_bias: bool = False
    input_norm: Norm | None = None
    router_norm: Norm | None = None
    router_mlp: RouterMlp | None = None
    router_bias: bool = False
    router_scale: Positive = 1.0
    router_softcap: Positive | None = None
    choose: Literal["softmax", "sigmoid", "sqrt_softplus", "logits"] = "softmax"
    by_token: bool = False
    correction: Literal["none", "buffer", "parameter"] = "none"
    n_groups: Size = 1
    n_active_groups: Size = 1
    group_score: Literal["best", "two_best"] | None = None
    weigh: Literal["score", "softmax", "sigmoid", "sparsemixer"] = "score"
    jitter: Probability | None = None
    normalize: bool = False
    normalize_min: Positive | None = None
    scale: Positive = 1.0
    expert_scales: bool = False
    capacity: Size | None = None
    n_zero: Count = 0
    zero_stored: bool = False
    zero_returns: Literal["input", "nothing"] = "input"
    weight_on: Literal["output", "input"] = "output"
    d_latent: Size | None = None
    latent_bias: bool = False
    out_bias: bool = False
    n_shared: Count = 0
    d_shared: Size | None = None
    shared_activation: FixedActivation | None = None
    shared_bias: bool | None = None
    shared_gate: bool = False
    shared_combine: Literal["sum", "average"] = "sum"
    scores_shared: bool = False
    weight_scale: bool = False

    @property
    def n_choices(self) -> int:
        """Return the number of experts that the router chooses from."""
        return self.n_experts + self.n_zero

    @property
    def n_scores(self) -> int:
        """Return the number of scores that the router gives."""
        return self.n_choices + self.n_shared if self.scores_shared else self.n_choices


class PerLayerGate(Part, frozen=True, kw_only=True, tag_field="kind", tag="per_layer_gate"):
    """down(activation(gate(x)) · e): two matrices; e is what the stack's per-layer embedding has for this layer.

    `d_per_layer` is the width of e, by default the stack's (Gemma 3n, Google 2025).
    """

    d_per_layer: Size | None = None
    activation: FixedActivation = "gelu_tanh"


class Adapters(Part, frozen=True, kw_only=True, tag_field="kind", tag="adapters"):
    """Feed-forwards of which all tokens use one, such as that of their language (X-MOD, Pfeiffer et al. 2022).

    Each of `n_adapters` is down(activation(up(x))) of width `d_adapter`. The others than number `active`, from 0, are
    stored but not computed.
    """

    n_adapters: Size
    d_adapter: Size
    activation: FixedActivation = "gelu"
    active: Count = 0
    bias: bool = True


class StateProjection(Part, frozen=True, kw_only=True, tag_field="kind", tag="projection"):
    """A matrix from the model's width to the same width (Zamba, after each use of its shared block)."""

    bias: bool = False


class ProductKeys(Part, frozen=True, kw_only=True, tag_field="kind", tag="product_keys"):
    """Experts of one hidden unit each, n_active of n_experts for each token (He 2024, "Mixture of a million experts").

    The router gives two lists of n_keys = ⌊√n_experts⌋ scores. The score of expert i·n_keys + j is the sum of number i
    of the first and j of the second (Lample et al. 2019, section 3.1). The n_active best are weighted by a softmax of
    their scores: Σ weight · activation(up·x) · down, where up and down are an expert's rows of two tables. Experts
    beyond n_keys² are stored but never chosen.
    """

    n_experts: Size
    n_active: Size
    activation: FixedActivation = "silu"
    n_keys: Size | None = None


AnyFfn = Plain | Gated | MoE | PerLayerGate | Adapters | ProductKeys | StateProjection


def router_mlp(part: object) -> RouterMlp | None:
    """Return what the router of a mixture of experts reads, if that is a state of its own."""
    return part.router_mlp if isinstance(part, MoE) else None


def reads_ids(part: object) -> bool:
    """Return whether a part reads the tokens' ids."""
    return isinstance(part, MoE) and part.by_token


def has_down_bias(part: Plain | Gated) -> bool:
    """Return whether the last matrix has a bias."""
    return part.bias if part.down_bias is None else part.down_bias
