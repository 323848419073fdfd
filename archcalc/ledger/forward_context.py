"""The context of a forward pass, and the operations that all parts have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

import msgspec
from msgspec import structs

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Elementwise, Entry, Forward, Leaf, Matmul, Save, SavedActivation, collect
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import Span
from archcalc.spec.execution import Execution
from archcalc.spec.layer import GlobalTokens
from archcalc.spec.model import Dropout
from archcalc.spec.streams import AnyStreams

Lent = tuple[Tensor, ...]


class ForwardContext(msgspec.Struct, frozen=True):
    """What the layers of one forward pass through a stack have in common.

    `prefix` is that of the layers' names. `source` are the states that cross-attention reads. `position_tensors` are
    the tensors that depend on positions only and serve all layers: masks, angles, biases. `lent_in` holds the keys and
    values or the selection of an earlier layer that this one reads, by arm; a layer writes those that later layers read
    into `lent_out`, for the arms that are its keys. `arm` is the name of the current arm. `n_prompt` is the number of
    learned keys that every query attends to besides. `distances` are the rows of the stack's table of relative
    positions, `per_layer` the stack's per-layer embeddings, `streams` its residual streams if it has several,
    `global_tokens` those that follow the text's, `embedded` the input of the first layer, `value_states` what values
    are projected from where keys have another input, `key_states` what keys are where queries have another,
    `router_state` the state of an earlier layer's router that this layer's adds. `layer` is the index of the layer.
    """

    execution: Execution
    dropout: Dropout
    span: Span
    prefix: str = ""
    source: Tensor | None = None
    position_tensors: dict[Hashable, Tensor] = {}
    lent_in: Mapping[str, Lent] = {}
    lent_out: dict[str, Lent | None] = {}
    arm: str = ""
    n_prompt: Poly | None = None
    distances: Tensor | None = None
    per_layer: Tensor | None = None
    streams: AnyStreams | None = None
    global_tokens: GlobalTokens | None = None
    embedded: Tensor | None = None
    value_states: Tensor | None = None
    key_states: Tensor | None = None
    layer: int = 0
    router_state: Tensor | None = None

    def position_tensor(self, key: Hashable, factory: Callable[[], Tensor]) -> Tensor:
        """Return the tensor of this key, which all layers share; `factory` makes it at the first call."""
        if key not in self.position_tensors:
            self.position_tensors[key] = structs.replace(factory(), is_shared=True)
        return self.position_tensors[key]

    @property
    def statistics_dtype(self) -> ElementName:
        """Return the dtype of a LayerNorm's means and deviations: on a CPU, torch uses that of the input."""
        return self.execution.dtype if self.execution.device == "cpu" else "fp32"


def dropout(x: Tensor, probability: float, ctx: ForwardContext, component: Component, name: str) -> Forward[Tensor]:
    """Yield the leaves of dropout, which saves its mask: a factor for each element, or a byte on a GPU."""
    if not probability or not ctx.execution.dropout:
        return x
    yield Save(name, x.new("dropout mask", dtype="bool" if ctx.execution.device == "cuda" else None), component)
    return x.new(x.label)


def checkpoint(name: str, component: Component, leaves: Forward[Tensor], inputs: Iterable[Tensor]) -> Forward[Tensor]:
    """Yield the leaves of a region under torch's non-reentrant checkpoint.

    The region saves its inputs only, and the backward pass recomputes the rest. Recomputation ends at the last tensor
    that the backward pass needs, unless early stop is off (torch.utils.checkpoint.set_checkpoint_early_stop), so later
    products are not recomputed.
    """
    region, output = collect(leaves)
    for tensor in inputs:
        yield Save(name, tensor, component)
    last = max((i for i, leaf in enumerate(region) if isinstance(leaf, Save)), default=0)
    for i, leaf in enumerate(region):
        if isinstance(leaf, Matmul):
            yield structs.replace(leaf, recomputation="always" if i < last else "without early stop")
        elif not isinstance(leaf, Save):
            yield leaf
    return output


def save(name: str, component: Component, *tensors: Tensor) -> Forward[None]:
    """Yield a save of each tensor by one operation."""
    for tensor in tensors:
        yield Save(name, tensor, component)


class StorageTracker:
    """Turn the saves of all operations into saved activations: each storage once, for the first operation; no weights.

    Without training there are neither saved activations nor elementwise operations.
    """

    def __init__(self, is_training: bool) -> None:
        self.is_training, self.storages = is_training, set[Tensor]()
        self.n_by_label = Counter[str]()

    def __call__(self, leaf: Leaf) -> Entry | None:
        """Return the entry of a leaf, None if it has none."""
        if isinstance(leaf, Elementwise):
            return leaf if self.is_training else None
        if not isinstance(leaf, Save):
            return leaf
        tensor = leaf.tensor.storage
        if not self.is_training or tensor.is_stored or tensor in self.storages:
            return None
        self.storages.add(tensor)
        name = self._name(tensor) if tensor.is_shared else leaf.name
        return SavedActivation(name, tensor.label, tensor.axes, tensor.dtype, leaf.component)

    def _name(self, tensor: Tensor) -> str:
        """Return the name of a shared tensor: its label, numbered if repeated (masks of two windows)."""
        self.n_by_label[tensor.label] += 1
        number = self.n_by_label[tensor.label]
        return tensor.label if number == 1 else f"{tensor.label} {number}"
