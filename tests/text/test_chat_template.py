"""Chat templates: as transformers renders them, and one line for a hostile or broken one."""

# ruff: noqa: E501 (a template's spaces count, so its lines stay whole)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from archcalc.errors import InputError
from archcalc.text import template_process
from archcalc.text.chat_template import MAX_CHARACTERS, MAX_PROBLEM, MEMORY_MIB, SECONDS, render

MESSAGES = [
    {"role": "system", "content": "Be <brief> & exact: é 😀"},
    {"role": "user", "content": "  Call :1234567890 or %1234567890d "},
    {"role": "assistant", "content": "Done.", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": [2.5, None]}}]},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "Now.", "reasoning": "Hm."},
    {"role": "assistant", "content": "Now.", "thinking": "Hm.", "reasoning_content": None},
]
# Our own, after the styles that are published: ChatML, Llama 2's turns, Llama 3's headers, tools as JSON, training marks.
TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "turns": """{%- if messages[0].role == 'system' -%}
    {%- set system, rest = messages[0].content, messages[1:] -%}
{%- else -%}
    {%- set system, rest = none, messages -%}
{%- endif -%}
{%- for m in rest -%}
    {%- if m.role == 'user' -%}
        {{ bos_token + '[INST] ' + (('<<SYS>>\n' ~ system ~ '\n<</SYS>>\n\n') if loop.first and system else '') }}
        {{- m.content | trim }} [/INST]
    {%- else -%}
        {{ ' ' ~ m.content | trim ~ ' ' ~ eos_token }}
    {%- endif -%}
{%- endfor -%}""",
    "blocks are trimmed": """
  {% for m in messages %}
    {% if m.role == 'system' %}
      {% continue %}
    {% endif %}
{{ loop.index }}/{{ loop.length }} {{ loop.last }} {{ (loop.previtem or {}).role }} {{ loop.cycle('a', 'b') }}
    {% if loop.index == 3 %}{% break %}{% endif %}
  {% endfor %}
""",
    "tools": "{{ messages | tojson }}{{ messages[2].tool_calls[0].arguments | tojson(indent=2) }}{{ tools is none }}"
    "{{ documents }}{% for k, v in messages[2].tool_calls[0].items() | sort %}{{ k }}={{ v }};{% endfor %}",
    "namespace and macros": "{% set ns = namespace(n=0, last='') %}{% macro turn(m, mark='#') %}{{ mark * 2 }}{{ m.role }}{% endmacro %}"
    "{% for m in messages if m.role != 'system' %}{% set ns.n = ns.n + 1 %}{% set ns.last = turn(m, mark='>') %}{{ ns.last }}"
    "{% else %}none{% endfor %}{{ ns.n ** 2 }}",
    "filters": "{{ messages | map(attribute='role') | unique | join(', ') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ 'a-%03d' | format(7) }}{{ '%s:%s' % ('x', messages[1].content) }}{{ '{}{:>4}'.format(messages[1].content, 1) }}"
    "{{ 'mid' | center(9) }}{{ 'x\ny' | indent(2) }}{{ messages[1].content.strip().split(' ')[0] }}{{ dict(a=1) }}{{ range(3) | list }}",
    "marks": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}\n{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "undefined": "{{ nothing }}{% for x in nothing %}{{ x }}{% else %}empty{% endfor %}{{ messages[0].nothing is defined }}"
    "{% if nothing is not defined %}{% set nothing = 'set' %}{% endif %}{{ nothing }}",
    "date": "{{ strftime_now('%Y-%m-%d, %B, é') }}",
    "reasoning": "{% for m in messages %}{{ m.thinking }}/{{ m.reasoning_content }}/{{ m.reasoning }};{% endfor %}",
    "types": "{{ dict.fromkeys('ab') }}{{ dict([('a', 1)], b=2) }}{{ namespace({'a': 1}, self=2).self }}{{ 10**10**10 }}",
    "modules on demand": "{{ messages[1].content | wordwrap(9) }}{{ messages | pprint }}{{ 'http://a.b' | urlize }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompted", [True, False])
def test_a_conversation_is_as_transformers_renders_it(name: str, prompted: bool):
    told = {"bos_token": "<s>", "eos_token": "</s>"}
    theirs = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **told)
    expected = theirs.apply_chat_template(
        MESSAGES, chat_template=TEMPLATES[name], tokenize=False, add_generation_prompt=prompted
    )
    assert expected
    found = render(TEMPLATES[name], MESSAGES, bos="<s>", eos="</s>", add_generation_prompt=prompted)
    assert found == expected


def test_what_else_a_template_asks_for():
    assert render("{{ thinking }}{{ tools[0].name }}", MESSAGES, thinking=True, tools=[{"name": "add"}]) == "Trueadd"


TIME = f"takes more than {SECONDS} s of processor time"
MEMORY = f"takes more than {MEMORY_MIB} MiB of memory"
HOSTILE: dict[str, tuple[str, str]] = {
    "classes": ("{{ ''.__class__.__mro__ }}", "tries what is not safe"),
    "builtins": ("{{ raise_exception.__globals__.os }}", "tries what is not safe"),
    "a name by format": ("{{ '{0.__class__.__mro__}'.format(1) }}", "tries what is not safe"),
    "change what it is given": ("{{ messages.append(1) }}", "tries what is not safe"),
    "namespace's own": ("{{ namespace(__class__=1) }}", "tries what is not safe"),
    "files": ("{% include '/etc/passwd' %}", "fails"),
    "loops": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        TIME,
    ),
    "calls": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        TIME,
    ),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", r"asks for too much \(RecursionError\)"),
    "repetition": ("{{ 'a' * 10**10 }}", MEMORY),
    "repetition from the right": ("{{ 10**10 * 'a' }}", MEMORY),
    "powers": ("{{ 10 ** (10**10) }}", TIME),
    "doubling by ~": (
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        MEMORY,
    ),
    "doubling by +": (
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        MEMORY,
    ),
    "width": ("{{ '%9999999999d' % 1 }}", MEMORY),
    "width by format": ("{{ '{:>9999999999}'.format(1) }}", MEMORY),
    "width by a filter": ("{{ 'a' | center(10**9) }}", MEMORY),
    "width by a method": ("{{ 'a'.ljust(10**9) }}", MEMORY),
    "output": (
        "{% for i in range(9999) %}" + "x" * 1000 + "{% endfor %}",
        f"writes more than {MAX_CHARACTERS:,} characters",
    ),
    "output in a block": (
        "{% set x %}{% for i in range(99999) %}{{ 'ab' * 2000 }}{% endfor %}{% endset %}",
        MEMORY,
    ),
    "grammar": ("{% if %}", "fails"),
    "unfinished": ("{% for m in messages %}", "fails"),
    "its own refusal": ("{{ raise_exception('roles must alternate') }}", r"fails \(roles must alternate\)"),
    "past the end": ("{{ messages[9].role }}", "fails"),
    "kinds": ("{{ 1 + 'a' }}", r"fails \(TypeError"),
    "division": ("{{ 1 // 0 }}", r"fails \(ZeroDivisionError"),
    "a range": ("{{ range(10**9) }}", r"asks for too much \(OverflowError\)"),
    "a long filler": ("{{ lipsum(n=10**9) }}", TIME),
    "powers of words": ("{{ 2 ** 'a' }}", r"fails \(TypeError"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_that_must_not_run_is_told_in_one_line(name: str):
    template, line = HOSTILE[name]
    with pytest.raises(InputError, match=f"the chat template .*({line})") as caught:
        render(template, MESSAGES)
    assert "\n" not in str(caught.value)


def test_many_steps_are_far_from_the_limit():
    """200,000 steps and 2,000 messages: 0.1 s of the processor time allowed."""
    loops = "{% for a in range(200) %}{% for b in range(1000) %}{% endfor %}{% endfor %}"
    assert render(loops + TEMPLATES["chatml"], MESSAGES[:1] * 2000).count("<|im_end|>") == 2000


def test_a_long_complaint_is_cut():
    with pytest.raises(InputError) as caught:
        render("{{ raise_exception('no' * 10**6) }}", MESSAGES)
    assert len(str(caught.value)) < MAX_PROBLEM + 100


def test_limits_are_those_of_one_rendering():
    for _ in range(2):
        with pytest.raises(InputError, match=MEMORY):
            render(HOSTILE["repetition"][0], MESSAGES)
        assert render("{{ messages | length }}", MESSAGES) == str(len(MESSAGES))


def test_a_killed_process_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "program.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(template_process, "__file__", str(program))
    with pytest.raises(InputError, match=r"^the chat template cannot be rendered: its process ended with -9$"):
        render("", MESSAGES)


def test_objects_are_out_of_reach():
    class Secret:
        def open(self) -> str:
            return "opened"

    given: list[Any] = [{"role": "user", "content": Secret()}]
    assert render("{{ messages[0].content }}", given) == "<Secret>"
    with pytest.raises(InputError):
        render("{{ messages[0].content.open() }}", given)


def test_without_a_template():
    with pytest.raises(InputError, match="the tokenizer has no chat template; expected a plain prompt"):
        render(None, MESSAGES)
