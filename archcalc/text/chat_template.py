"""Render a conversation with a tokenizer's Jinja chat template.

A template comes with a model's files, so it is untrusted code. It runs in Jinja's immutable sandbox, in a child process
with limits on processor time and memory (`template_process.py`), and gets plain values only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.errors import InputError
from archcalc.text import template_process
from archcalc.words import msg

SECONDS = 2  # of processor time; to start Python and render 2,000 messages takes 0.1
MEMORY_MIB = 256  # of address space, of which Python itself takes 25
MAX_CHARACTERS = 4_000_000  # of a rendered conversation
MAX_PROBLEM = 1_000  # characters of a template's own complaint
REASONING = ("reasoning_content", "thinking", "reasoning")  # synonyms; templates read the first two

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

    `names` are further variables of the template (tools, documents, its own switches). Equal to
    `apply_chat_template(tokenize=False)` of transformers. Raise InputError if there is no template, or if it fails or
    exceeds a limit.
    """
    if template is None:
        raise InputError(msg("the tokenizer has no chat template"), allowed=msg("a plain prompt (archcalc generate)"))
    variables = {"tools": None, "documents": None, "bos_token": bos, "eos_token": eos, **names}
    variables |= {"messages": list(map(_with_reasoning, messages)), "add_generation_prompt": add_generation_prompt}
    request = json.dumps([template, variables, SECONDS, MEMORY_MIB, MAX_CHARACTERS], default=_plain)
    child = subprocess.run(  # noqa: S603 (our own program; the template is its input)
        [sys.executable, "-S", "-P", template_process.__file__],
        input=request.encode(),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C"},  # a locale's archive may be large
        check=False,
    )
    output = child.stdout.decode("utf-8", "surrogatepass")
    if child.returncode:
        raise InputError(msg("the chat template {problem}", problem=_problem(child.returncode, output)))
    return output


def _with_reasoning(message: Message) -> dict[str, Any]:
    """Return a message with its reasoning, if it has any, under the names that templates read."""
    reasoning = next((message[name] for name in REASONING if message.get(name) is not None), None)
    return {**message} if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """Replace what JSON does not know, so that no object's method is within a template's reach."""
    return dict(value) if isinstance(value, Mapping) else f"<{type(value).__name__}>"


def _problem(returncode: int, output: str) -> str:
    """Return the reason for a failure."""
    if returncode == template_process.REFUSED:
        return output[:MAX_PROBLEM]
    if returncode == -signal.SIGXCPU:
        return f"takes more than {SECONDS} s of processor time"
    return f"cannot be rendered: its process ended with {returncode}"
