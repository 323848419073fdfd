"""The page of compute and memory: its figures are the command line's, and a size is one state."""

from __future__ import annotations

from typing import Any

import pytest

import archcalc
from archcalc.dashboard.computing.sizes import marks
from archcalc.units import exact
from tests.dashboard.app import command, html, opened, printed, python


def numbers(found: Any) -> set[int]:
    """Every whole number in plain data."""
    if isinstance(found, dict | list):
        return {n for each in (found.values() if isinstance(found, dict) else found) for n in numbers(each)}
    return {found} if isinstance(found, int) and not isinstance(found, bool) else set()


def figures(found: Any) -> set[int]:
    return {found[name] for name in ("forward", "forward_causal", "backward", "train_step")}


def test_figures_follow_the_sizes() -> None:
    at = opened("compute", model="gpt3-175b")
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


def test_a_slider_and_its_number_are_one_state() -> None:
    at = opened("compute", model="llama-3-8b", compute_seq="3000")
    slider = at.select_slider(key="compute_seq_slider")
    assert slider.value == 3000
    assert "3,000" in slider.options
    slider.set_value(8192).run()
    assert at.number_input(key="compute_seq").value == 8192
    assert at.query_params["compute_seq"] in ("8192", ["8192"])
    assert "3,000" not in at.select_slider(key="compute_seq_slider").options
    at.number_input(key="compute_seq").set_value(None).run()
    assert at.select_slider(key="compute_seq_slider").value == 2048


def test_marks_are_powers_of_two_with_both_ends_and_where_it_stands() -> None:
    assert marks(0, 10, 5) == [0, 1, 2, 4, 5, 8, 10]
    assert marks(1, 4, 900) == [1, 2, 4, 900]


def test_a_decode_step_is_one_token_after_the_past() -> None:
    at = opened("compute", model="llama-3-8b", compute_phase="decode", compute_past="4095")
    found = archcalc.report(archcalc.load("llama-3-8b"), seq=1, past=4095)
    assert exact(found["flops"]["forward"]) in html(at)
    assert exact(found["memory"]["kv_cache_bytes"]) in html(at)
    assert command(at) == "archcalc flops llama-3-8b --seq 1 --past 4095"


RUNNING = {
    "flops": {},
    "memory": {"compute_dtype": "q4_k_m", "compute_cache_dtype": "int8"},
    "ranks": {"compute_ranks": "4", "compute_engine": "fsdp", "compute_dtype": "fp32"},
}


@pytest.mark.parametrize("view", RUNNING)
def test_the_lines_to_copy_give_what_running_costs(view: str) -> None:
    at = opened("compute", model="llama-3-8b", compute_view=view, compute_batch="2", **RUNNING[view])
    found, drawn = printed(command(at)), html(at)
    wanted = {
        "flops": lambda: figures(found) | numbers(found["components"]),
        "memory": lambda: {found["weights_bytes"], found["kv_cache_bytes"], found["next_token_bytes"]},
        "ranks": lambda: numbers(found["ranks"]),
    }[view]()
    missing = {n for n in wanted if exact(n) not in drawn}
    # A step's FLOPs are no forward pass's.
    assert missing <= (
        {found["train_step"]} | {row["train_step"] for row in found["components"]} if view == "flops" else set()
    )
    told = python(at)
    if view == "flops":
        assert int(told["forward"].sum()) == found["forward"]
    elif view == "memory":
        assert int(told["bytes"].sum()) >= found["weights_bytes"] + found["kv_cache_bytes"]
    else:
        assert told == found


def test_the_cache_grows_as_the_command_line_says() -> None:
    at = opened("compute", model="mistral-7b", compute_view="growth", compute_batch="2", compute_up_to="8192")
    line = command(at)
    assert line.startswith("for n in 128 256 512 1024 2048 4096 8192; do archcalc memory mistral-7b --seq $n --batch 2")
    for tokens in (4096, 8192):
        once = line.partition("do ")[2].removesuffix("; done").replace("$n", str(tokens))
        assert exact(printed(once)["kv_cache_bytes"]) in html(at)
    last = python(at).points[-1]
    assert last.kv_cache_bytes == printed("archcalc memory mistral-7b --seq 8192 --batch 2")["kv_cache_bytes"]
    assert last.tokens == 8192


def test_the_context_view_says_where_attention_overtakes() -> None:
    at = opened("compute", model="llama-3-8b", compute_view="context")
    assert any("16,385" in caption.value for caption in at.caption)
    assert command(at) == "archcalc flops llama-3-8b --plot llama-3-8b.context.html --phase prefill"
    assert python(at).crossing == 16385


def test_what_a_training_step_keeps_is_the_command_lines() -> None:
    link = {"compute_recipe": "megatron", "compute_optimizer": "adamw8bit", "compute_recompute": "selective"}
    at = opened("compute", model="gpt2", compute_phase="train", compute_seq="512", compute_dropout="false", **link)
    line = command(at)
    for option in ("--recipe megatron", "--optimizer adamw8bit", "--recompute selective", "--no-dropout", "--seq 512"):
        assert option in line
    found = printed(line)
    wanted = {found["total_bytes"], found["activations"]["bytes"], found["peak"]["bytes"]}
    assert {n for n in wanted if exact(n) not in html(at)} == set()
    assert python(at)["peak"] == found["peak"]
    steps = printed("archcalc flops gpt2 --seq 512 --recompute selective --no-dropout")["training_steps"]
    assert exact(steps[0]["recomputation"]) in html(at)
    at.selectbox(key="compute_attention").set_value("flash").run()
    found = printed(command(at))
    assert found["activations"]["execution"]["device"] == "cpu"
    assert exact(found["activations"]["bytes"]) in html(at)


def test_conventions_stand_side_by_side_where_papers_say_how() -> None:
    at = opened("compute", model="gpt3-175b", compute_phase="train", compute_training="conventions")
    found = printed(command(at))["conventions"]
    assert len(found) > 6
    assert all(exact(one["train_step"]) in html(at) for one in found)
    at.selectbox(key="model").set_value("bert-base").run()
    assert "encoder" in at.error[0].value


def test_what_cannot_be_is_told_in_place_and_stays() -> None:
    at = opened("compute", model="gpt3-175b", compute_seq="4096")
    assert "4,096 tokens are more than the table of positions has" in at.error[0].value.replace("\\", "")
    assert at.number_input(key="compute_seq").value == 4096
    at.selectbox(key="model").set_value("llama-3-8b").run()
    assert not at.error
    assert exact(archcalc.report(archcalc.load("llama-3-8b"), seq=4096)["flops"]["forward"]) in html(at)
    at.selectbox(key="model").set_value("bert-base")
    at.segmented_control(key="compute_phase").set_value("decode").run()
    assert "encoder caches nothing" in at.error[0].value


def test_an_encoder_decoder_has_a_source() -> None:
    at = opened("compute", model="t5-small", compute_seq="64", compute_source_seq="300", compute_view="memory")
    found = archcalc.report(archcalc.load("t5-small"), seq=64, source_seq=300)
    assert exact(found["memory"]["kv_cache_bytes"]) in html(at)
    assert "--source-seq 300" in command(at)


def test_rows_of_one_view_are_no_rows_of_another() -> None:
    at = opened("compute", model="gpt2", compute_flops_rows="ops")
    assert "layers.*.attn.scores" in html(at)
    at.segmented_control(key="compute_view").set_value("memory").run()
    at.segmented_control(key="compute_rows").set_value("tensors").run()
    assert "embed.tokens.weight" in html(at)
    at.segmented_control(key="compute_view").set_value("flops").run()
    assert "layers.*.attn.scores" in html(at)
