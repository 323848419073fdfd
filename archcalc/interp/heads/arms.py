"""The attentions of a model, and the memory of reading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from torch import Tensor

from archcalc.interp.memory import sites_bytes
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import check_fits
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.branches import active_branches
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.groups import layers_of, lender_indices
from archcalc.spec.layer import Reads
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sites import find_sites
from archcalc.spec.sparse import SparseAttention
from archcalc.spec.workload import Workload
from archcalc.words import msg

# Attentions whose heads give values weighted by their pattern, and nothing else.
Headed = Attention | LatentAttention | CompressedAttention | SparseAttention | ConvolutionalAttention

# Those that may have fewer key-value heads than heads.
Grouped = Attention | RoutedAttention | ConvolutionalAttention


class AttentionArm(msgspec.Struct, frozen=True):
    """An attention of a model. Its keys and values are sites under `key_path`, which an earlier layer may own.

    `text` is the index of the text that its queries are of: of an encoder-decoder, 0 is the source. `n_more`: global
    tokens of the stack, which are queries and keys after those of the text. `n_lead`: rows of a soft prompt, which are
    queries and keys before them. `n_learned`: keys before all others.
    """

    path: str
    key_path: str
    layer: int
    part: Headed
    reads: Reads
    is_causal: bool
    text: int
    n_more: int = 0
    n_lead: int = 0
    n_learned: int = 0

    @property
    def n_heads(self) -> int:
        """Return the number of query heads."""
        return self.part.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Return the number of key-value heads; only grouped attention may have fewer than heads."""
        part = self.part
        found = part.n_kv_heads if isinstance(part, Grouped) else part.n_heads
        assert found is not None, "the spec is resolved"
        return found

    @property
    def is_cross(self) -> bool:
        """Return whether its keys are those of the source."""
        return self.reads == "source"

    @property
    def key_text(self) -> int:
        """Return the index of the text that its keys are of."""
        return 0 if self.is_cross else self.text

    @property
    def n_global(self) -> int:
        """Return the number of global tokens, which have queries of their own, and keys and values for these."""
        return self.part.n_global if isinstance(self.part, SparseAttention) else 0

    @property
    def has_summaries(self) -> bool:
        """Return whether summaries of blocks are keys after those of the tokens."""
        if isinstance(self.part, CompressedAttention):
            return self.part.compression is not None
        return isinstance(self.part, SparseAttention) and self.part.summaries is not None

    @property
    def adds_heads(self) -> bool:
        """Return whether its output is a sum over its heads, each of which is a sum over keys.

        It is not where heads are subtracted in pairs, rotated back, or projected by experts.
        """
        part = self.part
        return not (isinstance(part, CompressedAttention | RoutedAttention) or getattr(part, "differential", None))

    def key_names(self, tokens: Sequence[str], n_keys: int) -> tuple[str, ...]:
        """Return the names of the keys: learned ones, the queries', then the summaries of blocks."""
        found = (*_prompt_names(self.n_learned), *self.query_names(tokens))
        return (*found, *(f"Σ {i}" for i in range(n_keys - len(found))))

    def query_names(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the queries: the rows of a soft prompt, the tokens, then global ones."""
        return (*_prompt_names(self.n_lead), *tokens, *(f"G {i}" for i in range(self.n_more)))

    def kv_head(self, head: int) -> int:
        """Return the key-value head that a query head reads."""
        if isinstance(self.part, RoutedAttention):
            return head % self.n_kv_heads
        return head * self.n_kv_heads // self.n_heads


def _prompt_names(n: int) -> Iterator[str]:
    return (f"P {i}" for i in range(n))


def attention_arms(spec: Spec) -> Iterator[AttentionArm]:
    """Yield every attention that a forward pass computes, in order."""
    for text, model_stack in enumerate(spec.stacks):
        stack = model_stack.stack
        lenders, tokens = lender_indices(stack), stack.global_tokens
        n_learned = stack.prompts.n_prompt if stack.prompts else 0
        for i, layer in enumerate(layers_of(stack)):
            for branch in active_branches(layer):
                for arm in branch.arms:
                    if isinstance(arm.part, Headed):
                        owner, n_more = lenders[i] if arm.reads == "shared" else i, tokens.n_tokens if tokens else 0
                        yield AttentionArm(
                            f"{model_stack.prefix}layers.{i}.{arm.name}",
                            f"{model_stack.prefix}layers.{owner}.{arm.name}",
                            i,
                            arm.part,
                            arm.reads,
                            model_stack.is_causal and arm.reads != "source",
                            text,
                            n_more,
                            stack.n_lead,
                            n_learned,
                        )


def check_memory(model: Any, patterns: Sequence[str], texts: Sequence[Tensor]) -> None:
    """Raise TooLargeError if the sites of these patterns exceed the free memory of the model's device."""
    work = Workload(batch=len(texts[0]), seq=texts[-1].shape[1], source_seq=texts[0].shape[1])
    found = find_sites(model.spec, *patterns)
    # Scores and patterns are copied once while a layer computes them.
    needed, device = 2 * sites_bytes(found, work), model.embed.tokens.weight.device
    problem = msg("the heads need {needed}; {free_bytes} are free on {type}", type=device.type)
    check_fits(needed, free_memory(device), problem)
