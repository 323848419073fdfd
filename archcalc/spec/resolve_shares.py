"""Check layers that share weights, keys and values, or a selection of keys with an earlier layer."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.attention import Attention, disentangled, lends_selection, reads_selection
from archcalc.spec.branches import arms, borrowed_names, branches
from archcalc.spec.groups import layers_of, lender_indices, run_counts, weight_indices
from archcalc.spec.layer import Arm, Branch, Layer, Shares, Stack
from archcalc.spec.low_rank import of_any_use
from archcalc.words import msg

# Fields that affect keys and values only, so a layer that shares these does not use them.
_KEY_VALUE_FIELDS = ("k_bias", "v_bias", "v_norm", "value_is_key", "value_scale", "low_rank")
# Fields that must agree if keys and values are shared.
_EQUAL_FIELDS = ("n_kv_heads", "d_head", "window", "window_kind", "position")


def check_shares(stack: Stack, role: str) -> None:
    """Raise InputError if a layer of a resolved stack refers to an impossible or incompatible layer."""
    for r, run in enumerate(stack.runs):
        for p, layer in enumerate(run.pattern):
            _check_shares_field(layer, f"{role}.runs[{r}].pattern[{p}]")
    if any(layer.shares for run in stack.runs for layer in run.pattern):
        _check_references(stack, role)
    if any(branch.weights_of is not None for run in stack.runs for layer in run.pattern for branch in layer.branches):
        _check_branches(stack, role)


def _check_references(stack: Stack, role: str) -> None:
    """Raise InputError if a layer does not have what another layer shares."""
    layers, start = layers_of(stack), 0
    owners, lenders = weight_indices(stack), lender_indices(stack)
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        for p, layer in enumerate(run.pattern):
            where = f"{role}.runs[{r}].pattern[{p}]"
            if layer.shares is None or p >= count:
                continue
            layer_index = start + p
            if layer.shares.weights is not None:
                _check_before(owners[layer_index], layer_index, f"{where}.shares.weights")
                _check_weights(
                    layer, layers[owners[layer_index]], owners[owners[layer_index]] == owners[layer_index], where
                )
            if (lender := lenders[layer_index]) is not None:
                field = "keys_values" if layer.shares.selection is None else "selection"
                _check_before(lender, layer_index, f"{where}.shares.{field}")
                _check_keys_values(layer, layers[lender], where)
                _check_selections(layer, layers[lender], f"{where}.shares.selection")
        start += count
    if stack.n_mtp and lenders[-1] is not None:
        text = msg("its layers are copies of the last layer, which shares keys and values")
        if any(reads_selection(arm.part) for arm in arms(layers[-1])):
            text = msg("its layers are copies of the last layer, which reads a selection")
        raise InputError(text, where=f"{role}.n_mtp", allowed="0")


def _check_branches(stack: Stack, role: str) -> None:
    """Raise InputError for a branch that uses the weights of a branch that has none, or is unlike it."""
    layers, owners, start = layers_of(stack), weight_indices(stack), 0
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        for p, layer in enumerate(run.pattern):
            for b, branch in enumerate(layer.branches):
                if branch.weights_of is not None and p < count:
                    where = f"{role}.runs[{r}].pattern[{p}].branches[{b}].weights_of"
                    owner = borrowed_names(layer)[branch.arms[0].name]
                    _check_before(owner, start + p, where)
                    has_own = owners[owner] == owner and layers[owner].bottleneck == layer.bottleneck
                    _check_branch(branch, layers[owner], has_own, where)
        start += count
    if stack.n_mtp and any(branch.weights_of is not None for branch in layers[-1].branches):
        text = msg("its layers are copies of the last layer, which uses the weights of another")
        raise InputError(text, where=f"{role}.n_mtp", allowed="0")


def _check_branch(branch: Branch, owner: Layer, has_own: bool, where: str) -> None:
    """Raise InputError unless a layer has the weights of this branch."""
    first = branch.arms[0].name
    lender = next((other for other in branches(owner) if other.arms[0].name == first), None)
    if lender is None or not has_own or lender.weights_of is not None:
        raise InputError(
            msg("that layer has no weights of {name} of its own", name=repr(first)),
            where=where,
            allowed=msg("the layer that has the weights"),
        )
    if _of_any_use(branch) != _of_any_use(lender):
        raise InputError(
            msg("{name} of that layer has different fields", name=repr(first)),
            where=where,
            allowed=msg("a layer with an equal branch"),
        )
    if branch.norm_of is not None:
        raise InputError(msg("its norm is that of another branch"), where=where, allowed="norm_of: null")


def _of_any_use(branch: Branch) -> Branch:
    """Return a branch as the first use of its weights computes it."""
    used = tuple(structs.replace(arm, part=of_any_use(arm.part)) for arm in branch.arms)
    return structs.replace(branch, arms=used, weights_of=None)


def _check_shares_field(layer: Layer, where: str) -> None:
    """Check that `shares` and the arms that read shared keys and values agree."""
    shares, readers = layer.shares, [arm for arm in arms(layer) if arm.reads == "shared"]
    if shares == Shares():
        raise InputError(
            msg("found neither weights nor keys_values nor selection"),
            where=f"{where}.shares",
            allowed=msg("one of them, or null"),
        )
    _check_selection_field(layer, where)
    if (shares is not None and shares.keys_values is not None) != bool(readers):
        raise InputError(
            msg("keys_values and an attention that reads shared ones require each other"),
            where=f"{where}.shares",
            allowed=msg("'keys_values' with an attention, or with an arm that 'reads: shared'"),
        )
    for arm in readers:
        if not isinstance(arm.part, Attention):
            raise InputError(
                msg("{name} computes its own keys and values", name=repr(arm.name)),
                where=f"{where}.shares.keys_values",
                allowed=msg("kind gqa"),
            )
        if disentangled(arm.part):
            raise InputError(
                msg("relative positions need the layer's own keys"),
                where=f"{where}.shares.keys_values",
                allowed=msg("another position"),
            )
        for field in _KEY_VALUE_FIELDS:
            if getattr(arm.part, field):
                raise InputError(
                    msg("{name} shares keys and values but states {field}", name=repr(arm.name), field=field),
                    where=where,
                    allowed=msg("no value"),
                )


def _check_selection_field(layer: Layer, where: str) -> None:
    """Check that `shares.selection` and the indexers of kind shared agree."""
    shares = layer.shares
    has_reference = shares is not None and shares.selection is not None
    if has_reference != any(reads_selection(arm.part) for arm in arms(layer)):
        raise InputError(
            msg("selection and an indexer of kind shared require each other"),
            where=f"{where}.shares",
            allowed=msg("both, or neither"),
        )
    if has_reference and shares is not None and shares.keys_values is not None:
        raise InputError(
            msg("found keys_values and selection"), where=f"{where}.shares", allowed=msg("one of them, or null")
        )


def _check_before(owner: int, layer_index: int, where: str) -> None:
    if owner >= layer_index:
        raise InputError(
            msg("layer {owner} is not before layer {layer_index}", owner=owner, layer_index=layer_index),
            where=where,
            allowed=msg("less than {layer_index}", layer_index=layer_index),
        )


def _check_weights(layer: Layer, owner: Layer, has_own: bool, where: str) -> None:
    where = f"{where}.shares.weights"
    if not has_own:
        raise InputError(
            msg("that layer has no weights of its own"), where=where, allowed=msg("the layer that has the weights")
        )
    if _shared_fields(layer) != _shared_fields(owner):
        raise InputError(msg("that layer has different fields"), where=where, allowed=msg("a layer with equal fields"))


def _shared_fields(layer: Layer) -> tuple[Layer, Any]:
    """Return the fields that two layers with shared weights have in common."""
    shares = layer.shares or Shares()
    return structs.replace(layer, name=None, shares=None), (shares.keys_values, shares.selection)


def _check_keys_values(layer: Layer, lender: Layer, where: str) -> None:
    lender_arms = {arm.name: arm for arm in arms(lender)}
    for arm in arms(layer):
        if arm.reads == "shared":
            _check_lender_arm(arm, lender_arms.get(arm.name), f"{where}.shares.keys_values")


def _check_selections(layer: Layer, lender: Layer, where: str) -> None:
    """Check that each arm that reads a selection has a lender with as many keys."""
    lender_arms = {arm.name: arm.part for arm in arms(lender)}
    for arm in arms(layer):
        if not reads_selection(arm.part):
            continue
        part: Any = lender_arms.get(arm.name)
        if not lends_selection(part):
            raise InputError(
                msg("that layer selects no keys in {name}", name=repr(arm.name)),
                where=where,
                allowed=msg("a layer whose attention has an indexer of its own"),
            )
        own: Any = arm.part
        if own.indexer.n_selected != part.indexer.n_selected:
            raise InputError(
                msg("that layer's {name} differs in {differ}", name=repr(arm.name), differ="n_selected"),
                where=where,
                allowed=msg("a layer with equal fields"),
            )


def _check_lender_arm(arm: Arm, lender_arms: Arm | None, where: str) -> None:
    if lender_arms is None or lender_arms.reads != "stream" or not isinstance(lender_arms.part, Attention):
        raise InputError(
            msg("that layer computes no keys and values in {name}", name=repr(arm.name)),
            where=where,
            allowed=msg("a layer whose attention does"),
        )
    differ = [field for field in _EQUAL_FIELDS if getattr(arm.part, field) != getattr(lender_arms.part, field)]
    if _value_width(arm.part) != _value_width(lender_arms.part):
        differ.append("d_value")
    if differ:
        raise InputError(
            msg("that layer's {name} differs in {differ}", name=repr(arm.name), differ=", ".join(differ)),
            where=where,
            allowed=msg("a layer with equal fields"),
        )


def _value_width(part: Any) -> Any:
    return part.d_head if part.d_value is None else part.d_value
