"""The page Compute and memory: its numbers equal those of the command line."""

from __future__ import annotations

from typing import Any

import pytest

import archcalc
from archcalc.dashboard.computing.sizes import marks
from archcalc.units import exact
from tests.dashboard.app import command, html, json_output, open_page, python_result


def numbers(found: Any) -> set[int]:
    """Return every integer in plain data."""
    if isinstance(found, dict | list):
        return {n for each in (found.values() if isinstance(found, dict) else found) for n in numbers(each)}
    return {found} if isinstance(found, int) and not isinstance(found, bool) else set()


def flops_numbers(found: Any) -> set[int]:
    return {found[name] for name in ("forward", "forward_causal", "backward", "train_step")}


def test_numbers_follow_the_sizes() -> None:
    at = open_page("compute", model="gpt3-175b")
    spec = archcalc.load("gpt3")
    assert exact(archcalc.report(spec)["flops"]["forward"]) in html(at)
    at.number_input(key="compute_batch").set_value(3)
    at.number_input(key="compute_seq").set_value(1000)
    at.number_input(key="compute_past").set_value(24)
    found = archcalc.report(spec, batch=3, seq=1000, past=24)
    drawn = html(at.run())
    for count in (found["flops"]["forward"], found["flops"]["forward_causal"], found["memory"]["kv_cache_bytes"]):
        assert exact(count) in drawn
    assert command(at) == "archcalc flops gpt3-175b --batch 3 --seq 1000 --past 24"


def test_a_slider_and_its_number_share_one_state() -> None:
    at = open_page("compute", model="llama-3-8b", compute_seq="3000")
    slider = at.select_slider(key="compute_seq_slider")
    assert slider.value == 3000
    assert "3,000" in slider.options
    slider.set_value(8192).run()
    assert at.number_input(key="compute_seq").value == 8192
    assert at.query_params["compute_seq"] in ("8192", ["8192"])
    assert "3,000" not in at.select_slider(key="compute_seq_slider").options
    at.number_input(key="compute_seq").set_value(None).run()
    assert at.select_slider(key="compute_seq_slider").value == 2048


def test_marks_are_powers_of_two_with_both_ends_and_the_current_value() -> None:
    assert marks(0, 10, 5) == [0, 1, 2, 4, 5, 8, 10]
    assert marks(1, 4, 900) == [1, 2, 4, 900]


def test_a_decode_step_is_one_token_after_the_past() -> None:
    at = open_page("compute", model="llama-3-8b", compute_phase="decode", compute_past="4095")
    found = archcalc.report(archcalc.load("llama-3-8b"), seq=1, past=4095)
    assert exact(found["flops"]["forward"]) in html(at)
    assert exact(found["memory"]["kv_cache_bytes"]) in html(at)
    assert command(at) == "archcalc flops llama-3-8b --seq 1 --past 4095"


INFERENCE_VIEWS = {
    "flops": {},
    "memory": {"compute_dtype": "q4_k_m", "compute_cache_dtype": "int8"},
    "ranks": {"compute_ranks": "4", "compute_engine": "fsdp", "compute_dtype": "fp32"},
}


@pytest.mark.parametrize("view", INFERENCE_VIEWS)
def test_the_snippets_give_the_numbers_of_inference(view: str) -> None:
    at = open_page("compute", model="llama-3-8b", compute_view=view, compute_batch="2", **INFERENCE_VIEWS[view])
    found, drawn = json_output(command(at)), html(at)
    expected = {
        "flops": lambda: flops_numbers(found) | numbers(found["components"]),
        "memory": lambda: {found["weights_bytes"], found["kv_cache_bytes"], found["next_token_bytes"]},
        "ranks": lambda: numbers(found["ranks"]),
    }[view]()
    missing = {n for n in expected if exact(n) not in drawn}
    # The page shows no FLOPs of a training step here.
    assert missing <= (
        {found["train_step"]} | {row["train_step"] for row in found["components"]} if view == "flops" else set()
    )
    result = python_result(at)
    if view == "flops":
        assert int(result["forward"].sum()) == found["forward"]
    elif view == "memory":
        assert int(result["bytes"].sum()) >= found["weights_bytes"] + found["kv_cache_bytes"]
    else:
        assert result == found


def test_cache_growth_equals_the_command_line() -> None:
    at = open_page("compute", model="mistral-7b", compute_view="growth", compute_batch="2", compute_up_to="8192")
    line = command(at)
    assert line.startswith("for n in 128 256 512 1024 2048 4096 8192; do archcalc memory mistral-7b --seq $n --batch 2")
    for tokens in (4096, 8192):
        once = line.partition("do ")[2].removesuffix("; done").replace("$n", str(tokens))
        assert exact(json_output(once)["kv_cache_bytes"]) in html(at)
    last = python_result(at).points[-1]
    assert last.kv_cache_bytes == json_output("archcalc memory mistral-7b --seq 8192 --batch 2")["kv_cache_bytes"]
    assert last.tokens == 8192


def test_the_context_view_names_the_crossing() -> None:
    at = open_page("compute", model="llama-3-8b", compute_view="context")
    assert any("16,385" in caption.value for caption in at.caption)
    assert command(at) == "archcalc flops llama-3-8b --plot llama-3-8b.context.html --phase prefill"
    assert python_result(at).crossing == 16385


def test_training_memory_equals_the_command_line() -> None:
    link = {"compute_recipe": "megatron", "compute_optimizer": "adamw8bit", "compute_recompute": "selective"}
    at = open_page("compute", model="gpt2", compute_phase="train", compute_seq="512", compute_dropout="false", **link)
    line = command(at)
    for option in ("--recipe megatron", "--optimizer adamw8bit", "--recompute selective", "--no-dropout", "--seq 512"):
        assert option in line
    found = json_output(line)
    expected = {found["total_bytes"], found["activations"]["bytes"], found["peak"]["bytes"]}
    assert {n for n in expected if exact(n) not in html(at)} == set()
    assert python_result(at)["peak"] == found["peak"]
    steps = json_output("archcalc flops gpt2 --seq 512 --recompute selective --no-dropout")["training_steps"]
    assert exact(steps[0]["recomputation"]) in html(at)
    at.selectbox(key="compute_attention").set_value("flash").run()
    found = json_output(command(at))
    assert found["activations"]["execution"]["device"] == "cpu"
    assert exact(found["activations"]["bytes"]) in html(at)


def test_conventions_are_listed_for_decoders_only() -> None:
    at = open_page("compute", model="gpt3-175b", compute_phase="train", compute_training="conventions")
    found = json_output(command(at))["conventions"]
    assert len(found) > 6
    assert all(exact(one["train_step"]) in html(at) for one in found)
    at.selectbox(key="model").set_value("bert-base").run()
    assert "encoder" in at.error[0].value


def test_an_invalid_size_shows_an_error_and_keeps_its_value() -> None:
    at = open_page("compute", model="gpt3-175b", compute_seq="4096")
    assert "4,096 tokens are more than the table of positions has" in at.error[0].value.replace("\\", "")
    assert at.number_input(key="compute_seq").value == 4096
    at.selectbox(key="model").set_value("llama-3-8b").run()
    assert not at.error
    assert exact(archcalc.report(archcalc.load("llama-3-8b"), seq=4096)["flops"]["forward"]) in html(at)
    at.selectbox(key="model").set_value("bert-base")
    at.segmented_control(key="compute_phase").set_value("decode").run()
    assert "encoder caches nothing" in at.error[0].value


def test_an_encoder_decoder_has_a_source() -> None:
    at = open_page("compute", model="t5-small", compute_seq="64", compute_source_seq="300", compute_view="memory")
    found = archcalc.report(archcalc.load("t5-small"), seq=64, source_seq=300)
    assert exact(found["memory"]["kv_cache_bytes"]) in html(at)
    assert "--source-seq 300" in command(at)


def test_each_view_keeps_its_own_rows() -> None:
    at = open_page("compute", model="gpt2", compute_flops_rows="ops")
    assert "layers.*.attn.scores" in html(at)
    at.segmented_control(key="compute_view").set_value("memory").run()
    at.segmented_control(key="compute_rows").set_value("tensors").run()
    assert "embed.tokens.weight" in html(at)
    at.segmented_control(key="compute_view").set_value("flops").run()
    assert "layers.*.attn.scores" in html(at)
