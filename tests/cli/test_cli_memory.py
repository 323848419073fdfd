"""`archcalc memory`: what it prints adds up, and is the JSON contract's figure where both speak of one."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from archcalc.cli.main import run

BYTES = ["payload_bytes", "overhead_bytes", "bytes"]


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert run(["memory", *args]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["gpt3", "gpt-oss-20b", "t5-small"])
def test_plain_dtypes_agree_with_the_report(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, name, "--seq", "300", "--format", "json"))
    assert run(["report", name, "--seq", "300", "--format", "json"]) == 0
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert {key: found[key] for key in memory} == memory


@pytest.mark.parametrize("form", ["int8", "nf4", "q4_k_m", "mxfp4", "awq-int4-g128"])
def test_lines_add_up(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "llama-3-8b", "--dtype", form, "--format", "csv"))))
    payload, overhead, both = (sum(int(row[name]) for row in rows) for name in BYTES)
    data = json.loads(printed(capsys, "llama-3-8b", "--dtype", form, "--format", "json"))
    assert data["weights_bytes"] == both == payload + overhead
    last = printed(capsys, "llama-3-8b", "--dtype", form).split("Cache in")[0].rstrip().splitlines()[-1]
    assert re.findall(r"[\d,]+(?=  )", last)[:3] == [f"{n:,}" for n in (payload, overhead, both)]


def test_an_encoder_caches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is cached" in printed(capsys, "bert-base")


def test_an_unknown_format_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "gpt2", "--dtype", "q4"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("view", ["tensors", "layers"])
@pytest.mark.parametrize("kind", ["bf16", "int8", "int4-g32"])
def test_a_quantized_cache_adds_up(view: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("gpt-oss-20b", "--batch", "2", "--seq", "300", "--cache-dtype", kind, "--view", view)
    data = json.loads(printed(capsys, *asked, "--format", "json"))
    for lines in (data["caches"], data["cache_layers"]):
        assert sum(line["bytes"] for line in lines) == data["kv_cache_bytes"]
        assert sum(line["overhead_bytes"] for line in lines) == data["kv_cache_overhead_bytes"]
        assert sum(line["next_token_bytes"] for line in lines) == data["next_token_bytes"]
        assert all(line["payload_bytes"] + line["overhead_bytes"] == line["bytes"] for line in lines)
    shown = printed(capsys, *asked)
    assert f"{data['kv_cache_bytes']:,}" in shown
    assert f"one more token keeps {data['next_token_bytes']:,} bytes" in shown
    assert "Cache in " + kind in shown


def test_layers_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """2·8 heads of 64 bytes and a 4-byte scale: 1,088 bytes for a token; a window holds 128 of them."""
    asked = (
        "gpt-oss-20b",
        "--seq",
        "200",
        "--cache-dtype",
        "int8",
        "--view",
        "layers",
        "--bytes",
        "GB",
        "--format",
        "csv",
    )
    header, *rows = csv.reader(io.StringIO(printed(capsys, *asked)))
    assert header == ["layer", *BYTES, "next_token_bytes", "kind"]
    assert rows[0] == ["0", str(1024 * 128), str(64 * 128), str(1088 * 128), "0", "exact"]
    assert rows[1] == ["1", str(1024 * 200), str(64 * 200), str(1088 * 200), "1088", "exact"]
    assert len(rows) == 24
    assert [sum(int(row[i]) for row in rows) for i in range(1, 5)] == [*(12 * n * 328 for n in (1024, 64, 1088)), 13056]
    shown = printed(capsys, *asked[:-2])
    assert ["total", "4,030,464", "251,904", "4,282,368", "4.282", "MB", "13,056"] in map(str.split, shown.splitlines())


@pytest.mark.parametrize(
    ("form", "nothing"),
    [("table", "nothing is cached"), ("json", '"cache_layers": []'), ("csv", ",".join(("layer", *BYTES)))],
)
def test_layers_of_an_encoder(form: str, nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert nothing in printed(capsys, "bert-base", "--view", "layers", "--format", form)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("gpt2", "--cache-dtype", "int5"), "'int5' is not one of 'auto', 'fp32'"),
        (
            ("gpt2", "--set", "d_head=80", "--cache-dtype", "int4-g64"),
            "layers.*.attn.keys: int4-g64 cannot hold a width of 80; expected widths divisible by 64",
        ),
        (("gpt2", "--set", "d_head=63", "--cache-dtype", "int4"), "expected even widths: two to a byte"),
        (("gpt2", "--view", "tensor"), "'tensor' is not one of 'components', 'tensors', 'layers'"),
    ],
)
def test_a_bad_cache_is_one_line(args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", *args]) == 2
    found = capsys.readouterr().err
    assert message in found
    assert found.count("\n") == 1


@pytest.mark.parametrize("name", ["gpt3", "deepseek-v3"])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit", "sgd"])
def test_training_adds_up(name: str, optimizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = (name, "--train", "--optimizer", optimizer, "--format")
    found = json.loads(printed(capsys, *args, "json"))
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *args, "csv"))))
    parts = {row["part"]: int(row["bytes"]) for row in rows}
    assert list(parts) == [
        part for part in ("weights", "gradients", "master", "optimizer", "activations") if found.get(f"{part}_bytes", 1)
    ]
    assert ("optimizer" in parts) == (optimizer != "sgd")
    assert sum(parts.values()) == found["step_bytes"] == found["total_bytes"] + found["activations"]["bytes"]
    assert all(size == found[f"{part}_bytes"] for part, size in parts.items() if part != "activations")
    for lines in (found["weights"], found["components"]):
        assert sum(line["bytes"] for line in lines) == found["total_bytes"]
        assert sum(line["share"] for line in lines) == pytest.approx(1)
    assert sum(line["bytes"] for line in found["activations"]["tensors"]) == parts["activations"]
    assert f"{found['step_bytes']:,}" in printed(capsys, *args[:-1])
    for part in found["parts"]:
        assert part["formula"] is None or part["formula"].rpartition(" = ")[2] == f"{part['bytes']:,}"


@pytest.mark.parametrize("view", ["components", "tensors", "layers"])
@pytest.mark.parametrize("how", ["", "--recompute full", "--attention flash --no-dropout", "--experts gather"])
def test_saved_activations_add_up_in_every_view(view: str, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("mixtral-8x7b", "--train", "--seq", "64", *how.split())
    found = json.loads(printed(capsys, *asked, "--format", "json"))["activations"]
    for rows in (found["components"], found["layers"], found["tensors"]):
        assert sum(one["bytes"] for one in rows) == found["bytes"] == sum(found["by_stack"].values())
        assert sum(one["share"] for one in rows) == pytest.approx(1)
    assert f"{found['bytes']:,}" in printed(capsys, *asked, "--view", view)
    assert sum(one["bytes"] for one in found["tensors"] if one["is_square"]) == found["square_bytes"]
    for rows in (found["components"], found["layers"]):
        assert sum(one["square_bytes"] for one in rows) == found["square_bytes"]


def test_a_training_says_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    found = " ".join(printed(capsys, "gpt3", "--train").split())
    assert "2,793,668,149,248" in found
    assert "gpt3-175b · mixed · adamw · weights bf16, gradients bf16, copy fp32" in found
    assert "6,160 bytes of step counters on the host" in found
    assert "step counters" not in printed(capsys, "gpt3", "--train", "--optimizer", "sgd")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ("--train --past 4", "--past has no effect with --train"),
        ("--train --lora 4", "--train and --lora exclude each other"),
        ("--recompute full", "--recompute has no effect without --train or --lora"),
        ("--train --attention flash --device meta", "attention: the flash kernel does not support meta"),
        ("--train --cache-dtype fp8", "--cache-dtype has no effect with --train"),
        ("--recipe pure", "--recipe has no effect without --train or --lora"),
        ("--optimizer sgd", "--optimizer has no effect without --train or --lora"),
        ("--train --optimizer adam", "no optimizer 'adam' (did you mean 'adamw'?)"),
        ("--targets q", "--targets has no effect without --train or --lora"),
        ("--train --targets q", "--targets has no effect with --train"),
        ("--lora 4 --past 3", "--past has no effect with --lora"),
        ("--lora 0", "--lora: found 0; expected an integer from 1"),
        ("--lora 4 --targets q,w", "targets: no matrix is called 'w'"),
        ("--lora 4 --targets q(", "targets: the pattern 'q(' does not parse"),
        ("--lora 4 --dtype q5", "no storage format 'q5'"),
        ("--train --recipe zero", "no recipe 'zero'"),
        ("--train --dtype nf4", "dtype: the recipe 'pure' has no weights in 'nf4'"),
    ],
)
def test_what_has_no_effect_is_refused(args: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "gpt2", *args.split()]) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1


def test_adapters_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("llama-3-8b", "--lora", "16", "--dtype", "nf4", "--optimizer", "adamw8bit", "--format")
    found = json.loads(printed(capsys, *args, "json"))
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *args, "csv"))))
    parts = {row["part"]: int(row["bytes"]) for row in rows}
    assert list(parts) == ["frozen", "adapters", "gradients", "optimizer"]
    assert sum(parts.values()) == found["total_bytes"]
    assert all(size == found[f"{part}_bytes"] for part, size in parts.items())
    assert sum(line["parameters"] for line in found["adapters"]) == found["trainable"] == 41_943_040


def test_adapters_say_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "llama-3-8b", "--lora", "16", "--dtype", "nf4")
    assert "41,943,040 of 8,072,204,288 parameters are trained: 0.52 %" in found
    assert "llama-3-8b · targets all-linear · weights nf4 · autocast" in found


@pytest.mark.parametrize(
    ("targets", "trainable"),
    [("q,v", 6_815_744), ("attn.q", 4_194_304), (r".*attn\.(q|v)", 6_815_744), ("all-linear,head", 44_060_672)],
)
def test_targets(targets: str, trainable: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "llama-3-8b", "--lora", "16", "--targets", targets, "--format", "json"))
    assert found["trainable"] == trainable


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (("gpt2",), "286.6 MB (273.4 MiB): 248.9 MB (237.4 MiB) of weights and 37.75 MB (36.00 MiB) of KV cache"),
        (("gpt2", "--bytes", "GiB"), "273.4 MiB: 237.4 MiB of weights and 36.00 MiB of KV cache"),
        (("gpt2", "--bytes", "GB", "--lang", "zh"), "286.6 MB：权重 248.9 MB，KV 缓存 37.75 MB"),
        (("bert-base", "--bytes", "GB"), "219.0 MB of weights"),
    ],
)
def test_the_answer_comes_first(args: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", *args]) == 0
    assert capsys.readouterr().out.splitlines()[1] == answer


def test_the_environment_sets_the_units_of_bytes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHCALC_BYTES", "GiB")
    assert run(["report", "gpt2"]) == 0
    out = capsys.readouterr().out
    assert "MiB" in out
    assert "MB" not in out
