"""`archcalc explain`: every equation that it prints is true."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archcalc import presets
from archcalc.analysis.flops import by_component, by_op
from archcalc.contract import report
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.sources import load
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from tests.cli.conftest import Cli

Good = Callable[..., str]

ATOM = r"(?:keys|cached|pairs|near|source_near)\([^)]*\)"
TOKEN = re.compile(rf"\d+(?:,\d{{3}})*|{ATOM}|[a-z][a-z0-9_.]*(?:\[[^\]]*\])?|[⁰¹²³⁴⁵⁶⁷⁸⁹]+|[()+·]")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
each_preset = pytest.mark.parametrize("name", presets.names())


class Formula:
    """Evaluates a formula as it is printed: '4·d_model²·n_layers + 13·(a + b)', numbers with or without commas."""

    def __init__(self, text: str, sizes: dict[str, int]) -> None:
        self.tokens = TOKEN.findall(text)
        assert "".join(self.tokens) == text.replace(" ", ""), f"understood in full: {text}"
        self.sizes, self.at = sizes, 0

    def value(self) -> int:
        found = self.sum()
        assert self.at == len(self.tokens)
        return found

    def next_is(self, token: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == token:
            self.at += 1
            return True
        return False

    def sum(self) -> int:
        found = self.product()
        while self.next_is("+"):
            found += self.product()
        return found

    def product(self) -> int:
        found = self.power()
        while self.next_is("·"):
            found *= self.power()
        return found

    def power(self) -> int:
        found = self.atom()
        if self.at < len(self.tokens) and self.tokens[self.at][0] in "⁰¹²³⁴⁵⁶⁷⁸⁹":
            self.at += 1
            return found ** int(self.tokens[self.at - 1].translate(SUPERSCRIPTS))
        return found

    def atom(self) -> int:
        if self.next_is("("):
            found = self.sum()
            assert self.next_is(")")
            return found
        token = self.tokens[self.at]
        self.at += 1
        return int(token.replace(",", "")) if token[0].isdigit() else self.sizes[token]


def steps(equation: str, sizes: dict[str, int]) -> set[int]:
    """What each side of an equation comes to."""
    return {Formula(side, sizes).value() for side in equation.split(" = ")}


def test_the_evaluator_itself() -> None:
    assert Formula("4·d²·(a + 2·b) + 1,000", {"d": 3, "a": 5, "b": 7}).value() == 4 * 9 * 19 + 1000


def explained(text: str) -> dict[str, dict[str, Any]]:
    """Return the formulas of a JSON object by figure."""
    return {one["figure"]: one for one in json.loads(text)["formulas"]}


def sizes_of(name: str, **asked: int) -> dict[str, int]:
    """The table that formulas read: the model's sizes, and the workload's."""
    spec = load(name)
    return build(spec, Execution()).at(workload(spec, **asked))


@each_preset
def test_figures_are_the_reports_and_their_equations_hold(name: str, good: Good) -> None:
    spec, sizes = load(name), sizes_of(name)
    found = explained(good("explain", name, "-f", "json"))
    told, flops = report(spec), by_component(by_op(build(spec), workload(spec)))
    expected = {key: count for key, count in told["params"].items() if key != "by_component"}
    expected |= told["params"]["by_component"]
    expected |= {f"{part}.{key}": count for part in ("flops", "memory") for key, count in told[part].items()}
    expected |= {f"flops.{one}": flops[one]["forward"] if one in flops else 0 for one in COMPONENTS}
    kept = build(spec, Execution()).saved_activations
    expected["memory.activations_bytes"] = sum(row.bytes(sizes) for row in kept)
    assert {figure: one["value"] for figure, one in found.items()} == expected
    for one in found.values():
        assert steps(one["formula"], sizes) == {one["value"]}
        assert Formula(one["expression"], sizes).value() == one["value"]
        assert one["kind"] == "exact"


@each_preset
def test_parts_terms_and_multiples_add_up(name: str, good: Good) -> None:
    sizes, found = sizes_of(name), explained(good("explain", name, "-f", "json"))
    for one in found.values():
        assert sum(part["value"] for part in one["parts"]) in (0, one["value"])
        assert sum(term["value"] for term in one["terms"]) in (0, one["value"])
        assert all(steps(part["formula"], sizes) == {part["value"]} for part in one["parts"])
        assert all(steps(term["expression"], sizes) == {term["value"]} for term in one["terms"])
        assert bool(one["terms"]) == (one["n_terms"] > 8)
        assert all(len(steps(relation, sizes)) == 1 for relation in one["relations"])
        if one["multiple_of"]:
            *factor, other = one["multiple_of"].split("·")
            assert one["value"] == int(factor[0] if factor else 1) * found[other]["value"]


def test_rows_say_what_they_are(good: Good) -> None:
    """The record has all that the page says."""
    told = json.loads(good("explain", "gpt-oss-20b", "*", "--seq", "3", "--past", "9", "-f", "json"))
    weight, product, cache = (
        next(one for one in told["formulas"] if one["what"] == what) for what in ("weight", "product", "cache")
    )
    assert weight["share"] == weight["value"] / weight["share_of"]
    assert weight["share_of"] == report(load("gpt-oss-20b"))["params"]["total"]
    assert math.prod(weight["shape"]) == weight["parts"][0]["value"] == weight["value"] // weight["layers"]
    assert 2 * math.prod(product["shape"]) == product["parts"][0]["value"] == product["value"] // product["layers"]
    assert product["share_of"] == report(load("gpt-oss-20b"), seq=3, past=9)["flops"]["forward"]
    assert 2 * cache["parts"][0]["value"] == cache["value"] == 2 * math.prod(cache["shape"]) * cache["layers"]
    (experts,) = (one for one in told["formulas"] if one["figure"] == "layers.*.ffn.experts.down.weight")
    assert experts["active_value"] * 32 == experts["value"] * 4
    (scores,) = (one for one in told["formulas"] if one["figure"] == "flops.layers.*.attn.scores [global]")
    assert 2 * math.prod(scores["causal_shape"]) * scores["layers"] == scores["causal_value"] < scores["value"]
    assert told["dimensions"]["window"] == 128
    symbols = {one["symbol"]: one for one in told["symbols"]}
    assert (symbols["past"]["value"], symbols["past"]["formula"]) == (9, None)
    assert (symbols["keys"]["value"], symbols["keys"]["formula"]) == (12, "seq + past")
    (head,) = (one for one in explained(good("explain", "gpt2", "head.weight", "-f", "json")).values()
               if one["what"] == "weight")  # fmt: skip
    assert (head["share"], head["share_of"]) == (None, None)
    assert head["note"].startswith("tied: ")


@each_preset
def test_every_leafs_equation_holds(name: str, good: Good) -> None:
    """Weights, products and caches, of a step after a past where there is a cache."""
    spec = load(name)
    asked = {} if spec.family == "encoder" else {"seq": 3, "past": min(9, spec.n_ctx - 3)}
    options = [word for key, count in asked.items() for word in (f"--{key}", str(count))]
    found = explained(good("explain", name, "*", "-f", "json", *options))
    ledger, sizes, told = build(spec), sizes_of(name, **asked), report(spec, **asked)
    for one in found.values():
        assert steps(one["formula"], sizes) == {one["value"]}
    flops = [one for figure, one in found.items() if figure.startswith("flops.")]
    memory = [one for figure, one in found.items() if figure.startswith("memory.")]
    weights = [one for figure, one in found.items() if not figure.startswith(("flops.", "memory."))]
    assert len(weights) == len(ledger.rows) + len(ledger.tied)
    assert sum(one["value"] for one in weights) == sum(row.total for row in (*ledger.rows, *ledger.tied))
    assert sum(one["value"] for one in flops) == told["flops"]["forward"]
    assert sum(one["causal_value"] for one in flops) == told["flops"]["forward_causal"]
    assert all(steps(one["causal_formula"], sizes) == {one["causal_value"]} for one in flops)
    assert all(Formula(one["causal_expression"], sizes).value() == one["causal_value"] for one in flops)
    assert sum(one["value"] for one in memory) == told["memory"]["kv_cache_bytes"]


PREFIX = re.compile(r"^(weights|biases|tokens by weights|tokens by tokens|with|(?:flops|memory)\.\w+)[: ] ?")


@each_preset
@pytest.mark.parametrize("row", [None, "flops.forward", "flops.attention", "memory.kv_cache_bytes"])
def test_every_line_of_the_page_holds(name: str, row: str | None, good: Good) -> None:
    """Also of the long formulas, whose terms stand on lines of their own."""
    told, sizes = report(load(name)), sizes_of(name)
    sizes |= {"total": told["params"]["total"]} | {f"flops.{key}": count for key, count in told["flops"].items()}
    terms: list[str] = []
    n_checked = 0
    for line in lines(good("explain", name, *([row] if row else []), "-f", "md")):
        text = PREFIX.sub("", line)
        stated = re.split(r", (?![^\[]*\])", text)
        if re.match("axes|causal axes|a sum of", text) or ": " in text or " % of" in text:
            continue  # leaves and the workload, which have tests of their own
        if all(" = " in each for each in stated):
            terms = []
            assert all(len(steps(each, sizes)) == 1 for each in stated)
        elif text.startswith("= "):
            assert len({Formula(" ".join(terms), sizes).value(), *steps(text[2:], sizes)}) == 1
        else:
            terms = [*terms, text] if text.startswith("+ ") else [text]
        n_checked += 1
    assert n_checked >= (10 if row is None else 1)


def test_a_product_says_what_it_multiplies(good: Good) -> None:
    text = good("explain", "gpt-oss-20b", "layers.*.attn.scores", "--seq", "1", "--past", "2047", "--batch", "2")
    for line in (
        "layers.*.attn.scores [sliding]: attention, product, FLOPs",
        "axes [batch, n_heads, seq, keys(window), d_head] = [2, 64, 1, 128, 64]",
        "each: 2 · batch · n_heads · seq · keys(window) · d_head = 2,097,152",
        "over 12 layers: 2·n_heads·batch·d_head·keys·seq·n_layers[global] = 2·64·2·64·2048·1·12 = 402,653,184",
        "causal axes [batch, n_heads, pairs(window), d_head] = [2, 64, 128, 64]",
        "batch = 2, seq = 1, past = 2047",
        "keys(window) = seq + min(past, window − 1) = 128: tokens that a layer holds",
        "window = 128",
    ):
        assert line in text


def test_a_cache_says_what_it_holds(good: Good) -> None:
    text = good("explain", "llama-3-8b", "memory.kv_cache_bytes", "--seq", "4", "--past", "10", "--dtype", "fp8")
    assert "axes of each sequence [n_kv_heads, cached, d_head] = [8, 14, 128]" in text
    assert "in fp8: 1 · 458,752 = 458,752" in text
    assert "all keys and values kept, in fp8, 1 byte each" in text


def test_bytes_are_by_default_as_the_source_states_them(good: Good, tmp_path: Path) -> None:
    """In one plain dtype by a formula, and in several formats as the sum over them."""
    config: dict[str, Any] = {"model_type": "llama", "num_hidden_layers": 1, "torch_dtype": "float32"}
    (tmp_path / "plain.json").write_text(json.dumps(config))
    (tmp_path / "int8.json").write_text(json.dumps(config | {"quantization_config": {"load_in_8bit": True}}))
    of_formats = "as the files store them: fp32 1,048,625,152, int8-bnb 202,545,152"
    for name, line in (("plain", "memory.weights_bytes: 4·total = "), ("int8", of_formats)):
        stated = json.loads(good("report", f"./{name}.json", "-f", "json"))["memory"]
        assert line in (text := good("explain", f"./{name}.json"))
        assert f"memory.weights_bytes{':' if name == 'plain' else ' ='}" in text
        for figure in ("weights_bytes", "kv_cache_bytes"):
            assert figure_of(good, f"./{name}.json", f"memory.{figure}") == stated[figure]
    assert "in fp32, 4 bytes each" in good("explain", "./plain.json", "memory.weights_bytes")


def figure_of(good: Good, source: str, name: str) -> int:
    value: int = explained(good("explain", source, name, "-f", "json"))[name]["value"]
    return value


def test_a_module_is_its_weights_and_its_product(good: Good) -> None:
    found = explained(good("explain", "gpt3", "layers.*.attn.q", "-f", "json"))
    assert list(found) == ["layers.*.attn.q.weight", "layers.*.attn.q.bias", "flops.layers.*.attn.q"]
    assert list(explained(good("explain", "gpt3", "layers.7.attn.q", "-f", "json"))) == list(found)
    both = explained(good("explain", "gpt3", "layers.*.attn.values", "-f", "json"))
    assert list(both) == ["flops.layers.*.attn.values", "memory.layers.*.attn.values"]
    assert list(explained(good("explain", "gpt3", "flops.layers.*.attn.values", "-f", "json"))) == list(both)[:1]


def lines(markdown: str) -> Iterator[str]:
    for line in markdown.splitlines():
        if line.startswith("- "):
            yield re.sub(r"\\(.)", r"\1", line[2:])


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("total", "total: every stored tensor once"),
        ("non-embedding", "non_embedding: without embedding, positions and head"),
        ("untied", "untied: the tied head's matrix"),
        ("attention", "attention: all of the component attention"),
        ("head", "tied: stored once, as the token table"),
        ("mixer", "0: the model has none"),
        ("frozen", "0: the model has none"),
        ("attn.q", "layers.*.attn.q.weight: attention, trainable"),
        ("layers.3.attn.q.weight", "over 96 layers: d_model²·n_layers"),
        ("layers.*.ffn.*", "layers.*.ffn.down.bias"),
        ("final_norm.weight", "over 1 layer: d_model = 12,288"),
    ],
)
def test_what_a_row_may_be(row: str, shown: str, good: Good) -> None:
    assert shown in good("explain", "gpt3", row)


def test_active_part_of_experts(good: Good) -> None:
    text = good("explain", "mixtral-8x7b", "experts.up")
    assert "active: n_active·d_expert·d_model·n_layers = 2·14336·4096·32 = 3,758,096,384" in text


def test_a_label_of_the_weights_view_is_a_row(good: Good) -> None:
    found = explained(good("explain", "deepseek-v3", "layers.*.ffn.up.weight [dense]", "-f", "json"))
    assert list(found) == ["layers.*.ffn.up.weight [dense]"]


def test_csv_has_formula_and_value(good: Good) -> None:
    first, *_ = csv.DictReader(io.StringIO(good("explain", "gpt3", "attention", "-f", "csv")))
    assert {name: cell for name, cell in first.items() if cell and name != "parts"} == {
        "figure": "attention",
        "expression": "4·d_model²·n_layers + 4·d_model·n_layers",
        "formula": "4·d_model²·n_layers + 4·d_model·n_layers = 4·12288²·96 + 4·12288·96 = 57,986,777,088",
        "value": "57986777088",
        "what": "figure",
        "meaning": "all of the component attention",
        "n_terms": "2",
        "relations": "n_kv_heads = n_heads; n_heads·d_head = d_model",
        "kind": "exact",
    }
    assert [(part["part"], part["value"]) for part in json.loads(first["parts"])] == [
        ("weights", 57_982_058_496),
        ("biases", 4_718_592),
    ]


@pytest.mark.parametrize("row", ["atention", "", "layers.96.attn.q.weight", "xyz"])
def test_what_a_row_may_not_be(row: str, cli: Cli) -> None:
    found = cli("explain", "gpt3", row)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert f"no figure, weight, product or cache is called {row!r}" in found.err
    assert "expected total, untied, active" in found.err


def test_what_autograd_keeps_has_a_formula(good: Good, cli: Cli) -> None:
    """36 s·b·h and 8 a·s²·b a layer, and what stands about them: GPT-2's dropout, in bf16."""
    found = explained(good("explain", "gpt2", "memory.activations_bytes", "--format", "json"))
    assert "36·batch·d_model·seq·n_layers" in found["memory.activations_bytes"]["expression"]
    assert found["memory.activations_bytes"]["value"] == 1_553_686_528
    after_a_cache = cli("explain", "gpt2", "memory.activations_bytes", "--seq", "1", "--past", "5")
    assert (after_a_cache.code, after_a_cache.err.count("\n")) == (2, 1)


ENGLISH = {"the", "of", "with", "each", "over", "axes", "all", "and", "bytes", "product", "layers", "what", "tokens"}
WORD = re.compile(r"(?<![\w.*\[])[a-z]+(?![\w.*])")


@each_preset
@pytest.mark.parametrize("row", [None, "*", "memory.activations_bytes"])
def test_chinese_says_the_same_numbers_in_no_english_words(name: str, row: str | None, good: Good) -> None:
    call = ("explain", name, *([row] if row else []), "-f", "md")
    english, chinese = good(*call), good(*call, "--lang", "zh")
    title, _, told = chinese.partition("\n")
    assert english.startswith(title + "\n")
    assert set(WORD.findall(told)) & ENGLISH == set()
    numbers = re.compile(r"\d[\d,.]*\d|\d")
    assert sorted(numbers.findall(english)) == sorted(numbers.findall(chinese))
    assert len(english.splitlines()) == len(chinese.splitlines())


def test_the_language_may_be_told_by_the_environment(good: Good, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    told = good("explain", "gpt3", "total", "--lang", "zh")
    assert "每个存储的张量计一次" in told
    assert 'lang="zh"' in good("explain", "gpt3", "total", "--lang", "zh", "-f", "html")
    monkeypatch.setenv("ARCHCALC_LANG", "zh")
    assert good("explain", "gpt3", "total") == told
    assert "every stored tensor once" in good("explain", "gpt3", "total", "--lang", "en")
    monkeypatch.setenv("ARCHCALC_LANG", "fr")
    wrong = cli("explain", "gpt3", "total")
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
