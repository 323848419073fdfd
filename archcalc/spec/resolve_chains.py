"""Check branches that the next branch reads, and those that read the input of the first layer."""

from __future__ import annotations

from archcalc.errors import InputError
from archcalc.spec.attention import Attention
from archcalc.spec.branches import branches, reads_embedding
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Branch, Layer, Stack
from archcalc.spec.position import ContentBias, Disentangled
from archcalc.words import msg

# Fields of a branch that is not added to the stream.
_PLAIN = {"norm_after": None, "skip": 1.0, "skip_weight": False, "skip_bias": False, "skip_reads": "stream"}
# Fields of an attention whose input is as wide as the model's states.
_NARROW = ("gate", "q_block", "k_block", "v_block")


def check_chains(stack: Stack, role: str) -> None:
    """Raise InputError for a branch that no next branch reads, or that cannot read two states at once."""
    has_one_stream = stack.streams is None and stack.global_tokens is None
    has_one_width = has_one_stream and stack.soft_prompt is None
    for r, run in enumerate(stack.runs):
        for p, layer in enumerate(run.pattern):
            where = f"{role}.runs[{r}].pattern[{p}]"
            _check_joins(layer, where, has_one_stream=has_one_stream)
            _check_readers(layer, where, has_one_stream=has_one_width and layer.bottleneck is None)
    if stack.n_mtp and any(reads_embedding(branch) for branch in branches(layers_of(stack)[-1])):
        text = msg("its layers are copies of the last layer, which reads the input of the first")
        raise InputError(text, where=f"{role}.n_mtp", allowed="0")


def _check_joins(layer: Layer, where: str, *, has_one_stream: bool) -> None:
    """Raise InputError for a branch whose output no next branch can read."""
    for b, branch in enumerate(layer.branches):
        if branch.joins not in ("next", "next_sum"):
            continue
        field = f"{where}.branches[{b}]"
        if not has_one_stream:
            found = msg("the stack has several streams, or global tokens")
            raise InputError(found, where=f"{field}.joins", allowed="stream")
        for name, value in _PLAIN.items():
            if getattr(branch, name) != value:
                found = msg("the branch is not added to the stream")
                raise InputError(found, where=f"{field}.{name}", allowed=msg("no value"))
        is_own = all(arm.reads in ("stream", "shared") for arm in branch.arms)
        if not is_own or not any(_can_follow(after) for after in layer.branches[b + 1 : b + 2]):
            found = msg("the next branch does not read it")
            raise InputError(found, where=f"{field}.joins", allowed=msg("stream, or a branch after it"))


def _can_follow(branch: Branch) -> bool:
    """Return whether a branch can read what the one before it gives."""
    has_input = all(arm.reads != "nothing" and arm.input_of is None for arm in branch.arms)
    return has_input and branch.joins != "later_streams" and branch.skip_reads == "stream"


def _check_readers(layer: Layer, where: str, *, has_one_stream: bool) -> None:
    """Raise InputError for an attention that reads the first layer's input where it has another width."""
    readers = [branch for branch in branches(layer) if reads_embedding(branch)]
    if readers and not has_one_stream:
        found = msg("the stack has several streams, global tokens or a soft prompt, or the layer a bottleneck")
        raise InputError(found, where=f"{where}.reads_embedding", allowed="false")
    wide = {branch.arms[0].name for branch in readers}
    for branch in branches(layer):
        if branch.norm_of in wide or any(arm.input_of in wide for arm in branch.arms):
            found = msg("the branch that it names reads the input of the first layer too")
            raise InputError(found, where=where, allowed=msg("another branch"))
    for branch in readers:
        _check_reader(branch, f"{where}.{branch.arms[0].name}")


def _check_reader(branch: Branch, where: str) -> None:
    others = {"in_gate_rank": branch.in_gate_rank, "norm_of": branch.norm_of}
    for name, value in others.items():
        if value is not None:
            found = msg("the branch reads the input of the first layer too")
            raise InputError(found, where=f"{where}.{name}", allowed="null")
    if branch.skip_reads != "stream":
        found = msg("the branch reads the input of the first layer too")
        raise InputError(found, where=f"{where}.skip_reads", allowed="stream")
    for arm in branch.arms:
        is_plain = arm.norm is None and not arm.skip and arm.reads == "stream" and arm.input_of is None
        part = arm.part
        if not (is_plain and isinstance(part, Attention) and part.reads_embedding):
            raise InputError(
                msg("{name} cannot read the input of the first layer too", name=repr(arm.name)),
                where=where,
                allowed=msg("arms of kind gqa with reads_embedding, without a norm, a skip or shared keys"),
            )
        if isinstance(part.position, ContentBias | Disentangled) or any(
            getattr(part, field) is not None for field in _NARROW
        ):
            raise InputError(
                msg("a gate, a block or relative positions need states as wide as the model"),
                where=f"{where}.reads_embedding",
                allowed="false",
            )
