"""Render one chat template within limits: the program of a child process that `chat_template.py` starts.

It reads a request as JSON from standard input. It writes the text, or the problem, with the exit code `REFUSED`.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

REFUSED = 3  # Python itself ends with 1 or 2


class GenerationTag(Extension):
    """`{% generation %}` marks an assistant's words for training; rendered, it is its content."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the content in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class PublicNamespace(Namespace):
    """Jinja's `namespace`, without names that begin with an underscore."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"{name!r} begins with an underscore")
        super().__setitem__(name, value)


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment that published templates are written for, as in transformers."""
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    sandbox.filters["tojson"] = tojson
    sandbox.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now, "namespace": PublicNamespace}
    return sandbox


def tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Return JSON without the escapes for HTML of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    """Fail with the template's own message."""
    raise TemplateError(message)


def strftime_now(form: str) -> str:
    """Return the local date or time in a format."""
    return datetime.now().strftime(form)


def limit(seconds: int, memory_mib: int) -> None:
    """Limit this process's processor time and memory; it is ended beyond the first."""
    import resource  # not on Windows: there no template is rendered

    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: seconds}
    if sys.platform != "darwin":  # macOS cannot bound the address space
        limits[resource.RLIMIT_AS] = memory_mib * 2**20
    for kind, maximum in limits.items():
        resource.setrlimit(
            kind, (maximum, maximum + 1)
        )  # the soft limit of time ends it with SIGXCPU, the hard with SIGKILL


def problem(error: Exception) -> str:
    """Return what a template did wrong, as the end of a sentence."""
    match error:
        case SecurityError():
            return f"tries what is not safe ({error})"
        case OverflowError() | RecursionError():
            return f"asks for too much ({type(error).__name__})"
        case TemplateError():
            return f"fails ({error})"
    return f"fails ({type(error).__name__}: {error})"


def main() -> int:
    """Answer the request on standard input."""
    template, variables, seconds, memory_mib, max_characters = json.load(sys.stdin)
    code = 0
    try:
        limit(seconds, memory_mib)
        text = environment().from_string(template).render(variables)
        if len(text) > max_characters:
            text, code = f"writes more than {max_characters:,} characters", REFUSED
    except MemoryError:
        text, code = f"takes more than {memory_mib} MiB of memory", REFUSED
    except Exception as error:  # a template may raise anything
        text, code = problem(error), REFUSED
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    return code


if __name__ == "__main__":
    sys.exit(main())
