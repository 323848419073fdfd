"""`archcalc verify`, `claims` and `new`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
import yaml

from archcalc import presets, proof
from archcalc.analysis.papers import published_tables
from archcalc.analysis.papers.claims import check
from archcalc.ledger.build import build as build_ledger
from archcalc.ledger.rows import Ledger
from archcalc.sources import load
from archcalc.spec import Spec
from tests.cli.conftest import Cli

Good = Callable[..., str]


# --- verify ------------------------------------------------------------------------------------------------------


def test_equal_readings(good: Good) -> None:
    found = json.loads(good("verify", "tiny", "gpt2", "-f", "json"))
    assert [(one["name"], one["is_equal"], one["differences"]) for one in found] == [
        ("tiny", True, []),
        ("gpt2", True, []),
    ]
    assert found[1]["parameters"] == 124_439_808


def test_all_presets(good: Good) -> None:
    assert [one["name"] for one in json.loads(good("verify", "--all", "-f", "json"))] == presets.names()


@pytest.fixture
def one_row_doctored(monkeypatch: pytest.MonkeyPatch) -> str:
    """The ledger takes the matrix up for narrower than it is."""

    def doctored(spec: Spec) -> Ledger:
        ledger = build_ledger(spec)
        rows = tuple(
            msgspec.structs.replace(row, weight=msgspec.structs.replace(row.weight, axes=row.weight.axes[:1]))
            if row.path == "layers.{i}.ffn.up.weight"
            else row
            for row in ledger.rows
        )
        return msgspec.structs.replace(ledger, rows=rows)

    monkeypatch.setattr(proof, "build_ledger", doctored)
    return "layers.0.ffn.up.weight"


def test_a_doctored_row_is_named(one_row_doctored: str, cli: Cli) -> None:
    found = cli("verify", "tiny", "happy")
    assert (found.code, found.err) == (1, "")
    assert re.search(rf"{one_row_doctored}: \[(\d+)\] trainable ≠ \[\1, 192\] trainable", found.out)
    assert re.search(r"tiny +ledger +module +\S+ +\S+ +\S+ s +differs", found.out)
    data = json.loads(cli("verify", "tiny", "-f", "json").out)[0]
    assert data["is_equal"] is False
    by_path = {one["path"]: one for one in data["differences"]}
    assert len(by_path) == 5, "four layers, and the total"
    assert one_row_doctored in by_path
    assert by_path["(total)"]["right"] == "1967808"


def test_a_doctored_module_is_named(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    home = import_module("archcalc.nn.build")
    built = home.build

    def doctored(spec: Spec, **options: object) -> torch.nn.Module:
        module = built(spec, **options)
        module.register_buffer("stray", torch.empty(3, device="meta"))
        module.get_parameter("layers.0.attn.q.weight").requires_grad_(False)
        return module

    monkeypatch.setattr(home, "build", doctored)
    found = cli("verify", "tiny")
    assert found.code == 1
    assert "stray: absent ≠ [3] buffer" in found.out
    assert "layers.0.attn.q.weight: [192, 192] trainable ≠ [192, 192] frozen" in found.out


def test_no_torch_is_one_line(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda package: None)
    found = cli("verify", "tiny")
    assert found.code == 2
    assert found.err == (
        "archcalc: verifying against the PyTorch model needs the extra 'model': pip install 'archcalc[model]'\n"
    )


def test_an_architecture_without_a_third_reading(cli: Cli) -> None:
    found = cli("verify", "happy", "--against", "transformers")
    assert found.code == 2
    assert found.err.startswith("archcalc: happy: no Hugging Face model has the architecture")


def test_all_goes_on_past_what_transformers_does_not_have(monkeypatch: pytest.MonkeyPatch, good: Good) -> None:
    monkeypatch.setattr(presets, "names", lambda: ["happy"])
    text = good("verify", "--all", "--against", "transformers")
    assert "No such architecture in transformers" in text
    assert re.search("happy +ledger +module", text)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, good: Good) -> None:
    read = SimpleNamespace(read=lambda n: b"base: tiny\nn_layers: 2")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=read))
    assert json.loads(good("verify", "-", "-f", "json"))[0]["name"] == "-"


# --- claims ------------------------------------------------------------------------------------------------------


def test_all_claims_get_the_verdict_on_record(good: Good) -> None:
    found = json.loads(good("claims", "-f", "json"))
    of_models = sum(len(load(name).about.claims) for name in presets.names())
    assert len(found) == of_models + sum(len(published_tables.load(name).claims) for name in presets.papers())
    assert all(one["is_as_recorded"] for one in found)


def test_the_claims_of_a_paper(good: Good) -> None:
    found = good("claims", "zero")
    assert "59 claims: 53 hold, 6 truncate, 0 differ" in found
    assert (
        "zero   device_bytes:7.5 B:os:64          31.4 GB     31.406 GB  holds      4·Ψ + 12·Ψ/64    Figure 1" in found
    )
    assert all(one["name"] == "zero" for one in json.loads(good("claims", "zero", "-f", "json")))


def test_a_wrong_record_ends_with_1(tmp_path: Path, cli: Cli) -> None:
    claim = {"id": "c", "quantity": "total", "value": "2 M", "where": "here", "verdict": "differs", "note": "why"}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"base": "tiny", "claims": [claim]}))
    found = cli("claims", "x.yaml")
    assert found.code == 1
    assert "tiny c: holds ≠ recorded 'differs'" in found.out
    assert "1 claim: 1 hold, 0 truncate, 0 differ" in found.out
    assert cli("claims", "x.yaml", "-f", "json").code == 1
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"base": "tiny", "claims": [claim | {"verdict": "holds"}]}))
    assert cli("claims", "x.yaml").code == 0


def test_a_wrong_claim_is_one_line(tmp_path: Path, cli: Cli) -> None:
    claim = {"id": "c", "quantity": "totl", "value": "2 M", "where": "here", "verdict": "holds"}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"base": "tiny", "claims": [claim]}))
    found = cli("claims", "x.yaml")
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert "about.claims[0].quantity" in found.err


def test_a_model_without_claims(good: Good) -> None:
    assert good("claims", "tiny") == "Published figures\nnone is recorded\n"


def test_figures_shown_are_the_ledgers(good: Good) -> None:
    spec = load("gpt3")
    shown = [one.figure_in_unit for one in check(spec, build_ledger(spec))]
    assert [
        line for one, line in zip(shown, good("claims", "gpt3").splitlines()[5:], strict=False) if one not in line
    ] == []


# --- new ---------------------------------------------------------------------------------------------------------


def test_new_report_verify(good: Good, tmp_path: Path) -> None:
    assert good("new", "mine") == "wrote mine.yaml; try: archcalc report ./mine.yaml\n"
    assert "mine · decoder" in good("report", "./mine.yaml")
    assert "equal" in good("verify", "mine.yaml")
    text = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("n_layers: 8", "n_layers: 4"))
    assert "4 layers" in good("report", "mine.yaml")


def test_an_existing_file_stays(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    found = cli("new", "mine")
    assert found.code == 2
    assert found.err == "archcalc: mine.yaml: is there already; expected the name of a new file\n"
    assert (tmp_path / "mine.yaml").read_text() == "precious"


@pytest.mark.parametrize(
    "name",
    ["123", "true", "null", "1.5", "a b", "q: ' # x", "mödel", "模型", "llama-3.1", "-x", "[1]", "*x", "a'b", "~"],
)
def test_any_printable_name_is_read_back(name: str, good: Good, tmp_path: Path) -> None:
    good("new", "--", name)
    assert load(tmp_path / f"{name}.yaml").name == name


def test_the_suffix_may_be_said(good: Good, tmp_path: Path) -> None:
    good("new", "mine.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert load(tmp_path / "mine.yaml").name == "mine"


def test_name_and_file_are_two_things(good: Good, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    assert good("new", "mine", "-o", "a folder/x.yaml").endswith("archcalc report './a folder/x.yaml'\n")
    assert load(tmp_path / "a folder" / "x.yaml").name == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "a/", "a\nb", "\x1b", "\udcff", "x" * 201])
def test_what_is_no_name(name: str, cli: Cli, tmp_path: Path) -> None:
    found = cli("new", "--", name)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_every_choice_that_the_template_names_is_allowed() -> None:
    """The comments of the template hold alternatives: each is tried where it stands."""
    text = (Path(presets.folder()) / "template.yaml").read_text()
    tried = {
        "norm: {kind: rmsnorm}        # or {kind: layernorm, bias: false}": "norm: {kind: layernorm, bias: false}",
        "position: null      # {kind: learned}": "position: {kind: learned} #",
        "embedding: {}         # factor": "embedding: {factor: {d_embed: 128}, n_token_types: 2, scale: 22.6} #",
        "# window: 1024": "window: 1024",
        "# d_head: 64": "d_head: 32",
        "# qk_norm": "qk_norm",
        "position: {kind: rope}     # or {kind: alibi}": "position: {kind: alibi}     #",
        "head: {tied: true}": "head: null #",
    }
    for old, new in tried.items():
        assert old in text
        spec = load(yaml.safe_load(text.replace(old, new)))
        assert proof.verify(spec)[0].is_equal
    for placement in ("post", "sandwich", "output", "parallel", "parallel_two"):
        assert load(yaml.safe_load(text.replace("placement: pre", f"placement: {placement}")))
    base = yaml.safe_load(text)
    moe = {"kind": "moe", "n_experts": 8, "n_active": 2, "d_expert": 1376, "n_shared": 1}
    for ffn in (moe, {"kind": "plain", "d_ff": 2048, "activation": "gelu"}):
        assert proof.verify(load(base, {"ffn": ffn}))[0].is_equal
