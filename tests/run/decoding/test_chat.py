"""A conversation: what was read is not read again, and nothing depends on that."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcalc.errors import InputError
from archcalc.run.decoding.chat import Chat
from archcalc.run.loading.source import LoadedModel, open_source
from archcalc.spec.workload import Workload
from tests.run.decoding.chat_model import save_chat_model


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return open_source(str(save_chat_model(tmp_path_factory.mktemp("talker")))).load(Workload(seq=256))


def said(chat: Chat, text: str, n: int = 12) -> str:
    return "".join(chat.say(text, max_tokens=n))


def fresh(ready: LoadedModel, messages: list[dict[str, str]]) -> Chat:
    """A chat that has read nothing, in which this was said."""
    found = Chat(ready, n_ctx=256)
    found.messages = list(messages)
    return found


def test_a_turn_reads_what_is_new_and_answers_as_if_all_were(ready: LoadedModel) -> None:
    chat = Chat(ready, n_ctx=256, system="be brief")
    said(chat, "the cat sat on the mat")
    n_first, before = chat.timing.n_prompt_tokens, list(chat.messages)
    answer = said(chat, "and the dog?")
    other = fresh(ready, before)
    assert answer == said(other, "and the dog?")
    assert chat.messages == other.messages
    assert [each["role"] for each in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert 0 < chat.timing.n_prompt_tokens <= other.timing.n_prompt_tokens
    assert other.timing.n_prompt_tokens > n_first


def test_what_the_model_itself_wrote_is_not_read_again(ready: LoadedModel) -> None:
    chat = Chat(ready, n_ctx=256)
    said(chat, "the cat", n=1)
    n_read = len(chat._cached_ids)
    chat.messages[-1]["content"] = ""  # what a reply of no characters comes to
    said(chat, "sat", n=1)
    whole = fresh(ready, [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": ""}])
    said(whole, "sat", n=1)
    assert chat.timing.n_prompt_tokens == whole.timing.n_prompt_tokens - n_read


def test_an_answer_cut_short_counts_and_leaves_all_in_order(ready: LoadedModel) -> None:
    chat = Chat(ready, n_ctx=256)
    answer = chat.say("the cat sat", max_tokens=20)
    piece = next(answer)
    answer.close()
    assert chat.messages[-1]["content"].startswith(piece)
    assert said(chat, "on") == said(fresh(ready, chat.messages[:2]), "on")


def test_a_forgotten_conversation(ready: LoadedModel) -> None:
    chat = Chat(ready, n_ctx=256, system="be brief")
    first = said(chat, "the cat")
    chat.reset()
    assert said(chat, "the cat") == first


def test_a_conversation_longer_than_its_context(ready: LoadedModel) -> None:
    chat = Chat(ready, n_ctx=40)
    with pytest.raises(InputError, match=r"conversation: \d+ tokens; expected fewer than 40"):
        said(chat, "the cat sat on the mat " * 20)
    assert chat.messages == [], "what could not be read was not said"


def test_without_a_template(tmp_path: Path) -> None:
    ready = open_source(str(save_chat_model(tmp_path, None))).load(Workload(seq=64))
    with pytest.raises(InputError, match="no chat template"):
        Chat(ready)
