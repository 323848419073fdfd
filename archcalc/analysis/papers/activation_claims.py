"""Claims about saved activations and recomputation, by the paper's formulas and by the ledger.

A quantity is KIND:ARGUMENTS. Its workload is one sequence of the model's whole context (at most 2048 tokens), unless
the arguments say otherwise. It has a figure for each accounting that defines it.
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

_MAX_DIGITS = 12  # of a number in a quantity's arguments

# The ledger's bytes are modeled: those of a GPU, where a mask has a byte per element, as in the paper. FLOPs are exact.
PAPER = "Korthikanti et al."
GPU = "ledger, GPU modeled"
LEDGER = "ledger"
EARLY_STOP = "ledger, early stop"


class DecoderWorkload(msgspec.Struct, frozen=True):
    """A decoder and the workload of its claims."""

    spec: Spec
    work: Workload

    @property
    def layers(self) -> list[dict[str, int]]:
        """Return the sizes that the paper's formulas use."""
        return layer_sizes(self.spec, self.work)

    def paper_bytes(self, recompute: Recompute) -> Fraction:
        """Return the bytes saved in all layers by the paper's formula."""
        return layers_bytes(self.layers, Setting(recompute=recompute))

    def ledger_bytes(self, recompute: Recompute) -> int:
        """Return the bytes saved in all layers by the ledger, in the execution nearest to the paper's setting."""
        ledger = build(self.spec, structs.replace(NEAREST, recompute=recompute))
        return in_layers_bytes(activation_bytes(ledger, self.work))

    @property
    def square_bytes(self) -> int:
        """Return the bytes saved in all layers that grow with the square of the sequence, by the ledger."""
        saved = activation_bytes(build(self.spec, NEAREST), self.work)
        return in_layers_bytes([one for one in saved if one.row.is_square])

    def per_state(self, layers_bytes: int | Fraction) -> Fraction:
        """Return bytes per element of a layer's states (the paper's sbh)."""
        states = self.work.batch * self.work.seq * self.spec.d_model
        return Fraction(layers_bytes) / (states * len(self.layers))

    def recomputed_flops(self, *kinds: Recomputation) -> int:
        """Return the FLOPs that a backward pass recomputes under selective recomputation."""
        ledger = build(self.spec, structs.replace(NEAREST, recompute="selective"))
        sizes = ledger.at(self.work)
        return sum(int(row.formula.at(sizes)) for row in ledger.matmuls if row.matmul.recomputation in kinds)

    @property
    def train_step_flops(self) -> int:
        """Return the FLOPs of a forward and a backward pass: the paper's model FLOPs."""
        return summary(build(self.spec), self.work)["train_step"]

    @property
    def attention_flops(self) -> int:
        """Return what equation 8 adds to equation 7: 12·B·s²·h per layer, 3 × the two products of a forward pass."""
        return sum(12 * one["batch"] * one["seq"] ** 2 * one["d_model"] for one in self.layers)


def _square_activations(model: DecoderWorkload, _: str) -> Figures:
    """Return the bytes that grow with the square of the sequence, per element of the states (5as/h)."""
    paper = model.paper_bytes("none") - model.paper_bytes("selective")
    return {PAPER: model.per_state(paper), GPU: model.per_state(model.square_bytes)}


def _linear_activations(model: DecoderWorkload, _: str) -> Figures:
    """Return the other bytes that layers save, per element of the states (34)."""
    exact = model.ledger_bytes("none") - model.square_bytes
    return {PAPER: model.per_state(model.paper_bytes("selective")), GPU: model.per_state(exact)}


def _percent_saved(model: DecoderWorkload, recompute: str) -> Figures:
    """Return the percentage of the layers' activations that recomputation does not save."""
    policy = _recompute(recompute)
    return {
        PAPER: 100 * (1 - model.paper_bytes(policy) / model.paper_bytes("none")),
        GPU: 100 * (1 - Fraction(model.ledger_bytes(policy), model.ledger_bytes("none"))),
    }


def _recompute_flops(model: DecoderWorkload, _: str) -> Figures:
    """Return the FLOPs of selective recomputation, two products, in percent of a step.

    torch's checkpoint stops early, at the last tensor that the backward pass needs, before the second product.
    """
    step = model.train_step_flops
    return {
        PAPER: Fraction(100 * model.attention_flops, step),
        LEDGER: Fraction(100 * model.recomputed_flops("always", "without early stop"), step),
        EARLY_STOP: Fraction(100 * model.recomputed_flops("always"), step),
    }


def _extra_activations(model: DecoderWorkload, _: str) -> Figures:
    """Return the percentage of activations outside the layers, without pipeline parallelism (section 4.3)."""
    extra = extra_bytes(model.layers[0], Setting())
    return {PAPER: 100 * extra / (extra + model.paper_bytes("none"))}


def _percent_of_baseline(model: DecoderWorkload, arguments: str) -> Figures:
    """Return the percentage of the tensor-parallel baseline that a line of table 2 saves: 'LINE:DEVICES'."""
    return {PAPER: 100 * _share_of_baseline(model, arguments)}


def _times_less(model: DecoderWorkload, arguments: str) -> Figures:
    """Return the tensor-parallel baseline divided by what a line of table 2 saves: 'LINE:DEVICES'."""
    return {PAPER: 1 / _share_of_baseline(model, arguments)}


def _share_of_baseline(model: DecoderWorkload, arguments: str) -> Fraction:
    name, _, devices = arguments.rpartition(":")
    if not (devices.isdecimal() and _is_number(devices)):
        raise InputError(msg("found {found}", found=shown(arguments)), allowed="LINE:DEVICES")
    by_line = {str(one.configuration.name): one.of_baseline for one in shares(model.layers, int(devices))}
    if name not in by_line:
        names = [str(one.name) for one in TABLE_2]
        raise InputError(
            msg("there is no line {name}{hint}", name=shown(name), hint=nearest(name, names)), allowed=", ".join(names)
        )
    return by_line[name]


def _model_utilization(model: DecoderWorkload, arguments: str) -> Figures:
    """Return the model's FLOPs as percent of the devices' peak: 'SEQUENCES:DEVICES:SECONDS:TERAFLOPS'."""
    return {LEDGER: _utilization(model, arguments, model.train_step_flops)}


def _hardware_utilization(model: DecoderWorkload, arguments: str) -> Figures:
    """Return the FLOPs, selective recomputation included, as percent of the devices' peak."""
    step = model.train_step_flops
    return {
        PAPER: _utilization(model, arguments, step + model.attention_flops),
        LEDGER: _utilization(model, arguments, step + model.recomputed_flops("always", "without early stop")),
    }


def _utilization(model: DecoderWorkload, arguments: str, flops: int) -> Fraction:
    """Return FLOPs as percent of the devices' peak; `flops` are of one sequence."""
    sequences, devices, seconds, peak = _numbers(arguments, 4, "SEQUENCES:DEVICES:SECONDS:TERAFLOPS")
    return 100 * flops * sequences / (devices * seconds * peak * 10**12)


def _numbers(text: str, count: int, form: str) -> list[Fraction]:
    parts = text.split(":")
    if len(parts) != count or not all(_is_number(part) for part in parts):
        raise InputError(msg("found {found}", found=shown(text)), allowed=form)
    return [Fraction(part) for part in parts]


def _is_number(text: str) -> bool:
    return len(text) <= _MAX_DIGITS and text.replace(".", "", 1).isdecimal() and Fraction(text) > 0


def _recompute(name: str) -> Recompute:
    policies: tuple[Recompute, ...] = ("none", "selective", "full")
    for policy in policies:
        if policy == name:
            return policy
    raise InputError(
        msg("there is no recomputation {name}{hint}", name=shown(name), hint=nearest(name, policies)),
        allowed=", ".join(policies),
    )


PERCENT: dict[str, Callable[[DecoderWorkload, str], Figures]] = {
    "saved": _percent_saved,
    "recompute_flops": _recompute_flops,
    "extra_activations": _extra_activations,
    "of_baseline": _percent_of_baseline,
    "mfu": _model_utilization,
    "hfu": _hardware_utilization,
}
QUANTITIES: dict[str, Callable[[DecoderWorkload, str], Figures]] = PERCENT | {
    "square_activations": _square_activations,
    "linear_activations": _linear_activations,
    "times_less": _times_less,
}


def figures(quantity: str, spec: Spec) -> Figures:
    """Return the figures of a quantity by each accounting that defines it.

    Raises InputError for invalid arguments, and for a model that is not a decoder.
    """
    kind, _, arguments = quantity.partition(":")
    return QUANTITIES[kind](DecoderWorkload(spec, workload(spec)), arguments)
