"""The engine against a real server on localhost that answers, refuses, breaks off and lies."""

import math
import socket
import ssl
import threading
import time
from contextlib import ExitStack

import pytest
from chat_server import ChatServer, good_body, p_first, running

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import InputError, StageError
from rlaif.models.budget import Budget
from rlaif.models.endpoint import client as endpoint_client
from rlaif.models.endpoint.address import find_address
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.http import make_ssl_context, parse_retry_after
from rlaif.models.interface import ScoreRequest, StreamingScorer
from rlaif.records import Segment, SegmentedMessage

REQUEST = ScoreRequest("Verdict:", (" A", " B"), 40)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)


def chat(text: str):
    return (SegmentedMessage("user", (Segment(text, False),)),)


def make_engine(server: ChatServer, *, budget: Budget | None = None, key: str = "sk-secret-1234", **endpoint):
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"concurrency": 8, "max_retries": 3, **endpoint}),
    )
    environ = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": key}
    return OpenAIEngine(config, budget=budget or Budget(), environ=environ)


def ask(server: ChatServer, *texts: str, **options):
    return make_engine(server, **options).score([chat(text) for text in texts], request=REQUEST)


def test_replies_carry_verdict_reason_log_probabilities_and_what_was_had():
    with running(ChatServer()) as server:
        engine = make_engine(server, prompt_price=2.0, reply_price=10.0)
        [reply] = engine.score([chat("Which one?")], request=REQUEST)
    p = p_first("Which one?")
    assert isinstance(engine, StreamingScorer)
    assert reply.logprobs == pytest.approx((math.log(p), math.log(1 - p)))
    assert reply.reason == "A is the better one."
    assert (reply.prompt_tokens, reply.reply_tokens, reply.served_model) == (2, 9, "judge-7b")
    assert reply.served is not None
    assert (reply.served.had, reply.served.calls, reply.served.request_id) == ("logprobs", 1, "req-7")
    assert reply.served.cost == pytest.approx((2 * 2 + 9 * 10) / 1e6)
    assert reply.served.host == server.url.split("/")[2]
    assert reply.served.degraded_isolation
    [sent] = server.bodies
    assert (sent["temperature"], sent["top_logprobs"], sent["max_tokens"]) == (0, 20, 56)
    assert server.headers[0]["Authorization"] == "Bearer sk-secret-1234"


def test_many_are_under_way_at_once_and_no_more_than_configured():
    with running(ChatServer(latency_s=0.05)) as server:
        started = time.monotonic()
        replies = ask(server, *(f"question {n}" for n in range(80)))
        seconds = time.monotonic() - started
    assert server.most_under_way == 8
    assert seconds < 80 * 0.05 / 3  # one by one it would take 4 s
    assert [r.logprobs[0] for r in replies] == pytest.approx([math.log(p_first(f"question {n}")) for n in range(80)])


def test_questions_are_drawn_no_faster_than_they_are_answered():
    drawn = taken = most_ahead = 0

    def questions():
        nonlocal drawn
        for n in range(100):
            drawn += 1
            yield str(n), chat(f"question {n}")

    with running(ChatServer()) as server:
        for _ in make_engine(server).stream(questions(), request=REQUEST):
            taken += 1
            most_ahead = max(most_ahead, drawn - taken)
    assert taken == 100
    assert most_ahead <= 2 * 8


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "garbage", "not json", "no choices", "wrong model"])
def test_what_may_pass_is_asked_again_and_counted(fault):
    def behave(asked, prompt, tries):
        return fault if prompt == "hard" and tries < 2 else "good"

    with running(ChatServer(behave)) as server:
        _, reply = ask(server, "easy", "hard")
    assert reply.failure is None
    assert reply.logprobs[0] == pytest.approx(math.log(p_first("hard")))
    assert reply.served.calls == server.requests["hard"] == 3


@pytest.mark.parametrize(
    ("fault", "cause", "had_text"),
    [
        ("429", "endpoint", "HTTP 429 slow down"),
        ("500", "endpoint", "HTTP 500 upstream is gone"),
        ("400", "endpoint", "HTTP 400 no"),
        ("cut", "endpoint", ""),
        ("slow", "endpoint", "no whole reply within 0.3 s"),
        ("garbage", "endpoint", "not JSON"),
        ("not json", "endpoint", "not JSON"),
        ("no choices", "endpoint", "overloaded"),
        ("empty logprobs", "endpoint", "no log-probabilities"),
        ("null logprobs", "endpoint", "no log-probabilities"),
        ("empty top", "endpoint", "no log-probabilities"),
        ("wrong model", "endpoint", 'answered as "somebody-else" and not as "judge-7b"'),
        ("too long", "over_length", "maximum context length"),
        ("refusal", "refused", ""),
        ("sorry", "refused", ""),
        ("filter", "filtered", ""),
        ("truncated", "truncated", ""),
        ("empty", "empty", ""),
        ("no verdict", "unparsable", ""),
    ],
)
def test_what_does_not_pass_is_a_named_failure(fault, cause, had_text):
    with running(ChatServer(lambda asked, prompt, tries: fault if prompt == "hard" else "good")) as server:
        good, bad = ask(server, "easy", "hard", max_retries=1, timeout_s=0.3)
    assert good.failure is None
    assert (bad.failure, bad.logprobs, bad.verdict) == (cause, (), None)
    assert had_text in bad.served.detail
    assert bad.served.calls == server.requests["hard"]


def test_nan_is_handed_on_as_nan_for_the_reader_to_refuse():
    with running(ChatServer(lambda asked, prompt, tries: "nan")) as server:
        [reply] = ask(server, "q")
    assert all(map(math.isnan, reply.logprobs))


def test_a_verdict_that_is_not_listed_is_unknown():
    with running(ChatServer(lambda asked, prompt, tries: "unlisted")) as server:
        [reply] = ask(server, "q")
    other = 1 if p_first("q") >= 0.5 else 0
    assert reply.unknown == {other}
    assert reply.logprobs[other] == -math.inf


def test_a_server_without_log_probabilities_gives_verdicts_alone_unless_they_are_demanded():
    with running(ChatServer(lambda asked, prompt, tries: "no logprobs")) as server:
        replies = ask(server, "a", "b")
        demanded = ask(server, "c", logprobs="yes", max_retries=0)[0]
        ask(server, "d", logprobs="no")
    assert [(r.logprobs, r.verdict, r.served.had) for r in replies] == [
        ((), 0 if p_first(q) >= 0.5 else 1, "verdict") for q in "ab"
    ]
    assert (demanded.failure, demanded.verdict) == ("endpoint", None)
    assert "logprobs" not in server.bodies[-1]


def test_thinking_is_taken_off_and_its_tokens_are_counted():
    with running(ChatServer(lambda asked, prompt, tries: "thinking")) as server:
        [reply] = ask(server, "q", max_reply_tokens=4096)
    assert reply.verdict == (0 if p_first("q") >= 0.5 else 1)
    assert reply.reason == "A is the better one."
    assert (reply.reply_tokens, reply.served.reasoning_tokens) == (509, 500)
    assert server.bodies[0]["max_tokens"] == 4096


def test_what_a_server_refuses_is_left_out_once_and_the_record_says_so():
    def behave(asked, prompt, tries):
        for name, words in (
            ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
            ("logprobs", "This model does not support logprobs."),
        ):
            if name in asked:
                return {"error": {"message": words}}
        return "good"

    class Strict(ChatServer):
        async def reply(self, request, asked, prompt, behaviour):
            response = await super().reply(request, asked, prompt, behaviour)
            if isinstance(behaviour, dict):
                response.set_status(400)
            return response

    with running(Strict(behave)) as server:
        replies = ask(server, "a", "b", "c")
    assert [(r.failure, r.served.had, r.served.temperature) for r in replies] == [(None, "verdict", None)] * 3
    assert [r.served.calls for r in replies] == [4, 1, 1]
    assert server.bodies[-1]["max_completion_tokens"] == 56


def test_a_server_that_lists_few_alternatives_is_asked_for_few():
    def behave(asked, prompt, tries):
        return {"error": {"message": "top_logprobs must be at most 5"}} if asked["top_logprobs"] > 5 else "good"

    class Strict(ChatServer):
        async def reply(self, request, asked, prompt, behaviour):
            response = await super().reply(request, asked, prompt, behaviour)
            if isinstance(behaviour, dict):
                response.set_status(400)
            return response

    with running(Strict(behave)) as server:
        [reply] = ask(server, "a")
    assert reply.served.had == "logprobs"
    assert [body["top_logprobs"] for body in server.bodies] == [20, 5]


def test_retry_after_holds_up_everybody():
    times = []

    class Slow(ChatServer):
        async def reply(self, request, asked, prompt, behaviour):
            times.append((time.monotonic(), behaviour))
            response = await super().reply(request, asked, prompt, behaviour)
            if behaviour == "429":
                response.headers["Retry-After"] = "0.4"
            return response

    with running(Slow(lambda asked, prompt, tries: "429" if prompt == "q3" and not tries else "good")) as server:
        ask(server, *(f"q{n}" for n in range(40)), concurrency=2)
    refused = next(at for at, behaviour in times if behaviour == "429")
    after = [at - refused for at, _ in times if at > refused + 0.05]
    assert min(after) >= 0.3


def test_a_question_ends_at_its_deadline_although_retries_are_left():
    with running(ChatServer(lambda asked, prompt, tries: "slow" if prompt == "hard" else "good")) as server:
        started = time.monotonic()
        _, reply = ask(server, "easy", "hard", deadline_s=0.4, timeout_s=0.15, max_retries=50)
    assert time.monotonic() - started < 2
    assert reply.failure == "endpoint"
    assert 2 <= reply.served.calls <= 4


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [("401", "refused the key"), ("404", 'has no model "judge-7b"')],
)
def test_what_is_wrong_with_every_question_ends_the_run_after_one(fault, sentence):
    with running(ChatServer(lambda asked, prompt, tries: fault)) as server:
        with pytest.raises(StageError, match=sentence) as raised:
            ask(server, *(f"q{n}" for n in range(50)))
        assert server.requests.total() == 1
    assert "sk-secret-1234" not in str(raised.value)
    assert "***" in str(raised.value)


def test_a_server_that_is_not_there_is_told_in_a_sentence():
    server = ChatServer()
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(StageError, match="cannot be reached"):
        ask(server, "q")


@pytest.mark.parametrize(("retries", "tried"), [(0, "tried once"), (1, "tried 2 times"), (6, "tried 4 times")])
def test_a_server_that_never_answers_is_tried_a_few_times_and_one_line_says_so(capsys, retries, tried):
    server = ChatServer()
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(StageError, match=f"cannot be reached, {tried}"):
        ask(server, *(f"q{n}" for n in range(20)), max_retries=retries)
    assert capsys.readouterr().err.count("trying again in") == min(retries, 1)


@pytest.mark.parametrize("has_answered", [True, False])
def test_a_server_that_dies_and_returns_answers_every_question_and_one_line_says_who_is_waited_for(
    monkeypatch, capsys, has_answered
):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.2)
    server = ChatServer()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    engine = make_engine(server, max_retries=8)
    port = int(server.url.split(":")[2].removesuffix("/v1"))
    if has_answered:
        with running(server, port=port):
            engine.score([chat("q")], request=REQUEST)
    host = server.url.split("/")[2]
    with ExitStack() as stack:
        returns = threading.Timer(0.2, lambda: stack.enter_context(running(server, port=port)))
        returns.start()
        replies = engine.score([chat(f"q{n}") for n in range(20)], request=REQUEST)
        returns.join()
    assert [reply.failure for reply in replies] == [None] * 20
    said = [line for line in capsys.readouterr().err.splitlines() if "trying again in" in line]
    assert len(said) == 1
    assert said[0].startswith(f"judge: {host} did not answer (")


@pytest.mark.parametrize("fault", ["503", "cut", "429"])
def test_whatever_is_tried_again_is_said_once(capsys, fault):
    with running(ChatServer(lambda asked, prompt, tries: "good" if tries else fault)) as server:
        replies = ask(server, *(f"q{n}" for n in range(20)), max_retries=8)
    assert [reply.failure for reply in replies] == [None] * 20
    assert capsys.readouterr().err.count("trying again in") == 1


def test_a_server_that_goes_down_ends_the_run_and_what_was_answered_was_given():
    answered = 0
    with running(ChatServer(lambda asked, prompt, tries: "good" if len(server.bodies) < 40 else "500")) as server:
        given: list[str | None] = []
        with pytest.raises(StageError, match="failed 32 questions in a row"):
            given.extend(
                reply.failure
                for _, reply in make_engine(server, max_retries=0).stream(
                    ((str(n), chat(f"q{n}")) for n in range(500)), request=REQUEST
                )
            )
        answered = server.acknowledged.total()
    assert given.count(None) == answered >= 30
    assert 32 <= given.count("endpoint") < 32 + 8


def test_a_model_that_is_replaced_on_the_server_ends_the_run():
    def behave(asked, prompt, tries):
        return "good" if len(server.bodies) < 20 else "wrong model"

    with running(ChatServer(behave)) as server:
        engine = make_engine(server, max_retries=0)
        with pytest.raises(StageError, match='now answers as "somebody-else"'):
            list(engine.stream(((str(n), chat(f"q{n}")) for n in range(100)), request=REQUEST))


def test_answers_in_use_from_another_model_are_not_mixed_with_new_ones():
    with running(ChatServer()) as server:
        engine = make_engine(server)
        engine.expect_model("judge-7b-of-last-week")
        with pytest.raises(StageError, match='"judge-7b" and from|come from "judge-7b-of-last-week"'):
            engine.score([chat("q")], request=REQUEST)
        assert server.requests.total() == 1


@pytest.mark.parametrize(
    ("caps", "config"),
    [
        ({"max_calls": 25}, {}),
        ({"max_tokens": 600}, {}),
        ({"max_cost": 0.002}, {"prompt_price": 1.0, "reply_price": 10.0}),
    ],
)
def test_caps_stop_before_they_are_exceeded_and_leave_little_unused(caps, config):
    def behave(asked, prompt, tries):
        return "500" if prompt.endswith("7") and not tries else "good"

    with running(ChatServer(behave)) as server:
        budget = Budget(**caps)
        engine = make_engine(server, budget=budget, **config)
        given = []
        with pytest.raises(StageError, match=f"judge.{next(iter(caps))} of"):
            given.extend(engine.stream(((str(n), chat(f"q {n}")) for n in range(500)), request=REQUEST))
    used = {
        "max_calls": server.requests.total(),
        "max_tokens": sum(server.acknowledged.values()) * (2 + 9),
        "max_cost": sum(server.acknowledged.values()) * (2 * 1 + 9 * 10) / 1e6,
    }
    [(name, cap)] = caps.items()
    one = {"max_calls": 0, "max_tokens": 3 + 256 + 56, "max_cost": (259 * 1 + 56 * 10) / 1e6}[name]
    assert cap - one <= used[name] <= cap


def test_control_strings_are_neutralised_on_their_way():
    with running(ChatServer()) as server:
        ask(server, "text <|im_end|> here")
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "text ‹|im_end|› here"}]


@pytest.mark.parametrize(
    ("fault", "fix"), [("no verdict", "choose a template"), ("truncated", "raise judge.endpoint.max_reply_tokens")]
)
def test_a_judge_that_never_gives_a_verdict_is_not_asked_everything(fault, fix):
    with running(ChatServer(lambda asked, prompt, tries: fault)) as server:
        with pytest.raises(StageError, match=f"none of the judge's first 16 replies holds a verdict .*{fix}"):
            ask(server, *(f"q{n}" for n in range(500)))
        assert server.requests.total() <= 16 + 8


def test_what_a_server_says_cannot_drive_the_terminal_and_a_body_that_is_no_unicode_is_no_reply():
    with running(ChatServer(lambda asked, prompt, tries: hostile if prompt == "h" else "good")) as server:
        hostile: object = {"error": {"message": "\x1b[2Jgone"}}
        _, reply = ask(server, "q", "h", max_retries=0)
        assert "\x1b" not in reply.served.detail
        assert "gone" in reply.served.detail
        hostile = {"choices": [{"message": {"content": "\ud800 Verdict: A"}}]}
        _, reply = ask(server, "q", "h", max_retries=0)
        assert reply.failure == "endpoint"


def test_tokens_that_the_server_does_not_count_are_guessed_and_the_record_says_so():
    with running(ChatServer(lambda asked, prompt, tries: "no usage")) as server:
        [reply] = ask(server, "x" * 400)
    assert (reply.prompt_tokens, reply.served.tokens_estimated) == (100, True)


def test_proxies_of_the_environment_are_used(monkeypatch):
    with running(ChatServer()) as proxy:  # it answers what is sent through it, whatever the address
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        far = ChatServer()
        far.url = "http://judge.invalid/v1"
        [reply] = ask(far, "q")
    assert reply.failure is None
    assert reply.served.host == "judge.invalid"


def test_a_ca_bundle_of_the_environment_is_loaded_and_a_broken_one_refused(tmp_path):
    (tmp_path / "broken.pem").write_text("nothing")
    with pytest.raises(InputError, match="CA bundle"):
        make_ssl_context({"REQUESTS_CA_BUNDLE": str(tmp_path / "missing.pem")})
    with pytest.raises(InputError, match="CA bundle"):
        make_ssl_context({"CURL_CA_BUNDLE": str(tmp_path / "broken.pem")})
    assert make_ssl_context({}).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "no server is named"),
        ("localhost:8000", "no address"),
        ("http://user:pw@host/v1", "more than an address"),
        ("http://host/v1?key=1", "more than an address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        find_address(base_url_env="BASE", api_key_env="KEY", environ={"BASE": url})
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert parse_retry_after(headers, now=60.0) == seconds


def test_a_stream_that_is_closed_leaves_nothing_running():
    with running(ChatServer(latency_s=0.05)) as server:
        stream = make_engine(server).stream(((str(n), chat(f"q{n}")) for n in range(100)), request=REQUEST)
        next(stream)
        stream.close()
        time.sleep(0.1)  # what was sent before may reach the server after
        sent = server.requests.total()
        time.sleep(0.2)
        assert server.requests.total() == sent


def test_the_fake_server_is_as_good_as_its_word():
    body = good_body("q", asked={"model": "m", "logprobs": True})
    top = body["choices"][0]["logprobs"]["content"][-1]["top_logprobs"]
    assert sum(math.exp(entry["logprob"]) for entry in top) == pytest.approx(1)


class Refusing(ChatServer):
    """Refuses a request with a status and a body wherever `refuses` gives them."""

    def __init__(self, refuses):
        super().__init__(lambda asked, prompt, tries: (refuses(asked, prompt) or (200, "good"))[1])
        self.refuses = refuses

    async def reply(self, request, asked, prompt, behaviour):
        response = await super().reply(request, asked, prompt, behaviour)
        if (found := self.refuses(asked, prompt)) is not None:
            response.set_status(found[0])
        return response


def test_a_setting_is_left_out_whatever_the_status_of_the_refusal(capsys):
    words = {"message": {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]}}
    for status in (200, 400, 403, 404, 422, 500, 501):
        with running(Refusing(lambda asked, prompt, s=status: (s, words) if "logprobs" in asked else None)) as server:
            replies = ask(server, "q1", "q2")
        assert [(r.failure, r.served.had) for r in replies] == [(None, "verdict")] * 2
        assert server.requests.total() == 3
        assert capsys.readouterr().err.count("refuses log-probabilities") == 1


def test_a_system_text_is_folded_into_the_users_turn_once_the_server_refuses_it(capsys):
    def refuses(asked, prompt):
        roles = [message["role"] for message in asked["messages"]]
        return (400, {"error": {"message": "System role not supported"}}) if "system" in roles else None

    given = (SegmentedMessage("system", (Segment("Be fair.", True),)), *chat("Which one?"))
    with running(Refusing(refuses)) as server:
        replies = make_engine(server).score([given, given], request=REQUEST)
    assert [r.failure for r in replies] == [None, None]
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": "Be fair.\n\nWhich one?"}]
    assert capsys.readouterr().err.count("refuses a system message") == 1


@pytest.mark.parametrize(
    ("status", "body", "sentence", "num_requests"),
    [
        (402, {"error": "pay"}, r"no money or quota left \(HTTP 402 pay\)", 1),
        (429, {"error": {"code": "insufficient_quota"}}, "no money or quota left", 1),
        (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "no money or quota left", 1),
        (400, {"error": [{"reason": "no such adapter"}]}, r"refuses our questions \(HTTP 400 no such adapter\)", 2),
        (405, {"detail": "Method Not Allowed"}, "refuses our questions .*Method Not Allowed", 1),
        (422, {"error": {"message": "unknown field top_k"}}, "take top_k out of judge.endpoint.extra_body", 2),
    ],
)
def test_what_every_question_would_meet_stops_at_the_first_with_the_servers_words(status, body, sentence, num_requests):
    with running(Refusing(lambda asked, prompt: (status, body))) as server:
        with pytest.raises(StageError, match=sentence):
            ask(server, *(f"q{n}" for n in range(50)), extra_body={"top_k": 5})
        assert server.requests.total() == num_requests


def test_a_quota_that_is_used_up_later_stops_too_and_what_was_answered_was_given():
    def refuses(asked, prompt):
        return (429, {"error": "You exceeded your current quota"}) if len(server.bodies) > 20 else None

    given: list[str | None] = []
    questions = ((str(n), chat(f"q{n}")) for n in range(200))
    with running(Refusing(refuses)) as server:
        with pytest.raises(StageError, match="no money or quota left"):
            given.extend(reply.failure for _, reply in make_engine(server).stream(questions, request=REQUEST))
        assert server.requests.total() <= 20 + 2 * 8
    assert 12 <= len(given) <= 20
    assert set(given) == {None}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "upstream failed", "code": 502}},
        {"choices": [], "error": "upstream failed"},
        {"choices": [{"message": {"content": "Verdict: A"}, "error": {"message": "upstream failed"}}]},
        {"choices": [{"message": {"content": "Verdict: A"}, "finish_reason": "error"}]},
        {"choices": []},
        {"object": "error", "message": "upstream failed"},
    ],
)
def test_an_error_inside_a_reply_is_the_servers_failure_and_may_pass(body):
    with running(ChatServer(lambda asked, prompt, tries: body if tries < 2 else "good")) as server:
        [reply] = ask(server, "q")
        assert (reply.failure, reply.served.calls) == (None, 3)
    with running(ChatServer(lambda asked, prompt, tries: body if prompt == "hard" else "good")) as server:
        assert [reply.failure for reply in ask(server, "easy", "hard", max_retries=1)] == [None, "endpoint"]


def test_a_second_name_of_the_model_is_said_once_and_what_was_thrown_away_is_counted(capsys):
    def behave(asked, prompt, tries):
        return {**good_body(prompt, asked=asked), "model": f"m-{len(server.bodies) % 2}"}

    with running(ChatServer(behave)) as server:
        ask(server, *(f"question {n}" for n in range(6)), concurrency=1)
    said = capsys.readouterr().err
    assert said.count('the server answers as "m-1" and as "m-0"') == 1
    assert "judge: 5 replies were paid for and thrown away" in said
    assert server.requests.total() == 11


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "output_text"])
def test_an_answer_in_another_field_is_named_with_what_to_set(field):
    body = {"choices": [{"message": {"content": None, field: "Fine.\nVerdict: A"}, "finish_reason": "stop"}]}
    with (
        running(ChatServer(lambda asked, prompt, tries: body)) as server,
        pytest.raises(StageError, match=f"a text stands in {field}: Fine. Verdict: A.*reasoning parser"),
    ):
        ask(server, *(f"q{n}" for n in range(50)))
