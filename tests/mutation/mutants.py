"""Mutants: every single change of a module's syntax tree that imitates a small mistake."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ast.Mult, ast.Mult: ast.Add, ast.Sub: ast.Add, ast.FloorDiv: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip
WORDS = {"attention": "ffn", "ffn": "attention", "norm": "other", "head": "embedding", "embedding": "position",
         "position": "embedding", "other": "norm", "buffer": "trainable", "frozen": "trainable"}  # fmt: skip
NAMES = {"min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """A changed module. `label` states the place and the change, without line numbers."""

    module: str
    label: str
    source: str


class Change:
    """A node and its replacement (None: nothing)."""

    def __init__(self, node: ast.AST, new: ast.AST | None) -> None:
        self.node, self.new = node, new


def mutants(module: str, source: str) -> list[Mutant]:
    """Return every mutant of a module; no two have the same source."""
    tree = ast.parse(source)
    texts = [ast.unparse(statement) for statement in tree.body]
    places = {id(node): at for at, statement in enumerate(tree.body) for node in ast.walk(statement)}
    found: dict[str, Mutant] = {}
    for function, nodes in _functions(tree):
        for node in nodes:
            for change in changes(node, nodes):
                at = places[id(change.node)]
                text = _with_change(tree.body[at], change)
                if text != texts[at]:
                    label = f"{function or 'table'}: {_text(change.node)} → {_text(change.new)}"
                    whole = "\n".join([*texts[:at], text, *texts[at + 1 :]])
                    found.setdefault(whole, Mutant(module, label, whole))
    return list(found.values())


def _functions(tree: ast.Module) -> Iterator[tuple[str, list[ast.AST]]]:
    """Yield the nodes of each function and of the module's tables, without docstrings, annotations and imports."""
    values = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    tables = [value for value in values if value and not isinstance(value, ast.Subscript)]  # no type's other name
    yield "", [node for table in tables for node in ast.walk(table)]
    for outer in tree.body:
        for function in [outer, *(outer.body if isinstance(outer, ast.ClassDef) else [])]:
            if isinstance(function, ast.FunctionDef):
                statements = [statement for statement in function.body if not _is_docstring(statement)]
                name = function.name if function is outer else f"{outer.name}.{function.name}"
                yield name, [node for statement in statements for node in _code(statement)]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that are executed, without annotations and assertions."""
    if isinstance(node, ast.Assert):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field != "annotation":
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code(child)


def changes(node: ast.AST, nodes: list[ast.AST]) -> Iterator[Change]:
    """Yield the possible mistakes at a node."""
    yield from _missing(node)
    yield from _inverted(node)
    match node:
        case ast.Attribute(value=ast.Name(id="d" | "part" | "span"), ctx=ast.Load()):
            yield from _other_attributes(node, nodes)
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            yield Change(node, _like(node, op=OPERATORS[type(op)]()))
        case ast.Compare(ops=[op]) if type(op) in OPERATORS:
            yield Change(node, _like(node, ops=[OPERATORS[type(op)]()]))
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield Change(node, ast.Name(NAMES[name], ast.Load()))
        case ast.Constant(value=value):
            yield from (Change(node, ast.Constant(other)) for other in _other_constants(value))


def _missing(node: ast.AST) -> Iterator[Change]:
    """Yield changes that omit an axis, an entry or a statement, or repeat an axis."""
    match node:
        case ast.Tuple(elts=elements, ctx=ast.Load()) | ast.List(elts=elements, ctx=ast.Load()):
            for at, element in enumerate(elements):
                yield Change(node, _like(node, elts=elements[:at] + elements[at + 1 :]))
                yield Change(node, _like(node, elts=[*elements[: at + 1], element, *elements[at + 1 :]]))
        case ast.Dict(keys=keys, values=values):
            for at in range(len(keys)):
                yield Change(node, ast.Dict(keys=keys[:at] + keys[at + 1 :], values=values[:at] + values[at + 1 :]))
        case ast.Expr(value=ast.Yield() | ast.YieldFrom() | ast.Call()) | ast.AugAssign():
            yield Change(node, ast.Pass())


def _inverted(node: ast.AST) -> Iterator[Change]:
    """Yield changes that invert a condition or a flag."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test]):
            yield Change(test, ast.UnaryOp(ast.Not(), test))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield Change(node, operand)
        case ast.keyword(value=ast.Attribute() as value):
            yield Change(value, ast.UnaryOp(ast.Not(), value))


def _other_attributes(node: ast.Attribute, nodes: list[ast.AST]) -> Iterator[Change]:
    """Yield changes to the next two of the owner's attributes that the function reads."""
    owner = node.value.id
    attributes = sorted(
        {
            other.attr
            for other in nodes
            if isinstance(other, ast.Attribute) and isinstance(other.value, ast.Name) and other.value.id == owner
        }
    )
    at = attributes.index(node.attr)
    others = {*(attributes * 2)[at + 1 : at + 3]} - {node.attr}
    yield from (Change(node, _like(node, attr=other)) for other in sorted(others))


def _other_constants(value: object) -> list[object]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1]
        case str():
            return [WORDS[value]] if value in WORDS else [f"{value}x"]
    return []


def _like(node: ast.AST, **fields: object) -> ast.AST:
    return type(node)(**dict(ast.iter_fields(node)) | fields)


class _Replace(ast.NodeTransformer):
    def __init__(self, change: Change) -> None:
        self.change = change

    def visit(self, node: ast.AST) -> ast.AST | None:
        return self.change.new if node is self.change.node else self.generic_visit(node)


def _with_change(statement: ast.stmt, change: Change) -> str:
    """Return the text of a statement with the change; the statement itself does not change."""
    changed = _Replace(change).visit(copy.deepcopy(statement, {id(change.node): change.node}))
    return ast.unparse(ast.fix_missing_locations(changed))


def _text(node: ast.AST | None) -> str:
    return "nothing" if node is None or isinstance(node, ast.Pass) else ast.unparse(node)
