"""A branch whose queries, keys and values have an input each: what it can have."""

from __future__ import annotations

from archcalc.spec.attention import Attention
from archcalc.spec.layer import Branch
from archcalc.words import Message, msg


def split_problem(branch: Branch) -> Message | None:
    """Return why the inputs of queries, keys and values cannot differ; None if they can."""
    arm = branch.arms[0]
    if len(branch.arms) > 1 or not isinstance(arm.part, Attention) or arm.reads != "stream" or arm.part.value_is_key:
        return msg("the branch has no queries, keys and values of its own to split")
    if branch.norm_in is None:
        return msg("the branch has no norm before its attention")
    is_changed = arm.part.reads_embedding or branch.in_gate_rank or arm.skip or arm.in_scale != 1.0
    if is_changed or branch.norm_of is not None or branch.skip_reads == "normed" or arm.input_of is not None:
        return msg("its attention reads more than the normed states, or shares their norm")
    return None
