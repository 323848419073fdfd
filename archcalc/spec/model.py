"""The whole architecture: embedding, stacks, head."""

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
# The fields of the model that a stack may have of its own.
OWN_SIZES = ("d_model", "n_ctx", "vocab_size")
OWN = (*OWN_SIZES, "embedding")


class Transform(Part, frozen=True, kw_only=True):
    """The dense layer, activation and norm before a masked-LM head's logits (BERT; Devlin et al. 2018's code).

    `d_hidden`: there are two dense layers with such a width between them, and the activation follows each (UltraBERT).
    """

    activation: Activation
    norm: Norm | None = None
    bias: bool = True
    d_hidden: Size | None = None


HeadReads = Literal["every", "first", "last", "mean", "pooled"]


class Labels(Part, frozen=True, kw_only=True):
    """What a head scores in place of the vocabulary: classes of a token or of a text, ends of an answer, a reward.

    `reads`: every token, or one state of the whole text: the first token's, the last one's, the mean, or the pooler's.
    `picks`: that state is chosen before the matrix, or after it, which then scores every token (LLaMA's classifiers).
    """

    n_labels: Size
    reads: HeadReads = "every"
    picks: Literal["before", "after"] = "before"


class Head(Part, frozen=True, kw_only=True):
    """From the last state to logits. `tied`: the token table is the matrix. `scale`: of the state, before it.

    `d_in` is the width that an untied matrix reads; left out, it is d_model. What narrows the states to it is the
    transform, or else a projection (OPT). `bias_buffer`: a stored buffer is added to the logits (BART's
    final_logits_bias). With `labels` the head scores those in place of the vocabulary.
    """

    tied: bool = False
    bias: bool = False
    d_in: Size | None = None
    transform: Transform | None = None
    bias_buffer: bool = False
    labels: Labels | None = None
    softcap: Positive | None = None
    scale: Positive | None = None


class Pooler(Part, frozen=True, kw_only=True):
    """A dense layer on the first token's last state (BERT): what a model without a head gives, or its labels read."""

    activation: Activation = "tanh"


Axis = Literal["vocab_size", "n_ctx", "d_model", "twice_d_model", "n_layers", "all_heads"]


class Extra(Part, frozen=True, kw_only=True):
    """A tensor that the model's class holds and no logits use: ESM's contact head, a second vocabulary bias.

    An axis is a number, or the name of one of the model's sizes; `twice_d_model` is the width of two states side by
    side, `all_heads` are the heads of all layers together.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=100)]
    axes: Annotated[tuple[Size | Axis, ...], msgspec.Meta(min_length=1, max_length=8)]
    component: Literal["embedding", "head", "other"] = "other"
    storage: Literal["trainable", "frozen", "buffer"] = "trainable"


class Dropout(Part, frozen=True, kw_only=True):
    """Probabilities in training, by place."""

    embedding: Probability = 0.0
    attention: Probability = 0.0
    residual: Probability = 0.0
    ffn: Probability = 0.0


class Spec(Part, frozen=True, kw_only=True):
    """One transformer, whole. After loading every size is explicit (`archcalc.spec.resolve`)."""

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
        """What pages call the model: its title, else its name."""
        return self.about.title or self.name

    @property
    def family(self) -> Family:
        """Which stacks there are."""
        if self.encoder is None:
            return "decoder"
        return "encoder" if self.decoder is None else "encoder-decoder"

    @property
    def predicts_tokens(self) -> bool:
        """Whether the head scores the vocabulary."""
        return self.head is not None and self.head.labels is None

    @property
    def reads_text(self) -> bool:
        """Whether what the model gives is of a whole text, not of each token."""
        labels = self.head.labels if self.head else None
        return labels.reads != "every" if labels else self.head is None and self.pooler is not None

    @property
    def stacks(self) -> tuple[ModelStack, ...]:
        """The stacks in the order in which they are run; the last one's states are the model's."""
        named: dict[Role, Stack | None] = {"encoder": self.encoder, "decoder": self.decoder}
        present = {role: stack for role, stack in named.items() if stack is not None}
        is_pair = len(present) > 1
        return tuple(ModelStack(role, stack, self, is_pair) for role, stack in present.items())


class ModelStack(msgspec.Struct, frozen=True):
    """A stack in its place in a whole model, of which it is one of two if `is_pair`."""

    role: Role
    stack: Stack
    whole: Spec
    is_pair: bool

    @property
    def prefix(self) -> str:
        """What its tensors and sites begin with: nothing if it is alone, else its role."""
        return f"{self.role}." if self.is_pair else ""

    @property
    def is_causal(self) -> bool:
        """Whether a token sees those before it alone."""
        return self.role == "decoder"

    @property
    def is_source(self) -> bool:
        """Whether another stack attends to its states."""
        return self.is_pair and self.role == "encoder"

    @property
    def embed_prefix(self) -> str:
        """What the tensors of the embedding that it reads begin with."""
        return f"{self.prefix}embed." if self.stack.embedding else "embed."

    @property
    def model(self) -> Spec:
        """The model in this stack's own sizes, with its own embedding."""
        own = {field: value for field in OWN if (value := getattr(self.stack, field)) is not None}
        return msgspec.structs.replace(self.whole, **own) if own else self.whole
