"""Refuse layers that share what the layer they name does not have."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.attention import Attention
from archcalc.spec.branches import arms
from archcalc.spec.groups import key_indices, layers_of, run_counts, weight_indices
from archcalc.spec.layer import Arm, Layer, Shares, Stack
from archcalc.words import msg

# What makes keys and values, and would be read by nothing where these are shared.
_UNREAD = ("k_bias", "v_bias", "value_scale")
# What shared keys and values must have been made for.
_ALIKE = ("n_kv_heads", "d_head", "window", "position")


def check_shares(stack: Stack, role: str) -> None:
    """Raise InputError for a reference of a resolved stack that points to no such layer, or to one that differs."""
    for r, run in enumerate(stack.runs):
        for p, layer in enumerate(run.pattern):
            _check_stated(layer, f"{role}.runs[{r}].pattern[{p}]")
    if any(layer.shares for run in stack.runs for layer in run.pattern):
        _check_references(stack, role)


def _check_references(stack: Stack, role: str) -> None:
    """Raise InputError for a layer that is pointed to and does not have what is shared."""
    layers, start = layers_of(stack), 0
    owners, lenders = weight_indices(stack), key_indices(stack)
    for r, (run, count) in enumerate(zip(stack.runs, run_counts(stack), strict=True)):
        for p, layer in enumerate(run.pattern):
            where = f"{role}.runs[{r}].pattern[{p}]"
            if layer.shares is None or p >= count:
                continue
            turn = start + p
            if layer.shares.weights is not None:
                _check_before(owners[turn], turn, f"{where}.shares.weights")
                _check_weights(layer, layers[owners[turn]], owners[owners[turn]] == owners[turn], where)
            if (lender := lenders[turn]) is not None:
                _check_before(lender, turn, f"{where}.shares.keys_values")
                _check_keys_values(layer, layers[lender], where)
        start += count
    if stack.n_mtp and lenders[-1] is not None:
        raise InputError(
            msg("its layers are like the stack's last, which shares keys and values"),
            where=f"{role}.n_mtp",
            allowed="0",
        )


def _check_stated(layer: Layer, where: str) -> None:
    """`shares` and the arms that read shared keys and values go together."""
    shares, readers = layer.shares, [arm for arm in arms(layer) if arm.reads == "shared"]
    if shares == Shares():
        raise InputError(
            msg("neither weights nor keys_values"), where=f"{where}.shares", allowed=msg("one of them, or null")
        )
    if (shares is not None and shares.keys_values is not None) != bool(readers):
        raise InputError(
            msg("keys_values and an attention that reads shared ones go together"),
            where=f"{where}.shares",
            allowed=msg("'keys_values' with an attention, or with an arm that 'reads: shared'"),
        )
    for arm in readers:
        if not isinstance(arm.part, Attention):
            raise InputError(
                msg("{name} makes its own keys and values", name=repr(arm.name)),
                where=f"{where}.shares.keys_values",
                allowed=msg("kind gqa"),
            )
        for field in _UNREAD:
            if getattr(arm.part, field):
                raise InputError(
                    msg("{name} shares keys and values and states {field}", name=repr(arm.name), field=field),
                    where=where,
                    allowed=msg("left out"),
                )


def _check_before(found: int, turn: int, where: str) -> None:
    if found >= turn:
        raise InputError(
            msg("layer {found} is not before layer {turn}", found=found, turn=turn),
            where=where,
            allowed=msg("less than {turn}", turn=turn),
        )


def _check_weights(layer: Layer, owner: Layer, has_own: bool, where: str) -> None:
    where = f"{where}.shares.weights"
    if not has_own:
        raise InputError(
            msg("that layer has no weights of its own"), where=where, allowed=msg("the layer that has them")
        )
    if _bare(layer) != _bare(owner):
        raise InputError(
            msg("that layer is not the same otherwise"), where=where, allowed=msg("a layer with equal fields")
        )


def _bare(layer: Layer) -> tuple[Layer, Any]:
    """All but the layer's name and whose weights it has."""
    return structs.replace(layer, name=None, shares=None), layer.shares and layer.shares.keys_values


def _check_keys_values(layer: Layer, lender: Layer, where: str) -> None:
    lent = {arm.name: arm for arm in arms(lender)}
    for arm in arms(layer):
        if arm.reads == "shared":
            _check_lent(arm, lent.get(arm.name), f"{where}.shares.keys_values")


def _check_lent(arm: Arm, lent: Arm | None, where: str) -> None:
    if lent is None or lent.reads != "stream" or not isinstance(lent.part, Attention):
        raise InputError(
            msg("that layer makes no keys and values in {name}", name=repr(arm.name)),
            where=where,
            allowed=msg("a layer whose attention does"),
        )
    differ = [field for field in _ALIKE if getattr(arm.part, field) != getattr(lent.part, field)]
    if _value_width(arm.part) != _value_width(lent.part):
        differ.append("d_value")
    if differ:
        raise InputError(
            msg("that layer's {name} differs in {differ}", name=repr(arm.name), differ=", ".join(differ)),
            where=where,
            allowed=msg("a layer that agrees"),
        )


def _value_width(part: Any) -> Any:
    return part.d_head if part.d_value is None else part.d_value
