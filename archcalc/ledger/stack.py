"""A stack: its layers by group, and what stands around them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from operator import index
from typing import TypeVar

import msgspec
from msgspec import structs

from archcalc.ledger import embedding, layer, norm, prompts
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward import Keeper, Pair, Pass, dropped, recomputed, saved
from archcalc.ledger.leaves import Entry, Forward, Leaf, Weight, mapped, under
from archcalc.ledger.symbols import Symbols, Table
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH, DECODER, ENCODER, SOURCE_ENCODER, Span
from archcalc.spec.attention import stack_bias, stored_rope
from archcalc.spec.base import Part
from archcalc.spec.branches import parts
from archcalc.spec.execution import Execution
from archcalc.spec.groups import Group, groups, lent_arms, shared_arms
from archcalc.spec.layer import Stack
from archcalc.spec.model import OWN_SIZES, ModelStack, Spec
from archcalc.spec.prompts import prompted

T = TypeVar("T")


class Placed(msgspec.Struct, frozen=True):
    """A leaf and where it stands: in which layers (`turns`), and in which of them with weights of its own (`indices`).

    `repeats` and `turn_repeats` are their numbers as formulas.
    """

    leaf: Entry
    group: str = ""
    indices: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()
    repeats: Poly = ONE
    turn_repeats: Poly = ONE


class StackReader(msgspec.Struct, frozen=True):
    """One stack of a spec, with the names of its dimensions and the way it is carried out."""

    spec: Spec
    own: ModelStack
    groups: tuple[Group, ...]
    how: Execution
    keep: Keeper
    lent_arms: Mapping[int, tuple[str, ...]]

    @classmethod
    def of(cls, own: ModelStack, how: Execution, *, training: bool) -> StackReader:
        """The reader of a stack."""
        return cls(own.model, own, groups(own.stack), how, Keeper(training), lent_arms(own.stack))

    @property
    def stack(self) -> Stack:
        """The stack itself."""
        return self.own.stack

    @property
    def prefix(self) -> str:
        """What the names of its leaves begin with."""
        return self.own.prefix

    def owner(self, group: Group | None = None, slot: str = "") -> str:
        """What the sizes of a group's slot are called after, where they need it: 'decoder.moe', 'encoder.cross'."""
        label = group.name if group and len(self.groups) > 1 else ""
        is_short = slot in ("attn", "ffn") and group is not None and not group.layer.branches
        words = [self.prefix.rstrip("."), label, "" if is_short else slot]
        return ".".join(word for word in words if word) or "layers"

    def state(self, table: Table) -> None:
        """Record every size of the stack."""
        own = {field: getattr(self.stack, field) for field in OWN_SIZES}
        table.state(self.owner(), {field: size for field, size in own.items() if size is not None})
        embedding.state(table, self.owner(), self.stack.embedding)
        table.state_part(self.owner(), self.stack.position)
        table.state_part(self.owner(), self.stack.prompts)
        if self.stack.n_mtp:
            table.state(self.owner(), {"n_mtp": self.stack.n_mtp})
        table.state(self.owner(), {"n_layers": sum(len(group.turns) for group in self.groups)})
        for group in self.groups:
            table.state(self.owner(), {f"n_layers[{group.name}]": len(group.turns)})
            for name, part in parts(group.layer).items():
                table.state_part(self.owner(group, name), part)

    def heads(self, table: Table) -> Iterator[Poly]:
        """The heads of each group's layers, all together."""
        d = table.symbols(self.owner(), "")
        for group in self.groups:
            if hasattr(parts(group.layer).get("attn"), "n_heads"):
                yield self._turns([group], d) * table.symbols(self.owner(group, "attn"), self.owner(), "").n_heads

    def leaves(self, table: Table, source: Tensor | None) -> Generator[Placed, None, Tensor]:
        """Every leaf of the stack, which may read a `source`; returns the states that it gives."""
        d = table.symbols(self.owner(), "")
        here = Pass(self.how, self.spec.dropout, self.span, "layers.{i}.", source)
        yield from self._before(d, here)
        if self.stack.prompts:
            here = structs.replace(here, prompt=d.n_prompt)
            yield from self._prompts(table, here)
        yield from self._relative_bias(table, here)
        yield from self._rotary_table(table)
        yield from self._layers(table, d, here)
        made = yield from self.placed(norm.leaves(self.stack.final_norm, "final_norm", self._states(d), here))
        if self.stack.n_mtp:
            yield from self._mtp(table, d, here)
        return made

    @property
    def span(self) -> Span:
        """What its layers attend to of their own tokens."""
        return DECODER if self.own.is_causal else SOURCE_ENCODER if self.own.is_source else ENCODER

    def own_embedding(self, table: Table) -> Iterator[Placed]:
        """The leaves of an embedding that no other stack reads."""
        if self.stack.embedding:
            own = embedding.leaves(self.stack.embedding, table.symbols(self.owner(), ""), self.span.queries)
            yield from self.placed(under("embed.", own))

    def _states(self, d: Symbols) -> Tensor:
        """The residual stream somewhere between two layers."""
        return Tensor("states", (BATCH, self.span.queries, d.d_model), self.how.dtype)

    def _before(self, d: Symbols, here: Pass) -> Generator[Placed, None, None]:
        """From token ids to what the first layer reads."""
        part = self.spec.embedding
        x = yield from self.placed(embedding.read(part, d, self.span.queries, self.how))
        if self.stack.position:
            yield from self.placed(embedding.POSITIONS[type(self.stack.position)](self.stack.position, d, x))
        read = x.new(self.stack.embed_norm_reads)
        x = yield from self.placed(norm.leaves(self.stack.embed_norm, "embed_norm", read, here))
        x = yield from self.placed(dropped(x, here.dropout.embedding, here, "embedding", "embed.dropout"))
        yield from self.placed(embedding.widened(part, d, x))

    def kept(self, leaves: Forward[T]) -> Generator[Entry, None, T]:
        """Leaves as they enter the ledger."""
        return mapped(self.keep, leaves)

    def placed(self, leaves: Forward[T]) -> Generator[Placed, None, T]:
        """Leaves that stand outside of the layers."""
        return mapped(lambda leaf: Placed(leaf), self.kept(leaves))

    def _layers(self, table: Table, d: Symbols, here: Pass) -> Iterator[Placed]:
        """The leaves of the layers; groups that have the same one share its row."""
        having: dict[Entry, list[Group]] = {}
        lent: dict[int, Mapping[str, Pair]] = {}
        for group in self.groups:
            own = self._sharing(group, here, lent)
            for leaf in self.kept(self._layer(table, group, d, own)):
                if isinstance(leaf, Weight) and not group.indices:
                    continue  # an earlier layer's, which has its row
                members = having.setdefault(leaf, [])
                assert group not in members, f"a layer has no leaf twice: {leaf.name}"
                members.append(group)
            lent |= {turn: self._lasting(turn, own.lent) for turn in group.turns if turn in self.lent_arms}
        places: dict[tuple[str, ...], Placed] = {}
        for leaf, members in having.items():
            names = tuple(group.name for group in members)
            if "{i}" not in leaf.name:  # what serves a whole stack stands in none of its layers
                yield Placed(leaf)
                continue
            if names not in places:
                places[names] = self._place(leaf, members, d)
            yield structs.replace(places[names], leaf=leaf)

    def _place(self, leaf: Entry, members: list[Group], d: Symbols) -> Placed:
        """A leaf with the layers of all the groups that have it."""
        indices = tuple(sorted(index for group in members for index in group.indices))
        turns = tuple(sorted(turn for group in members for turn in group.turns))
        label = "" if len(members) == len(self.groups) else ", ".join(group.name for group in members)
        turn_repeats = self._turns(members, d)
        repeats = turn_repeats if len(indices) == len(turns) else Poly.constant(len(indices))
        return Placed(leaf, label, indices, turns, repeats, turn_repeats)

    def _layer(self, table: Table, group: Group, d: Symbols, here: Pass) -> Forward[Tensor]:
        x = self._states(d)
        made = layer.leaves(group.layer, self._symbols(table, group), x, here)
        if here.how.recompute != "full":
            return made
        read = [x for pair in here.shared.values() for x in pair]
        return recomputed("layers.{i}", "other", made, (x, here.source, *read) if here.source else (x, *read))

    def _sharing(self, group: Group, here: Pass, lent: Mapping[int, Mapping[str, Pair]]) -> Pass:
        """The pass of a group's layers: with the keys and values that they share, and the arms of which they lend."""
        names = [name for turn in group.turns for name in self.lent_arms.get(turn, ())]
        shares = group.layer.shares
        lender = None if shares is None else shares.keys_values
        shared = {} if lender is None else {name: lent[index(lender)][name] for name in shared_arms(group.layer)}
        return structs.replace(here, shared=shared, lent=dict.fromkeys(names))

    def _lasting(self, turn: int, lent: Mapping[str, Pair | None]) -> dict[str, Pair]:
        """The keys and values of one layer, as later ones keep them: once for them all, unless it has kept them."""
        found = {}
        for name, pair in lent.items():
            assert pair is not None, "a layer that lends has made them"
            keys, values = (
                self._lasting_tensor(x, f"{what} of layer {turn}")
                for x, what in zip(pair, ("keys", "values"), strict=True)
            )
            found[name] = keys, values
        return found

    def _lasting_tensor(self, x: Tensor, label: str) -> Tensor:
        return x if x.storage in self.keep.seen else Tensor(label, x.axes, x.dtype, once=True)

    def _turns(self, members: list[Group], d: Symbols) -> Poly:
        """How many layers these groups have, as a formula."""
        if len(members) == len(self.groups):
            return d["n_layers"]
        return Poly.sum(d[f"n_layers[{group.name}]"] for group in members)

    def _parts(self) -> Iterator[tuple[Group, str, Part]]:
        """Every part of every group's layer, by its name."""
        yield from ((group, name, part) for group in self.groups for name, part in parts(group.layer).items())

    def _relative_bias(self, table: Table, here: Pass) -> Iterator[Placed]:
        """One table for the stack, whichever of its layers use it; made once, unless layers are recomputed whole."""
        for group, name, part in self._parts():
            if stack_bias(part):
                d = table.symbols(self.owner(group, name))
                yield Placed(Weight("relative_bias.weight", (d.n_buckets, d.n_heads), "position"))
                if here.how.recompute != "full":
                    square = self.span.queries, self.span.keys(None)
                    yield from self.placed(saved("relative_bias", "position", Tensor("buckets", square, "int64")))
                return

    def _rotary_table(self, table: Table) -> Iterator[Placed]:
        """Sines and cosines of every position, one table for the stack where its layers read one."""
        for group, name, part in self._parts():
            if stored_rope(part):
                d = table.symbols(self.owner(group, name), self.owner(), "")
                yield Placed(Weight("rotary.weight", (d.n_ctx, d.d_rotary), "position", kind="frozen"))
                return

    def _prompts(self, table: Table, here: Pass) -> Iterator[Placed]:
        """What makes the learned keys and values of all layers."""
        group = self.groups[0]
        for name in prompted(group.layer):
            d = table.symbols(self.owner(group, name), self.owner(), "")
            yield from self.placed(prompts.leaves(name, d, here))

    def _mtp(self, table: Table, d: Symbols, here: Pass) -> Iterator[Placed]:
        """Multi-token-prediction modules: two normed states joined, a layer like the last, a norm.

        Their weights alone: a plain forward pass does not run them.
        """
        last, at = max(self.groups, key=lambda group: group.last), "mtp.{i}."
        yield from self._one_each(Weight(at + "project.weight", (d.d_model, d.d_model + d.d_model), "other"), d)
        for name in ("hidden_norm", "token_norm", "final_norm"):
            for weight in norm.weights(self.stack.final_norm, at + name, d.d_model):
                yield from self._one_each(weight, d)
        here = structs.replace(here, at=at + "layer.")
        for leaf in layer.leaves(last.layer, self._symbols(table, last), self._states(d), here):
            yield from self._one_each(leaf, d)

    def _one_each(self, leaf: Leaf, d: Symbols) -> Iterator[Placed]:
        """A weight of every multi-token-prediction module."""
        if isinstance(leaf, Weight):
            yield Placed(leaf, "mtp", tuple(range(self.stack.n_mtp)), repeats=d.n_mtp)

    def _symbols(self, table: Table, group: Group) -> dict[str, Symbols]:
        return {name: table.symbols(self.owner(group, name), self.owner(), "") for name in parts(group.layer)}
