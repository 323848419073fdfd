"""Attention of an encoder in which a query reads some of the keys only."""

from archcalc.spec.base import Count, Part, Positive, Size
from archcalc.spec.norm import Norm
from archcalc.spec.position import RelativeBias

# The kind of a pattern, and the sizes that its mask depends on.
MaskKey = tuple[str, int, int]


class GlobalWindow(Part, frozen=True, kw_only=True, tag_field="kind", tag="global_window"):
    """A window, and global tokens that read all keys and are read by all queries (Longformer, Beltagy et al. 2020).

    A query reads the window − 1 tokens on either side. The first n_global tokens of each text are global: as queries
    they have projections of their own, by which they also project the keys and values that they read.
    """

    window: Size
    n_global: Count = 0

    @property
    def mask_key(self) -> MaskKey:
        """Return what the mask depends on."""
        return "global_window", self.window, self.n_global


class BlockSummaries(Part, frozen=True, kw_only=True, tag_field="kind", tag="summaries"):
    """A window, and a summary of each block of tokens (LongT5's transient global attention, Guo et al. 2021).

    The summary of a block of n_block tokens is the sum of their states, normalized by `norm`; what is left after the
    last whole block joins that one. Every query reads all summaries. With a `position`, each kind of keys has a table
    of biases of the stack: tokens by distance, summaries by distance in blocks.
    """

    window: Size
    n_block: Size
    norm: Norm | None = None
    position: RelativeBias | None = None

    @property
    def mask_key(self) -> MaskKey:
        """Return what the mask depends on."""
        return "summaries", self.window, self.n_block


class RandomBlocks(Part, frozen=True, kw_only=True, tag_field="kind", tag="random_blocks"):
    """Blocks of n_block tokens read their neighbors, the first and the last block, and n_random others (BigBird).

    The first and the last block read all keys (Zaheer et al. 2020). In a text of up to 5 + 2·n_random blocks every
    token does. The n_random others are drawn in training; here, as in transformers' evaluation, all are the first
    block, which is then read n_random times more.
    """

    n_block: Size
    n_random: Count = 3

    @property
    def mask_key(self) -> MaskKey:
        """Return what the mask depends on."""
        return "random_blocks", self.n_block, 0


class LocalBlocks(Part, frozen=True, kw_only=True, tag_field="kind", tag="local_blocks"):
    """A token reads its own block of n_block tokens, and the stack's `global_tokens` (PEGASUS-X, Phang et al. 2022).

    Global tokens read all keys. `staggered`: the blocks begin half a block earlier, so the first one is shorter.
    """

    n_block: Size
    staggered: bool = False

    @property
    def mask_key(self) -> MaskKey:
        """Return what the mask depends on."""
        return "local_blocks", self.n_block, int(self.staggered)


Pattern = GlobalWindow | BlockSummaries | RandomBlocks | LocalBlocks


class SparseAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="sparse"):
    """Multi-head attention of an encoder whose queries read the keys of a `pattern` only.

    All scores are computed, and those outside the pattern are masked. `d_head` is d_model / n_heads by default, `scale`
    (of the scores) 1/√d_head.
    """

    n_heads: Size
    pattern: Pattern
    d_head: Size | None = None
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False
    scale: Positive | None = None

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        assert self.d_head is not None, "the spec is resolved"
        return float(self.d_head**-0.5) if self.scale is None else self.scale

    @property
    def n_global(self) -> int:
        """Return the number of global tokens of each text."""
        return self.pattern.n_global if isinstance(self.pattern, GlobalWindow) else 0

    @property
    def summaries(self) -> BlockSummaries | None:
        """Return the pattern if it has summaries."""
        return self.pattern if isinstance(self.pattern, BlockSummaries) else None


def summary_bias(part: object) -> RelativeBias | None:
    """Return the relative bias of summaries of an attention that reads the stack's table, else None."""
    if not isinstance(part, SparseAttention) or part.summaries is None:
        return None
    return part.summaries.position
