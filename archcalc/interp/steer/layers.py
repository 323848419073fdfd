"""The stack and the layers that a direction belongs to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from archcalc.errors import InputError, shown
from archcalc.spec import Spec
from archcalc.spec.model import ModelStack
from archcalc.words import msg

StackName = Literal["encoder", "decoder"]


def stack_of(spec: Spec, name: StackName | None) -> tuple[ModelStack, StackName | None]:
    """Return a stack of an encoder-decoder, by default the decoder, and its name; of others the only one, without name.

    Raises InputError for another name, and for a name of the only stack.
    """
    if spec.family != "encoder-decoder":
        if name is not None:
            raise InputError(msg("found for a model with one stack"), where="stack", allowed=msg("no value"))
        return spec.stacks[-1], None
    names = get_args(StackName)
    chosen: StackName = "decoder" if name is None else name
    if chosen not in names:
        raise InputError(msg("found {found}", found=shown(name)), where="stack", allowed=", ".join(map(repr, names)))
    (stack,) = (stack for stack in spec.stacks if stack.prefix == f"{chosen}.")
    return stack, chosen


def site_name(stack: StackName | None, site: str) -> str:
    """Return the name of a site of a layer, as an edit with a layer takes it."""
    return f"{stack}.{site}" if stack else site


def check_layers(layers: Sequence[int] | None, known: Collection[int], where: str = "layers") -> tuple[int, ...]:
    """Return layers in order, each once; all known ones for None. Raises InputError for others, and for none."""
    wanted = sorted(known) if layers is None else list(dict.fromkeys(layers))
    for layer in wanted:
        if isinstance(layer, bool) or layer not in known:
            raise InputError(msg("found {found}", found=shown(layer)), where=where, allowed=ranges(known))
    if not wanted:
        raise InputError(msg("found none"), where=where, allowed=ranges(known))
    return tuple(sorted(wanted))


def ranges(layers: Collection[int]) -> str:
    """Return layers as people write them.

    >>> ranges([3, 4, 5, 9, 11])
    '3-5,9,11'
    """
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
