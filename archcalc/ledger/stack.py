"""A stack: its layers by group, and the parts before and after them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

import msgspec
from msgspec import structs

from archcalc.ledger import embedding, layer, norm, per_layer, prompts
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, Lent, StorageTracker, checkpoint, dropout, save
from archcalc.ledger.leaves import (
    Entry,
    Forward,
    Leaf,
    Weight,
    collect,
    map_leaves,
    with_prefix,
    without_gradients,
    without_weights,
)
from archcalc.ledger.symbols import SizeTable, Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, DECODER, ENCODER, PASS, SOURCE_ENCODER, Span
from archcalc.spec.attention import Attention, disentangled, stack_bias, stored_rope
from archcalc.spec.base import Part, sizes
from archcalc.spec.branches import branches, parts, reads_embedding
from archcalc.spec.cycles import detached_runs
from archcalc.spec.execution import Execution
from archcalc.spec.groups import (
    Group,
    RouterLink,
    borrowing_arms,
    groups,
    lender_index,
    lending_arms,
    router_arm,
    router_links,
)
from archcalc.spec.layer import Cycles, Layer, Stack
from archcalc.spec.model import OWN_SIZES, ModelStack, Spec
from archcalc.spec.prompts import prompted
from archcalc.spec.sparse import summary_bias
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.streams import SetAside

T = TypeVar("T")
# Slots whose sizes need no name of their own: those of a layer's only parts.
SHORT_SLOTS = ("attn", "mixer", "ffn")


class StackLeaf(msgspec.Struct, frozen=True):
    """A leaf with the layers that have it (`layer_indices`), and those that have their own weights (`weight_indices`).

    `layer_repeats` and `repeats` are their numbers as formulas.
    """

    leaf: Entry
    group: str = ""
    weight_indices: tuple[int, ...] = ()
    layer_indices: tuple[int, ...] = ()
    repeats: Poly = ONE
    layer_repeats: Poly = ONE


class StackBuilder(msgspec.Struct, frozen=True):
    """Builds the leaves of one stack of a spec. `spec` is the model in the stack's own sizes."""

    spec: Spec
    model_stack: ModelStack
    groups: tuple[Group, ...]
    execution: Execution
    tracker: StorageTracker
    lending_arms: Mapping[int, tuple[str, ...]]
    router_links: list[RouterLink | None]

    @classmethod
    def of(cls, model_stack: ModelStack, execution: Execution, *, is_training: bool) -> StackBuilder:
        """Return the builder of a stack."""
        stack, tracker = model_stack.stack, StorageTracker(is_training)
        lent = lending_arms(stack), router_links(stack)
        return cls(model_stack.model, model_stack, groups(stack), execution, tracker, *lent)

    @property
    def stack(self) -> Stack:
        """Return the stack."""
        return self.model_stack.stack

    @property
    def prefix(self) -> str:
        """Return the prefix of the names of its leaves."""
        return self.model_stack.prefix

    def owner(self, group: Group | None = None, slot: str = "") -> str:
        """Return the owner that tells apart sizes with equal names: 'decoder.moe', 'encoder.cross'."""
        label = group.name if group and len(self.groups) > 1 else ""
        is_short = slot in SHORT_SLOTS and group is not None and not _has_clashes(group.layer)
        words = [self.prefix.rstrip("."), label, "" if is_short else slot]
        return ".".join(word for word in words if word) or "layers"

    def add_sizes(self, table: SizeTable) -> None:
        """Record every size of the stack."""
        own = {field: getattr(self.stack, field) for field in OWN_SIZES}
        table.add(self.owner(), {field: size for field, size in own.items() if size is not None})
        embedding.add_sizes(table, self.owner(), self.stack.embedding)
        table.add_part(self.owner(), self.stack.position)
        table.add_part(self.owner(), self.stack.prompts)
        table.add_part(self.owner(), self.stack.per_layer)
        table.add_part(self.owner(), self.stack.global_tokens)
        table.add_part(self.owner(), self.stack.cycles)
        if prompt := self.stack.soft_prompt:
            table.add(self.owner(), {"n_rows[soft_prompt]": prompt.n_rows, "n_tokens[soft_prompt]": prompt.n_tokens})
        if (n_streams := getattr(self.stack.streams, "n_streams", None)) is not None:
            table.add(self.owner(), {"n_streams": n_streams})
        table.add_part(self.owner(), getattr(self.stack.streams, "mix", None))
        if self.stack.n_mtp:
            table.add(self.owner(), {"n_mtp": self.stack.n_mtp})
        table.add(self.owner(), {"n_layers": sum(len(group.layer_indices) for group in self.groups)})
        for group in self.groups:
            table.add(self.owner(), {f"n_layers[{group.name}]": len(group.layer_indices)})
            table.add_part(self.owner(group), group.layer.bottleneck)
            for name, part in parts(group.layer).items():
                table.add_part(self.owner(group, name), part)
            for branch in branches(group.layer):
                for arm in branch.arms:
                    if arm.d_out_conv is not None:
                        table.add(self.owner(group, arm.name), {"d_out_conv": arm.d_out_conv})
                if branch.in_gate_rank is not None:
                    table.add(self.owner(group, branch.arms[0].name), {"in_gate_rank": branch.in_gate_rank})

    def heads(self, table: SizeTable) -> Iterator[Poly]:
        """Yield the number of heads of each group's layers, summed over the layers."""
        d = table.symbols(self.owner(), "")
        for group in self.groups:
            if "n_heads" in getattr(parts(group.layer).get("attn"), "__struct_fields__", ()):
                yield self._layer_count([group], d) * table.symbols(self.owner(group, "attn"), self.owner(), "").n_heads

    def leaves(self, table: SizeTable, source: Tensor | None) -> Generator[StackLeaf, None, Tensor]:
        """Yield every leaf of the stack; return its output states. `source` are the states of the source, if any."""
        d = table.symbols(self.owner(), "")
        ctx = ForwardContext(self.execution, self.spec.dropout, self.span, "layers.{i}.", source)
        yield from self._layer_input(d, ctx)
        if self.stack.prompts:
            ctx = structs.replace(ctx, n_prompt=d.n_prompt)
            yield from self._prompts(table, ctx)
        if self.stack.soft_prompt:
            yield StackLeaf(Weight("soft_prompt.weight", (d["n_rows[soft_prompt]"], d.d_model), "embedding"))
            ctx = structs.replace(ctx, span=self.span.with_lead(d["n_tokens[soft_prompt]"]))
        yield from self._relative_bias(table, ctx)
        yield from self._summary_bias(table, ctx)
        yield from self._rotary_table(table)
        ctx = structs.replace(ctx, distances=(yield from self._distance_table(table, ctx)))
        x, own = self._states(d), list[Leaf]()
        if self.stack.global_tokens:
            yield StackLeaf(Weight("global_tokens.weight", (d.n_tokens, d.d_model), "embedding"))
            ctx = structs.replace(ctx, global_tokens=self.stack.global_tokens, span=self.span.with_global(d.n_tokens))
            x = x.new(x.label, BATCH, ctx.span.queries, d.d_model)
        if self.stack.soft_prompt:
            x = x.new(x.label, BATCH, ctx.span.queries, d.d_model)
        if self.stack.per_layer:
            own, numbers = collect(per_layer.leaves(self.stack.per_layer, d, x, ctx))
            ctx = structs.replace(ctx, per_layer=numbers)
        if self.stack.streams:
            x = yield from self._stream_ends("split", x, d)
            ctx = structs.replace(ctx, streams=self.stack.streams)
        ctx = structs.replace(ctx, embedded=x)
        layers = list(self._layers(table, d, x, ctx))  # the first layer may save its input, which is saved once
        yield from (StackLeaf(entry) for leaf in own if (entry := self.tracker(leaf)) is not None)
        yield from layers
        x = self._states(d)
        if self.stack.cycles:
            yield from self._cycles(self.stack.cycles, d, ctx)
        if self.stack.streams:
            last = self.stack.streams.n_before(sum(len(group.layer_indices) for group in self.groups))
            x = yield from self._stream_ends("merge", self._streams(x, last, d), d)
        output = yield from self.outside_layers(norm.leaves(self.stack.final_norm, "final_norm", x, ctx))
        if self.stack.n_mtp:
            yield from self._mtp(table, d, ctx)
        return output

    @property
    def span(self) -> Span:
        """Return the span of self-attention in its layers."""
        if self.stack.reads_pass:
            return PASS
        return DECODER if self.model_stack.is_causal else SOURCE_ENCODER if self.model_stack.is_source else ENCODER

    def embedding_leaves(self, table: SizeTable) -> Iterator[StackLeaf]:
        """Yield the leaves of an embedding that belongs to this stack alone."""
        if self.stack.embedding:
            leaves = embedding.leaves(self.stack.embedding, table.symbols(self.owner(), ""), self.span.queries)
            yield from self.outside_layers(with_prefix("embed.", leaves))

    def _states(self, d: Symbols) -> Tensor:
        """Return the residual stream between two layers."""
        return Tensor("states", (BATCH, self.span.queries, d.d_model), self.execution.dtype)

    def _layer_input(self, d: Symbols, ctx: ForwardContext) -> Generator[StackLeaf, None, None]:
        """Yield the leaves from token ids to the input of the first layer."""
        part = self.spec.embedding
        x = yield from self.outside_layers(embedding.token_input(part, d, self.span.queries, self.execution))
        if self.stack.position:
            yield from self.outside_layers(embedding.POSITIONS[type(self.stack.position)](self.stack.position, d, x))
        norm_input = x.new(self.stack.embed_norm_reads)
        x = yield from self.outside_layers(norm.leaves(self.stack.embed_norm, "embed_norm", norm_input, ctx))
        x = yield from self.outside_layers(dropout(x, ctx.dropout.embedding, ctx, "embedding", "embed.dropout"))
        yield from self.outside_layers(embedding.projection(part, d, x))

    def entries(self, leaves: Forward[T]) -> Generator[Entry, None, T]:
        """Yield the ledger entries of leaves."""
        return map_leaves(self.tracker, leaves)

    def outside_layers(self, leaves: Forward[T]) -> Generator[StackLeaf, None, T]:
        """Yield leaves that belong to no layer."""
        return map_leaves(lambda leaf: StackLeaf(leaf), self.entries(leaves))

    def _layers(self, table: SizeTable, d: Symbols, x: Tensor, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the leaves of the layers, of which the first reads `x`; groups with equal leaves share a row."""
        groups_by_leaf: dict[Entry, list[Group]] = {}
        lent: dict[int, Mapping[str, Lent]] = {}
        for group in self._places():
            layer_ctx = self._layer_context(group, ctx, lent)
            if self.stack.streams and group.layer_indices[0]:
                x = self._streams(x, self.stack.streams.n_before(group.layer_indices[0]), d)
            for leaf in self.entries(self._layer(table, group, x, layer_ctx)):
                if isinstance(leaf, Weight) and not group.weight_indices:
                    continue  # the weight of an earlier layer, which has its row
                groups_with_leaf = groups_by_leaf.setdefault(leaf, [])
                assert group not in groups_with_leaf, f"a layer yields each leaf once: {leaf.name}"
                groups_with_leaf.append(group)
            lenders = [i for i in group.layer_indices if i in self.lending_arms]
            lent |= {i: self._lent_tensors(i, layer_ctx.lent_out, router_arm(group.layer)) for i in lenders}
            x = x.new(x.label)
        leaf_by_groups: dict[tuple[int, ...], StackLeaf] = {}
        for leaf, groups_with_leaf in groups_by_leaf.items():
            firsts = tuple(group.layer_indices[0] for group in groups_with_leaf)
            if "{i}" not in leaf.name:  # a tensor of the whole stack belongs to no layer
                yield StackLeaf(leaf)
                continue
            if firsts not in leaf_by_groups:
                leaf_by_groups[firsts] = self._leaf_with_layers(leaf, groups_with_leaf, d)
            yield structs.replace(leaf_by_groups[firsts], leaf=leaf)

    def _leaf_with_layers(self, leaf: Entry, groups_with_leaf: list[Group], d: Symbols) -> StackLeaf:
        """Return a leaf with the layers of all groups that have it."""
        weight_indices = tuple(sorted(index for group in groups_with_leaf for index in group.weight_indices))
        layer_indices = tuple(sorted(layer_index for group in groups_with_leaf for layer_index in group.layer_indices))
        names = list(dict.fromkeys(group.name for group in groups_with_leaf))
        whole = [group for group in self.groups if set(group.layer_indices) <= set(layer_indices)]
        is_everywhere, has_whole = len(whole) == len(self.groups), len(whole) == len(names)
        label = "" if is_everywhere else ", ".join(names)
        layer_repeats = self._layer_count(whole, d) if has_whole else Poly.constant(len(layer_indices))
        repeats = layer_repeats if len(weight_indices) == len(layer_indices) else Poly.constant(len(weight_indices))
        return StackLeaf(leaf, label, weight_indices, layer_indices, repeats, layer_repeats)

    def _cycles(self, cycles: Cycles, d: Symbols, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the first low state, and the norm at the end of each run but the last; detached ones save nothing."""
        yield StackLeaf(Weight("cycles.start", (d.d_model,), "other", kind="frozen"))
        *detached, _ = detached_runs(self.stack, cycles)
        for is_detached in sorted(set(detached)):
            runs = tuple(run for run, each in enumerate(detached) if each is is_detached)
            leaves = without_weights(norm.leaves(self.stack.final_norm, "cycles.{i}", self._states(d), ctx))
            for entry in self.entries(without_gradients(leaves) if is_detached else leaves):
                yield StackLeaf(entry, "cycles", (), runs, layer_repeats=Poly.constant(len(runs)))

    def _layer(self, table: SizeTable, group: Group, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
        output = layer.leaves(group.layer, self._symbols(table, group), x, ctx)
        if group.layer.detached:
            return without_gradients(output)
        if ctx.execution.recompute != "full":
            return output
        lent = [x for tensors in ctx.lent_in.values() for x in tensors]
        lent += [tensor for tensor in (ctx.distances, ctx.per_layer, ctx.router_state) if tensor]
        if ctx.embedded and any(map(reads_embedding, branches(group.layer))):
            lent.append(ctx.embedded)
        inputs = (x, ctx.source, *lent) if ctx.source else (x, *lent)
        return checkpoint("layers.{i}", "other", output, inputs)

    def _layer_context(
        self, group: Group, ctx: ForwardContext, lent: Mapping[int, Mapping[str, Lent]]
    ) -> ForwardContext:
        """Return the context of a group's layers: what an earlier layer lends, and the arms that lend."""
        names = [name for i in group.layer_indices for name in self.lending_arms.get(i, ())]
        lender = lender_index(group.layer)
        lent_in = {} if lender is None else {name: lent[lender][name] for name in borrowing_arms(group.layer)}
        index = group.layer_indices[0]
        link = self.router_links[index]
        state = None if link is None else lent[link.lender][link.lending_arm][0]
        return structs.replace(ctx, lent_in=lent_in, lent_out=dict.fromkeys(names), router_state=state, layer=index)

    def _places(self) -> Iterator[Group]:
        """Yield the groups, or parts of them that read equal numbers of streams and write equal ones."""
        part = self.stack.streams
        if not isinstance(part, SetAside):
            yield from self.groups
            return
        by_place: dict[tuple[str, bool, int, int], tuple[Group, list[int]]] = {}
        group_of = {i: group for group in self.groups for i in group.layer_indices}
        for i in sorted(group_of):
            place = group_of[i].name, i == 0, part.n_before(i), part.n_before(i + 1)
            by_place.setdefault(place, (group_of[i], []))[1].append(i)
        for whole, indices in by_place.values():
            yield structs.replace(whole, weight_indices=tuple(indices), layer_indices=tuple(indices))

    def _streams(self, x: Tensor, n: int, d: Symbols) -> Tensor:
        """Return new streams [B, T, n, D]."""
        return x.new("streams", *x.axes[:2], self._n_streams(n, d), d.d_model)

    def _n_streams(self, n: int, d: Symbols) -> Poly:
        """Return a number of streams: a size of the stack, or one that depends on the place."""
        return Poly.constant(n) if isinstance(self.stack.streams, SetAside) else d.n_streams

    def _lent_tensors(
        self, layer_index: int, lent_out: Mapping[str, Lent | None], router: str | None
    ) -> dict[str, Lent]:
        """Return what one layer lends; all later layers save each tensor once, unless the layer saves it.

        The state of a `router`, an arm of this name, is read by one layer.
        """
        lent = {}
        for name, tensors in lent_out.items():
            assert tensors is not None, "a lending layer computes what it lends"
            if name == router:
                lent[name] = tensors
                continue
            what = ("keys", "values") if len(tensors) == 2 else ("selection",)
            lent[name] = tuple(
                self._shared_tensor(x, f"{one} of layer {layer_index}") for x, one in zip(tensors, what, strict=True)
            )
        return lent

    def _shared_tensor(self, x: Tensor, label: str) -> Tensor:
        return x if x.storage in self.tracker.storages else Tensor(label, x.axes, x.dtype, is_shared=True)

    def _layer_count(self, members: list[Group], d: Symbols) -> Poly:
        """Return the number of layers of these groups as a formula."""
        if len(members) == len(self.groups):
            return d["n_layers"]
        return Poly.sum(d[f"n_layers[{group.name}]"] for group in members)

    def _parts(self) -> Iterator[tuple[Group, str, Part]]:
        """Yield every part of each group's layer with its name."""
        yield from ((group, name, part) for group in self.groups for name, part in parts(group.layer).items())

    def _relative_bias(self, table: SizeTable, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the bias table of the stack; its buckets are computed once, unless whole layers are recomputed."""
        for group, name, part in self._parts():
            if stack_bias(part):
                d = table.symbols(self.owner(group, name))
                n_segments = part.position.n_segments if isinstance(part, Attention) else 0  # type: ignore[union-attr]
                rows = d.n_buckets + d.n_segments * d.n_segments if n_segments else d.n_buckets
                yield StackLeaf(Weight("relative_bias.weight", (rows, d.n_heads), "position"))
                if ctx.execution.recompute != "full":
                    score_axes = ctx.span.queries, ctx.span.keys(None)
                    yield from self.outside_layers(
                        save("relative_bias", "position", Tensor("buckets", score_axes, "int64"))
                    )
                return

    def _summary_bias(self, table: SizeTable, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the bias table of summaries of the stack, like that of tokens."""
        for group, name, part in self._parts():
            if summary_bias(part):
                d = table.symbols(self.owner(group, name))
                yield StackLeaf(Weight("summary_bias.weight", (d.n_buckets, d.n_heads), "position"))
                if ctx.execution.recompute != "full":
                    axes = self.span.queries, self.span.blocks(d.n_block)
                    yield from self.outside_layers(save("summary_bias", "position", Tensor("buckets", axes, "int64")))
                return

    def _rotary_table(self, table: SizeTable) -> Iterator[StackLeaf]:
        """Yield the table of sines and cosines, if layers of the stack read one."""
        for group, name, part in self._parts():
            if stored_rope(part):
                d = table.symbols(self.owner(group, name), self.owner(), "")
                yield StackLeaf(Weight("rotary.weight", (d.n_ctx, d.d_rotary), "position", kind="frozen"))
                return

    def _distance_table(self, table: SizeTable, ctx: ForwardContext) -> Generator[StackLeaf, None, Tensor | None]:
        """Yield the table of relative positions and its norm, if layers read it; return its normalized rows."""
        for group, name, part in self._parts():
            if position := disentangled(part):
                d = table.symbols(self.owner(group, name), self.owner(), "")
                axes = d.n_distances + d.n_distances, d.d_model
                yield StackLeaf(Weight("distances.weight", axes, "position"))
                rows = Tensor("distances", axes, ctx.execution.dtype, is_stored=True)
                normed = yield from self.outside_layers(norm.leaves(position.norm, "distances.norm", rows, ctx))
                return structs.replace(normed, label="distances", is_shared=True)
        return None

    def _prompts(self, table: SizeTable, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the leaves of the learned keys and values of all layers."""
        group = self.groups[0]
        for name in prompted(group.layer):
            d = table.symbols(self.owner(group, name), self.owner(), "")
            yield from self.outside_layers(prompts.leaves(name, d, ctx))

    def _stream_ends(self, end: str, x: Tensor, d: Symbols) -> Generator[StackLeaf, None, Tensor]:
        """Yield the leaves before the first or after the last layer of several streams.

        Weights of further streams, which have a number, are one row.
        """
        assert self.stack.streams is not None, "the stack has several streams"
        others = tuple(range(self.stack.streams.n_before(0) - 1))
        repeats = self._n_streams(self.stack.streams.n_before(0), d) - ONE

        def stack_leaf(leaf: Entry) -> StackLeaf:
            if isinstance(leaf, Weight) and "{i}" in leaf.name:
                return StackLeaf(leaf, "streams", others, repeats=repeats)
            return StackLeaf(leaf)

        ends: Forward[Tensor] = stream_implementation(self.stack.streams, end)(self.stack.streams, d, x)
        return (yield from map_leaves(stack_leaf, self.entries(ends)))

    def _mtp(self, table: SizeTable, d: Symbols, ctx: ForwardContext) -> Iterator[StackLeaf]:
        """Yield the weights of multi-token-prediction modules: norms, a projection, a layer like the last.

        A plain forward pass does not run them, so they have no other leaves.
        """
        last, prefix = max(self.groups, key=lambda group: group.last), "mtp.{i}."
        yield from self._mtp_weight(Weight(prefix + "project.weight", (d.d_model, d.d_model + d.d_model), "other"), d)
        for name in ("hidden_norm", "token_norm", "final_norm"):
            for weight in norm.weights(self.stack.final_norm, prefix + name, d.d_model):
                yield from self._mtp_weight(weight, d)
        ctx = structs.replace(ctx, prefix=prefix + "layer.")
        for leaf in layer.leaves(last.layer, self._symbols(table, last), self._states(d), ctx):
            yield from self._mtp_weight(leaf, d)

    def _mtp_weight(self, leaf: Leaf, d: Symbols) -> Iterator[StackLeaf]:
        """Yield the leaf, if it is a weight, for every multi-token-prediction module."""
        if isinstance(leaf, Weight):
            yield StackLeaf(leaf, "mtp", tuple(range(self.stack.n_mtp)), repeats=d.n_mtp)

    def _symbols(self, table: SizeTable, group: Group) -> dict[str, Symbols]:
        own = {name: (self.owner(group, name), self.owner(group), self.owner(), "") for name in parts(group.layer)}
        symbols = {name: table.symbols(*owners) for name, owners in own.items()}
        return symbols if group.layer.bottleneck is None else {name: d.narrowed() for name, d in symbols.items()}


def _has_clashes(layer_spec: Layer) -> bool:
    """Return whether parts of a layer may have different values for one field."""
    token_mixer = layer_spec.mixer or layer_spec.attention
    if token_mixer is None or layer_spec.ffn is None:
        return bool(layer_spec.branches)
    return not sizes(token_mixer).keys().isdisjoint(sizes(layer_spec.ffn))
