"""The page Inside, drawn without a browser: every view is a link, every tour leads to its views."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from archcalc.cli.main import cli
from archcalc.dashboard.inside import answers, files, lens_training, preload, tours
from archcalc.dashboard.inside.examples import Example, example
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.inside.views import VIEWS
from archcalc.dashboard.job import JobStoppedError, Progress
from archcalc.dashboard.models import MODELS_VARIABLE
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.errors import InputError
from archcalc.interp.lens.lens_file import save_lens
from tests.run.decoding.chat_model import save_chat_model

MAPS = {"lens", "attention", "attribute", "patch", "patchscope"}
STEPS = [(name, number) for name, tour in tours.tours().items() for number in range(1, len(tour.steps) + 1)]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def drawn() -> None:
    from archcalc.dashboard import session
    from archcalc.dashboard.pages import inside

    session.choose_language()
    inside.page()


def opened(**query: Any) -> AppTest:
    """Return the page as a link opens it."""
    at = AppTest.from_function(drawn, default_timeout=600)
    for key, value in query.items():
        at.query_params[key] = str(value)
    return good(at.run())


def good(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    return at


def texts(at: AppTest) -> str:
    """Return all that can be read: headings, Markdown, captions, code, tables as HTML."""
    elements = (at.subheader, at.markdown, at.caption, at.code, at.info, at.error)
    html = [element.proto.body for element in at.get("html")]
    return "\n".join([*(one.value for each in elements for one in each), *html]).replace("\\", "")


def maps(at: AppTest) -> list[dict[str, Any]]:
    """Return what each map draws."""
    return [json.loads(element.proto.json) for element in at.get("bidi_component")]


def line(at: AppTest, start: str) -> str:
    return str(next(code.value for code in at.code if code.value.startswith(start)))


def labels(at: AppTest) -> list[str]:
    widgets = (at.text_input, at.selectbox, at.slider, at.toggle, at.text_area, at.segmented_control, at.button)
    return [widget.label for each in widgets for widget in each]


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_shows_an_example_at_once(name: str) -> None:
    at = opened(inside_view=name)
    assert not at.error
    assert bool(maps(at)) == (name in MAPS)
    assert at.get("download_button")
    assert line(at, "archcalc ").split()[2] == "tiny"


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_is_translated(name: str) -> None:
    at = opened(inside_view=name, lang="zh")
    assert not at.error
    assert [label for label in labels(at) if not CHINESE.search(label) and label != "Language / 语言"] == []
    english = re.findall(r"(?<![\w.])(?:the|of|and|with|each)(?![\w.])", "\n".join(one.value for one in at.caption))
    assert english == []


@pytest.mark.parametrize(("name", "number"), STEPS)
def test_each_step_of_a_tour_is_there(name: str, number: int) -> None:
    tour, query = tours.tours()[name], tours.parameters(name, number)
    step = tour.steps[number - 1]
    at = opened(**query)
    assert not at.error
    assert step.title.en in texts(at)
    assert step.sentence.en in texts(at).replace("&#x27;", "'")
    for key, value in step.link.items():
        found = at.session_state[key]
        assert str(found) == str(value), key
        assert query[key] == str(value)
    ends = [word in texts(at) for word in ("Previous step", "Next step", "End the tour")]
    assert ends == [number > 1, number < len(tour.steps), True]


def test_tours_are_in_both_languages() -> None:
    assert len(tours.tours()) >= 3
    for tour in tours.tours().values():
        for text in (tour.title, *(text for step in tour.steps for text in (step.title, step.sentence))):
            assert CHINESE.search(text.zh)
            assert not CHINESE.search(text.en)
    at = opened(tour="softmax", step=99, lang="zh")
    assert "导览" in texts(at)
    assert tours.tours()["softmax"].steps[-1].title.zh in texts(at)
    assert "导览：" in texts(opened(tour="no such tour", lang="zh"))


def test_a_link_restores_the_chosen_cell_and_buttons_step() -> None:
    at = opened(lens_row=3, lens_column=2)
    assert "layers.1.resid_mid at position 2 (' LORD')" in texts(at)
    (data,) = maps(at)
    assert (data["row"], data["column"]) == (3, 2)
    assert (len(data["rows"]), len(data["columns"])) == (9, 5)
    assert data["labels"][-1][-1] == "␣Moses"
    good(at.button(key="lens_row_next").click().run())
    assert "layers.1.resid_post at position 2" in texts(at)
    good(at.button(key="lens_column_back").click().run())
    assert "layers.1.resid_post at position 1" in texts(at)
    assert opened(lens_row=0).button(key="lens_row_back").disabled
    assert opened().button(key="lens_row_next").disabled


def test_a_cell_of_a_longer_text_is_moved_into_the_text() -> None:
    at = opened(lens_row=3, lens_column=4)
    good(at.text_input(key="inside_prompt").set_value("And the").run())
    assert not at.error
    assert maps(at)[0]["column"] == 1


def test_an_attention_cell_has_its_score_by_dimension() -> None:
    at = opened(inside_view="attention", attention_row=3, attention_column=5, pattern_row=4, pattern_column=3)
    assert "layers.3.attn, head 5: keys of query 4" in texts(at)
    assert "Query 4 · key 3 by dimension" in texts(at)
    pattern = maps(at)[1]["values"]
    assert pattern[0][1:] == [None] * 4, "the mask hides later tokens"
    assert sum(pattern[4]) == pytest.approx(1, abs=1e-3)
    assert "score 3.0660 = the sum of all 32 products" in texts(at)


def test_contributions_sum_to_the_logit() -> None:
    (data,) = maps(opened(inside_view="attribute"))
    assert sum(x for row in data["values"] for x in row if x is not None) == pytest.approx(10.638, abs=0.01)


def output(name: str, **options: Any) -> Output:
    """Return what a view has drawn, with its default options but these."""
    found: list[Output] = []
    original = files.show
    files.show = lambda drawn, _: found.append(drawn)  # type: ignore[assignment]
    try:
        at = opened(inside_view=name, **options)
        assert not at.error, at.error[0].value
    finally:
        files.show = original
    return found[-1]


# Of each view, parameters of a link; together they have every option.
LINKS: list[tuple[str, dict[str, Any]]] = [
    ("lens", {"lens_sites": "layers", "lens_token": "God", "inside_prompt": "In the beginning"}),
    ("lens", {"lens_kind": "jacobian", "lens_sites": "layers", "inside_model": "happy"}),
    ("attention", {"attention_row": 1, "attention_column": 2, "pattern_row": 3, "pattern_column": 1}),
    ("attention", {"inside_from": "random", "model": "tiny-seq2seq", "inside_seed": 4, "attention_kinds": "false"}),
    ("attribute", {"attribute_token": " God", "attribute_against": " the"}),
    ("attribute", {"inside_model": "happy", "inside_ids": "0,1"}),
    ("patch", {"patch_component": "head", "patch_answer": " Moses", "patch_wrong": " the"}),
    ("patch", {"patch_component": "ffn", "inside_prompt": "And the king", "patch_method": "attribution"}),
    ("patch", {"inside_from": "random", "model": "tiny", "set": "n_layers=2", "patch_answer": "7", "inside_seed": 2}),
    ("patchscope", {"scope_words": "LORD", "scope_layers": "grid", "scope_tokens": 2}),
    ("patchscope", {"inside_from": "random", "model": "tiny-seq2seq", "scope_tokens": 2}),
    ("steer", {"steer_positive": "the king\nthe lord", "steer_layer": 1, "steer_strength": -1.0, "steer_tokens": 4}),
    ("steer", {"steer_operation": "project", "steer_tokens": 3}),
    ("steer", {"inside_from": "random", "model": "tiny-seq2seq", "steer_tokens": 3}),
    ("embed", {"embed_near": "king"}),
    ("embed", {"embed_mode": "analogy"}),
    ("embed", {"embed_mode": "contexts", "inside_model": "happy"}),
    ("embed", {"embed_mode": "project", "inside_from": "random", "model": "tiny-encoder"}),
]


@pytest.mark.parametrize(("name", "query"), LINKS)
def test_the_command_gives_the_same(name: str, query: dict[str, Any]) -> None:
    shown = output(name, **query)
    result = CliRunner().invoke(cli, [*shlex.split(shown.command)[1:], "--format", "json"])
    assert result.exit_code == 0, result.output
    expected, found = json.loads(result.stdout), json.loads(files.text(shown, "json", "en"))
    if name == "lens":  # the page follows more tokens
        expected, found = expected["readings"], found["readings"]
    assert _rounded(found) == _rounded(expected)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def test_files_are_those_of_the_command_line() -> None:
    for name in ("lens", "embed", "patch"):
        shown = output(name)
        written = CliRunner().invoke(cli, [*shlex.split(shown.command)[1:], "--lang", "zh", "--format", "html"])
        assert written.stdout == files.text(shown, "html", "zh"), name
    for form in ("csv", "md"):
        written = CliRunner().invoke(cli, [*shlex.split(shown.command)[1:], "--format", form])
        assert written.stdout == files.text(shown, form, "en"), form


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"inside_ids": "0,99999"}, "prompt: found id 99999; expected 1 to 256 ids from 0 to 2,047"),
        ({"inside_ids": "x"}, "ids: found 'x'"),
        ({"inside_ids": "1", "inside_prompt": "And"}, "prompt, ids: both; expected one of them"),
        ({"inside_view": "patch", "patch_corrupted": "And"}, "corrupted"),
        ({"inside_view": "patch", "patch_answer": "Nebuchadnezzar"}, "answer: 'Nebuchadnezzar' is"),
        ({"inside_view": "patchscope", "scope_words": "Paris"}, "words: found 'Paris'"),
        ({"inside_view": "embed", "embed_mode": "analogy", "embed_analogy": "a b"}, "analogy: 2 are given"),
        (
            {"inside_from": "random", "model": "gpt2-xl"},
            "of weights in fp32; expected up to 2.000 GB (1.863 GiB) on this page",
        ),
        (
            {"inside_view": "steer", "inside_from": "random", "model": "tiny-encoder"},
            "it does not predict the next token",
        ),
        ({"inside_model": "happy", "inside_prompt": "sad"}, "'sad' has no tokens in the vocabulary"),
    ],
)
def test_an_error_is_one_line_in_place(query: dict[str, str], says: str) -> None:
    at = opened(**query)
    (error,) = at.error
    assert says in error.value.replace("\\", "")
    assert "\n" not in error.value


def test_the_same_view_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, view = [], VIEWS["attribute"]

    def compute(*arguments: Any) -> Any:
        computed.append(arguments)
        return view.compute(*arguments)

    once = View(view.title, view.about, view.options, compute, view.show)
    monkeypatch.setitem(VIEWS, "attribute", once)
    link = {"inside_view": "attribute", "inside_prompt": "And the children of"}
    for row in (0, 1, 0):
        good(opened(**link, attribute_row=row))
    assert len(computed) == 1


def test_what_is_preloaded_is_what_the_page_begins_with(monkeypatch: pytest.MonkeyPatch) -> None:
    preload.compute()
    monkeypatch.setattr(answers, "answer", lambda *_: pytest.fail("it was computed again"))
    assert "␣Moses" in str(maps(opened()))


def test_a_stopped_computation_is_not_restarted() -> None:
    at = AppTest.from_function(drawn, default_timeout=600)
    at.query_params["inside_prompt"] = "And the sons of"
    at.session_state["stop_inside"] = True
    good(at.run())
    assert at.info[0].value == "Stopped."
    assert not maps(at)


@pytest.mark.parametrize("preset", ["tiny-encoder", "tiny-seq2seq"])
@pytest.mark.parametrize("name", ["lens", "attention", "attribute", "patch", "embed"])
def test_other_structures_are_read_too(preset: str, name: str) -> None:
    at = opened(inside_view=name, inside_from="random", model=preset)
    assert [error.value for error in at.error if "linear" not in error.value] == []
    assert at.error or f"archcalc {name} {preset} --random-weights --seed 0" in texts(at)


def test_a_local_checkpoint_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_chat_model(tmp_path / "talker")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    at = opened(inside_model="talker", inside_prompt="once upon")
    assert not at.error
    assert f"archcalc lens {folder} --prompt 'once upon' --positions all" in texts(at)


def test_a_tuned_lens_is_the_one_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_chat_model(tmp_path / "talker")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    link = {"inside_model": "talker", "inside_prompt": "once upon", "lens_kind": "tuned", "lens_sites": "layers"}
    assert "there is no tuned lens of this model" in opened(**link).error[0].value
    text = tmp_path / "text.txt"
    text.write_text("once upon a time " * 9)
    trained = CliRunner().invoke(cli, ["lens", str(folder), "--train", str(text), "--seq", "4", "--steps", "2"])
    assert trained.exit_code == 0, trained.output
    test_the_command_gives_the_same("lens", link)
    assert "archcalc.inside.load_lens(" in output("lens", **link).python


TUNED = {"inside_prompt": "And God said", "lens_kind": "tuned", "lens_sites": "layers"}
VERSES = "In the beginning God created the heaven and the earth. " * 6


def trained(text: str = VERSES, upload: tuple[str, bytes] | None = None, **query: Any) -> AppTest:
    """Return the page after a short training."""
    at = opened(**TUNED, **query)
    at.text_area(key="lens_train_text").set_value(text)
    at.slider(key="lens_train_steps").set_value(3)
    at.slider(key="lens_train_seq").set_value(8)
    if upload:
        at.session_state[lens_training.UPLOAD] = upload
    return good(at.button(key="lens_train").click().run())


def test_a_lens_is_trained_on_the_page_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings: list[Output] = []
    monkeypatch.setattr(files, "show", lambda drawn, _: drawings.append(drawn))
    at = trained(upload=("verses.txt", VERSES.encode()))
    assert not at.error
    assert re.search(r"Trained for 3 steps on \d+ tokens\. KL .* [\d.]+ nats before, [\d.]+ nats now", texts(at))
    assert "safetensors" in [one.label for one in at.get("download_button")]
    kept, shown = at.session_state[lens_training.KEPT], drawings[-1]
    assert kept.after < kept.before
    assert kept.lens.origin["text"] == "verses.txt"
    monkeypatch.chdir(tmp_path)
    save_lens(kept.lens, "tiny.tuned-lens.safetensors")
    result = CliRunner().invoke(cli, [*shlex.split(shown.command)[1:], "--format", "json"])
    assert result.exit_code == 0, result.output
    found = json.loads(files.text(shown, "json", "en"))
    assert _rounded(found["readings"]) == _rounded(json.loads(result.stdout)["readings"])
    assert found["lens_kind"] == "tuned"
    assert "load_lens('tiny.tuned-lens.safetensors')" in shown.python
    # A lens of the ends of layers has no maps for the sites between them.
    good(at.segmented_control(key="lens_sites").set_value("branches").run())
    assert "there is no tuned lens of this model; expected one trained above" in at.error[0].value.replace("\\", "")
    good(at.segmented_control(key="lens_sites").set_value("layers").run())
    assert not at.error


@pytest.mark.parametrize(
    ("text", "upload", "says"),
    [
        ("In", None, "has 1 tokens; expected 16 or more, two rows"),
        ("", None, "has no text; expected a text to train on"),
        ("", ("a.txt", b"\xff"), "a.txt: is not UTF-8 (byte 0)"),
        ("", ("a.txt", b"a" * (1 + lens_training.MAX_TEXT_BYTES)), "expected up to 1.049 MB (1.000 MiB) on this page"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_refused(text: str, upload: Any, says: str) -> None:
    at = trained(text, upload)
    (error,) = at.error
    assert says in error.value.replace("\\", "")


def test_one_lens_is_trained_at_a_time_and_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, request = Subject(ModelChoice("tiny")), lens_training.TrainingText("", VERSES.encode(), 2, 8)
    waits = Progress()
    waits.stop()
    with lens_training._TURN, pytest.raises(JobStoppedError):
        lens_training.train(subject, "layers", request, waits)
    monkeypatch.setattr(lens_training, "MAX_LENS_BYTES", 10)
    with pytest.raises(InputError, match=r"sites: the lens has .* on this page"):
        lens_training.train(subject, "layers", request, Progress())
    with pytest.raises(InputError, match="no longer kept"):
        lens_training.lens_of("0")


def test_a_stopped_training_ends_and_the_page_says_so() -> None:
    subject, progress = Subject(ModelChoice("tiny")), Progress()
    progress.stop()
    with pytest.raises(JobStoppedError):
        lens_training.train(subject, "layers", lens_training.TrainingText("", VERSES.encode(), 2, 8), progress)
    assert not lens_training._TURN.locked()
    at = AppTest.from_function(drawn, default_timeout=600)
    for key, value in TUNED.items():
        at.query_params[key] = value
    at.session_state["stop_lens_train"] = True
    assert "Stopped." in [one.value for one in good(at.run()).info]


def test_progress_begins_anew() -> None:
    progress = Progress(4)
    progress(4)
    progress.start(8)
    progress(2)
    assert progress.fraction == 0.25


def test_examples_are_data_of_every_model() -> None:
    assert example("tiny", has_tokenizer=True).corrupted
    assert isinstance(example("another", has_tokenizer=True), Example)
    assert example("another", has_tokenizer=False).prompt == "1,2,3"
    subject = Subject(ModelChoice("tiny"))
    assert subject.is_example
    assert answers.cached("lens", subject, "no such options") is None
