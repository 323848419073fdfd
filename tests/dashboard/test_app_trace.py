"""The page that steps through a forward pass, drawn without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from archcalc.dashboard.models import MODELS_VARIABLE
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.dashboard.tracing import trace_session
from archcalc.dashboard.tracing.request import command, python
from archcalc.dashboard.tracing.trace_files import text
from archcalc.errors import InputError
from tests.run.decoding.chat_model import save_chat_model


def drawn() -> None:
    from archcalc.dashboard import session
    from archcalc.dashboard.pages import trace

    session.choose_language()
    trace.page()


def opened(**told: Any) -> AppTest:
    """The page as a link opens it."""
    at = AppTest.from_function(drawn, default_timeout=600)
    for key, value in told.items():
        at.query_params[key] = str(value)
    return good(at.run())


def good(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    return at


def headings(at: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in at.subheader]


def texts(at: AppTest) -> str:
    """All that can be read: Markdown, captions, code, tables as HTML."""
    drawn_html = [element.proto.body for element in at.get("html")]
    said = [one.value for each in (at.markdown, at.caption, at.code, at.success, at.warning, at.info) for one in each]
    return "\n".join([*said, *drawn_html]).replace("\\", "")


def test_the_worked_example_shows_its_prompt_and_the_printed_numbers() -> None:
    at = opened(trace_stage=10)
    assert "Input: <SOS> · 我 · **很**" in texts(at)
    assert headings(at)[0] == "layers.0.attn.pattern"
    shown = texts(at)
    assert "layers.0.attn.pattern = softmax(layers.0.attn.scores)" in shown
    assert "attention weights, which sum to 1" in shown
    assert "is masked" in shown
    assert "0.6000" in shown
    assert "0.8163" not in shown
    assert "as published" in shown
    good(at.toggle(key="trace_tables").set_value(True).run())
    assert "0.8163" in texts(at), "the row before, in the table"
    good(at.button(key="trace_on").click().run())
    assert headings(at)[0] == "layers.0.attn.values"
    assert "1.2000" in texts(at)
    for _ in range(3):
        good(at.button(key="trace_on").click().run())
    assert headings(at)[:2] == ["layers.0.attn_norm.normalized", "layers.0.attn_sum"]
    assert "different" in texts(at)
    assert "-0.3397" in texts(at)
    assert at.slider(key="trace_stage").value == 14


def test_a_part_goes_to_its_first_step_and_buttons_stop_at_the_ends() -> None:
    at = opened()
    assert at.button(key="trace_back").disabled
    good(at.selectbox(key="_trace_part").set_value("After the layers").run())
    assert headings(at)[0] == "logits"
    good(at.slider(key="trace_stage").set_value(26).run())
    assert headings(at)[0] == "choice"
    assert at.button(key="trace_on").disabled
    assert at.selectbox(key="_trace_part").value == "After the layers"


def test_masked_keys_are_listed() -> None:
    at = opened(trace_view="attention", trace_query=1)
    shown = texts(at)
    assert "Masked: 2 很." in shown
    assert "−∞ (masked)" in shown
    for number in ("-4.3532", "-2.5133", "-1.4912", "0.2251", "1.2251", "0.8163"):
        assert number in shown, number
    good(at.slider(key="trace_query").set_value(2).run())
    assert "Nothing is masked" in texts(at)
    assert "archcalc.trace.softmax(model, trace, 'layers.0.attn', head=0, query=2)" in texts(at)


def test_the_next_token_and_a_target_token() -> None:
    at = opened(trace_view="next", trace_target=2)
    assert "0.7834" in texts(at)
    assert "'很': probability 0.0643052, rank 3." in texts(at)
    good(at.slider(key="trace_position").set_value(0).run())
    assert "archcalc trace happy --position 0" in texts(at)
    assert "rank 2" in texts(at), "after <SOS> it is the second"


def test_the_page_is_translated() -> None:
    at = opened(lang="zh", trace_view="attention", trace_query=0)
    assert "被遮住：1 我, 2 很" in texts(at)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"trace_ids": "0,9"}, "prompt: found id 9; expected 1 to 4 ids from 0 to 4"),
        ({"trace_ids": "x"}, "ids: found 'x'"),
        ({"trace_ids": "1", "trace_prompt": "我"}, "prompt, ids: both; expected one of them"),
        (
            {"trace_from": "random", "model": "gpt2-xl"},
            "of weights in fp32; expected up to 2.000 GB (1.863 GiB) on this page",
        ),
    ],
)
def test_an_error_is_shown_in_place(told: dict[str, str], says: str) -> None:
    at = opened(**told)
    (error,) = at.error
    assert says in error.value.replace("\\", "")


@pytest.mark.parametrize("preset", ["tiny-encoder", "tiny-seq2seq", "happy"])
def test_any_small_architecture_is_traced_with_random_weights(preset: str) -> None:
    at = opened(trace_from="random", model=preset, trace_seed=3, trace_ids="1,2")
    steps = int(at.slider(key="trace_stage").max)
    for stage in range(1, steps + 1, 5):
        good(at.slider(key="trace_stage").set_value(stage).run())
    assert f"archcalc trace {preset} --random-weights --seed 3 --ids 1,2" in texts(at)
    good(at.segmented_control(key="trace_view").set_value("attention").run())
    for part in at.selectbox(key="trace_attention").options:
        good(at.selectbox(key="trace_attention").set_value(part).run())


def test_files_equal_the_command_line() -> None:
    from click.testing import CliRunner

    from archcalc.cli.main import cli

    session = trace_session.trace_session(ModelChoice("happy"), "", "")
    for form in ("html", "json", "csv", "md"):
        told = ["trace", "happy", "--lang", "zh", "--format", form]
        assert CliRunner().invoke(cli, told).stdout == text(session, session.trace, form, "zh"), form
    first = text(session, replace(session.trace, position=0), "json", "en")
    assert CliRunner().invoke(cli, ["trace", "happy", "--position", "0", "-f", "json"]).stdout == first
    assert not json.loads(first)["published"], "of the first place nothing is printed"


def test_the_command_has_the_chosen_options() -> None:
    source = ModelChoice("./a b.yaml", "{}", ("n_layers=2",), 7)
    session = trace_session.trace_session(ModelChoice("happy"), "", "0,1")
    assert command(source, session, 0) == (
        "archcalc trace './a b.yaml' --random-weights --seed 7 --set n_layers=2 --ids 0,1 --position 0"
    )


def test_long_texts_are_refused_before_they_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_session, "MAX_TRACE_BYTES", 900)
    with pytest.raises(InputError, match=r"prompt: 4 tokens make a trace of .* expected up to 900 B"):
        trace_session.trace_session(ModelChoice("happy"), "", "0,1,2,3")


def test_a_stopped_trace_is_not_restarted() -> None:
    at = AppTest.from_function(drawn, default_timeout=600)
    at.query_params["trace_ids"] = "2,1,0"
    at.session_state["stop_trace"] = True
    good(at.run())
    assert at.info[0].value == "Stopped."
    assert trace_session.cached(ModelChoice("happy"), "", "2,1,0") is None
    assert not at.button(key="trace_again").value


def test_a_pasted_architecture_is_traced() -> None:
    at = opened(trace_from="random", **{"from": "text"}, yaml="{base: tiny-seq2seq, name: mine}", trace_ids="5,6")
    assert "Input: 5 · 6 → **0**" in texts(at)
    assert "archcalc trace ./mine.yaml --random-weights --seed 0 --ids 5,6" in texts(at)


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        (ModelChoice("happy"), "0,1"),
        (ModelChoice("tiny-seq2seq", json.dumps({"base": "tiny-seq2seq"}), ("n_layers=1",), 5), "4,2"),
    ],
)
def test_the_python_snippet_gives_the_same_trace(source: ModelChoice, ids: str) -> None:
    session = trace_session.trace_session(source, "", ids)
    names: dict[str, Any] = {}
    exec(python(source, session, 0), names)  # noqa: S102 - the page's own lines
    again, last = names["trace"], session.trace.steps[-1]
    assert again.position == 0
    assert again[last.step.name].tolist() == last.value.tolist()


def test_a_local_checkpoint_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_chat_model(tmp_path / "talker")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    at = opened(trace_model="talker", trace_prompt="once upon", trace_view="next")
    last = trace_session.cached(ModelChoice(str(folder)), "once upon", "")
    assert last is not None
    p = last.trace["probabilities"][-1]
    assert f"{p.max().item():.4f}" in texts(at)
    assert f"archcalc trace {folder} --prompt 'once upon'" in texts(at)
