"""Attention to a window of tokens and to entries that stand for several earlier tokens each."""

from archcalc.spec.base import Part, Size
from archcalc.spec.norm import RMSNorm
from archcalc.spec.position import Rope


class EntryIndexer(Part, frozen=True, kw_only=True):
    """A small attention that selects the entries of each query (DeepSeek-V4, section 2.3.1).

    The score of an entry is Σ w·relu(q·k) over n_index_heads heads of width d_index: q from the latent of queries, w
    from the layer's input, and k an entry of its own, compressed like those of the attention. The query attends to the
    n_selected entries with the largest scores. No gradient passes through a selection.
    """

    n_index_heads: Size
    d_index: Size
    n_selected: Size


class Compression(Part, frozen=True, kw_only=True):
    """Entries that stand for `n_pool` tokens each (DeepSeek-V4, section 2.3).

    An entry is norm(Σ softmax(g + p)·v) over its tokens, channel by channel: v and g are projections of the layer's
    input, p a learned number for each token's place. With `overlap` a token has two of each, and an entry is the sum
    over the second ones of its tokens and the first ones of the n_pool tokens before it. An entry is rotated by the
    position of its first token. A query attends to the entries whose tokens it would all see, or to those that an
    `indexer` selects.
    """

    n_pool: Size
    overlap: bool = False
    indexer: EntryIndexer | None = None


class CompressedAttention(Part, frozen=True, kw_only=True, tag_field="kind", tag="compressed"):
    """Attention to the last `window` tokens and to compressed earlier ones (DeepSeek-V4, section 2.3).

    One vector of width d_head is the key and the value of a token for all heads. Queries pass through a latent of width
    q_rank, and each is divided by its root of the mean square. The last `d_rope` dimensions of queries and keys are
    rotated; as keys are values, those of the heads' outputs are rotated back. Each head has a sink, a learned score
    that joins its softmax without a value. The heads' outputs are projected in `n_out_groups` groups, to out_rank
    numbers each, and then to the model's width; `d_out_group` is the width of a group, by default the heads' width
    divided by their number. Without a `compression` there is the window alone. `norm` is that of the latent of queries,
    of keys and of entries.
    """

    n_heads: Size
    d_head: Size
    q_rank: Size
    d_rope: Size
    window: Size
    n_out_groups: Size
    out_rank: Size
    d_out_group: Size | None = None
    norm: RMSNorm = RMSNorm()
    position: Rope = Rope(interleaved=True)
    compression: Compression | None = None

    @property
    def score_scale(self) -> float:
        """Return the factor of the scores."""
        return float(self.d_head**-0.5)

    @property
    def has_one_head(self) -> bool:
        """Return whether there is a single head, so that keys are not copied for each."""
        return self.n_heads == 1
