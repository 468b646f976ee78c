"""Log-likelihoods of given responses from a chat server: what is sent, read, counted and refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from chat_server import Behaviour, ChatServer, given_body, logprob_of, running, tokenise

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import StageError
from rlaif.models.budget import Budget
from rlaif.models.endpoint import client as endpoint_client
from rlaif.models.endpoint.engine import MAX_WITHOUT_VERDICT, OpenAIEngine
from rlaif.models.interface import LIKELIHOODS, ScoredReply
from rlaif.models.readings import CUT_OFF, WHOLE
from rlaif.records import Segment, SegmentedMessage
from rlaif.records.prompt import ResponseRole, Role


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)


def message(role: Role | ResponseRole, text: str) -> SegmentedMessage:
    return SegmentedMessage(role, (Segment(text, role == "system"),))


def question(user: str, response: str, *, is_whole: bool = True) -> tuple[SegmentedMessage, ...]:
    said = message(WHOLE if is_whole else CUT_OFF, response)
    asked = message("user", user)
    return (message("system", "Be kind."), asked, said, asked, said)


def make_engine(server: ChatServer, *, budget: Budget | None = None, **endpoint: Any) -> OpenAIEngine:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"concurrency": 8, "max_retries": 3, **endpoint}),
    )
    return OpenAIEngine(config, budget=budget or Budget(), environ={"OPENAI_BASE_URL": server.url})


def read(server: ChatServer, *questions: tuple[SegmentedMessage, ...], **options: Any) -> list[ScoredReply]:
    return make_engine(server, **options).score(list(questions), request=LIKELIHOODS)


def is_of_response(asked: dict[str, Any], response: str) -> bool:
    return bool(asked["messages"][-1] == {"role": "assistant", "content": response})


def expected(user: str, response: str, *, num_after: int) -> tuple[float, float]:
    """Of the words of a response and of `num_after` tokens after it, under the principle and under none."""
    sums = []
    for system in (["<system>", "Be", " kind.", "<end>", "\n"], []):
        before = [*system, "<user>", user, "<end>", "\n", "<assistant>"]
        tokens = [
            *before,
            *tokenise({"messages": [{"role": "", "content": response}], "continue_final_message": 1})[1:],
        ]
        tokens += ["<end>"][:num_after]
        sums.append(math.fsum(logprob_of(tokens, at) for at in range(len(before), len(tokens))))
    return sums[0], sums[1]


def test_likelihoods_are_of_the_response_and_of_the_token_that_ends_a_whole_one():
    with running(ChatServer()) as server:
        whole, cut = read(server, question("Hello?", "Good day, sir."), question("Hello?", "Good day", is_whole=False))
    assert whole.likelihoods == pytest.approx(expected("Hello?", "Good day, sir.", num_after=1))
    assert cut.likelihoods == pytest.approx(expected("Hello?", "Good day", num_after=0))
    assert (whole.response_tokens, cut.response_tokens) == (4, 2)
    assert (whole.raw_reply, whole.logprobs, whole.failure, whole.served_model) == ("", (), None, "judge-7b")
    assert whole.served is not None
    assert whole.served.had == "logprobs"


def test_a_conversation_is_sent_once_for_all_its_responses_and_an_example_once_for_all_questions():
    with running(ChatServer()) as server:
        engine = make_engine(server)
        asked = [question("Hello?", f"reply {n}") for n in range(10)] + [
            question("Who?", f"reply {n}") for n in range(9)
        ]
        engine.score(asked[:10], request=LIKELIHOODS)
        engine.score(asked, request=LIKELIHOODS)
    example = [body for body in server.bodies if body["messages"][0]["content"] == "Is it so?"]
    alone = [body for body in server.bodies if body["messages"][-1]["role"] == "user"]
    assert [body.get("continue_final_message") for body in example] == [True, None]
    assert len(alone) == 4  # two conversations, each under the principle and under none
    assert len(server.bodies) == 2 + 4 + 2 * (10 + 19)


def test_all_requests_of_a_question_are_in_its_account():
    with running(ChatServer()) as server:
        engine = make_engine(server, prompt_price=2.0, reply_price=10.0)
        first, second = engine.score([question("Hello?", "Yes."), question("Hello?", "No.")], request=LIKELIHOODS)
    assert first.served is not None
    assert second.served is not None
    assert (first.served.calls, second.served.calls) == (2 + 4, 2)
    sent = sum(len(tokenise(body)) for body in server.bodies)
    assert (first.prompt_tokens + second.prompt_tokens, first.reply_tokens + second.reply_tokens) == (sent, 8)
    assert (first.served.cost or 0) + (second.served.cost or 0) == pytest.approx((2 * sent + 10 * 8) / 1e6)
    assert engine.budget.spent.calls == 8
    assert engine.budget.spent.cost == pytest.approx((2 * sent + 10 * 8) / 1e6)


def test_a_request_asks_for_the_prompts_log_probabilities_and_one_token():
    with running(ChatServer()) as server:
        read(server, question("Hello?", "Yes."), max_reply_tokens=500, extra_body={"seed": 3})
    last = server.bodies[-1]
    assert last == {
        "model": "judge-7b", "max_tokens": 1, "temperature": 0, "seed": 3, "prompt_logprobs": 0,
        "add_generation_prompt": False, "messages": [
            {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "why", "num_sent"),
    [("not given", "the reply has no prompt_logprobs", 1), ("refuses to give", "Unrecognized request argument", 1)],
)
def test_a_server_without_them_ends_the_questions_at_once_with_one_sentence(behaviour, why, num_sent):
    with running(ChatServer(lambda asked, prompt, tries: behaviour)) as server:
        engine = make_engine(server)
        replies = engine.stream(((str(n), question("Hello?", f"{n}")) for n in range(40)), request=LIKELIHOODS)
        with pytest.raises(StageError, match=rf"127.0.0.1:\d+ gave no log-probabilities of the given text \(.*{why}"):
            next(replies)
    assert len(server.bodies) == num_sent


def test_a_server_that_gave_them_before_is_asked_again():
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        return "not given" if is_of_response(asked, "hard") and tries == 0 else "good"

    with running(ChatServer(behave)) as server:
        easy, hard = read(server, question("Hello?", "easy"), question("Hello?", "hard"))
    assert easy.failure is hard.failure is None
    assert hard.likelihoods == pytest.approx(expected("Hello?", "hard", num_after=1))
    assert hard.served is not None
    assert (hard.served.calls, hard.served.lost_tokens > 0) == (4, True)


@pytest.mark.parametrize("fault", ["429", "500", "cut", "garbage", "not json", "wrong model"])
def test_a_request_that_may_pass_is_sent_again(fault):
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        return fault if is_of_response(asked, "hard") and tries < 2 else "good"

    with running(ChatServer(behave)) as server:
        _, hard = read(server, question("Hello?", "easy"), question("Hello?", "hard"))
    assert hard.likelihoods == pytest.approx(expected("Hello?", "hard", num_after=1))
    assert hard.served is not None
    assert hard.served.calls == 6


@pytest.mark.parametrize(("fault", "cause"), [("500", "endpoint"), ("too long", "over_length"), ("400", "endpoint")])
def test_a_request_that_is_given_up_fails_its_question_and_the_rest_was_paid_for_nothing(fault, cause):
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        return fault if is_of_response(asked, "hard") and len(asked["messages"]) == 2 else "good"

    with running(ChatServer(behave)) as server:
        engine = make_engine(server, max_retries=1, prompt_price=1.0, reply_price=1.0)
        _, hard = engine.score([question("Hello?", "easy"), question("Hello?", "hard")], request=LIKELIHOODS)
    assert (hard.failure, hard.likelihoods, hard.prompt_tokens) == (cause, (), 0)
    assert hard.served is not None
    under_principle = next(body for body in server.bodies if is_of_response(body, "hard"))
    assert hard.served.lost_tokens >= len(tokenise(under_principle)) + 1
    assert hard.served.cost == pytest.approx(hard.served.lost_tokens / 1e6)


def changed(asked: dict[str, Any], *, at: int, **entry: Any) -> dict[str, Any]:
    """The good answer with another entry at a place."""
    body = given_body(asked)
    [(token, old)] = body["prompt_logprobs"][at].items()
    body["prompt_logprobs"][at] = {entry.pop("token", token): {**old, **entry}}
    return body


@pytest.mark.parametrize(
    "broken",
    [
        lambda body: {**body, "prompt_logprobs": []},
        lambda body: {**body, "prompt_logprobs": "many"},
        lambda body: {**body, "prompt_logprobs": body["prompt_logprobs"][1:]},
        lambda body: {**body, "prompt_logprobs": [*body["prompt_logprobs"], None]},
        lambda body: {**body, "prompt_logprobs": [*body["prompt_logprobs"], {}]},
        lambda body: {
            **body,
            "prompt_logprobs": [*body["prompt_logprobs"], {"x": {"logprob": -1, "decoded_token": ""}}],
        },
        lambda body: {**body, "prompt_logprobs": [*body["prompt_logprobs"], {"1": {"logprob": "-1"}}]},
        lambda body: {**body, "prompt_logprobs": [*body["prompt_logprobs"], {"1": -1.0}]},
        lambda body: {**body, "prompt_logprobs": [None, {"1": {}, "2": {}}]},
    ],
)
def test_an_answer_of_another_shape_is_no_likelihood(broken):
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        return broken(given_body(asked)) if is_of_response(asked, "hard") else "good"

    with running(ChatServer(behave)) as server:
        _, hard = read(server, question("Hello?", "easy"), question("Hello?", "hard"), max_retries=0)
    assert (hard.failure, hard.likelihoods) == ("endpoint", ())
    assert hard.served is not None
    assert "prompt_logprobs" in hard.served.detail


def test_numbers_that_are_none_become_no_likelihood():
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        if is_of_response(asked, "least"):
            return changed(asked, at=-3, logprob=-9999.0)
        return changed(asked, at=-3, logprob=0.5) if is_of_response(asked, "positive") else "good"

    with running(ChatServer(behave)) as server:
        least, positive = read(server, question("Hello?", "least"), question("Hello?", "positive"))
    assert least.likelihoods == (-math.inf, -math.inf)  # the mode refuses it as not finite
    assert (positive.failure, positive.likelihoods) == ("impossible_logprobs", ())


def test_a_response_without_tokens_is_empty():
    with running(ChatServer()) as server:
        cut, whole = read(server, question("Hello?", "", is_whole=False), question("Hello?", ""))
    assert (cut.failure, whole.failure) == ("empty", None)
    assert whole.response_tokens == 1


def test_a_template_that_writes_more_than_the_response_is_noticed_and_ends_the_questions():
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        messages = [
            {**one, "content": f"<think> </think> {one['content']}"} if one["role"] == "assistant" else one
            for one in asked["messages"]
        ]
        return given_body({**asked, "messages": messages})

    with running(ChatServer(behave)) as server:
        engine, found = make_engine(server), []
        questions = ((str(n), question("Hello?", f"reply {n}")) for n in range(80))
        with pytest.raises(StageError, match="could be found in what the server read.*another text") as refused:
            found += [reply for _, reply in engine.stream(questions, request=LIKELIHOODS)]
    assert "enable_thinking" in refused.value.fix
    assert {reply.failure for reply in found} <= {"unparsable"}
    assert len(server.bodies) < 2 + 4 + 2 * (MAX_WITHOUT_VERDICT + 8)


def test_control_strings_of_a_response_are_replaced_and_counted():
    with running(ChatServer()) as server:
        [reply] = read(server, question("Hello?", "Well <|im_end|> so"))
    assert not any("<|im_end|>" in one["content"] for body in server.bodies for one in body["messages"])
    assert reply.failure is None
    assert reply.served is not None
    assert (reply.served.neutralised, reply.response_tokens) == (2, 4)


def test_a_system_message_that_is_refused_is_folded_into_the_users():
    def behave(asked: dict[str, Any], prompt: str, tries: int) -> Behaviour:
        return {"error": {"message": "system role not supported", "code": 400}} if "system" in str(asked) else "good"

    with running(ChatServer(behave)) as server:
        [reply] = read(server, question("Hello?", "Yes."))
    assert reply.failure is None
    assert {"role": "user", "content": "Be kind.\n\nHello?"} in server.bodies[-3]["messages"]


def test_a_cap_on_requests_ends_the_questions_before_it_is_passed():
    with running(ChatServer()) as server:
        engine = make_engine(server, budget=Budget(max_calls=9), concurrency=1)
        questions = ((str(n), question("Hello?", f"reply {n}")) for n in range(40))
        replies = engine.stream(questions, request=LIKELIHOODS)
        found = [next(replies)[1] for _ in range(3)]
        with pytest.raises(StageError, match="max_calls"):
            next(replies)
    assert len(server.bodies) == 9
    assert [reply.failure for reply in found] == [None, None, "endpoint"]
    assert sum(reply.served.calls for reply in found if reply.served is not None) == 9
