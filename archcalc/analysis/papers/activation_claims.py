"""Published figures about saved activations and recomputation, by the paper's formulas and by the ledger.

Quantities are KIND:ARGUMENTS, for one sequence of the model's whole context (at most 2048 tokens) unless the arguments
say more. Figures are given by each accounting that has them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import msgspec
from msgspec import structs

from archcalc.analysis.activations import activation_bytes
from archcalc.analysis.flops import summary
from archcalc.analysis.papers.activation_conventions import (
    NEAREST,
    TABLE_2,
    Setting,
    extra_bytes,
    in_layers_bytes,
    layer_sizes,
    layers_bytes,
    shares,
)
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Recomputation
from archcalc.spec.execution import Recompute
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import msg

Figures = dict[str, int | Fraction]

_LONGEST = 12  # digits of a number in a quantity's arguments

# The ledger's bytes are those of a GPU, where the paper's masks have a byte a number: modeled. Its FLOPs are exact.
PAPER = "Korthikanti et al."
GPU = "ledger, GPU modeled"
LEDGER = "ledger"
EARLY_STOP = "ledger, early stop"


class Model(msgspec.Struct, frozen=True):
    """A decoder and the workload of its figures."""

    spec: Spec
    work: Workload

    @property
    def layers(self) -> list[dict[str, int]]:
        """Return the sizes that the paper's formulas use."""
        return layer_sizes(self.spec, self.work)

    def paper(self, recompute: Recompute) -> Fraction:
        """Return the bytes saved in all layers, by the paper."""
        return layers_bytes(self.layers, Setting(recompute=recompute))

    def exact(self, recompute: Recompute) -> int:
        """Return the same by the ledger, in the execution nearest to the paper's setting."""
        ledger = build(self.spec, structs.replace(NEAREST, recompute=recompute))
        return in_layers_bytes(activation_bytes(ledger, self.work))

    @property
    def square(self) -> int:
        """Return the bytes saved in all layers that grow with the square of the sequence, by the ledger."""
        saved = activation_bytes(build(self.spec, NEAREST), self.work)
        return in_layers_bytes([one for one in saved if one.row.is_square])

    def per_state(self, layers_bytes: int | Fraction) -> Fraction:
        """Return bytes per element of the layers' states (the paper's sbh)."""
        states = self.work.batch * self.work.seq * self.spec.d_model
        return Fraction(layers_bytes) / (states * len(self.layers))

    def recomputed(self, *kinds: Recomputation) -> int:
        """Return the FLOPs that a backward pass recomputes under selective recomputation."""
        ledger = build(self.spec, structs.replace(NEAREST, recompute="selective"))
        sizes = ledger.at(self.work)
        return sum(int(row.formula.at(sizes)) for row in ledger.matmuls if row.matmul.recomputation in kinds)

    @property
    def train_step(self) -> int:
        """Return the FLOPs of a forward and a backward pass: the paper's model FLOPs."""
        return summary(build(self.spec), self.work)["train_step"]

    @property
    def attention_flops(self) -> int:
        """Return what equation 8 adds to equation 7: 12·B·s²·h per layer, 3 × the two products of a forward pass."""
        return sum(12 * one["batch"] * one["seq"] ** 2 * one["d_model"] for one in self.layers)


def _square(model: Model, _: str) -> Figures:
    """Return what grows with the square of the sequence, as a multiple of the layers' states (5as/h)."""
    paper = model.paper("none") - model.paper("selective")
    return {PAPER: model.per_state(paper), GPU: model.per_state(model.square)}


def _rest(model: Model, _: str) -> Figures:
    """Return the rest of what layers save, as a multiple of their states (34)."""
    exact = model.exact("none") - model.square
    return {PAPER: model.per_state(model.paper("selective")), GPU: model.per_state(exact)}


def _saved(model: Model, recompute: str) -> Figures:
    """Return percent of the layers' activations that are not saved."""
    how = _recompute(recompute)
    return {
        PAPER: 100 * (1 - model.paper(how) / model.paper("none")),
        GPU: 100 * (1 - Fraction(model.exact(how), model.exact("none"))),
    }


def _recompute_flops(model: Model, _: str) -> Figures:
    """Return percent of FLOPs that selective recomputation adds to a step with its two products.

    torch's checkpoint stops early, at the last tensor that the backward pass needs, before the second product.
    """
    step = model.train_step
    return {
        PAPER: Fraction(100 * model.attention_flops, step),
        LEDGER: Fraction(100 * model.recomputed("always", "without early stop"), step),
        EARLY_STOP: Fraction(100 * model.recomputed("always"), step),
    }


def _extra(model: Model, _: str) -> Figures:
    """Return percent of all activations that are outside the layers, without pipeline (section 4.3)."""
    extra = extra_bytes(model.layers[0], Setting())
    return {PAPER: 100 * extra / (extra + model.paper("none"))}


def _share(model: Model, arguments: str) -> Figures:
    """Return percent of the tensor-parallel baseline that a line of table 2 saves: 'LINE:DEVICES'."""
    return {PAPER: 100 * _of_baseline(model, arguments)}


def _times_less(model: Model, arguments: str) -> Figures:
    """Return the tensor-parallel baseline divided by what a line of table 2 saves: 'LINE:DEVICES'."""
    return {PAPER: 1 / _of_baseline(model, arguments)}


def _of_baseline(model: Model, arguments: str) -> Fraction:
    name, _, devices = arguments.rpartition(":")
    if not (devices.isdecimal() and _is_number(devices)):
        raise InputError(msg("found {found}", found=shown(arguments)), allowed="LINE:DEVICES")
    found = {str(one.configuration.name): one.of_baseline for one in shares(model.layers, int(devices))}
    if name not in found:
        names = [str(one.name) for one in TABLE_2]
        raise InputError(
            msg("there is no line {name}{hint}", name=shown(name), hint=nearest(name, names)), allowed=", ".join(names)
        )
    return found[name]


def _model_utilization(model: Model, arguments: str) -> Figures:
    """Return the model's FLOPs as percent of the devices' peak: 'SEQUENCES:DEVICES:SECONDS:TERAFLOPS'."""
    return {LEDGER: _utilization(model, arguments, model.train_step)}


def _hardware_utilization(model: Model, arguments: str) -> Figures:
    """Return the same with the FLOPs of selective recomputation."""
    step = model.train_step
    return {
        PAPER: _utilization(model, arguments, step + model.attention_flops),
        LEDGER: _utilization(model, arguments, step + model.recomputed("always", "without early stop")),
    }


def _utilization(model: Model, arguments: str, flops: int) -> Fraction:
    """Return FLOPs as percent of the devices' peak; `flops` are of one sequence."""
    sequences, devices, seconds, peak = _numbers(arguments, 4, "SEQUENCES:DEVICES:SECONDS:TERAFLOPS")
    return 100 * flops * sequences / (devices * seconds * peak * 10**12)


def _numbers(text: str, count: int, form: str) -> list[Fraction]:
    parts = text.split(":")
    if len(parts) != count or not all(_is_number(part) for part in parts):
        raise InputError(msg("found {found}", found=shown(text)), allowed=form)
    return [Fraction(part) for part in parts]


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST and text.replace(".", "", 1).isdecimal() and Fraction(text) > 0


def _recompute(name: str) -> Recompute:
    ways: tuple[Recompute, ...] = ("none", "selective", "full")
    for way in ways:
        if way == name:
            return way
    raise InputError(
        msg("there is no recomputation {name}{hint}", name=shown(name), hint=nearest(name, ways)),
        allowed=", ".join(ways),
    )


PERCENT: dict[str, Callable[[Model, str], Figures]] = {
    "saved": _saved,
    "recompute_flops": _recompute_flops,
    "extra_activations": _extra,
    "of_baseline": _share,
    "mfu": _model_utilization,
    "hfu": _hardware_utilization,
}
QUANTITIES: dict[str, Callable[[Model, str], Figures]] = PERCENT | {
    "square_activations": _square,
    "linear_activations": _rest,
    "times_less": _times_less,
}


def figures(quantity: str, spec: Spec) -> Figures:
    """Return the figures of a quantity by every accounting that it has.

    Raises InputError for invalid arguments, and for a model that is not a decoder.
    """
    kind, _, arguments = quantity.partition(":")
    return QUANTITIES[kind](Model(spec, workload(spec)), arguments)
