"""The soft prompt of a stack: the segments of its rows and of the text, and what a stack with one must be."""

from __future__ import annotations

from archcalc.errors import InputError
from archcalc.spec.attention import Attention
from archcalc.spec.branches import arms
from archcalc.spec.embedding import Embedding, ExtraTable
from archcalc.spec.layer import Stack
from archcalc.spec.model import Spec
from archcalc.spec.position import RelativeBias
from archcalc.spec.variants import variant
from archcalc.words import msg

SEGMENTS = "segments"
_OTHERS = ("prompts", "per_layer", "streams", "global_tokens", "cycles", "position")


def segment_table(embedding: Embedding) -> ExtraTable | None:
    """Return the table of segments, whose rows are added to the tokens' and to those of a soft prompt."""
    tables = (table for table in embedding.tables if table.name == SEGMENTS and table.use == "added")
    return next(tables, None)


def segments(stack: Stack, embedding: Embedding) -> tuple[int, int] | None:
    """Return the segments of a stack's soft prompt and of its text; None without a prompt or a table of segments."""
    table = segment_table(embedding)
    if stack.soft_prompt is None or table is None or table.default_row is None:
        return None
    return stack.soft_prompt.segment, table.default_row


def check_soft_prompt(stack: Stack, spec: Spec, role: str) -> None:
    """Raise InputError for a pass that a stack cannot read at once, a soft prompt it cannot have, and lost segments."""
    if stack.reads_pass:
        _check_pass(stack, spec, role)
    _check_segments(stack, spec, role)
    prompt = stack.soft_prompt
    if prompt is None:
        return
    where = f"{role}.soft_prompt"
    if not stack.reads_pass:
        raise InputError(msg("its rows would not see the text"), where=where, allowed=msg("null, or reads_pass: true"))
    for field in _OTHERS:
        if getattr(stack, field) is not None:
            raise InputError(msg("is stated together with {field}", field=field), where=where, allowed="null")
    if prompt.first + prompt.n_tokens > prompt.n_rows:
        raise InputError(
            msg("{last} of {n_rows} rows", last=prompt.first + prompt.n_tokens, n_rows=prompt.n_rows),
            where=f"{where}.first",
            allowed=msg("rows of the table"),
        )
    table = segment_table(spec.embedding)
    if prompt.segment >= (1 if table is None else table.n_rows):
        raise InputError(
            msg("found {found}", found=prompt.segment), where=f"{where}.segment", allowed=msg("a row of the table")
        )


def _check_pass(stack: Stack, spec: Spec, role: str) -> None:
    parts = [arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer)]
    mixers = [part for part in parts if variant(part).mixes_tokens]
    is_read = all(isinstance(part, Attention) and _reads_all(part) for part in mixers)
    if role != "decoder" or spec.family != "decoder" or stack.n_mtp or stack.prefix or not is_read:
        raise InputError(
            msg("a layer reads part of a pass, or the stack is no decoder alone"),
            where=f"{role}.reads_pass",
            allowed=msg("false, or a decoder without prefix, of attentions (gqa) without windows and rotation"),
        )


def _reads_all(part: Attention) -> bool:
    is_plain = part.position is None or (isinstance(part.position, RelativeBias) and part.position.shared == "stack")
    return is_plain and part.window is None and part.temperature is None


def _check_segments(stack: Stack, spec: Spec, role: str) -> None:
    """Raise InputError for a bias of segments in a stack whose tokens have none, or others."""
    table, found = segment_table(spec.embedding), segments(stack, spec.embedding)
    for part in (arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer)):
        position = getattr(part, "position", None)
        if not isinstance(position, RelativeBias):
            continue
        n, is_read = position.n_segments, isinstance(part, Attention) and _reads_all(part)
        if stack.soft_prompt is not None and (not n or (found is not None and found[0] == found[1])):
            raise InputError(
                msg("padding would change how far the text is from the soft prompt"),
                where=f"{role}: n_segments",
                allowed=msg("segments, of which the prompt has another than the text"),
            )
        if n and (found is None or table is None or table.n_rows != n or not is_read):
            raise InputError(
                msg("the stack has no {n} segments", n=n),
                where=f"{role}: n_segments",
                allowed=msg("0, or a soft prompt and as many rows in an added table called segments"),
            )
