"""Several residual streams in the place of one."""

import operator

from archcalc.spec.base import Count, ModuleSize, Offset, Part, Positive, Size
from archcalc.spec.norm import RMSNorm


class AltUp(Part, frozen=True, kw_only=True, tag_field="kind", tag="altup"):
    """`n_streams` residual streams, of which each layer computes the `active` one (AltUp, Baykal et al. 2023).

    A layer predicts the streams: each plus a mix of all. The n² factors follow from tanh(router(norm(x) / d_model)) of
    the active stream x. Its branches compute y from the predicted active stream p, and every stream gets a share of
    y − p, by 1 plus a factor that follows from the same router of y. Branches that join later streams read the
    corrected active stream, times a learned vector if `out_scale` (stored either way).

    The first stream is the layers' input, the others are projections of it. Their output is the average of the first
    and of projections of the others. Projections have the first stream's magnitude.
    """

    n_streams: ModuleSize
    active: Count = 0
    norm: RMSNorm = RMSNorm()
    out_scale: bool = True

    def n_before(self, layer: int) -> int:
        """Return the number of streams before a layer."""
        return self.n_streams


class Sinkhorn(Part, frozen=True, kw_only=True):
    """How hyper-connections mix their streams: by a matrix whose rows and columns sum to 1 (Xie et al. 2026, mHC).

    A softmax over its rows is divided by the sums of its columns, then `n_turns` − 1 times by those of its rows and of
    its columns (Sinkhorn & Knopp 1967).
    """

    n_turns: Size = 20


class HyperConnections(Part, frozen=True, kw_only=True, tag_field="kind", tag="hyper"):
    """`n_streams` residual streams that every branch reads and writes with weights of its own (Zhu et al. 2024).

    The weights of a token follow from its streams, side by side: s·(W·x / rms(x)) + b, with one number s for each of
    three groups. A branch reads Σ r·x over the streams x, with r = σ(·) + eps, and adds w·y to each, with
    w = magnitude·σ(·) + write_eps. With `mix` the streams are mixed first, by n² weights (DeepSeek-V4); without it each
    stays as it is (Hunyuan 4). `norm_eps` is added to the mean square of x, `eps` to each sum of the mix too.

    All streams begin as the layers' input. Their output is Σ r·x, with weights of its own.
    """

    n_streams: ModuleSize
    magnitude: Positive = 2.0
    norm_eps: Positive = 1e-6
    eps: Offset = 1e-6
    write_eps: Offset = 0.0
    mix: Sinkhorn | None = None

    def n_before(self, layer: int) -> int:
        """Return the number of streams before a layer."""
        return self.n_streams


class SetAside(Part, frozen=True, kw_only=True, tag_field="kind", tag="set_aside"):
    """A stream that is set aside before every `n_block`-th layer, from the first on (Inkling 2).

    It then restarts as what that layer's first branch gives. A branch reads Σ p·n over all streams, those set aside
    and the newest, with n = x / √(mean(x²) + eps) and p = softmax(q·n / √d_model) of a learned q, one for each branch.
    An attention that splits its input has a q for each of queries, keys and values. A branch is added to the newest
    stream. The first branch of the first layer reads its stream itself. The output of the layers is a last such sum.
    """

    n_block: Size = 6
    eps: Positive = 1e-6

    def n_before(self, layer: int) -> int:
        """Return the number of streams before a layer: one, and those set aside."""
        return 1 + -(-layer // operator.index(self.n_block))

    def begins(self, layer: int) -> bool:
        """Return whether the stream is set aside before a layer."""
        return layer % operator.index(self.n_block) == 0


AnyStreams = AltUp | HyperConnections | SetAside
