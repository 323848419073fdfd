"""Formulas of a trace as expression trees, built by the steps and printed last."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec


class Expression(msgspec.Struct, frozen=True):
    """A formula; its operands are expressions and numbers.

    >>> x = Value("layers.0.ffn.up")
    >>> print(call("linear", (x + 1) * 0.5, Module("layers.0.ffn.down")))
    linear((layers.0.ffn.up + 1) · 0.5, layers.0.ffn.down)
    """

    @abstractmethod
    def text(self, within: str = "") -> str:
        """Return the formula as text, names without the prefix `within`."""

    def __str__(self) -> str:
        return self.text()

    def __add__(self, other: Operand) -> Call:
        return call("+", self, other)

    def __sub__(self, other: Operand) -> Call:
        return call("−", self, other)

    def __mul__(self, other: Operand) -> Call:
        return call("·", self, other)


class Name(Expression, frozen=True):
    """A reference by name."""

    name: str

    def text(self, within: str = "") -> str:
        """Return the name without the prefix `within`."""
        return self.name.removeprefix(within)


class Value(Name, frozen=True):
    """The value of a step, or a property of the text such as `places` (its positions)."""


class Module(Name, frozen=True):
    """The weights of a module."""


class Parameter(Name, frozen=True):
    """A tensor of the model."""


class Call(Expression, frozen=True):
    """A function and its arguments; `+`, `−` and `·` take two."""

    function: str
    arguments: tuple[Operand, ...]

    def text(self, within: str = "") -> str:
        """Return the call as text: `a + b` for infix functions, else `function(a, b)`."""
        texts = [x.text(within) if isinstance(x, Expression) else _number(x) for x in self.arguments]
        if self.function not in _INFIX:
            return f"{self.function}({', '.join(texts)})"
        for i in _INFIX[self.function]:
            if getattr(self.arguments[i], "function", "") in ("+", "−"):
                texts[i] = f"({texts[i]})"
        return f" {self.function} ".join(texts)


Operand = Expression | float

# Infix functions → the arguments that need brackets if they are sums.
_INFIX: Final[dict[str, tuple[int, ...]]] = {"+": (), "−": (1,), "·": (0, 1)}


def call(function: str, *arguments: Operand) -> Call:
    """Return a function of these arguments."""
    return Call(function, arguments)


def nodes(formula: Operand | None) -> Iterator[Expression]:
    """Yield a formula and its subexpressions, depth first; numbers are left out."""
    if isinstance(formula, Expression):
        yield formula
    if isinstance(formula, Call):
        for argument in formula.arguments:
            yield from nodes(argument)


def _number(x: float) -> str:
    return f"{x:.7g}" if isinstance(x, float) else str(x)
