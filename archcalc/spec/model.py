"""Whole models: embedding, stacks, head."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.spec.about import About
from archcalc.spec.base import Activation, Part, Positive, Probability, Size
from archcalc.spec.embedding import Embedding
from archcalc.spec.layer import Stack
from archcalc.spec.norm import Norm

Family = Literal["decoder", "encoder", "encoder-decoder"]
Role = Literal["encoder", "decoder"]
# The fields of the model that a stack may override.
OWN_SIZES = ("d_model", "n_ctx", "vocab_size")
OWN = (*OWN_SIZES, "embedding")


class Transform(Part, frozen=True, kw_only=True):
    """The dense layer, activation and norm of a masked-LM head (BERT; code of Devlin et al. 2018).

    `d_hidden`: there are two dense layers with this width between them, each with the activation (UltraBERT).
    """

    activation: Activation
    norm: Norm | None = None
    bias: bool = True
    d_hidden: Size | None = None


HeadReads = Literal["every", "first", "last", "mean", "pooled"]


class Labels(Part, frozen=True, kw_only=True):
    """What a head scores instead of the vocabulary: classes of a token or text, ends of an answer, a reward.

    `reads`: every token, or one state of the text: the first token's, the last token's, the mean, or the pooler's.
    `picks`: the state is selected before the matrix, or after the matrix scored every token (LLaMA's classifiers).
    """

    n_labels: Size
    reads: HeadReads = "every"
    picks: Literal["before", "after"] = "before"


class Head(Part, frozen=True, kw_only=True):
    """The output head. `tied`: its matrix is the token table. `scale` multiplies the input of the matrix.

    `d_in` is the input width of an untied matrix (default: d_model), to which the transform or else a projection maps
    the states (OPT). `bias_buffer`: a stored buffer is added to the logits (BART's final_logits_bias). With `labels`
    the head scores labels instead of the vocabulary. `own_columns`: a matrix narrower than the states is completed by
    columns of its own, so that no projection comes before it (MobileBERT's tied table). `n_scored`: the logits are
    those of the first so many tokens; the last rows of the matrix pad it (Inkling).
    """

    tied: bool = False
    bias: bool = False
    d_in: Size | None = None
    transform: Transform | None = None
    bias_buffer: bool = False
    labels: Labels | None = None
    softcap: Positive | None = None
    scale: Positive | None = None
    own_columns: bool = False
    n_scored: Size | None = None


class Pooler(Part, frozen=True, kw_only=True):
    """A dense layer on the first token's last state (BERT): the output without a head, or the input of labels."""

    activation: Activation = "tanh"


Axis = Literal["vocab_size", "n_ctx", "d_model", "twice_d_model", "n_layers", "all_heads"]


class Extra(Part, frozen=True, kw_only=True):
    """A stored tensor that the logits do not use: ESM's contact head, a second vocabulary bias.

    An axis is a number or the name of a size of the model; `twice_d_model` is the width of two states side by side,
    `all_heads` the number of heads of all layers.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=100)]
    axes: Annotated[tuple[Size | Axis, ...], msgspec.Meta(min_length=1, max_length=8)]
    component: Literal["embedding", "head", "other"] = "other"
    storage: Literal["trainable", "frozen", "buffer"] = "trainable"


class Dropout(Part, frozen=True, kw_only=True):
    """Dropout probabilities in training."""

    embedding: Probability = 0.0
    attention: Probability = 0.0
    residual: Probability = 0.0
    ffn: Probability = 0.0


class Spec(Part, frozen=True, kw_only=True):
    """A transformer. After loading, every size is explicit (`archcalc.spec.resolve`)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    about: About = About()
    vocab_size: Size
    n_ctx: Size
    d_model: Size
    embedding: Embedding = Embedding()
    encoder: Stack | None = None
    decoder: Stack | None = None
    head: Head | None = Head()
    pooler: Pooler | None = None
    extras: tuple[Extra, ...] = ()
    dropout: Dropout = Dropout()

    @property
    def label(self) -> str:
        """Return the model's title, else its name."""
        return self.about.title or self.name

    @property
    def family(self) -> Family:
        """Return the family: which stacks the model has."""
        if self.encoder is None:
            return "decoder"
        return "encoder" if self.decoder is None else "encoder-decoder"

    @property
    def predicts_tokens(self) -> bool:
        """Return whether the head scores the vocabulary."""
        return self.head is not None and self.head.labels is None

    @property
    def n_scored(self) -> int:
        """Return the number of tokens that the head scores."""
        return self.vocab_size if self.head is None or self.head.n_scored is None else self.head.n_scored

    @property
    def reads_text(self) -> bool:
        """Return whether the output is one for the whole text, not one for each token."""
        labels = self.head.labels if self.head else None
        return labels.reads != "every" if labels else self.head is None and self.pooler is not None

    @property
    def stacks(self) -> tuple[ModelStack, ...]:
        """Return the stacks in the order of execution; the states of the last are the model's."""
        by_role: dict[Role, Stack | None] = {"encoder": self.encoder, "decoder": self.decoder}
        present = {role: stack for role, stack in by_role.items() if stack is not None}
        is_pair = len(present) > 1
        return tuple(ModelStack(role, stack, self, is_pair) for role, stack in present.items())


class ModelStack(msgspec.Struct, frozen=True):
    """A stack of a model. `is_pair`: the model has two stacks."""

    role: Role
    stack: Stack
    spec: Spec
    is_pair: bool

    @property
    def prefix(self) -> str:
        """Return the prefix of its tensors and sites: its role, or nothing for a single stack."""
        return f"{self.role}." if self.is_pair else ""

    @property
    def is_causal(self) -> bool:
        """Return whether a token attends only to earlier ones."""
        return self.role == "decoder" and not self.stack.reads_pass

    @property
    def is_source(self) -> bool:
        """Return whether another stack attends to its states."""
        return self.is_pair and self.role == "encoder"

    @property
    def embed_prefix(self) -> str:
        """Return the prefix of the tensors of the embedding that it reads."""
        return f"{self.prefix}embed." if self.stack.embedding else "embed."

    @property
    def model(self) -> Spec:
        """Return the model with this stack's own sizes and embedding."""
        own = {field: value for field in OWN if (value := getattr(self.stack, field)) is not None}
        return msgspec.structs.replace(self.spec, **own) if own else self.spec
