"""A layer, a run of layers, and a stack of runs."""

from typing import Annotated, Literal

import msgspec

from archcalc.spec.attention import AnyAttention, Attention
from archcalc.spec.base import Count, LayerCount, ModuleCount, Part, Positive, Size
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.embedding import Embedding
from archcalc.spec.ffn import AnyFfn
from archcalc.spec.mixer import AnyMixer
from archcalc.spec.norm import Norm
from archcalc.spec.position import TablePosition
from archcalc.spec.streams import AnyStreams

Placement = Literal["pre", "post", "sandwich", "output", "parallel", "parallel_two"]
Skip = Literal["stream", "normed"]
Reads = Literal["stream", "source", "shared", "nothing"]
Joins = Literal["stream", "later_streams", "next", "next_sum"]
Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]
AnyPart = AnyAttention | AnyMixer | AnyFfn


class Arm(Part, frozen=True, kw_only=True):
    """One part of a branch. `name` is part of its tensors' names.

    Its output is norm_out(scale·part(in_scale·norm(x))), plus norm(x) with `skip`. Both norms are optional. With
    `d_out_conv`, a causal convolution of each channel of the part's output over so many tokens is added to it
    (Inkling).

    `reads` is the input of keys and values: the layer's stream, or the states of the source stack. `shared`: they are
    those of the same arm of an earlier layer, which the layer's `shares` names. An arm that reads nothing is stored but
    never computed, such as cross-attention in a decoder without encoder (BartForCausalLM). `input_of` names an earlier
    branch of the layer by its first arm: the part's input is what the arms of that branch read, while its output joins
    its own branch (the shortcut of LongCat-Flash's experts).
    """

    name: Name
    part: AnyPart
    norm: Norm | None = None
    norm_out: Norm | None = None
    skip: bool = False
    reads: Reads = "stream"
    in_scale: Positive = 1.0
    scale: Positive = 1.0
    input_of: Name | None = None
    d_out_conv: Size | None = None


class Branch(Part, frozen=True, kw_only=True):
    """One residual branch: norm_after(skip·x + scale·norm_out(Σ arms(norm_in(x)))). All norms are optional.

    With `in_gate_rank` the arms read y · σ(U·silu(D·y)) of y = norm_in(x), by two matrices of that rank (A.X K2).
    With `skip_reads: normed` the branch is added to norm_in(x) instead of x (an option of BLOOM), and with
    `skip_weight` to x times a learned vector (Doge); with `skip_bias` another is added to x before that (ZAYA1). Where
    the stack has several `streams` of kind `altup`, a branch that joins `later_streams` comes after the others, reads
    the corrected active stream, and is added to all streams but the first. `norm_of` names an earlier branch, or this
    one, by its first arm: all norms of this branch, equal to the first norm of that one, use its weights (X-MOD). With
    `splits_input` the keys and the values of its attention read norms of their own, equal to norm_in, of what the
    branch reads (Inkling 2).

    What joins `next` is not added to the stream: the next branch reads it in place of the stream. With `next_sum` the
    next branch reads its sum with the stream. `weights_of` is an earlier layer of the stack whose equal branch has the
    weights (Zamba, Glorioso et al. 2024, section 2).
    """

    arms: Annotated[tuple[Arm, ...], msgspec.Meta(min_length=1, max_length=10)]
    norm_in: Norm | None = None
    splits_input: bool = False
    in_gate_rank: Size | None = None
    norm_out: Norm | None = None
    norm_after: Norm | None = None
    scale: Positive = 1.0
    skip: Positive = 1.0
    skip_reads: Skip = "stream"
    skip_weight: bool = False
    skip_bias: bool = False
    joins: Joins = "stream"
    norm_of: Name | None = None
    weights_of: Count | None = None


class Shares(Part, frozen=True, kw_only=True):
    """What a layer shares with an earlier layer of its stack, given by that layer's index.

    `weights`: all weights, of a layer with equal fields; those of one branch are named by its `weights_of`.
    `keys_values`: the keys and values that its
    attention computes, so this layer has no weights and no cache for them (Gemma 3n). `selection`: the keys that its
    indexer selects (GLM-5). A layer shares keys and values, or a selection.
    """

    weights: Count | None = None
    keys_values: Count | None = None
    selection: Count | None = None


class Layer(Part, frozen=True, kw_only=True):
    """Residual branches, in the short or the explicit form.

    The short form is attention or mixer, cross-attention and feed-forward (all optional) with one kind of norm. With f
    one of these, `placement` is:
    pre: x + f(norm(x)) · post: norm(x + f(x)) · sandwich: x + norm(f(norm(x))) · output: x + norm(f(x)) ·
    parallel: x + attention(norm(x)) + ffn(norm(x)), one norm · parallel_two: the same with a norm each.
    `scale` and the fields that begin with `skip` apply to every branch; `cross_reads` is the `reads` of the
    cross-attention. The explicit form states `branches` instead. `archcalc.spec.branches` gives the branches of both
    forms. If a layer `shares` keys and values, its `attention` reads them, or the arms with `reads: shared`.
    `out_scalar`: the layer's output is multiplied by a stored number, a buffer (Gemma 4). `detached`: training computes
    no gradients of the layer, nor through it (the first runs of a cycle in HRM). With a `bottleneck` the branches are
    narrower than the residual stream (MobileBERT).
    """

    name: Name | None = None
    norm: Norm | None = None
    placement: Placement = "pre"
    attention: AnyAttention | None = None
    mixer: AnyMixer | None = None
    cross: Attention | None = None
    cross_reads: Literal["source", "nothing"] = "source"
    ffn: AnyFfn | None = None
    scale: Positive = 1.0
    skip: Positive = 1.0
    skip_reads: Skip = "stream"
    skip_weight: bool = False
    skip_bias: bool = False
    branches: Annotated[tuple[Branch, ...], msgspec.Meta(max_length=10)] = ()
    shares: Shares | None = None
    out_scalar: bool = False
    detached: bool = False
    bottleneck: Bottleneck | None = None


class Run(Part, frozen=True, kw_only=True):
    """`count` layers that repeat `pattern`. One run of a stack may omit `count` and takes the remaining layers.

    `share_weights`: all repetitions of the pattern use the same weights (ALBERT); see `Shares` for other sharing.
    `weights_of`: each layer uses the weights of the layer at its place in that run, which has as many (HRM).
    """

    count: LayerCount | None = None
    pattern: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1, max_length=1000)]
    share_weights: bool = False
    weights_of: Count | None = None


class Prompts(Part, frozen=True, kw_only=True):
    """Learned keys and values that every attention of a stack attends to besides its tokens (MVP, Tang et al. 2022).

    `n_prompt` rows of a table become the keys and values of all layers by two dense layers, `d_prompt` wide between
    them, with a GELU after the first. Self-attention and cross-attention have prompts of their own. A forward pass
    computes them once for all texts, and no cache keeps them.
    """

    n_prompt: Size
    d_prompt: Size


class PerLayerEmbedding(Part, frozen=True, kw_only=True):
    """Numbers of each token for each layer, which its `PerLayerGate` reads (Gemma 3n, Google 2025).

    A layer's are (norm(P·x / √d_model) + √d_per_layer·row) / √2: x is the input of the first layer, P a projection of
    it for each layer, and row that of the token in a table of `n_rows` rows (default: vocab_size). A token beyond the
    table has the first row.
    """

    d_per_layer: Size
    n_rows: Size | None = None
    norm: Norm | None = None


class SoftPrompt(Part, frozen=True, kw_only=True):
    """Learned states that go through the layers of a decoder before the tokens of a text (CPM-Ant).

    They are `n_tokens` rows of a table of `n_rows`, from row `first` on. The pass that begins a text computes them, and
    caches keep their keys and values; the head does not read them. If the embedding has an added table `segments`,
    they read its row `segment`, and the tokens of the text its default row.
    """

    n_tokens: Size
    n_rows: Size
    first: Count = 0
    segment: Count = 0


class GlobalTokens(Part, frozen=True, kw_only=True):
    """Learned states that go through the layers of an encoder after the tokens of the text (PEGASUS-X).

    All layers compute them as they do tokens. Only attention with the pattern `local_blocks` tells them apart: global
    tokens read all keys and are read by all queries. `own_norm`: the norm before such an attention has weights of its
    own for them. After the last layer they are left out.
    """

    n_tokens: Size
    own_norm: bool = False


class Cycles(Part, frozen=True, kw_only=True):
    """Two modules of layers that run in turn, each on a state of its own (HRM, Wang et al. 2025).

    Each of `n_high` cycles runs the low module `n_low` times, then the high one once. A run reads the sum of both
    states, and its output, after the stack's final norm, is the new state of its module; the last one is that of the
    stack. The high state begins as the input of the first layer, the low one as a stored vector that is not trained.
    The layers of the stack are those of all runs, one after another, as many in each.
    """

    n_low: Size
    n_high: Size

    @property
    def n_runs(self) -> int:
        """Return the number of runs of both modules."""
        return self.n_high * (self.n_low + 1)


class Stack(Part, frozen=True, kw_only=True):
    """The layers of a stack, and the parts before the first and after the last.

    `n_layers` defaults to the sum of the runs. `embed_norm_reads`: the sum of tokens and positions, or the tokens only,
    to which positions are added afterwards (BlenderbotSmall's decoder). `n_mtp`: multi-token-prediction modules
    (DeepSeek-V3, section 2.2), each a projection of two states into one, a layer like the last, and norms. An encoder
    beside a decoder may have its own `embedding` (default: the model's), and its own vocabulary, context and width.
    `prefix`: the tokens that a caller marks, those of an instruction, read each other in both directions (HRM-Text).
    `reads_pass`: so do all tokens of one pass, which see those before it too (CPM-Ant).
    """

    n_layers: LayerCount | None = None
    runs: Annotated[tuple[Run, ...], msgspec.Meta(min_length=1, max_length=1000)]
    position: TablePosition | None = None
    embed_norm: Norm | None = None
    embed_norm_reads: Literal["sum", "tokens"] = "sum"
    final_norm: Norm | None = None
    n_mtp: ModuleCount = 0
    prompts: Prompts | None = None
    per_layer: PerLayerEmbedding | None = None
    streams: AnyStreams | None = None
    global_tokens: GlobalTokens | None = None
    cycles: Cycles | None = None
    prefix: bool = False
    reads_pass: bool = False
    soft_prompt: SoftPrompt | None = None
    embedding: Embedding | None = None
    vocab_size: Size | None = None
    n_ctx: Size | None = None
    d_model: Size | None = None

    @property
    def n_lead(self) -> int:
        """Return the number of rows of a soft prompt, which are before the tokens."""
        return self.soft_prompt.n_tokens if self.soft_prompt else 0
