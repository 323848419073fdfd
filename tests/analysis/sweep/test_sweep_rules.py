"""Code that a sweep runs keeps to what its numbers can do (archcalc/ledger/__init__.py), and so does every part."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from msgspec import inspect

import archcalc
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, SharedSelection
from archcalc.spec.base import Part
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.claim import Claim
from archcalc.spec.compressed import CompressedAttention, Compression, EntryIndexer
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.document import encode
from archcalc.spec.ffn import Adapters, PerLayerGate, RouterMlp
from archcalc.spec.layer import Cycles, GlobalTokens, PerLayerEmbedding, Prompts, Run, Shares, SoftPrompt
from archcalc.spec.position import RelativeBias
from archcalc.spec.sparse import BlockSummaries, GlobalWindow, LocalBlocks, RandomBlocks, SparseAttention
from archcalc.spec.streams import AltUp, HyperConnections, SetAside, Sinkhorn
from archcalc.spec.workload import Workload
from archcalc.spec.xl import XlAttention
from tests.analysis.sweep.test_sweep import DERIVED, left_out, same
from tests.strategies import (
    GLOBAL_WINDOWS,
    LOCAL_BLOCKS,
    PARTS,
    RANDOM_BLOCKS,
    SIZES,
    Place,
    adapter_specs,
    altup_specs,
    block_summaries,
    bottleneck_specs,
    compressed_specs,
    convolved_specs,
    cycle_specs,
    global_token_specs,
    hyper_specs,
    per_layer_specs,
    prompted_specs,
    router_specs,
    selecting_specs,
    set_aside_specs,
    shared_run_specs,
    soft_prompt_specs,
    sparse_specs,
    specs,
)

PACKAGE = Path(archcalc.__file__).parent


def takes_integer(kind: inspect.Type) -> bool:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(member, inspect.IntType) for member in members)


def integer_fields(part: type[msgspec.Struct]) -> list[str]:
    told = inspect.type_info(part)
    assert isinstance(told, inspect.StructType)
    return [field.name for field in told.fields if takes_integer(field.type)]


FIELDS = {name for part in (*PARTS, Workload) for name in integer_fields(part)}

# --- The code ---------------------------------------------------------------------------------------------------------

# Where a rule is broken for a reason: the file, the function, the rule.
ALLOWED = {
    ("ledger/stack.py", "_mtp_weight", "index"): "a head for each further token, as for each layer",
    ("spec/resolve_parts.py", "product_keys", "arithmetic"): "a root, one run for each number of experts",
    ("spec/resolve.py", "_check_shared_tables", "hash"): "one or two tables, compared once",
    ("spec/workload.py", "fill_workload", "min"): "the default of seq, one run for short contexts",
    ("spec/workload.py", "_source", "min"): "the default of source_seq, one run for short contexts",
    ("spec/workload.py", "check_size", "type"): "what a caller states, not yet a size of a sweep",
}


def read_by_a_sweep() -> list[Path]:
    """The ledger, resolve, workloads, and the analyses that a report imports."""
    spec = [*(PACKAGE / "spec").glob("resolve*.py"), *(PACKAGE / "spec").glob("resolve/*.py")]
    found = [*(PACKAGE / "ledger").glob("*.py"), *spec, PACKAGE / "spec/workload.py"]
    waiting = [PACKAGE / "analysis/report.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.append(path)
            waiting += imported_analyses(path)
    return found


def imported_analyses(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("archcalc.analysis"):
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                module = PACKAGE.joinpath(*name.split(".")[1:])
                yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_size(node: ast.AST) -> bool:
    """Whether this is a field that holds a size, and no symbol of the ledger's (`d.name`)."""
    return isinstance(node, ast.Attribute) and node.attr in FIELDS and last(node.value) != "d"


def has_size(*nodes: ast.AST) -> bool:
    """Whether a size stands in an expression, not counting what a call makes of it."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if is_size(node):
            return True
        if not isinstance(node, ast.Call):
            waiting += ast.iter_child_nodes(node)
    return False


CALLS = {
    "text": {"str", "repr", "format"},
    "arithmetic": {"float", "round", "divmod", "pow", "sqrt", "ceil", "floor", "gcd", "log", "log2", "isqrt"},
    "min": {"min", "max", "sorted"},
    "hash": {"hash", "id", "set", "frozenset", "Counter"},
    "index": {"int", "range", "index"},
}
TYPES = {"int", "float", "bool"}


def broken(node: ast.AST) -> str | None:
    """The rule that a node breaks."""
    match node:
        case ast.FormattedValue(value=value) if has_size(value):
            return "text"
        case ast.Call():
            return called(node)
        case ast.BinOp() if has_size(node):
            return None if is_exact(node) else "arithmetic"
        case ast.Compare():
            return compared(node)
        case ast.FunctionDef(decorator_list=made) if any({"cache", "lru_cache"} & names(each) for each in made):
            return None if all(last(arg.annotation) == "str" for arg in node.args.args if arg.annotation) else "hash"
    return "hash" if has_size(*hashed(node)) else None


def called(call: ast.Call) -> str | None:
    if last(call.func) == "isinstance" and names(call.args[1]) & TYPES:
        return "type"
    return next((rule for rule, found in CALLS.items() if last(call.func) in found and has_size(*call.args)), None)


def is_exact(sum_or_product: ast.BinOp) -> bool:
    sides = (sum_or_product.left, sum_or_product.right)
    floats = any(isinstance(side, ast.Constant) and isinstance(side.value, float) for side in sides)
    return not floats and isinstance(sum_or_product.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod)


def compared(node: ast.Compare) -> str | None:
    if isinstance(node.left, ast.Call) and last(node.left.func) == "type":
        return "type" if any(last(kind) in TYPES for kind in node.comparators) else None
    by_identity = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
    return "comparison" if has_size(node) and not by_identity else None


def hashed(node: ast.AST) -> list[ast.expr]:
    """What a set, a mapping or a look-up hashes."""
    match node:
        case ast.Set(elts=keys):
            return keys
        case ast.SetComp(elt=key) | ast.DictComp(key=key) | ast.Subscript(slice=key):
            return [key]
        case ast.Dict(keys=keys):
            return [key for key in keys if key is not None]
    return []


def names(node: ast.AST) -> set[str]:
    return {last(each) for each in ast.walk(node)} - {""}


def breaches(source: str) -> Iterator[tuple[str, str, int]]:
    """Every broken rule: the function, the rule, the line. An error's text may say anything."""

    def visit(node: ast.AST, function: str) -> Iterator[tuple[str, str, int]]:
        if isinstance(node, ast.Call) and last(node.func) == "InputError":
            return
        if rule := broken(node):
            yield getattr(node, "name", function), rule, getattr(node, "lineno", 0)
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner)

    return visit(ast.parse(source), "")


def test_code_that_a_sweep_runs_keeps_its_rules() -> None:
    told, used = [], set()
    for path in read_by_a_sweep():
        file = path.relative_to(PACKAGE).as_posix()
        for function, rule, line in breaches(path.read_text()):
            place = (file, function, rule)
            if place in ALLOWED:
                used.add(place)
            elif rule != "comparison" or not file.startswith("spec/"):  # resolve and workloads are where to compare
                told.append(f"archcalc/{file}:{line}: {rule} of a size, in {function}")
    assert not told, "\n".join(["archcalc/ledger/__init__.py has the rules; for an exception add to ALLOWED", *told])
    assert used == ALLOWED.keys(), "an exception that no longer is one"


def test_the_rules_cover_what_a_sweep_reads() -> None:
    files = {path.relative_to(PACKAGE).as_posix() for path in read_by_a_sweep()}
    assert {"ledger/attention.py", "analysis/report.py", "analysis/params.py", "spec/workload.py"} <= files
    assert any(file.startswith("spec/resolve") for file in files)
    assert {"d_head", "window", "n_experts", "seq", "past"} <= FIELDS
    assert not {"bias", "theta", "kind"} & FIELDS


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("name = f'keys({part.window})'", "text"),
        ("name = 'keys' + str(part.window)", "text"),
        ("isinstance(part.d_ff, int)", "type"),
        ("isinstance(value, int | float)", "type"),
        ("isinstance(value, (bool, str))", "type"),
        ("type(value) is int", "type"),
        ("part.d_ff / 2", "arithmetic"),
        ("part.d_ff ** 2", "arithmetic"),
        ("0.5 * part.d_head", "arithmetic"),
        ("math.sqrt(part.d_head)", "arithmetic"),
        ("round(part.d_head * part.share)", "arithmetic"),
        ("min(part.window, seq)", "min"),
        ("max(1, work.past + 1)", "min"),
        ("hash(part.d_ff)", "hash"),
        ("{part.d_ff, 3}", "hash"),
        ("{layer.ffn.d_ff for layer in layers}", "hash"),
        ("{part.d_ff: 3}", "hash"),
        ("{layer.ffn.d_ff: 1 for layer in layers}", "hash"),
        ("table[part.d_ff]", "hash"),
        ("@cache\ndef f(part: Part): ...", "hash"),
        ("range(part.n_experts)", "index"),
        ("int(part.d_head * 2)", "index"),
        ("part.n_heads != part.n_kv_heads", "comparison"),
        ("1 < part.n_groups", "comparison"),
    ],
)
def test_each_rule_is_noticed(line: str, rule: str) -> None:
    assert [found for _, found, _ in breaches(line)] == [rule]


@pytest.mark.parametrize(
    "line",
    [
        "part.d_ff * 2 + part.n_heads // 3 % 5",
        "d.window if part.window else None",
        "part.q_rank is None",
        "d.d_ff != d.d_model",
        "f'keys({d.window})'",
        "least(part.window, work.past)",
        "InputError(f'{part.n_heads} heads')",
        "@cache\ndef symbol(name: str): ...",
        "0.5 * part.theta",
        "isinstance(part, Attention)",
    ],
)
def test_the_rest_is_free(line: str) -> None:
    assert not list(breaches(line))


# --- The parts --------------------------------------------------------------------------------------------------------

# Where a field is rare among all specs.
DRAWN = {
    Adapters: adapter_specs(),
    Attention: bottleneck_specs(),
    AltUp: altup_specs(),
    CompressedAttention: compressed_specs(),
    Compression: compressed_specs(),
    EntryIndexer: compressed_specs(),
    ConvolvedAttention: convolved_specs(),
    ConvolutionalAttention: router_specs(),
    RouterMlp: router_specs(),
    Bottleneck: bottleneck_specs(),
    XlAttention: convolved_specs(),
    HyperConnections: hyper_specs(),
    SetAside: set_aside_specs(),
    Sinkhorn: hyper_specs(),
    BlockSummaries: sparse_specs(block_summaries(Place(), 3)),
    Cycles: cycle_specs(),
    GlobalTokens: global_token_specs(),
    SoftPrompt: soft_prompt_specs(),
    RelativeBias: soft_prompt_specs(),
    GlobalWindow: sparse_specs(GLOBAL_WINDOWS),
    LocalBlocks: sparse_specs(LOCAL_BLOCKS),
    PerLayerEmbedding: per_layer_specs(),
    PerLayerGate: per_layer_specs(),
    Prompts: prompted_specs(),
    RandomBlocks: sparse_specs(RANDOM_BLOCKS),
    Run: specs() | shared_run_specs(),
    SharedSelection: selecting_specs(),
    Shares: selecting_specs(),
    SparseAttention: sparse_specs(),
}
WITH_SIZES = [kind for kind in PARTS if integer_fields(kind) and kind is not Claim]


def places(value: Any, kind: type[Part], path: str = "") -> Iterator[tuple[str, Part]]:
    """The parts of a kind in a spec, each with its path."""
    if type(value) is kind:
        yield path, value
    if isinstance(value, msgspec.Struct):
        inner = [(name, getattr(value, name)) for name in value.__struct_fields__]
    else:
        inner = [(str(index), item) for index, item in enumerate(value)] if isinstance(value, tuple) else []
    for name, part in inner:
        yield from places(part, kind, f"{path}.{name}".removeprefix("."))


@cache
def pool() -> list[Spec]:
    """Return specs of all kinds; a draw costs more than a sweep of it."""
    found: list[Spec] = []

    @settings(max_examples=200, database=None, phases=[Phase.generate])
    @given(specs())
    def add(spec: Spec) -> None:
        found.append(spec)

    add()
    return found


def specs_with(kind: type[Part]) -> st.SearchStrategy[Spec]:
    """Draw specs that have a part of a kind: of the pool, or new ones where it has few."""
    own = [spec for spec in pool() if any(places(spec, kind))]
    drawn = [DRAWN[kind]] if kind in DRAWN else []
    if len(own) >= 8:
        drawn.append(st.sampled_from(own))
    return st.one_of(drawn or [specs()]).filter(lambda spec: any(places(spec, kind)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_SIZES, ids=lambda kind: kind.__name__)
def test_a_sweep_over_each_size_of_a_part_is_the_loop(kind: type[Part]) -> None:
    models: dict[str, int] = dict.fromkeys(integer_fields(kind), 0)

    def left() -> list[str]:
        return [field for field, cells in models.items() if cells < wanted(field)]

    @settings(max_examples=5, database=None)
    @given(st.data(), specs_with(kind))
    def check(data: st.DataObject, spec: Spec) -> None:
        document = left_out(encode(spec), data.draw(st.sampled_from((DERIVED, DERIVED[2:], ()))))
        path, part = data.draw(st.sampled_from(list(places(spec, kind))))
        for field in fields:
            own = getattr(part, field) or 1
            grid = {f"{path}.{field}".removeprefix("."): [own, 2 * own, own // 2 or 3, data.draw(SIZES, field)]}
            models[field] = max(models[field], same(document, grid))

    fields = list(models)
    for each in range(128):  # until every field has had cells that are models
        seed(each)(check)()
        if not (fields := left()):
            break
    assert not fields, f"cells of a grid that are models: {models}"


def wanted(field: str) -> int:
    """How many cells of a grid over a field must be models: one of a width that is another's, else several."""
    return 1 if field in ("d_source", "d_value_source") else 2
