"""`--lang` and $ARCHCALC_LANG: every command that prints speaks both languages, beside its pages too."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

from archcalc.cli import chat
from archcalc.cli.language import VARIABLE
from archcalc.cli.main import COMMANDS
from archcalc.errors import InputError
from archcalc.words import LANGS
from tests.cli.conftest import Cli

Good = Callable[..., str]

# What prints nothing of its own.
SILENT = {"app"}
PRINTING = [name for name in COMMANDS if name not in SILENT]
IDS = ["--random-weights", "--ids", "1,2,3"]
TRAINING = ["--text", __file__, "--steps", "1", "--seq", "8", "--batch", "2", "--set", "n_layers=1"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_language(name: str) -> None:
    command = import_module(f"archcalc.cli.{COMMANDS[name][0]}").command
    (option,) = (each for each in command.params if isinstance(each, click.Option) and "--lang" in each.opts)
    assert isinstance(option.type, click.Choice)
    assert (tuple(option.type.choices), option.envvar, option.default) == (LANGS, VARIABLE, "en")


@pytest.mark.parametrize("name", PRINTING)
def test_another_language_is_refused(name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    by_option = cli(name, "--lang", "fr")
    monkeypatch.setenv(VARIABLE, "fr")
    by_environment = cli(name)
    for ran in (by_option, by_environment):
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert "'fr'" in ran.err


# Call → what it prints in English and in Chinese, on standard output or standard error.
SPOKEN = {
    "new my-model": ("wrote my-model.yaml; try: archcalc report", "已写入 my-model.yaml；可以试试：archcalc report"),
    "presets": ("gpt3 is short for gpt3-175b", "gpt3 是 gpt3-175b 的简称"),
    "taps gpt3": ("GPT-3 175B: named points of the forward pass", "GPT-3 175B：前向传播的命名位置"),
    "claims zero": ("59 claims: 53 hold, 6 truncate", "59 项：53 项成立，6 项被截断"),
    "verify tiny": ("first reading", "第一种解读"),
    "tokenize tiny total": ("'total'", "'total' 的切分"),
    "sweep tiny --over n_heads=4,5 -f csv": ("archcalc: 1 left out, the first at", "archcalc: 略去 1 种，首个为"),
    f"generate tiny {' '.join(IDS)} -n 2": ("measured: 3 tokens read", "实测：读入 3 个词元"),
    f"fill-mask tiny-encoder {' '.join(IDS)} --mask-id 2": ("mask at token 1\n", "词元 1 处的掩码\n"),
    f"train tiny {' '.join(TRAINING)}": ("measured at step 1: loss", "第 1 步实测：损失"),
}


@pytest.mark.parametrize("call", SPOKEN)
def test_what_commands_print(call: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for i, (lang, variable) in enumerate((("--lang=en", "zh"), ("--lang=zh", "en"), ("", "zh"))):
        folder = tmp_path / str(i)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv(VARIABLE, variable)
        ran = cli(*call.split(), *([lang] if lang else []))
        assert ran.code == 0
        texts.append(ran.out + ran.err)
    english, chinese = SPOKEN[call]
    assert english in texts[0]
    assert not re.search("[\u4e00-\u9fff]", texts[0])
    for text in texts[1:]:
        assert chinese in text
        assert english not in text or english in chinese


@pytest.mark.parametrize("call", ["schema", "completion bash", "taps tiny -f json", "taps tiny -f csv"])
def test_what_programs_read_is_english(call: str, good: Good) -> None:
    assert good(*call.split(), "--lang", "zh") == good(*call.split())


def test_a_conversation_that_is_too_long_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(text: str) -> None:
        raise InputError("is full", where=text)

    for lang, ending in (("en", " (/reset begins anew)"), ("zh", "（输入 /reset 重新开始）")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, lang)
            patch.setattr(chat, "_next_line", iter(["one", None]).__next__)
            chat._read_turns(None, answer)  # type: ignore[arg-type]
        assert capsys.readouterr().err == f"archcalc: one: is full{ending}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_speaks_chinese(name: str, cli: Cli) -> None:
    help_text = cli(name, "--help", "--lang", "zh").out
    assert help_text.startswith(f"用法：archcalc {name} [选项]")
    assert "输出语言" in help_text
    assert not re.search(r"Usage|Options:|Show |default:|Output ", help_text)
    assert "Options:" in cli(name, "--help").out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("report", "gpt3", "--bacth", "3"), "没有选项 '--bacth'"),
        (("report",), "SOURCE: 未给出。说明见 archcalc report --help"),
        (("report", "gpt3", "--dtype", "int3"), "'int3' 不在可选值"),
        (("repot", "gpt3"), "没有命令 'repot'"),
        (("generate", "tiny", "--top-k"), "选项 '--top-k'"),
    ],
)
def test_usage_errors_speak_chinese(args: tuple[str, ...], message: str, cli: Cli) -> None:
    ran = cli(*args[:1], "--lang=zh", *args[1:])
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert message in ran.err
    assert not re.search("[\u4e00-\u9fff]", cli(*args).err)


def test_the_environment_chooses_the_language_of_help(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    assert "命令：" in cli("--help").out
    monkeypatch.delenv(VARIABLE)
    assert "Commands:" in cli("--help").out


def test_the_language_may_stand_before_the_command(cli: Cli) -> None:
    assert cli("--lang", "zh", "report", "gpt2") == cli("report", "gpt2", "--lang", "zh")
    assert cli("--lang", "zh", "report", "gpt2", "--lang", "en") == cli("report", "gpt2")
    assert cli("--lang", "zh", "--help").out.startswith("用法：archcalc [选项] 命令 [参数]...")
