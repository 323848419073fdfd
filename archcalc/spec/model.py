"""The whole architecture: embedding, stacks, head."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.spec.base import Activation, Count, Part, Positive, Probability, Size
from archcalc.spec.claim import Claim
from archcalc.spec.layer import Stack
from archcalc.spec.norm import Norm
from archcalc.spec.provenance import Provenance

Family = Literal["decoder", "encoder", "encoder-decoder"]


class Factor(Part, frozen=True, kw_only=True):
    """A token table narrower than the model, and the projection that widens it.

    `widen` says when: before positions and the embedding norm are added (OPT-350m) or after them (ALBERT).
    """

    d_embed: Size
    bias: bool = False
    widen: Literal["before_positions", "after_positions"] = "before_positions"


class Embedding(Part, frozen=True, kw_only=True):
    """The token table; one table serves both stacks of an encoder-decoder. `scale` multiplies what it gives."""

    factor: Factor | None = None
    n_token_types: Count = 0
    scale: Positive | None = None


class Transform(Part, frozen=True, kw_only=True):
    """The dense layer, activation and norm before a masked-LM head's logits (BERT; Devlin et al. 2018's code)."""

    activation: Activation
    norm: Norm


class Head(Part, frozen=True, kw_only=True):
    """From the last state to logits. `tied`: the token table is the matrix. `scale`: of the state, before it."""

    tied: bool = False
    bias: bool = False
    transform: Transform | None = None
    softcap: Positive | None = None
    scale: Positive | None = None


class Dropout(Part, frozen=True, kw_only=True):
    """Probabilities in training, by place."""

    embedding: Probability = 0.0
    attention: Probability = 0.0
    residual: Probability = 0.0
    ffn: Probability = 0.0


class Spec(Part, frozen=True, kw_only=True):
    """One transformer, whole. After loading every size is explicit (`archcalc.spec.resolve`)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    title: str = ""
    source: str | tuple[str, ...] = ()
    note: str = ""
    vocab_size: Size
    n_ctx: Size
    d_model: Size
    embedding: Embedding = Embedding()
    encoder: Stack | None = None
    decoder: Stack | None = None
    head: Head | None = Head()
    dropout: Dropout = Dropout()
    claims: tuple[Claim, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def family(self) -> Family:
        """Which stacks there are."""
        if self.encoder is None:
            return "decoder"
        return "encoder" if self.decoder is None else "encoder-decoder"

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by the prefix of their tensors' names: none if there is one, else 'encoder.' and 'decoder.'."""
        named = {"encoder": self.encoder, "decoder": self.decoder}
        present = {name: stack for name, stack in named.items() if stack is not None}
        prefixed = len(present) > 1
        return {f"{name}." if prefixed else "": stack for name, stack in present.items()}
