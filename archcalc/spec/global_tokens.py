"""Global tokens of a stack: the norms that they have weights of their own in, and what its layers must be."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.errors import InputError
from archcalc.spec.base import Part
from archcalc.spec.branches import active_branches, arms, names
from archcalc.spec.layer import Branch, GlobalTokens, Layer, Stack
from archcalc.spec.norm import Norm
from archcalc.spec.sparse import LocalBlocks, SparseAttention
from archcalc.spec.variants import variant
from archcalc.words import msg


def reads_blocks(part: object) -> bool:
    """Return whether a part is an attention that tells global tokens from those of the text."""
    return isinstance(part, SparseAttention) and isinstance(part.pattern, LocalBlocks)


def global_norm(branch: Branch, tokens: GlobalTokens | None) -> str | None:
    """Return the name of the norm of global tokens before a branch; None if they share that of the text's."""
    if tokens is None or not tokens.own_norm or not branch.norm_in or not reads_blocks(branch.arms[0].part):
        return None
    return f"{names(branch).norm_in}_global"


def global_norms(layer: Layer, tokens: GlobalTokens | None) -> Iterator[tuple[str, str, Norm]]:
    """Yield the name of each norm that has other weights for global tokens, the name for these, and the norm."""
    for branch in active_branches(layer):
        own, name = names(branch).norm_in, global_norm(branch, tokens)
        if own and name and branch.norm_in:
            yield own, name, branch.norm_in


def check_global_tokens(stack: Stack, role: str) -> None:
    """Raise InputError if layers or other fields of the stack cannot have its global tokens."""
    if stack.global_tokens is None:
        return
    where = f"{role}.global_tokens"
    if role != "encoder":
        raise InputError(msg("a text in the making has none"), where=where, allowed=msg("null, or an encoder"))
    for field in ("prompts", "per_layer", "streams"):
        if getattr(stack, field) is not None:
            raise InputError(msg("is stated together with {field}", field=field), where=where, allowed="null")
    _check_parts([arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer)], where)
    for layer in (layer for run in stack.runs for layer in run.pattern):
        for own, _, _ in global_norms(layer, stack.global_tokens):
            if any(branch.norm_of is not None for branch in layer.branches):
                raise InputError(
                    msg("{name} may be that of another branch", name=own), where=f"{where}.own_norm", allowed="false"
                )


def _check_parts(parts: list[Part], where: str) -> None:
    """Raise InputError for an attention or a mixer that would take them for the text's, or if none reads them."""
    allowed = msg("layers whose attention is sparse, with the pattern local_blocks")
    for part in parts:
        if variant(part).mixes_tokens and not reads_blocks(part):
            raise InputError(msg("a layer does not tell them from the text's"), where=where, allowed=allowed)
    if not any(map(reads_blocks, parts)):
        raise InputError(msg("no layer reads them"), where=where, allowed=allowed)
