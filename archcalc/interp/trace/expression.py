"""Formulas of a trace as data: steps build them, readers walk them, and they are printed last."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec


class Expression(msgspec.Struct, frozen=True):
    """A formula. Numbers stand in it as they are.

    >>> x = Value("layers.0.ffn.up")
    >>> print(call("linear", (x + 1) * 0.5, Module("layers.0.ffn.down")))
    linear((layers.0.ffn.up + 1) · 0.5, layers.0.ffn.down)
    """

    @abstractmethod
    def text(self, within: str = "") -> str:
        """Return the formula as it is printed, names without the prefix `within`."""

    def __str__(self) -> str:
        return self.text()

    def __add__(self, other: Operand) -> Call:
        return call("+", self, other)

    def __sub__(self, other: Operand) -> Call:
        return call("−", self, other)

    def __mul__(self, other: Operand) -> Call:
        return call("·", self, other)


class Name(Expression, frozen=True):
    """Something that is called by its name."""

    name: str

    def text(self, within: str = "") -> str:
        """Return the name, without the prefix `within`."""
        return self.name.removeprefix(within)


class Value(Name, frozen=True):
    """The value of a step, or what the text itself says, such as `places`."""


class Module(Name, frozen=True):
    """The weights of a module."""


class Parameter(Name, frozen=True):
    """A tensor of the model."""


class Call(Expression, frozen=True):
    """A function of its arguments; `+`, `−` and `·` are functions of two."""

    function: str
    arguments: tuple[Operand, ...]

    def text(self, within: str = "") -> str:
        """Return the function and its arguments: between them what is infix, else before them."""
        texts = [each.text(within) if isinstance(each, Expression) else _number(each) for each in self.arguments]
        if self.function not in _BRACKETED:
            return f"{self.function}({', '.join(texts)})"
        for i in _BRACKETED[self.function]:
            if getattr(self.arguments[i], "function", "") in ("+", "−"):
                texts[i] = f"({texts[i]})"
        return f" {self.function} ".join(texts)


Operand = Expression | float

# What is written between its two arguments: which of them stand in brackets where they are sums.
_BRACKETED: Final[dict[str, tuple[int, ...]]] = {"+": (), "−": (1,), "·": (0, 1)}


def call(function: str, *arguments: Operand) -> Call:
    """Return a function of these arguments."""
    return Call(function, arguments)


def nodes(formula: Operand | None) -> Iterator[Expression]:
    """Yield a formula and all that stands in it, in the order of its names; numbers are left out."""
    if isinstance(formula, Expression):
        yield formula
    if isinstance(formula, Call):
        for argument in formula.arguments:
            yield from nodes(argument)


def _number(x: float) -> str:
    return f"{x:.7g}" if isinstance(x, float) else str(x)
