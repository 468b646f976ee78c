"""Questions asked at once and kept nowhere: what no server answered is no answer of the judge."""

from typing import Any

import pytest
from chat_server import ChatServer, running

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.constitution.render import load_template, render
from rlaif.judging.ask_now import ask_now
from rlaif.judging.unanswered import Unanswered
from rlaif.models.budget import Budget
from rlaif.models.endpoint import client as endpoint_client
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.reading import ServerDown
from rlaif.records import FailedJudgement, Judgement


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)


def ask(server: ChatServer, num: int = 6) -> list[Judgement | FailedJudgement]:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="m"), endpoint=EndpointConfig(max_retries=1, timeout_s=5)
    )
    engine = OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": server.url})
    template = load_template("pair")
    chats = [
        render(template, conversation="user: When?", first=f"At {n}.", second="Later.", principle="Be kind.")
        for n in range(num)
    ]
    return ask_now(engine, chats, ids=[str(n) for n in range(num)], template=template, config=config)


@pytest.mark.parametrize("fault", ["cut", "503", "429", "not json"])
def test_a_server_that_gives_no_answer_is_no_silent_judge(fault: str) -> None:
    with (
        running(ChatServer(lambda asked, prompt, tries: fault if "At 4." in prompt else "good")) as server,
        pytest.raises(Unanswered, match="1 of 6 questions got no answer .*run the same command again"),
    ):
        ask(server)


def test_a_server_that_is_down_ends_with_what_to_do_in_a_command_without_resume() -> None:
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> str:
        return "good" if "At 0." in prompt else "503"

    with (
        running(ChatServer(behave)) as server,
        pytest.raises(ServerDown, match="in a row .*run the same command again"),
    ):
        ask(server, num=80)


@pytest.mark.parametrize(("fault", "cause"), [("400", "endpoint"), ("empty", "empty"), ("filter", "filtered")])
def test_a_question_that_a_server_refuses_by_itself_fails_alone(fault: str, cause: str) -> None:
    with running(ChatServer(lambda asked, prompt, tries: fault if "At 4." in prompt else "good")) as server:
        answers = ask(server)
    assert [answer.cause for answer in answers if isinstance(answer, FailedJudgement)] == [cause]
