"""FLOPs, training memory, adapters and shards in Chinese: no words stay English, and names and formulas stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from archcalc.analysis.adapters.config import AdapterConfig
from archcalc.analysis.inference_memory import inference_memory
from archcalc.analysis.lora import lora_memory
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.peak import CATEGORIES
from archcalc.analysis.shards import Engine, ShardedMemory, sharded_memory
from archcalc.analysis.tensor_names import module_name, tensor_name
from archcalc.analysis.training import RECIPES
from archcalc.analysis.training_memory import training_memory
from archcalc.analysis.training_setup import TrainingSetup, by_recompute, training_setup
from archcalc.analysis.workload_flops import workload_flops
from archcalc.cli.main import cli
from archcalc.dashboard import blocks
from archcalc.ledger.build import build
from archcalc.render import flops, lora, memory, shards, training
from archcalc.render.charts import flops as flops_charts
from archcalc.render.charts import memory as memory_charts
from archcalc.render.output import as_json
from archcalc.render.page import Page, Table, Text
from archcalc.results import plain
from archcalc.sources import decode, load
from archcalc.spec import Spec
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.workload import workload
from archcalc.words import ENGLISH, Message, Translator, translator
from tests.examples import examples
from tests.strategies import specs

CHINESE = translator("zh")
CHARACTER = re.compile("[\u4e00-\u9fff]")
MODELS = ("llama-3-8b", "deepseek-v3", "gpt2", "t5-small", "bert-base")
# Terms that Chinese texts write in Latin letters, names of libraries, options and the letters of formulas.
TERMS = {
    "transformers",
    "CPU",
    "FLOPs",
    "FSDP",
    "GPU",
    "LoRA",
    "autograd",
    "dropout",
    "dtype",
    "logits",
    "softcap",
    "softmax",
    "tanh",
}
TERMS |= {"Adafactor", "AdamW", "Apex", "FusedAdam", "GeLU", "LayerNorm", "Muon", "PyTorch", "SGD", "autocast", "torch"}
TERMS |= {"eager", "flash", "float", "fp", "math", "sinks", "torchao", "erf", "kv_up", "up", "Kaplan", "et", "al"}
TERMS |= {"d_attn", "d_ff", "d_head", "d_model", "lh", "n_ctx", "sb", "tokens"}
# In Chinese these stand in brackets after the Chinese word.
IN_BRACKETS = re.compile("（[a-z_]+）")
# Columns whose plain text is data: paths, kinds of layers, functions, formulas, citations, dtypes, kernels, shapes.
DATA = {"op", "layer", "kind", "operation", "formula", "source", "convention", "tensor", "adapter", "shape", "dtype"}
DATA |= {
    "saved by",
    "kind of layer",
    "device",
    "stored as",
    "attention",
    "split along",
    "first rank's bytes by formula",
    "ledger's formula",
}
DATA |= {"paper, a layer", "a layer's bytes"}


def decoder(name: str) -> bool:
    return load(name).family == "decoder"


def setup(spec: Spec, **way: Any) -> TrainingSetup:
    return training_setup(spec, workload(spec, seq=64), **way)


def training_page(subject: TrainingSetup, view: memory.View = "components") -> Page:
    return training.view(training_memory(subject), training.TrainingMemoryOptions(view))


def sharded(spec: Spec, engine: Engine, n: int) -> ShardedMemory:
    return sharded_memory(spec, build(spec), workload(spec, seq=64), engine, n, dtype="bf16", cache_dtype="fp32")


def pages(spec: Spec) -> Iterator[Page]:
    """Every view of every page, in every way to carry out a step that says something else."""
    is_decoder = spec.family == "decoder"
    for recompute in get_args(Recompute):
        how = Execution(recompute=recompute)
        found = workload_flops(spec, workload(spec, seq=64), how, conventions=is_decoder)
        yield from (flops.view(found, flops.FlopsOptions(view)) for view in flops.VIEWS)
        for view in memory.VIEWS:
            yield training_page(setup(spec, recompute=recompute, conventions=is_decoder), view)
    modeled = setup(spec, attention="flash", device="cuda", experts="gather", dropout=False, recipe="pure")
    tracked = structs.replace(modeled, tracked=dict.fromkeys(CATEGORIES, 10**9))
    for measured in (tracked, structs.replace(modeled, process_bytes=10**9)):
        yield from (training_page(measured, view) for view in memory.VIEWS)
    for optimizer, recipe in zip(OPTIMIZERS.values(), [*RECIPES.values()] * 3, strict=False):
        yield lora.view(lora_memory(spec, AdapterConfig(), dtype="bf16", recipe=recipe, optimizer=optimizer))
        yield training_page(setup(spec, optimizer=optimizer.name, recipe=recipe.name))
    yield shards.view(sharded(spec, "fsdp", 3))
    yield shards.view(sharded(spec, "tp", 1))


def told(page: Page) -> Iterator[tuple[str, Any]]:
    """Each text of a page, with the English heading that it stands under."""
    yield from (("title", page.title), ("subtitle", page.subtitle))
    for block in page.blocks:
        assert isinstance(block, Table | Text)
        yield "title", block.title
        if isinstance(block, Text):
            yield from (("line", line) for line in block.lines)
            continue
        yield from (("heading", column.heading) for column in block.columns)
        for row in block.rows:
            yield from (
                (str(column.heading), value)
                for column, value in zip(block.columns, row, strict=True)
                if column.kind == "text" and value is not None  # an empty cell
            )


def data_of(message: Message) -> Iterator[str]:
    for value in message.values.values():
        if isinstance(value, Message):
            yield from data_of(value)
        else:
            yield str(value)


def latin_in(message: Message, say: Translator) -> set[str]:
    """The words of Latin letters in a message, its data and terms apart."""
    text = IN_BRACKETS.sub("", say(message))
    for name in sorted(data_of(message), key=len, reverse=True):
        text = text.replace(name, "")
    return set(re.findall(r"[A-Za-z_]{2,}", text)) - TERMS


@pytest.mark.parametrize("name", MODELS)
def test_no_words_are_left_in_english(name: str) -> None:
    n_messages = 0
    for page in pages(load(name)):
        for heading, said in told(page):
            if isinstance(said, Message):
                n_messages += 1
                assert not latin_in(said, CHINESE), (heading, CHINESE(said))
                assert CHARACTER.search(CHINESE(said)) or not latin_in(said, ENGLISH), str(said)
            else:
                assert heading in DATA or not re.search("[A-Za-z]{2}", str(said)), (heading, said)
    assert n_messages > 1000


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_message_stays(name: str) -> None:
    for page in pages(load(name)):
        pairs = zip(told(page), told(CHINESE.within(page)), strict=True)
        assert all(isinstance(before, Message) or before == after for (_, before), (_, after) in pairs)


def layered(*names: str) -> Spec:
    """A decoder whose layers carry these names, as its model does the last."""
    attention = {"kind": "gqa", "n_heads": 2, "n_kv_heads": 2, "d_head": 4}
    ffn = {"kind": "plain", "activation": "relu"}
    norm = {"kind": "rmsnorm"}
    pattern = [
        {"name": name, "norm": norm, "attention": attention, "ffn": ffn | {"d_ff": 8 + i}}
        for i, name in enumerate(names)
    ]
    return decode(
        {
            "name": names[-1],
            "vocab_size": 11,
            "n_ctx": 64,
            "d_model": 8,
            "decoder": {"n_layers": len(names), "runs": [{"pattern": pattern}], "final_norm": {"kind": "rmsnorm"}},
            "head": {"tied": True},
        }
    )


def test_layers_that_are_named_like_words_keep_their_names() -> None:
    names = ("cache", "forward", "gradients", "mask", "none", "step", "head", "total")
    spec = layered(*names)
    found = workload_flops(spec, workload(spec, seq=64), Execution())
    (table, *_) = CHINESE.within(flops.view(found, flops.FlopsOptions("layers"))).blocks
    assert isinstance(table, Table)
    assert [row[1] for row in table.rows[: len(names)]] == list(names)
    for page in pages(spec):
        shown = [str(said) for _, said in told(CHINESE.within(page))]
        assert shown[1].startswith("total · ")
        groups = {one for _, said in told(page) for one in re.findall(r"\[(.+?)\]", str(said))}
        assert groups == {one for text in shown for one in re.findall(r"\[(.+?)\]", text)}
    ops = CHINESE.within(flops.view(found, flops.FlopsOptions("ops"))).blocks[0]
    assert isinstance(ops, Table)
    assert {row[1] for row in ops.rows if "ffn.up" in str(row[0])} == set(names)


@examples(30)
@given(specs(), st.sampled_from(["eager", "math"]), st.sampled_from(["gather", "split"]))
def test_saved_tensors_have_names(spec: Spec, attention: Any, experts: Any) -> None:
    """A label of more than one word is a message, and its English is the ledger's."""
    for row in build(spec, Execution(attention=attention, experts=experts)).saved_activations:
        name, module = tensor_name(row.activation.label), module_name(row.path, row.activation.label)
        assert str(name) == row.activation.label
        assert isinstance(name, Message) or " " not in name or re.search("[·+−-]", name), name
        assert str(module) == row.path
        assert isinstance(module, Message) or " " not in row.path, row.path


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (tensor_name("keys of each head"), "键（每个头）"),
        (tensor_name("q_down"), "q_down"),
        (module_name("decoder.mask 2", "mask"), "decoder.掩码 2"),
        (module_name("layers.*.attn.mask", "mask"), "layers.*.attn.mask"),
        (module_name("keys of layer 3", "keys of layer 3"), "第 3 层的键"),
    ],
)
def test_names_of_tensors(english: str | Message, chinese: str) -> None:
    assert CHINESE(english) == chinese


def texts(chart: Any, key: str = "") -> Iterator[str]:
    """What a chart says: titles, small print, and values that are words."""
    if isinstance(chart, dict):
        for inner, value in chart.items():
            yield from () if inner in ("config", "usermeta", "axis", "sort", "mark") else texts(value, inner)
    elif isinstance(chart, list | tuple):
        for value in chart:
            yield from texts(value, key)
    elif isinstance(chart, str) and key in {
        "text",
        "subtitle",
        "title",
        "bar",
        "part",
        "convention",
        "by",
        "name",
        "domain",
    }:
        yield chart


@pytest.mark.parametrize("name", MODELS)
def test_charts(name: str) -> None:
    spec = load(name)
    subject, work = setup(spec), workload(spec, seq=64)
    found = workload_flops(spec, work, Execution(), conventions=decoder(name))
    steps = by_recompute(subject)
    charts = [
        flops_charts.components(found, CHINESE),
        *([flops_charts.conventions(found, CHINESE)] if found.conventions else []),
        memory_charts.inference(inference_memory(spec, build(spec), work, "bf16", "bf16"), CHINESE),
        memory_charts.training(subject, steps, CHINESE),
        memory_charts.peaks(subject, steps, CHINESE),
        memory_charts.ranks(sharded(spec, "fsdp", 2), CHINESE),
    ]
    for chart in charts:
        json.dumps(chart)
        shown = {text for text in texts(chart) if re.search("[A-Za-z]{2}", text) and not CHARACTER.search(text)}
        assert shown <= {"Kaplan", "Chinchilla", "PaLM", "Megatron"}, shown


def test_the_language_changes_no_csv_and_no_json() -> None:
    def output(*words: str) -> str:
        found = CliRunner().invoke(cli, list(words))
        assert found.exit_code == 0, found.output
        return found.output

    for words in (["flops", "gpt2", "--conventions"], ["memory", "gpt2", "--train", "--conventions"]):
        for form in ("csv", "json"):
            assert output(*words, "--format", form) == output(*words, "--format", form, "--lang", "zh")
        for form in ("table", "md", "html"):
            english, chinese = (output(*words, "--format", form, "--lang", lang) for lang in ("en", "zh"))
            assert CHARACTER.search(chinese)
            assert not CHARACTER.search(english)


def test_a_table_is_saved_with_the_names_of_fields() -> None:
    page = training_page(setup(load("gpt2")))
    table = page.blocks[0]
    assert isinstance(table, Table)
    saved = json.loads(as_json(blocks.records(table)))
    assert saved == plain(training_memory(setup(load("gpt2"))))["parts"]
