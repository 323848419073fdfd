"""Make every size of a spec explicit, and refuse a spec whose fields contradict each other.

This is the walk over stacks, layers and branches; `resolve_parts` has the function of each part's variant.
"""

from __future__ import annotations

from typing import Any

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.attention import Attention, stack_bias, stored_rope
from archcalc.spec.base import Part
from archcalc.spec.branches import PLACEMENTS, arms, computed, parts
from archcalc.spec.embedding import Embedding
from archcalc.spec.layer import Arm, Branch, Layer, Reads, Run, Stack
from archcalc.spec.model import OWN, OWN_SIZES, Head, ModelStack, Spec
from archcalc.spec.prompts import check_prompts
from archcalc.spec.resolve_shares import check_shares
from archcalc.spec.variants import reading
from archcalc.words import msg


def resolve(spec: Spec) -> Spec:
    """The same spec with n_layers, n_kv_heads, d_head, d_rotary and d_shared filled in.

    Raises InputError with the field's path where two fields contradict each other.
    """
    if spec.encoder is None and spec.decoder is None:
        raise InputError(
            msg("neither an encoder nor a decoder"), where="encoder", allowed=msg("a stack in either or both")
        )
    spec = msgspec.structs.replace(spec, **{each.role: _own_sizes(each) for each in spec.stacks})
    stacks = {each.role: _stack(each.stack, each.model, each.role) for each in spec.stacks}
    if spec.family == "encoder-decoder":
        layers = [layer for run in stacks["decoder"].runs for layer in run.pattern]
        if not any(arm.reads == "source" for layer in layers for arm in arms(layer)):
            raise InputError(
                msg("no layer attends to the encoder"), where="decoder.runs", allowed=msg("a layer with 'cross'")
            )
    _check_ending(spec)
    return msgspec.structs.replace(spec, **stacks)


def _own_sizes(each: ModelStack) -> Stack:
    """The stack with those of its own sizes that are not the model's."""
    stack, whole = each.stack, each.whole
    for field in OWN:
        if getattr(stack, field) is not None and not each.is_source:
            where = f"{each.role}.{field}"
            raise InputError(
                msg("is the model's"),
                where=where,
                allowed=msg("{field} of the model, or of an encoder beside", field=repr(field)),
            )
    own = {field: getattr(stack, field) for field in OWN_SIZES}
    own = {field: None if size == getattr(whole, field) else size for field, size in own.items()}
    for field in ("d_model", "vocab_size"):
        if own[field] is not None and stack.embedding is None:
            raise InputError(
                msg("differs from that of the table that it reads"),
                where=f"{each.role}.{field}",
                allowed=msg("{size}, or an embedding of its own", size=getattr(whole, field)),
            )
    return msgspec.structs.replace(stack, **own)


def _check_ending(spec: Spec) -> None:
    """Embedding tables, head, pooler and extras agree with each other and with the stacks."""
    _check_extras(spec)
    _check_tables(spec.embedding, "embedding")
    if spec.encoder and spec.encoder.embedding:
        _check_tables(spec.encoder.embedding, "encoder.embedding")
    if spec.embedding.token_dropout and spec.decoder:
        raise InputError(msg("a decoder reads a text bit by bit"), where="embedding.token_dropout", allowed="null")
    if spec.pooler and (spec.decoder or spec.predicts_tokens):
        raise InputError(
            msg("nothing reads it"), where="pooler", allowed=msg("an encoder alone, without a head or with labels")
        )
    if spec.head:
        _check_head(spec.head, spec)


def _check_extras(spec: Spec) -> None:
    """Further tensors have names of their own, and no axis of a model without heads is its heads."""
    _check_once([extra.name for extra in spec.extras], "extras")
    layers = [layer for each in spec.stacks for run in each.stack.runs for layer in run.pattern]
    has_heads = any("attn" in parts(layer) for layer in layers)
    for i, extra in enumerate(spec.extras):
        if "all_heads" in extra.axes and not has_heads:
            raise InputError(msg("the model has no heads"), where=f"extras[{i}].axes", allowed=msg("other axes"))


def _check_tables(part: Embedding, where: str) -> None:
    """Further tables have names of their own, and the rows that are read of them."""
    _check_once([table.name for table in part.tables], f"{where}.tables")
    for t, table in enumerate(part.tables):
        if table.default_row is not None and table.default_row >= table.n_rows:
            row = f"{where}.tables[{t}].default_row"
            raise InputError(
                msg("{default_row} of {n_rows} rows", default_row=table.default_row, n_rows=table.n_rows),
                where=row,
                allowed=msg("a row of the table"),
            )


def _check_head(head: Head, spec: Spec) -> None:
    if head.tied and head.d_in is not None:
        raise InputError(msg("a tied matrix is as wide as the token table"), where="head.d_in", allowed="null")
    labels = head.labels
    if labels is None:
        return
    for field in ("tied", "bias_buffer", "softcap"):
        if getattr(head, field):
            raise InputError(
                msg("is of a head that scores the vocabulary"), where=f"head.{field}", allowed=msg("left out")
            )
    if labels.reads in ("first", "mean", "pooled") and spec.decoder:
        raise InputError(
            msg("a decoder has not {reads} at every step", reads=repr(labels.reads)),
            where="head.labels.reads",
            allowed="every, last",
        )
    if labels.picks == "after" and labels.reads in ("every", "pooled"):
        raise InputError(
            msg("nothing is picked of {reads}", reads=repr(labels.reads)),
            where="head.labels.picks",
            allowed="before",
        )
    if (labels.reads == "pooled") != (spec.pooler is not None):
        raise InputError(
            msg("a pooler and labels that read it go together"),
            where="head.labels.reads",
            allowed=msg("pooled, with a pooler"),
        )
    if spec.decoder and spec.decoder.n_mtp:
        raise InputError(msg("labels are no next tokens"), where="decoder.n_mtp", allowed="0")


def _check_once(names: list[str], where: str) -> None:
    """Every name stands for one tensor, and is no beginning of another's."""
    for i, name in enumerate(names):
        if any(other == name or other.startswith(f"{name}.") for other in names[:i] + names[i + 1 :]):
            raise InputError(
                msg("{name} is there twice", name=repr(name)), where=where, allowed=msg("a name of its own for each")
            )


def _stack(stack: Stack, spec: Spec, role: str) -> Stack:
    runs = tuple(
        msgspec.structs.replace(
            run,
            pattern=tuple(
                _layer(layer, spec, role, f"{role}.runs[{r}].pattern[{p}]") for p, layer in enumerate(run.pattern)
            ),
        )
        for r, run in enumerate(stack.runs)
    )
    if stack.n_mtp and role == "encoder":
        raise InputError(msg("an encoder predicts no next tokens"), where="encoder.n_mtp", allowed="0")
    if stack.embed_norm is None and stack.embed_norm_reads != "sum":
        where = f"{role}.embed_norm_reads"
        raise InputError(
            msg("{embed_norm_reads}, but there is no embed_norm", embed_norm_reads=repr(stack.embed_norm_reads)),
            where=where,
            allowed="'sum'",
        )
    _check_names(runs, role)
    _check_shared_tables(runs, role)
    n_layers = _n_layers(stack, role)
    found = msgspec.structs.replace(stack, runs=runs, n_layers=n_layers)
    check_shares(found, role)
    check_prompts(found, role)
    return found


def _n_layers(stack: Stack, role: str) -> int:
    """The stack's layers; every run gets at least one, at most one run is open."""
    counts = [run.count for run in stack.runs]
    fixed, n_open = sum(count or 0 for count in counts), counts.count(None)
    where = f"{role}.n_layers"
    if n_open > 1:
        raise InputError(
            msg("{n_open} runs leave 'count' out", n_open=n_open),
            where=f"{role}.runs",
            allowed=msg("one open run at most"),
        )
    if stack.n_layers is None:
        if n_open:
            raise InputError(
                msg("left out, as is the 'count' of a run"), where=where, allowed=msg("one of the two stated")
            )
        return fixed
    if n_open and stack.n_layers <= fixed:
        raise InputError(
            msg("{n_layers}, but the runs with a 'count' take {fixed}", n_layers=stack.n_layers, fixed=fixed),
            where=where,
            allowed=msg("more"),
        )
    if not n_open and stack.n_layers != fixed:
        raise InputError(
            msg("{n_layers}, but the runs' counts sum to {fixed}", n_layers=stack.n_layers, fixed=fixed),
            where=where,
            allowed=msg("{fixed}, or one run without 'count'", fixed=fixed),
        )
    return stack.n_layers


def _check_names(runs: tuple[Run, ...], role: str) -> None:
    """A layer's name is its group's, so layers that differ need names that differ."""
    named: dict[str, tuple[Layer, bool]] = {}
    for r, run in enumerate(runs):
        for p, layer in enumerate(run.pattern):
            if layer.name and named.setdefault(layer.name, (layer, run.share_weights)) != (layer, run.share_weights):
                raise InputError(
                    msg("{name} is also the name of a layer that differs", name=repr(layer.name)),
                    where=f"{role}.runs[{r}].pattern[{p}].name",
                    allowed=msg("a name of its own for each"),
                )


def _check_shared_tables(runs: tuple[Run, ...], role: str) -> None:
    """A table that serves every layer of a stack (T5's biases, RoFormer's angles) must be of one shape for all."""
    found = [arm.part for run in runs for layer in run.pattern for arm in arms(layer)]
    biases = {
        (position, part.n_heads) for part in found if isinstance(part, Attention) and (position := stack_bias(part))
    }
    if len(biases) > 1:
        raise InputError(
            msg("layers with a relative bias differ in n_heads or in its sizes"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )
    angles = {(rope.theta, rope.d_rotary) for part in found if (rope := stored_rope(part))}
    if len(angles) > 1:
        raise InputError(
            msg("layers with a stored table of angles differ in theta or d_rotary"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )


def _layer(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    found = (_explicit if layer.branches else _short)(layer, spec, role, where)
    if not computed(found):
        raise InputError(
            msg("nothing of the layer is computed"), where=where, allowed=msg("a part that does not read nothing")
        )
    return found


def _short(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    """A layer in the short form: attention, cross-attention and feed-forward about one kind of norm."""
    slots: dict[str, Any] = {"attention": layer.attention, "cross": layer.cross, "ffn": layer.ffn}
    if not any(slots.values()):
        raise InputError(
            msg("a layer without any part"), where=where, allowed=msg("attention, cross or ffn, or branches")
        )
    if layer.norm is None:
        raise InputError(msg("the required field 'norm' is missing"), where=where, allowed=msg("a norm, or branches"))
    if PLACEMENTS[layer.placement].in_parallel and (layer.cross or not (layer.attention and layer.ffn)):
        raise InputError(
            msg("{placement} needs attention and ffn, and no cross", placement=repr(layer.placement)),
            where=f"{where}.placement",
            allowed="pre, post, …",
        )
    if layer.skip_reads == "normed" and not PLACEMENTS[layer.placement].before:
        raise InputError(
            msg("{placement} has no norm before its parts", placement=repr(layer.placement)),
            where=f"{where}.skip_reads",
            allowed="stream",
        )
    if layer.cross is None and layer.cross_reads != "source":
        raise InputError(msg("there is no cross"), where=f"{where}.cross_reads", allowed=msg("source"))
    reads: dict[str, Reads] = {"cross": layer.cross_reads}
    filled = {
        slot: _filled(_sourced(part, reads.get(slot, "stream"), spec, role, f"{where}.{slot}"), spec, f"{where}.{slot}")
        for slot, part in slots.items()
        if part is not None
    }
    return msgspec.structs.replace(layer, **filled)


def _explicit(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    """A layer that states its branches; the fields of the short form stand at their defaults."""
    for field in ("norm", "placement", "attention", "cross", "cross_reads", "ffn", "scale", "skip", "skip_reads"):
        if getattr(layer, field) != getattr(Layer(), field):
            raise InputError(
                msg("is stated beside branches"), where=f"{where}.{field}", allowed=msg("one of the two forms")
            )
    branches = tuple(_branch(each, spec, role, f"{where}.branches[{i}]") for i, each in enumerate(layer.branches))
    names = [arm.name for branch in branches for arm in branch.arms]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                msg("two arms are named {name}", name=repr(name)),
                where=f"{where}.branches",
                allowed=msg("a name of its own each"),
            )
    return msgspec.structs.replace(layer, branches=branches)


def _branch(branch: Branch, spec: Spec, role: str, where: str) -> Branch:
    if branch.norm_in and any(arm.norm for arm in branch.arms):
        raise InputError(
            msg("an arm has a norm beside norm_in"),
            where=f"{where}.norm_in",
            allowed=msg("norm_in, or a norm of each arm"),
        )
    if branch.skip_reads == "normed" and not branch.norm_in:
        raise InputError(msg("there is no norm_in to read"), where=f"{where}.skip_reads", allowed="stream")
    if len({arm.reads == "nothing" for arm in branch.arms}) > 1:
        raise InputError(
            msg("some arms read nothing"), where=f"{where}.arms", allowed=msg("a branch of their own for these")
        )
    found = tuple(_arm(arm, spec, role, f"{where}.arms[{a}]") for a, arm in enumerate(branch.arms))
    return msgspec.structs.replace(branch, arms=found)


def _arm(arm: Arm, spec: Spec, role: str, where: str) -> Arm:
    part = _sourced(arm.part, arm.reads, spec, role, where)
    return msgspec.structs.replace(arm, part=_filled(part, spec, f"{where}.part"))


def _sourced(part: Any, reads: Reads, spec: Spec, role: str, where: str) -> Any:
    """The part with the width of the source that it attends to, if that is not the layer's."""
    if reads in ("source", "nothing"):
        _check_source(part, reads, spec, role, where)
        return msgspec.structs.replace(part, d_source=_source_width(part, reads, spec, where))
    if getattr(part, "d_source", None) is not None:
        raise InputError(msg("attends to no source"), where=f"{where}.d_source", allowed="null")
    return part


def _source_width(part: Attention, reads: Reads, spec: Spec, where: str) -> int | None:
    width = part.d_source
    if reads == "source":
        assert spec.encoder is not None, "there is something to attend to"
        width = spec.encoder.d_model or spec.d_model
        if part.d_source not in (None, width):
            raise InputError(
                msg("found {found}", found=part.d_source),
                where=f"{where}.d_source",
                allowed=msg("the encoder's {width}", width=width),
            )
    return None if width == spec.d_model else width


def _check_source(part: Any, reads: Reads, spec: Spec, role: str, where: str) -> None:
    """Raise InputError where a part cannot attend to a source, or is idle though there is one."""
    if not isinstance(part, Attention):
        raise InputError(msg("does not attend to a source"), where=where, allowed=msg("a mapping of kind gqa"))
    if spec.encoder is None and reads == "source":
        raise InputError(
            msg("there is no encoder to attend to"), where=where, allowed=msg("an 'encoder' stack, or to read nothing")
        )
    if spec.encoder is not None and reads == "nothing":
        raise InputError(msg("reads nothing beside an encoder"), where=where, allowed=msg("to read the source"))
    if role == "encoder":
        raise InputError(msg("an encoder attends to itself alone"), where=where, allowed="null")
    if part.position:
        raise InputError(msg("cross-attention has no positions"), where=f"{where}.position", allowed="null")
    if part.window:
        raise InputError(msg("cross-attention sees the whole source"), where=f"{where}.window", allowed="null")
    if part.temperature:
        raise InputError(msg("cross-attention has no positions"), where=f"{where}.temperature", allowed="null")


def _filled(part: Part, spec: Spec, where: str) -> Any:
    """The part with what it leaves out filled in, by its variant's own function."""
    return reading(part, "resolve")(part, spec, where)
