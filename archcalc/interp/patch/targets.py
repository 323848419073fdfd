"""What activation patching restores: components of a model, layer by layer. It follows from the spec.

Axes: B batch, T tokens, D model, N heads, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import msgspec

from archcalc.errors import InputError, shown
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches
from archcalc.spec.groups import layers_of
from archcalc.spec.model import ModelStack
from archcalc.spec.sites import Site, sites
from archcalc.spec.variants import variant
from archcalc.words import msg

Component = Literal["residual", "attention", "ffn", "head"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
# A neuron: the layer and the index of a hidden unit of its feed-forward.
Neuron = tuple[int, int]


class PatchTarget(msgspec.Struct, frozen=True):
    """What is restored together: `sites`, or one `index` along their `axis`, a head (N) or a neuron (F).

    `name` is the first site of the layer itself; a window adds the same site of neighboring layers. `stack` is the
    index of the stack that it belongs to.
    """

    component: str
    name: str
    stack: int
    layer: int
    sites: tuple[Site, ...]
    axis: str = ""
    index: int | None = None

    @property
    def first_layer(self) -> int:
        """Return the first layer that it changes."""
        return min(site.layer or 0 for site in self.sites)


def targets(
    spec: Spec, components: Sequence[str], neurons: Sequence[Neuron] = (), *, window: int = 1
) -> list[PatchTarget]:
    """Return the targets of each component in turn, in the order of a forward pass, then the neurons.

    `window` layers of attention or of feed-forward outputs are restored together, centered on the target's layer (Meng
    et al. 2022, section 2.1). Raises InputError for an unknown component and for a neuron that does not exist.
    """
    if unknown := [name for name in components if name not in COMPONENTS]:
        raise InputError(
            msg("found {found}", found=shown(unknown[0])), where="components", allowed=", ".join(COMPONENTS)
        )
    if window < 1:
        raise InputError(msg("found {found}", found=window), where="window", allowed=msg("1 or more"))
    by_name = {site.name: site for site in sites(spec)}
    found = [
        target
        for component in dict.fromkeys(components)
        for index, stack in enumerate(spec.stacks)
        for target in _TARGETS[component](stack, index, by_name, window)
    ]
    return found + [_neuron(spec, neuron, by_name) for neuron in neurons]


def _residual(stack: ModelStack, index: int, by_name: dict[str, Site], window: int) -> Iterator[PatchTarget]:
    """Yield the residual stream before the first layer and after every layer."""
    for layer in range(len(layers_of(stack.stack))):
        for kind in ("resid_pre", "resid_post") if layer == 0 else ("resid_post",):
            site = by_name[f"{stack.prefix}layers.{layer}.{kind}"]
            yield PatchTarget("residual", site.name, index, layer, (site,))


def _arms(stack: ModelStack, *, mixes_tokens: bool) -> Iterator[tuple[int, str]]:
    """Yield the layer and the prefix of the sites of every arm that does, or does not, mix tokens."""
    for layer_index, layer in enumerate(layers_of(stack.stack)):
        for branch in active_branches(layer):
            for arm in branch.arms:
                if variant(arm.part).mixes_tokens == mixes_tokens:
                    yield layer_index, f"{stack.prefix}layers.{layer_index}.{arm.name}"


def _outputs(
    component: str, stack: ModelStack, index: int, by_name: dict[str, Site], window: int
) -> Iterator[PatchTarget]:
    arms = list(_arms(stack, mixes_tokens=component == "attention"))
    for layer, name in arms:
        arm, first = name.rpartition(".")[2], layer - window // 2
        near = [by_name[f"{other}.out"] for at, other in arms if first <= at < first + window and _is(other, arm)]
        yield PatchTarget(component, f"{name}.out", index, layer, tuple(near))


def _is(name: str, arm: str) -> bool:
    return name.rpartition(".")[2] == arm


def _attention(stack: ModelStack, index: int, by_name: dict[str, Site], window: int) -> Iterator[PatchTarget]:
    yield from _outputs("attention", stack, index, by_name, window)


def _ffn(stack: ModelStack, index: int, by_name: dict[str, Site], window: int) -> Iterator[PatchTarget]:
    yield from _outputs("ffn", stack, index, by_name, window)


def _heads(stack: ModelStack, index: int, by_name: dict[str, Site], window: int) -> Iterator[PatchTarget]:
    """Yield every head: its weighted values, and its gate if it has one."""
    for layer, name in _arms(stack, mixes_tokens=True):
        if f"{name}.values" in by_name:
            head_sites = tuple(by_name[f"{name}.{kind}"] for kind in ("values", "gate") if f"{name}.{kind}" in by_name)
            for head in range(head_sites[0].sizes["N"]):
                yield PatchTarget("head", head_sites[0].name, index, layer, head_sites, "N", head)


_TARGETS = {"residual": _residual, "attention": _attention, "ffn": _ffn, "head": _heads}


def _neuron(spec: Spec, neuron: Neuron, by_name: dict[str, Site]) -> PatchTarget:
    """Return a hidden unit of a feed-forward of the last stack."""
    (layer, index), stack = neuron, len(spec.stacks) - 1
    prefix = f"{spec.stacks[-1].prefix}layers.{layer}."
    hidden = [site for name, site in by_name.items() if name.startswith(prefix) and name.endswith(".hidden")]
    if not hidden:
        raise InputError(
            msg("layer {layer} has no hidden units", layer=layer),
            where="neurons",
            allowed=msg("a layer with a feed-forward that is not a mixture of experts"),
        )
    if not 0 <= index < hidden[0].sizes["F"]:
        raise InputError(
            msg("found neuron {index}", index=index),
            where="neurons",
            allowed=msg("0 to {last:,}", last=hidden[0].sizes["F"] - 1),
        )
    return PatchTarget("neuron", hidden[0].name, stack, layer, (hidden[0],), "F", index)
