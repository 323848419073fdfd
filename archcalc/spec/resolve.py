"""Make every size of a spec explicit, and refuse contradictory fields.

This module walks over stacks, layers and branches; `resolve_parts` has a function for each variant of a part.
"""

from __future__ import annotations

from typing import Any

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.attention import Attention, disentangled, stack_bias, stored_rope
from archcalc.spec.base import Part
from archcalc.spec.branches import PLACEMENTS, active_branches, arms, norms, parts
from archcalc.spec.cycles import check_cycles
from archcalc.spec.embedding import Embedding, ExtraTable
from archcalc.spec.global_tokens import check_global_tokens
from archcalc.spec.layer import Arm, Branch, Layer, Reads, Run, Stack
from archcalc.spec.model import OWN, OWN_SIZES, Head, Labels, ModelStack, Spec
from archcalc.spec.per_layer import check_per_layer, with_per_layer
from archcalc.spec.position import ContentBias
from archcalc.spec.prompts import check_prompts
from archcalc.spec.resolve_bottleneck import check_bottlenecks, inside, with_value_source
from archcalc.spec.resolve_chains import check_chains
from archcalc.spec.resolve_routers import check_routers
from archcalc.spec.resolve_shares import check_shares
from archcalc.spec.resolve_split import split_problem
from archcalc.spec.resolve_streams import check_streams
from archcalc.spec.soft_prompt import check_soft_prompt
from archcalc.spec.sparse import SparseAttention, summary_bias
from archcalc.spec.variants import implementation, variant
from archcalc.words import msg


def resolve(spec: Spec) -> Spec:
    """Return the spec with explicit n_layers, n_kv_heads, d_head, d_rotary and d_shared.

    Raises InputError with the field's path if two fields contradict each other.
    """
    if spec.encoder is None and spec.decoder is None:
        raise InputError(msg("neither an encoder nor a decoder"), where="encoder", allowed=msg("at least one of them"))
    spec = msgspec.structs.replace(spec, **{model_stack.role: _own_sizes(model_stack) for model_stack in spec.stacks})
    stacks = {
        model_stack.role: _stack(model_stack.stack, model_stack.model, model_stack.role) for model_stack in spec.stacks
    }
    if spec.family == "encoder-decoder":
        layers = [layer for run in stacks["decoder"].runs for layer in run.pattern]
        if not any(arm.reads == "source" for layer in layers for arm in arms(layer)):
            raise InputError(
                msg("no layer attends to the encoder"), where="decoder.runs", allowed=msg("a layer with 'cross'")
            )
    _check_model_parts(spec)
    return msgspec.structs.replace(spec, **stacks)


def _own_sizes(model_stack: ModelStack) -> Stack:
    """Return the stack with only those own sizes that differ from the model's."""
    stack, spec = model_stack.stack, model_stack.spec
    for field in OWN:
        if getattr(stack, field) is not None and not model_stack.is_source:
            where = f"{model_stack.role}.{field}"
            raise InputError(
                msg("cannot differ from the model's"),
                where=where,
                allowed=msg("{field} of the model, or of an encoder beside a decoder", field=repr(field)),
            )
    own = {field: getattr(stack, field) for field in OWN_SIZES}
    own = {field: None if size == getattr(spec, field) else size for field, size in own.items()}
    for field in ("d_model", "vocab_size"):
        if own[field] is not None and stack.embedding is None:
            raise InputError(
                msg("differs from the embedding that the stack reads"),
                where=f"{model_stack.role}.{field}",
                allowed=msg("{size}, or a separate embedding", size=getattr(spec, field)),
            )
    return msgspec.structs.replace(stack, **own)


def _check_model_parts(spec: Spec) -> None:
    """Check embedding tables, head, pooler and extras against each other and the stacks."""
    _check_extras(spec)
    _check_tables(spec.embedding, "embedding")
    if spec.encoder and spec.encoder.embedding:
        _check_tables(spec.encoder.embedding, "encoder.embedding")
    if spec.embedding.token_dropout and spec.decoder:
        raise InputError(
            msg("a decoder does not read the whole text at once"), where="embedding.token_dropout", allowed="null"
        )
    if spec.embedding.factor and spec.embedding.factor.n_neighbors and spec.decoder:
        raise InputError(
            msg("a decoder does not read the whole text at once"), where="embedding.factor.n_neighbors", allowed="0"
        )
    if spec.pooler and (spec.decoder or spec.predicts_tokens):
        raise InputError(
            msg("no head uses it"),
            where="pooler",
            allowed=msg("a model with an encoder only, and without a head or with labels"),
        )
    if spec.head:
        _check_head(spec.head, spec)


def _check_extras(spec: Spec) -> None:
    """Check that extras have unique names, and that only a model with heads has an axis of heads."""
    _check_unique([extra.name for extra in spec.extras], "extras")
    layers = [layer for model_stack in spec.stacks for run in model_stack.stack.runs for layer in run.pattern]
    has_heads = any("attn" in parts(layer) for layer in layers)
    for i, extra in enumerate(spec.extras):
        if "all_heads" in extra.axes and not has_heads:
            raise InputError(msg("the model has no heads"), where=f"extras[{i}].axes", allowed=msg("other axes"))


def _check_tables(part: Embedding, where: str) -> None:
    """Check that extra tables have unique names and contain their default rows."""
    _check_unique([table.name for table in part.tables], f"{where}.tables")
    if part.factor and part.factor.n_neighbors and part.factor.widen == "after_positions":
        problem = msg("the projection reads rows with positions")
        raise InputError(problem, where=f"{where}.factor.n_neighbors", allowed=msg("0, or widen: before_positions"))
    if part.join and part.factor:
        problem = msg("both project the tokens' rows")
        raise InputError(problem, where=f"{where}.join", allowed=msg("a join or a factor"))
    for t, table in enumerate(part.tables):
        _check_use(table, part, f"{where}.tables[{t}]")
        if table.default_row is not None and table.default_row >= table.n_rows:
            row = f"{where}.tables[{t}].default_row"
            raise InputError(
                msg("{default_row} of {n_rows} rows", default_row=table.default_row, n_rows=table.n_rows),
                where=row,
                allowed=msg("a row of the table"),
            )


def _check_use(table: ExtraTable, part: Embedding, where: str) -> None:
    """Check that a table can be used as it says."""
    if (table.d_table is None) is not (table.use == "added"):
        allowed = msg("null for a table that is added") if table.use == "added" else msg("the width of its rows")
        raise InputError(msg("found {found}", found=table.d_table), where=f"{where}.d_table", allowed=allowed)
    if table.use == "joined" and part.join is None:
        raise InputError(msg("there is no join"), where=f"{where}.use", allowed=msg("added, stored, or a join"))
    if table.use == "joined" and (table.default_row is None or table.n_reads > 1):
        problem = msg("a joined table gives each token one row")
        raise InputError(problem, where=where, allowed=msg("a default_row, and n_reads: 1"))


def _check_head(head: Head, spec: Spec) -> None:
    if head.tied and head.d_in is not None:
        raise InputError(msg("a tied matrix is as wide as the token table"), where="head.d_in", allowed="null")
    if head.own_columns:
        _check_columns(head, spec)
    labels = head.labels
    if labels is None:
        _check_scored(head, spec)
        return
    _check_labels(head, labels, spec)


def _check_labels(head: Head, labels: Labels, spec: Spec) -> None:
    """Raise InputError for a head over labels that a model or another field contradicts."""
    for field in ("tied", "bias_buffer", "n_scored"):
        if getattr(head, field):
            raise InputError(
                msg("applies only to a head that scores the vocabulary"), where=f"head.{field}", allowed=msg("no value")
            )
    if labels.reads in ("first", "mean", "pooled") and spec.decoder:
        raise InputError(
            msg("a decoder does not have {reads} at every step", reads=repr(labels.reads)),
            where="head.labels.reads",
            allowed="every, last",
        )
    if labels.picks == "after" and labels.reads in ("every", "pooled"):
        raise InputError(
            msg("{reads} has no state to pick", reads=repr(labels.reads)),
            where="head.labels.picks",
            allowed="before",
        )
    if (labels.reads == "pooled") != (spec.pooler is not None):
        raise InputError(
            msg("labels that read a pooler need one, and only they use it"),
            where="head.labels.reads",
            allowed=msg("pooled, with a pooler"),
        )
    if spec.decoder and spec.decoder.n_mtp:
        raise InputError(msg("a model with labels does not predict next tokens"), where="decoder.n_mtp", allowed="0")


def _check_scored(head: Head, spec: Spec) -> None:
    """Raise InputError if no row is left out although a number of scored tokens is stated."""
    if head.n_scored is not None and head.n_scored >= spec.vocab_size:
        found = msg("found {n}, of a vocabulary of {vocab}", n=head.n_scored, vocab=spec.vocab_size)
        raise InputError(found, where="head.n_scored", allowed=msg("null, or less than vocab_size"))


def _check_columns(head: Head, spec: Spec) -> None:
    """Raise InputError if the head's matrix is as wide as the states without columns of its own."""
    width = spec.embedding.factor.d_embed if head.tied and spec.embedding.factor else head.d_in or spec.d_model
    if width >= spec.d_model:
        raise InputError(
            msg("the matrix is {width} wide, the states {d_model}", width=width, d_model=spec.d_model),
            where="head.own_columns",
            allowed=msg("false, or a narrower factor or d_in"),
        )


def _check_unique(names: list[str], where: str) -> None:
    """Check that names are unique and that none is a prefix of another."""
    for i, name in enumerate(names):
        if any(other == name or other.startswith(f"{name}.") for other in names[:i] + names[i + 1 :]):
            raise InputError(msg("{name} is a duplicate", name=repr(name)), where=where, allowed=msg("unique names"))


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
    resolved = with_per_layer(msgspec.structs.replace(stack, runs=runs, n_layers=n_layers), spec.vocab_size)
    check_shares(resolved, role)
    check_prompts(resolved, role)
    check_per_layer(resolved, role)
    check_streams(resolved, role)
    check_chains(resolved, role)
    check_routers(resolved, role)
    check_global_tokens(resolved, role)
    check_bottlenecks(resolved, role)
    check_cycles(resolved, role)
    check_soft_prompt(resolved, spec, role)
    _check_prefix(resolved, spec, role)
    return resolved


def _check_prefix(stack: Stack, spec: Spec, role: str) -> None:
    """Raise InputError for a prefix where no tokens are marked, or that a part would not read in both directions."""
    parts = [arm.part for run in stack.runs for layer in run.pattern for arm in arms(layer)]
    is_read = all(isinstance(part, Attention) for part in parts if variant(part).mixes_tokens)
    if stack.prefix and not (is_read and role == spec.family == "decoder"):
        raise InputError(
            msg("a layer does not read later tokens, or the model does not mark any"),
            where=f"{role}.prefix",
            allowed=msg("false, or a decoder alone whose layers have attention of kind gqa"),
        )


def _n_layers(stack: Stack, role: str) -> int:
    """Return the number of layers; every run has at least one, and at most one run omits its count."""
    counts = [run.count for run in stack.runs]
    n_stated, n_open = sum(count or 0 for count in counts), counts.count(None)
    where = f"{role}.n_layers"
    if n_open > 1:
        raise InputError(
            msg("{n_open} runs have no 'count'", n_open=n_open),
            where=f"{role}.runs",
            allowed=msg("at most one run without 'count'"),
        )
    if stack.n_layers is None:
        if n_open:
            raise InputError(
                msg("neither n_layers nor the 'count' of a run is stated"), where=where, allowed=msg("one of the two")
            )
        return n_stated
    if n_open and stack.n_layers <= n_stated:
        raise InputError(
            msg("{n_layers}, but the runs with a 'count' have {n_stated}", n_layers=stack.n_layers, n_stated=n_stated),
            where=where,
            allowed=msg("more"),
        )
    if not n_open and stack.n_layers != n_stated:
        raise InputError(
            msg("{n_layers}, but the counts of the runs sum to {n_stated}", n_layers=stack.n_layers, n_stated=n_stated),
            where=where,
            allowed=msg("{n_stated}, or one run without 'count'", n_stated=n_stated),
        )
    return stack.n_layers


def _check_names(runs: tuple[Run, ...], role: str) -> None:
    """Check that different layers have different names, because groups are named after their layers."""
    named: dict[str, tuple[Layer, bool]] = {}
    for r, run in enumerate(runs):
        for p, layer in enumerate(run.pattern):
            if layer.name and named.setdefault(layer.name, (layer, run.share_weights)) != (layer, run.share_weights):
                raise InputError(
                    msg("{name} is also the name of a different layer", name=repr(layer.name)),
                    where=f"{role}.runs[{r}].pattern[{p}].name",
                    allowed=msg("unique names"),
                )


def _check_shared_tables(runs: tuple[Run, ...], role: str) -> None:
    """Check that a table of the stack (T5's biases, RoFormer's angles) has one shape for all layers."""
    parts = [arm.part for run in runs for layer in run.pattern for arm in arms(layer)]
    biases = {
        (position, part.n_heads)
        for part in parts
        if isinstance(part, Attention | SparseAttention) and (position := stack_bias(part))
    }
    if len(biases) > 1:
        raise InputError(
            msg("layers with a relative bias differ in n_heads or in its sizes"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )
    sparse = [part.summaries for part in parts if isinstance(part, SparseAttention) and summary_bias(part)]
    blocks = {summaries.n_block for summaries in sparse if summaries}
    if len(blocks) > 1:
        raise InputError(
            msg("layers with a relative bias of summaries differ in n_block"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )
    tables = {(relative.n_distances, relative.norm) for part in parts if (relative := disentangled(part))}
    if len(tables) > 1:
        raise InputError(
            msg("layers with a table of distances differ in n_distances or in its norm"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )
    angles = {(rope.theta, rope.d_rotary) for part in parts if (rope := stored_rope(part))}
    if len(angles) > 1:
        raise InputError(
            msg("layers with a stored table of angles differ in theta or d_rotary"),
            where=f"{role}.runs",
            allowed=msg("one table for the stack"),
        )


def _layer(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    layer = with_value_source(layer, spec, where)
    resolved = (_branch_layer if layer.branches else _short)(layer, inside(layer, spec), role, where)
    if not active_branches(resolved):
        raise InputError(
            msg("no part of the layer is computed"), where=where, allowed=msg("a part that reads something")
        )
    return resolved


def _short(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    """A layer in the short form: attention or mixer, cross-attention and feed-forward about one kind of norm."""
    slots: dict[str, Any] = {name: getattr(layer, name) for name in ("attention", "mixer", "cross", "ffn")}
    if not any(slots.values()):
        raise InputError(
            msg("a layer without any part"), where=where, allowed=msg("attention, mixer, cross or ffn, or branches")
        )
    if layer.attention and layer.mixer:
        raise InputError(
            msg("the layer has an attention too"), where=f"{where}.mixer", allowed=msg("one of the two, or branches")
        )
    if layer.norm is None:
        raise InputError(msg("the required field 'norm' is missing"), where=where, allowed=msg("a norm, or branches"))
    if PLACEMENTS[layer.placement].is_parallel and (
        layer.cross or not ((layer.attention or layer.mixer) and layer.ffn)
    ):
        raise InputError(
            msg("{placement} needs attention or mixer, and ffn, and no cross", placement=repr(layer.placement)),
            where=f"{where}.placement",
            allowed="pre, post, …",
        )
    if layer.skip_reads == "normed" and not PLACEMENTS[layer.placement].before:
        raise InputError(
            msg("{placement} has no norm before its parts", placement=repr(layer.placement)),
            where=f"{where}.skip_reads",
            allowed="stream",
        )
    _check_skip(layer, where)
    if layer.cross is None and layer.cross_reads != "source":
        raise InputError(msg("the layer has no cross-attention"), where=f"{where}.cross_reads", allowed=msg("source"))
    reads: dict[str, Reads] = {"cross": layer.cross_reads}
    parts = {
        slot: _resolved_part(
            _with_source_width(part, reads.get(slot, "stream"), spec, role, f"{where}.{slot}"),
            spec,
            role,
            f"{where}.{slot}",
        )
        for slot, part in slots.items()
        if part is not None
    }
    return msgspec.structs.replace(layer, **parts)


_SHORT_FIELDS = (
    *("norm", "placement", "attention", "mixer", "cross", "cross_reads", "ffn"),
    *("scale", "skip", "skip_reads", "skip_weight", "skip_bias"),
)


def _branch_layer(layer: Layer, spec: Spec, role: str, where: str) -> Layer:
    """Resolve a layer in the explicit form; all fields of the short form must have their defaults."""
    for field in _SHORT_FIELDS:
        if getattr(layer, field) != getattr(Layer(), field):
            raise InputError(
                msg("is stated together with branches"), where=f"{where}.{field}", allowed=msg("one of the two forms")
            )
    branches = tuple(
        _branch(model_stack, spec, role, f"{where}.branches[{i}]") for i, model_stack in enumerate(layer.branches)
    )
    names = [arm.name for branch in branches for arm in branch.arms]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                msg("two arms are named {name}", name=repr(name)),
                where=f"{where}.branches",
                allowed=msg("unique names"),
            )
    for i, branch in enumerate(branches):
        _check_inputs(branch, branches[:i], f"{where}.branches[{i}]")
        _check_tied_norms(branch, branches[: i + 1], f"{where}.branches[{i}]")
    return msgspec.structs.replace(layer, branches=branches)


def _check_inputs(branch: Branch, before: tuple[Branch, ...], where: str) -> None:
    """Raise InputError if an arm reads the input of a branch that is not computed before its own."""
    earlier = [other.arms[0].name for other in before if other.arms[0].reads != "nothing"]
    for a, arm in enumerate(branch.arms):
        is_possible = arm.input_of in earlier and arm.reads != "nothing" and branch.joins == "stream"
        if arm.input_of is not None and not is_possible:
            raise InputError(
                msg("found {found}", found=repr(arm.input_of)),
                where=f"{where}.arms[{a}].input_of",
                allowed=msg("the first arm of an earlier branch, or null"),
            )


def _check_tied_norms(branch: Branch, so_far: tuple[Branch, ...], where: str) -> None:
    """Raise InputError if a branch uses the weights of a norm that is not there before, or unlike its own."""
    if branch.norm_of is None:
        return
    owner = next((other for other in so_far if other.arms[0].name == branch.norm_of), None)
    first = next((part for _, part in norms(owner)), None) if owner else None
    own = [part for _, part in norms(branch)]
    is_tied = owner is not None and owner.norm_of not in (None, branch.norm_of)
    if first is None or is_tied or any(part != first for part in own) or len(own) < 1 + (owner is branch):
        raise InputError(
            msg("found {found}", found=repr(branch.norm_of)),
            where=f"{where}.norm_of",
            allowed=msg("the first arm of a branch so far whose first norm, with its own weights, equals all here"),
        )


def _check_skip(part: Layer | Branch, where: str) -> None:
    """Raise InputError for a bias that no factors of channels follow."""
    if part.skip_bias and not part.skip_weight:
        raise InputError(msg("there is no skip_weight"), where=f"{where}.skip_bias", allowed="skip_weight: true")


def _branch(branch: Branch, spec: Spec, role: str, where: str) -> Branch:
    if branch.norm_in and any(arm.norm for arm in branch.arms):
        raise InputError(
            msg("an arm and norm_in both have a norm"),
            where=f"{where}.norm_in",
            allowed=msg("norm_in, or a norm of each arm"),
        )
    if branch.skip_reads == "normed" and not branch.norm_in:
        raise InputError(msg("there is no norm_in to read"), where=f"{where}.skip_reads", allowed="stream")
    if branch.splits_input and (problem := split_problem(branch)) is not None:
        raise InputError(
            problem, where=f"{where}.splits_input", allowed=msg("false, or a norm and one attention (gqa)")
        )
    _check_skip(branch, where)
    if branch.in_gate_rank is not None and all(arm.input_of is not None for arm in branch.arms):
        raise InputError(
            msg("no arm reads what it would gate"),
            where=f"{where}.in_gate_rank",
            allowed=msg("an arm without input_of"),
        )
    if len({arm.reads == "nothing" for arm in branch.arms}) > 1:
        raise InputError(
            msg("some arms read nothing"), where=f"{where}.arms", allowed=msg("a separate branch for these")
        )
    resolved = tuple(_arm(arm, spec, role, f"{where}.arms[{a}]") for a, arm in enumerate(branch.arms))
    return msgspec.structs.replace(branch, arms=resolved)


def _arm(arm: Arm, spec: Spec, role: str, where: str) -> Arm:
    if arm.d_out_conv and (role == "encoder" or arm.reads == "nothing"):
        raise InputError(msg("a convolution reads earlier tokens"), where=f"{where}.d_out_conv", allowed="null")
    part = _with_source_width(arm.part, arm.reads, spec, role, where)
    return msgspec.structs.replace(arm, part=_resolved_part(part, spec, role, f"{where}.part"))


def _with_source_width(part: Any, reads: Reads, spec: Spec, role: str, where: str) -> Any:
    """Return the part with the width of its source, if it differs from the layer's."""
    if reads in ("source", "nothing"):
        _check_source(part, reads, spec, role, where)
        return msgspec.structs.replace(part, d_source=_source_width(part, reads, spec, where))
    if getattr(part, "d_source", None) is not None:
        raise InputError(msg("attends to no source"), where=f"{where}.d_source", allowed="null")
    return part


def _source_width(part: Attention, reads: Reads, spec: Spec, where: str) -> int | None:
    width = part.d_source
    if reads == "source":
        assert spec.encoder is not None, "a source needs an encoder"
        width = spec.encoder.d_model or spec.d_model
        if part.d_source not in (None, width):
            raise InputError(
                msg("found {found}", found=part.d_source),
                where=f"{where}.d_source",
                allowed=msg("the encoder's {width}", width=width),
            )
    return None if width == spec.d_model else width


def _check_source(part: Any, reads: Reads, spec: Spec, role: str, where: str) -> None:
    """Raise InputError if a part cannot attend to a source, or is idle although there is one."""
    if not isinstance(part, Attention):
        raise InputError(msg("does not attend to a source"), where=where, allowed=msg("a mapping of kind gqa"))
    if spec.encoder is None and reads == "source":
        raise InputError(
            msg("there is no encoder to attend to"),
            where=where,
            allowed=msg("an 'encoder' stack, or cross_reads: nothing"),
        )
    if spec.encoder is not None and reads == "nothing":
        raise InputError(msg("reads nothing although there is an encoder"), where=where, allowed="cross_reads: source")
    if role == "encoder":
        raise InputError(msg("an encoder attends only to itself"), where=where, allowed="null")
    for name, found in _WITHOUT_SOURCE.items():
        if getattr(part, name):
            raise InputError(found, where=f"{where}.{name}", allowed="null")


# Fields that an attention to a source cannot have, and why.
_WITHOUT_SOURCE = {
    "position": msg("cross-attention has no positions"),
    "low_rank": msg("cross-attention has no low-rank pairs"),
    "window": msg("cross-attention reads the whole source"),
    "temperature": msg("cross-attention has no positions"),
    "key_bias": msg("keys of a source have no bias"),
    "d_conv": msg("a convolution reads earlier tokens"),
}

# Why a stack of a role cannot have a part, and what it may have.
_ROLES = {
    "encoder": (msg("reads only earlier tokens"), msg("a part of an encoder")),
    "decoder": (msg("reads later tokens"), msg("a part of a decoder")),
}


def _resolved_part(part: Part, spec: Spec, role: str, where: str) -> Any:
    """Return the part resolved by the function of its variant. Raise InputError if such a stack cannot have it."""
    if role not in variant(part).roles:
        found, other = _ROLES[role]
        raise InputError(found, where=where, allowed=other)
    if role == "encoder" and getattr(part, "key_bias", None):
        raise InputError(msg("keys of an encoder have no bias"), where=f"{where}.key_bias", allowed="null")
    is_causal = isinstance(part, Attention) and (part.d_conv or isinstance(part.position, ContentBias))
    if role == "encoder" and is_causal:
        field = "d_conv" if getattr(part, "d_conv", None) else "position"
        raise InputError(
            msg("it reads earlier tokens only"), where=f"{where}.{field}", allowed=msg("a part of an encoder")
        )
    return implementation(part, "resolve")(part, spec, where)
