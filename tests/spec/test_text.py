"""YAML and JSON text that is broken or hostile: one line, in bounded time and memory; and what is read as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcalc.errors import InputError
from archcalc.sources import load
from archcalc.spec.text_bounds import MAX_BYTES, MAX_DEPTH
from archcalc.spec.yaml_reader import parse


def doubling(merge: bool) -> bytes:
    """Aliases of aliases: a few lines that stand for 10⁹ values."""
    lines = [f"v{i}: &v{i} [{', '.join([f'*v{i - 1}'] * 10)}]" for i in range(1, 10)]
    first = "v0: &v0 {a: 1, b: 2}" if merge else "v0: &v0 [1, 2, 3]"
    return "\n".join([first, *lines, *(["m: {<<: *v9}"] if merge else [])]).encode()


def many_merges() -> bytes:
    keys = ", ".join(f"k{i}: 1" for i in range(2000))
    return f"a: &a {{{keys}}}\nb: {{<<: [{', '.join(['*a'] * 200)}]}}".encode()


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty; expected YAML or JSON"),
    "whitespace": (b" \n\t \n", "empty"),
    "byte order mark alone": (b"\xef\xbb\xbf", "empty"),
    "binary": (bytes(range(256)), "not text in UTF-8"),
    "UTF-16": ("name: x".encode("utf-16"), "not text in UTF-8"),
    "a GGUF header": (b"GGUF\x03\0\0\0", "not valid YAML or JSON: unacceptable character #x0003"),
    "escape sequence": (b'name: "\x1b[31m"', "unacceptable character #x001b"),
    "too large": (b"#" * (MAX_BYTES + 1), "4,194,305 bytes; expected up to 4,194,304"),
    "deep JSON": (b'{"a":' * 100_000, f"nested too deeply, or inside itself; expected {MAX_DEPTH} levels"),
    "rather deep JSON": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested too deeply"),
    "deep YAML": (b"[" * 100_000, f"nested too deeply; expected {MAX_DEPTH} levels"),
    "deep YAML sequence": (b"- " * 5_000 + b"x", "nested too deeply"),
    "deep YAML block": (b"\n".join(b" " * i + b"a:" for i in range(500)), "nested too deeply"),
    "deep YAML in braces": (b"{a: " * 50_000, "nested too deeply"),
    "truncated JSON": (b'{"name": "x", "vocab', "line 1, column 21: not valid YAML or JSON"),
    "open brace": (b'{"name": "x"', "not valid YAML or JSON: did not find expected ',' or '}'"),
    "tab": (b"a:\n\tb: 1", "line 2, column 1: not valid YAML or JSON"),
    "two documents": (b"a: 1\n---\nb: 2", "line 2, column 1: not valid YAML or JSON: but found another document"),
    "inside itself": (b"a: &a [*a]", "line 1, column 4: a value contains itself"),
    "merged with itself": (b"a: &a {<<: *a}", "line 1, column 4: a value contains itself"),
    "unknown alias": (b"a: *b", "line 1, column 4: not valid YAML or JSON: found undefined alias"),
    "alias bomb": (doubling(merge=False), "expands to too many values; expected up to 200,000"),
    "merge bomb": (doubling(merge=True), "'<<' merges a list; expected a mapping, or a list of them"),
    "many merges": (many_merges(), "line 2: merges too many values; expected up to 200,000"),
    "merge of a number": (b"a: {<<: 5}", "line 1: '<<' merges 5"),
    "key twice": (b"a: 1\nb: 2\na: 3", "line 3: the key 'a' is repeated; expected each key once"),
    "key twice, deeper": (b"a:\n  b: 1\n  b: 2", "line 3: the key 'b' is repeated"),
    "key twice in JSON": (b'{"a": 1, "a": 2}', "the key 'a' is repeated"),
    "number as key": (b"1: 2", "line 1: the key 1 is not text; expected text keys"),
    "null as key": (b"~: 2", "line 1: the key None is not text"),
    "list as key": (b"? [a]\n: 1", "line 1: the key a list is not text"),
    "python call": (
        b'!!python/object/apply:os.system ["echo"]',
        "line 1: the tag 'tag:yaml.org,2002:python/object/apply",
    ),
    "python name": (b"a: 1\nb: !!python/name:os.system", "line 2: the tag 'tag:yaml.org,2002:python/name:os.system'"),
    "tag of its own": (b"a: !foo 3", "line 1: the tag '!foo'; expected plain data without tags"),
    "false boolean": (b"a: !!bool x", "line 1: the tag 'tag:yaml.org,2002:bool'"),
    "false mapping": (b"!!map [1]", "line 1: the tag 'tag:yaml.org,2002:map'"),
    "binary value": (b"a: !!binary aGk=", "line 1: the tag"),
    "5,000 digits": (b"vocab_size: " + b"9" * 5000, "a value that cannot be read (an integer of too many digits)"),
    "5,000 digits in JSON": (b'{"vocab_size": ' + b"9" * 5000 + b"}", "(an integer of too many digits)"),
    "no date": (b"a: 2020-99-99", "a value that cannot be read (month must be in 1..12"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text_gets_one_line(case: str, tmp_path: Path):
    data, says = BAD[case]
    (tmp_path / "spec.yaml").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "spec.yaml")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/spec.yaml: ")
    assert says in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"- a\n- b", "a list"),
        (b"[1, 2]", "a list"),
        (b"hello", "'hello'"),
        (b"5", "5"),
        (b"null", "None"),
        (b"# a", "None"),
    ],
)
def test_the_root_is_a_mapping(text: bytes, found: str, tmp_path: Path):
    (tmp_path / "spec.yaml").write_bytes(text)
    with pytest.raises(InputError, match=f"found {found}; expected a mapping: a spec, or a Hugging Face config"):
        load(tmp_path / "spec.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"a: 1e-5", {"a": 1e-5}),
        (b"a: 1.0e-6", {"a": 1e-6}),
        (b"a: 1E6", {"a": 1e6}),
        (b"a: 12\nb: null", {"a": 12, "b": None}),
        (b'{"a": [1, {"b": "x"}]}', {"a": [1, {"b": "x"}]}),
        (b"{a: 1, b: [2]}", {"a": 1, "b": [2]}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        (b"a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        (b"- &x {b: 1}\n- &y {b: 2, c: 3}\n- {<<: [*x, *y]}", [{"b": 1}, {"b": 2, "c": 3}, {"b": 1, "c": 3}]),
        (b'"<<": 1', {"<<": 1}),
        (b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1), None),
    ],
)
def test_good_text_is_read(text: bytes, value: object):
    found = parse(text)
    assert value is None or found == value
