"""`archcalc memory`: what it prints adds up, and is the JSON contract's figure where both speak of one."""

from __future__ import annotations

import csv
import io
import json

import pytest

from archcalc.cli.main import run


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
    rows = list(csv.reader(io.StringIO(printed(capsys, "llama-3-8b", "--dtype", form, "--format", "csv"))))
    *lines, total = [[int(cell) for cell in row[2:4]] for row in rows[1:]]
    assert [sum(column) for column in zip(*lines, strict=True)] == total
    data = json.loads(printed(capsys, "llama-3-8b", "--dtype", form, "--format", "json"))
    assert data["weights_bytes"] == sum(total)


def test_an_encoder_caches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is cached" in printed(capsys, "bert-base")


def test_an_unknown_format_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "gpt2", "--dtype", "q4"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("view", ["tensors", "layers"])
@pytest.mark.parametrize("kind", ["bf16", "int8", "int4-g32"])
def test_a_quantised_cache_adds_up(view: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
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
    asked = ("gpt-oss-20b", "--seq", "200", "--cache-dtype", "int8", "--view", "layers", "--format", "csv")
    header, *rows, total = csv.reader(io.StringIO(printed(capsys, *asked)))
    assert header == ["layer", "payload bytes", "scales and zeros", "total bytes", "one more token"]
    assert rows[0] == ["0", str(1024 * 128), str(64 * 128), str(1088 * 128), "0"]
    assert rows[1] == ["1", str(1024 * 200), str(64 * 200), str(1088 * 200), "1088"]
    assert len(rows) == 24
    assert total == ["total", *(str(12 * n * 328) for n in (1024, 64, 1088)), str(12 * 1088)]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_layers_of_an_encoder(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0" in printed(capsys, "bert-base", "--view", "layers", "--format", form)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("gpt2", "--cache-dtype", "int5"), "'int5' is not one of 'fp32'"),
        (
            ("gpt2", "--set", "d_head=80", "--cache-dtype", "int4-g64"),
            "layers.*.attn.keys: int4-g64 cannot hold a width of 80; allowed: widths divisible by 64",
        ),
        (("gpt2", "--set", "d_head=63", "--cache-dtype", "int4"), "allowed: even widths: two to a byte"),
        (("gpt2", "--view", "tensor"), "'tensor' is not one of 'tensors', 'layers'"),
    ],
)
def test_a_bad_cache_is_one_line(args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", *args]) == 2
    found = capsys.readouterr().err
    assert message in found
    assert found.count("\n") == 1
