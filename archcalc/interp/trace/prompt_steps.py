"""The expressions of a soft prompt, and the steps of learned prompts."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call
from archcalc.interp.trace.step import Step
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Layer, SoftPrompt, Stack
from archcalc.spec.model import ModelStack
from archcalc.spec.prompts import prompted
from archcalc.spec.soft_prompt import SEGMENTS, segment_table


def soft_prompt_rows(part: SoftPrompt, model_stack: ModelStack) -> Expression:
    """Return the rows of a soft prompt, which are before the tokens in the first layer's input."""
    table = Parameter(f"{model_stack.prefix}soft_prompt.weight")
    rows: Expression = call("rows_from", table, part.first, part.n_tokens)
    if segment_table(model_stack.model.embedding) is not None:
        rows = rows + call("rows", Module(f"{model_stack.embed_prefix}tables.{SEGMENTS}"), part.segment)
    return rows


def learned_prompts(stack: Stack, prefix: str) -> Iterator[Step]:
    """Yield the steps of the keys and values of all layers, one for each arm that reads some."""
    for name in prompted(layers_of(stack)[0]):
        module = f"{prefix}prompts.{name}"
        hidden = call("gelu", call("linear", Parameter(f"{module}.table.weight"), Module(f"{module}.up")))
        yield Step(module, "prompts", call("linear", hidden, Module(f"{module}.down")))


def learned_pairs(stack: Stack, layer: Layer, prefix: str, index: int) -> dict[str, tuple[Expression, Expression]]:
    """Return the learned keys and values of each arm of a layer; none without prompts."""
    if stack.prompts is None:
        return {}
    n_layers = len(layers_of(stack))

    def heads(name: str, n_heads: int, place: int) -> Call:
        piece = call("piece", Value(f"{prefix}prompts.{name}"), 2 * index + place, 2 * n_layers)
        return call("heads", piece, n_heads)

    found: dict[str, tuple[Expression, Expression]] = {}
    for name, part in prompted(layer).items():
        assert part.n_kv_heads is not None, "the spec is resolved"
        found[name] = heads(name, part.n_kv_heads, 0), heads(name, part.n_kv_heads, 1)
    return found
