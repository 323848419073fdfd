"""`archcalc`: the group of commands, each imported when it is called, and the way every error is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from archcalc._version import __version__
from archcalc.errors import ArchcalcError, nearest, printable
from archcalc.render.output import discard_output

# Name → (module in this package, what the list of commands says).
COMMANDS = {
    "report": ("report", "A model's parameters: totals, shares, every weight."),
    "explain": ("explain", "Each figure's formula, in symbols and in numbers."),
    "flops": ("flops", "What a prefill, a decode step or a training step computes."),
    "memory": ("memory", "Bytes of the weights and of the cache."),
    "sweep": ("sweep", "Every combination of some fields' values, a row each."),
    "diff": ("diff", "What differs between two models, component by component."),
    "compare": ("compare", "Many models, one column each."),
    "claims": ("claims", "Published figures held against the exact ones."),
    "verify": ("verify", "Prove the numbers on a PyTorch model built from the same spec."),
    "fill-mask": ("fill_mask", "What an encoder puts in the place of masked tokens."),
