"""Memory on each of several ranks as a page."""

from __future__ import annotations

from archcalc.analysis.shards import Engine, RankBytes, ShardedMemory, ShardedTensor
from archcalc.analysis.value_names import SURENESS
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import Message, joined, msg

ENGINE_NAMES: dict[Engine, Message] = {"tp": msg("tensor parallelism"), "fsdp": msg("FSDP")}


def view(result: ShardedMemory, options: None = None) -> Page:
    """Return the page of each rank's bytes, and of every tensor's on the first and the last rank."""
    work, n = result.workload, len(result.ranks)
    title = msg("{label}: memory on {n} ranks of {engine}", label=result.label, n=n, engine=ENGINE_NAMES[result.engine])
    words = (
        result.name,
        msg("weights {dtype}, cache {cache}", dtype=result.dtype, cache=result.cache_dtype),
        msg("batch {n:,}", n=work.batch),
        msg("{n:,} tokens", n=work.past + work.seq),
        SURENESS["exact"],
    )
    blocks = [
        table(msg("Bytes on each rank"), result.ranks, RankBytes),
        table(msg("Tensors"), result.weights, ShardedTensor),
        table(msg("Cache"), result.caches, ShardedTensor),
    ]
    return Page(title, joined(" · ", words), blocks)
