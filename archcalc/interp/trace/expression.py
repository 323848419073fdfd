"""The expressions of a trace as trees, built by the steps and printed last."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec


class Expression(msgspec.Struct, frozen=True):
    """A function of expressions and numbers, a value or a tensor.

    >>> x = Value("layers.0.ffn.up")
    >>> print(call("linear", (x + 1) * 0.5, Module("layers.0.ffn.down")))
    linear((layers.0.ffn.up + 1) · 0.5, layers.0.ffn.down)
    """

    @abstractmethod
    def __str__(self) -> str: ...

    def __add__(self, other: Operand) -> Call:
        return call("+", self, other)

    def __sub__(self, other: Operand) -> Call:
        return call("−", self, other)

    def __mul__(self, other: Operand) -> Call:
        return call("·", self, other)


class Name(Expression, frozen=True):
    """A reference by name."""

    name: str

    def __str__(self) -> str:
        return self.name


class Value(Name, frozen=True):
    """The value of a step, or a property of the text such as `token_positions`."""


class Module(Name, frozen=True):
    """The weights of a module."""


class Parameter(Name, frozen=True):
    """A tensor of the model."""


class Call(Expression, frozen=True):
    """A function and its arguments; `+`, `−` and `·` take two."""

    function: str
    arguments: tuple[Operand, ...]

    def __str__(self) -> str:
        texts = [str(x) if isinstance(x, Expression) else _number(x) for x in self.arguments]
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


def nodes(expression: Operand | None) -> Iterator[Expression]:
    """Yield an expression and its subexpressions, depth first; numbers are left out."""
    if isinstance(expression, Expression):
        yield expression
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from nodes(argument)


def _number(x: float) -> str:
    return f"{x:.7g}" if isinstance(x, float) else str(x)
