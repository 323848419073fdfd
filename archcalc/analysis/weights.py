"""Bytes of the weights in a storage format, row by row: exact, from the ledger's shapes.

Tensors are the canonical ones: where a library fuses or splits them (q, k and v as one; MLA's kv_up as two), what is
rounded once for a tensor may differ by a few bytes, and a fallback of llama.cpp may choose otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from archcalc.analysis.weight_bytes import WeightBytes, stored_bytes
from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError
from archcalc.formats.gguf_types import Mix, TensorPlace
from archcalc.formats.weight_formats import Format, weight_format
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.words import msg


def weights(ledger: Ledger, format: str, rest: str = "") -> list[WeightBytes]:  # noqa: A002
    """Return every stored tensor's bytes in a format, buffers included. A tied head has no line.

    `rest` is the format of tensors that the format's policy leaves alone (default: the policy's). In 'q4_1',
    smollm2-135m's embed.tokens.weight is in gguf-q8_0: 30,081,024 bytes. Raise InputError, naming the tensor, if a
    shape does not suit the format.
    """
    chosen = weight_format(format)
    if rest:
        weight_format(rest)
    model = _Model(ledger)
    if chosen.mix and chosen.mix.is_by_layer and model.n_stacks > 1:
        raise InputError(
            msg(
                "{format} chooses by layer, and this model has {n_stacks} stacks",
                format=repr(format),
                n_stacks=model.n_stacks,
            ),
            allowed=msg("one stack"),
        )
    return [line for row in ledger.rows for line in _lines(model, row, chosen, rest)]


def weights_bytes(ledger: Ledger, dtype: str, rest: str = "") -> int:
    """Return the bytes of all parameters in a format, each stored tensor once; buffers are `buffers_bytes`.

    smollm2-135m in bf16: 134,515,008 parameters of 2 bytes are 269,030,016.
    """
    return stored_bytes(weights(ledger, dtype, rest))


def buffers_bytes(ledger: Ledger, dtype: str, rest: str = "") -> int:
    """Return the bytes of the buffers that are stored beside the parameters."""
    return sum(line.total_bytes for line in weights(ledger, dtype, rest) if line.kind == "buffer")


def _lines(model: _Model, row: WeightRow, chosen: Format, rest: str) -> Iterator[WeightBytes]:
    stored = chosen.policy.stores(role_of(row, model.tied), chosen.name, rest)
    own = chosen.mix if stored == chosen.name else None
    for name, layers in (model.types(row, own) if own else {stored: row.layers}).items():
        one = weight_format(name).bytes_of(row.shape, row.path)
        yield WeightBytes(row.path, row.kind, name, layers, one.payload * layers, one.overhead * layers)


class _Model:
    """The sizes that llama.cpp's rules depend on. Layers of multi-token prediction are not counted as layers."""

    def __init__(self, ledger: Ledger) -> None:
        self.tied = bool(ledger.tied)
        stacks: dict[str, set[int]] = {}
        valued: set[int] = set()
        for row in ledger.rows:
            prefix, found, part = row.path.partition("layers.{i}.")
            if found:
                stacks.setdefault(prefix, set()).update(row.indices)
            if part == "attn.v.weight":
                valued.update(row.indices)
        self.n_stacks = len(stacks)
        self.n_layers = max((len(layers) for layers in stacks.values()), default=1)
        self._turns = {index: turn for turn, index in enumerate(sorted(valued))}
        shapes = {row.path: row.shape for row in ledger.rows}
        self._n_experts = next((shape[0] for path, shape in shapes.items() if ".experts." in path), 0)
        query, value = (shapes.get(f"layers.{{i}}.attn.{name}.weight") for name in ("q", "v"))
        self._queries_per_kv = query[0] // value[0] if query and value else 1

    def types(self, row: WeightRow, mix: Mix) -> Counter[str]:
        """Return how many of a row's tensors get each type."""
        if "{i}" in row.path and mix.is_by_layer_for(_part(row.path)):
            return Counter(self._type(row, mix, index) for index in row.indices)
        return Counter({self._type(row, mix, 0): row.layers})

    def _type(self, row: WeightRow, mix: Mix, index: int) -> str:
        part = _part(row.path)
        by_value = part == "attn.v"
        place = TensorPlace(
            role=role_of(row, self.tied),
            part=part,
            row=row.shape[-1],
            index=self._turns.get(index, 0) if by_value else index,
            count=len(self._turns) if by_value else self.n_layers,
            n_layers=self.n_layers,
            n_experts=self._n_experts,
            queries_per_kv=self._queries_per_kv,
        )
        return f"gguf-{mix.choose(place).lower()}"


def _part(path: str) -> str:
    """Return llama.cpp's name of a tensor's part: an expert's or a shared expert's down is ffn.down too."""
    *before, last = path.removesuffix(".weight").split(".")
    owner = [name for name in before if name not in ("experts", "shared")][-1:]
    return ".".join((*owner, last))
