"""A layer, a run of layers, and a stack of runs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.spec.attention import AnyAttention, Attention
from archcalc.spec.base import Count, LayerCount, Part, Positive, Size
from archcalc.spec.embedding import Embedding
from archcalc.spec.ffn import AnyFfn
from archcalc.spec.norm import Norm
from archcalc.spec.position import TablePosition

Placement = Literal["pre", "post", "sandwich", "output", "parallel", "parallel_two"]
Skip = Literal["stream", "normed"]
Reads = Literal["stream", "source", "shared", "nothing"]
Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]
AnyPart = AnyAttention | AnyFfn


class Arm(Part, frozen=True, kw_only=True):
    """One part of a branch; its tensors are named after `name`. `norm` is the arm's own, before the part.

    `reads` says what keys and values are made of: the layer's own stream, or the states of the source stack; or that
    they are shared: those of an earlier layer's arm of this name, which the layer's `shares` points to. An arm that
    reads nothing is stored and never computed: a decoder may keep cross-attention so (BartForCausalLM).
    """

    name: Name
    part: AnyPart
    norm: Norm | None = None
    reads: Reads = "stream"


class Branch(Part, frozen=True, kw_only=True):
    """One residual branch: norm_after(skip·x + scale·norm_out(Σ arms(norm_in(x)))). Any norm may be absent.

    `skip_reads: normed` takes norm_in(x) in place of x as what the branch is added to (BLOOM's option).
    """

    arms: Annotated[tuple[Arm, ...], msgspec.Meta(min_length=1, max_length=10)]
    norm_in: Norm | None = None
    norm_out: Norm | None = None
    norm_after: Norm | None = None
    scale: Positive = 1.0
    skip: Positive = 1.0
    skip_reads: Skip = "stream"


class Shares(Part, frozen=True, kw_only=True):
    """What a layer has of an earlier layer of its stack, by that layer's index.

    `weights`: all of them, of a layer that is the same otherwise (Zamba's block). `keys_values`: those that its
    attention made in this pass, so that this layer has no weights and no cache for them (Gemma 3n).
    """

    weights: Count | None = None
    keys_values: Count | None = None


class Layer(Part, frozen=True, kw_only=True):
    """Residual branches, in their short form or one by one.

    The short form is attention, cross-attention and feed-forward (any may be absent) with one kind of norm. With f an
    attention or feed-forward, `placement` reads:
    pre: x + f(norm(x)) · post: norm(x + f(x)) · sandwich: x + norm(f(norm(x))) · output: x + norm(f(x)) ·
    parallel: x + attention(norm(x)) + ffn(norm(x)), one norm · parallel_two: the same with a norm each.
    `scale`, `skip` and `skip_reads` are every branch's, `cross_reads` is the cross-attention's `reads`. What the
    short form cannot say stands in `branches` instead. `archcalc.spec.branches` gives the branches of either form. A
    layer that `shares` keys and values does so in its `attention`, or in the arms that say that they read shared ones.
    """

    name: Name | None = None
    norm: Norm | None = None
    placement: Placement = "pre"
    attention: AnyAttention | None = None
    cross: Attention | None = None
    cross_reads: Literal["source", "nothing"] = "source"
    ffn: AnyFfn | None = None
    scale: Positive = 1.0
    skip: Positive = 1.0
    skip_reads: Skip = "stream"
    branches: Annotated[tuple[Branch, ...], msgspec.Meta(max_length=10)] = ()
    shares: Shares | None = None


class Run(Part, frozen=True, kw_only=True):
    """`count` layers that cycle through `pattern`; one run of a stack may leave `count` out and takes what remains.

    `share_weights`: one set of weights serves every turn of the pattern (ALBERT); a layer's `shares` names any other.
    """

    count: LayerCount | None = None
    pattern: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1, max_length=1000)]
    share_weights: bool = False


class Prompts(Part, frozen=True, kw_only=True):
    """Learned keys and values that every attention of a stack attends to besides its tokens (MVP, Tang et al. 2022).

    `n_prompt` rows of a table become the keys and values of all layers by two dense layers, `d_prompt` wide between
    them, with a GELU after the first. Self-attention and cross-attention have prompts of their own. A forward pass
    computes them once for all texts, and no cache keeps them.
    """

    n_prompt: Size
    d_prompt: Size


class Stack(Part, frozen=True, kw_only=True):
    """Layers one after another, with what stands before the first and after the last.

    `n_layers` left out is the sum of the runs. `embed_norm_reads`: the sum of tokens and positions, or the tokens,
    which positions then join (BlenderbotSmall's decoder). `n_mtp`: multi-token-prediction modules (DeepSeek-V3,
    section 2.2), each a projection of two states into one, a layer like the stack's last, and norms.
    An encoder beside a decoder may have an `embedding` of its own (else it reads the decoder's, the model's), and a
    vocabulary, context and width that differ from the model's; left out, they are the model's.
    """

    n_layers: LayerCount | None = None
    runs: Annotated[tuple[Run, ...], msgspec.Meta(min_length=1, max_length=1000)]
    position: TablePosition | None = None
    embed_norm: Norm | None = None
    embed_norm_reads: Literal["sum", "tokens"] = "sum"
    final_norm: Norm | None = None
    n_mtp: Count = 0
    prompts: Prompts | None = None
    embedding: Embedding | None = None
    vocab_size: Size | None = None
    n_ctx: Size | None = None
    d_model: Size | None = None
