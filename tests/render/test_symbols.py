"""What the symbols of a workload are said to be is what the ledger computes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis.atoms import ATOMS, STATED, is_of_work
from archcalc.analysis.workload_symbols import SYMBOL_WORDS, workload_symbols
from archcalc.ledger import tokens
from archcalc.ledger.tokens import workload_sizes
from archcalc.render.explain import symbol_lines
from archcalc.spec.workload import Workload
from archcalc.words import LANGS, translator

# Those of two sizes.
TWO = {"best_entries", "near_first", "source_near_first", "block_pairs", "source_block_pairs"}
SYMBOLS = [symbol for kind, said in SYMBOL_WORDS.items()
           for symbol, form in ((kind, said.formula),
                                (f"{kind}(window[a]{', more[a]' if kind in TWO else ''})", said.windowed))
           if form]  # fmt: skip
SUM = re.compile(r"sum of (?P<term>.*) over t = 1 … (?P<last>\w+)|(?P<summand>.*) 对 t = 1 … (?P<end>\w+) 求和")
STEP = r"(\1) if seq > 1 or past == 0 else 0"
LINE = re.compile(r"(\S+(?: more\S+)?) = (.*) = (\d+)[:：].+")
BLOCKS = re.compile(
    r"(?P<all>.+) if (?P<is>.+), else (?P<some>.+); m = (?P<m>.+), l = (?P<l>.+)"
    r"|(?P<is2>.+) 时为 (?P<all2>.+)，否则为 (?P<some2>.+)；m = (?P<m2>.+)，l = (?P<l2>.+)"
)


def computed(formula: str, sizes: dict[str, int]) -> int:
    """The value of a formula in words: 'sum of min(past + t, window) over t = 1 … seq'."""
    if told := SUM.fullmatch(formula):
        term, last = told["term"] or told["summand"], told["last"] or told["end"]
        return sum(computed(term, sizes | {"t": t}) for t in range(1, sizes[last] + 1))
    if told := BLOCKS.fullmatch(formula):
        whole, few, some, m, last = (told[name] or told[f"{name}2"] for name in ("all", "is", "some", "m", "l"))
        sizes = sizes | {"m": computed(m, sizes)}
        sizes |= {"l": computed(last, sizes)}
        return computed(whole if computed(few, sizes) else some, sizes)
    text = formula.replace("window[a]", "window").replace("more[a]", "more")
    text = re.sub(r"(.+) if past = 0, else (.+)", r"(\1) if past == 0 else (\2)", text)
    text = re.sub("past = 0 时为 (.+)，否则为 (.+)", r"(\1) if past == 0 else (\2)", text)
    text = re.sub("⌈(.+?)/(.+?)⌉", r"(-(-(\1) / (\2)))", text)
    text = re.sub("⌊(.+?)/(.+?)⌋", r"((\1) / (\2))", text)
    text = re.sub("(.+)(; 0 for one token after others|；若只有一个接在其他词元之后的词元，则为 0)", STEP, text)
    for sign, python in (("·", "*"), ("−", "-"), ("/", "//"), ("mod", "%"), ("≤", "<=")):
        text = text.replace(sign, python)
    return eval(text, {"min": min, "max": max}, {**sizes, "window": sizes["window[a]"], "more": sizes["more[a]"]})  # noqa: S307


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("symbol", SYMBOLS)
@given(seq=st.integers(1, 12), past=st.integers(0, 9), source=st.integers(1, 9), window=st.integers(1, 14))
def test_what_is_said_is_what_is_computed(
    symbol: str, lang: str, seq: int, past: int, source: int, window: int
) -> None:
    work = Workload(batch=2, seq=seq, past=past, source_seq=source)
    sizes = workload_sizes({"window[a]": window, "more[a]": past % 4}, work, [symbol])
    stated, line = map(translator(lang), symbol_lines([*workload_symbols([symbol], sizes)]))
    assert stated.startswith(f"batch = 2, seq = {seq}, past = {past}")
    assert stated.endswith(f", source_seq = {source}") == ("source" in symbol)
    name, formula, value = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
    assert name == symbol
    assert computed(formula, sizes) == sizes[symbol] == int(value)


def test_every_symbol_has_its_words() -> None:
    assert set(SYMBOL_WORDS) == set(ATOMS)
    assert len(SYMBOLS) == 38


def test_every_symbol_of_a_workload_is_told() -> None:
    assert set(ATOMS) | set(STATED) == {*tokens._WORKLOAD_FUNCTIONS, *workload_sizes({}, Workload(), [])}
    assert all(map(is_of_work, ("keys", "pairs(window)", "batch", "source_new")))
    assert not any(map(is_of_work, ("window", "n_layers", "d_model")))
