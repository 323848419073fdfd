"""A conversation as the text that a model was trained to continue: the tokenizer's own Jinja template, rendered.

A template comes with a model's files, so it is a stranger's program. It runs in Jinja's immutable sandbox (no
underscored attributes, no changes to what it is given), sees plain values alone, and is bounded in what it writes and
in how many steps it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from archcalc.errors import InputError

LONGEST = 4_000_000  # characters of a rendered conversation, and of any one value on the way
MOST_STEPS = 200_000  # steps of all loops, and calls, of a rendering together
WIDE = re.compile(r"[%:.][^%:.{}]{0,5}\d{7}")  # '%1000000000d', '{:>1000000000}'

T = TypeVar("T")
Message = Mapping[str, Any]


def render(
    template: str | None,
    messages: Sequence[Message],
    *,
    bos: str = "",
    eos: str = "",
    add_generation_prompt: bool = True,
    **names: Any,
) -> str:
    """Return the text of a conversation; `messages` are mappings with a role and a content.

    `names` are what else a template may ask for (tools, documents, a switch of its own). Equal to
    `apply_chat_template(tokenize=False)` of transformers. InputError if there is no template, or it fails.
    """
    if template is None:
        raise InputError("the tokenizer has no chat template", allowed="a plain prompt (archcalc generate)")
    told = {"tools": None, "documents": None, "bos_token": bos, "eos_token": eos, **names}
    told |= {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
    try:
        limits = Limits()
        return "".join(limits.kept(Sandbox(limits).from_string(template).generate(**plain(told))))
    except InputError:
        raise
    except SecurityError as error:
        raise InputError(f"the chat template tries what is not safe ({error})") from None
    except TemplateError as error:
        raise InputError(f"the chat template fails ({error})") from None
    except (MemoryError, RecursionError, OverflowError) as error:
        raise InputError(f"the chat template asks for too much ({type(error).__name__})") from None
    except Exception as error:  # a stranger's program: whatever it raises is its fault
        raise InputError(f"the chat template fails ({type(error).__name__}: {error})") from None


def plain(value: Any) -> Any:
    """JSON's kinds of value, rebuilt, so that no object's method is in a template's reach."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"<{type(value).__name__}>"


class Limits:
    """What one rendering has done so far. InputError where it is more than any conversation needs."""

    def __init__(self) -> None:
        self._steps, self._length = 0, 0

    def step(self) -> None:
        """One step of a loop, or one call."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise InputError(f"the chat template takes more than {MOST_STEPS:,} steps")

    def steps(self, values: Iterable[T]) -> Iterator[T]:
        """The values, each a step."""
        for value in values:
            self.step()
            yield value

    def short(self, value: T) -> T:
        """A value, if it is not too long."""
        if isinstance(value, str | list | tuple) and len(value) > LONGEST:
            raise _too_long()
        return value

    def written(self, value: T) -> T:
        """A value that goes into a text somewhere: in the end, in a macro, in a block."""
        self._length += len(value) if isinstance(value, str) else 0
        if self._length > 4 * LONGEST:
            raise _too_long()
        return value

    def kept(self, parts: Iterable[str]) -> Iterator[str]:
        """The parts of what is rendered, as long as all of them together are not too long."""
        length = 0
        for part in parts:
            length += len(part)
            if length > LONGEST:
                raise _too_long()
            yield part


def _too_long() -> InputError:
    return InputError(f"the chat template writes more than {LONGEST:,} characters")


def _refuse_wide(form: Any, *numbers: Any) -> None:
    """InputError for a number, or a width in a format, that is longer than any text may be."""
    asks = isinstance(form, str) and WIDE.search(form)
    if asks or any(isinstance(one, int) and abs(one) > LONGEST for one in numbers):
        raise _too_long()


class Generation(Extension):
    """`{% generation %}` marks an assistant's words for training; rendered, it is its content."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> nodes.Node:
        """The content in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Counting(NodeTransformer):
    """Sends what every loop runs over through a filter that counts, what `~` joins through one that measures."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 (Jinja's name)
        """`for x in (values | counted__)`."""
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "counted__", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 (Jinja's name)
        """`a ~ b` as `[a, b] | joined__`."""
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), "joined__", [], [], None, None, lineno=node.lineno)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that published templates are written for, within limits."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, limits: Limits) -> None:
        extensions = (Generation, loopcontrols)
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=limits.written)
        self._limits = limits
        self.filters |= {"tojson": _tojson, "counted__": limits.steps, "joined__": self._joined}
        padding = {name: self._narrow(self.filters[name]) for name in ("center", "indent")}
        self.filters |= {**padding, "format": self._narrow(self.filters["format"], is_format=True)}
        self.globals.pop("lipsum")  # as much filler as one asks for
        told = {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
        self.globals |= {**told, "dict": _dict, "namespace": _Namespace}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = Counting().visit(super()._parse(source, name, filename))
        return tree

    def _narrow(self, apply: Callable[..., Any], *, is_format: bool = False) -> Callable[..., Any]:
        """A filter that fills up with spaces, with no width that is longer than any text may be."""

        def applied(value: Any, *args: Any, **kwargs: Any) -> Any:
            _refuse_wide(value if is_format else None, *args, *kwargs.values())
            return self._limits.short(apply(value, *args, **kwargs))

        return applied

    def _joined(self, values: list[Any]) -> str:
        return self._limits.short("".join(map(str, values)))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator whose result may be long: the length is known before it is made, where it matters."""
        if operator == "**" and not (isinstance(left, int | float) and abs(left) <= 1e6 and abs(right) <= 100):
            raise _too_long()
        if operator == "%":
            _refuse_wide(left)
        lengths = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
        times = [one for one in (left, right) if isinstance(one, int)]
        if operator == "*" and lengths and times and lengths[0] * times[0] > LONGEST:
            raise _too_long()
        return self._limits.short(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """A call, each a step; no width or count that is longer than any text may be."""
        __self._limits.step()
        form = getattr(getattr(__obj, "__wrapped__", None), "__self__", None)  # of `form.format`, which is wrapped
        _refuse_wide(form, *args, *kwargs.values())
        return __self._limits.short(super().call(__context, __obj, *args, **kwargs))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is, where Jinja's own would escape HTML's signs."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


class _Namespace(Namespace):
    """Jinja's, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *given = args
        Namespace.__init__(self)
        for name, value in dict(*given, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"{name!r} begins with an underscore")
        super().__setitem__(name, value)
