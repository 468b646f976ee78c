"""A batch endpoint's words are read as they are: odd lines are none, and a server without an id is refused."""

import json

import pytest
from batch_server import BatchServer as Server
from chat_server import running

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import StageError
from rlaif.models.budget import Budget, Spending
from rlaif.models.endpoint import batch as openai_batch
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.batch import BatchServer
from rlaif.models.endpoint.batch_reply import read_batch
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.http import Answer
from rlaif.models.endpoint.prompt import PlainChat
from rlaif.models.endpoint.settings import Settings
from rlaif.models.interface import ScoreRequest

REQUEST = ScoreRequest(marker="\nVerdict:", choices=(" A", " B"), max_reason_tokens=32)
KEY = "sk-secret-1234"
ADDRESS = Address("http://host/v1/chat/completions", "host", KEY)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(openai_batch, "FIRST_WAIT_S", 0.01)


def make_server(url: str, **endpoint) -> BatchServer:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"batch_api": True, "max_retries": 1, **endpoint}),
    )
    environ = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}
    return OpenAIEngine(config, budget=Budget(), environ=environ).batch_server(REQUEST)


def response(status: object, body: object, **more) -> str:
    return json.dumps({"custom_id": "q", "response": {"status_code": status, "body": body, **more}, "error": None})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", None),
        ("[]", None),
        ('"text"', None),
        ('{"response": {"status_code": 200}}', None),
        ('{"custom_id": 7, "response": {"status_code": 200}}', None),
        (response(200, {"a": 1}, request_id="r"), ("q", 200, {"a": 1}, "", "r", True)),
        (response("200", {"a": 1}), ("q", 0, {"a": 1}, "HTTP 0 1", "", True)),
        (response(400, {"error": {"message": f"no: {KEY}"}}), ("q", 400, None, "HTTP 400 no: ***", "", True)),
        (response(500, None), ("q", 500, None, "HTTP 500", "", True)),
        ('{"custom_id": "q", "response": null, "error": null}', ("q", 0, None, "the server gave no answer", "", True)),
        ('{"custom_id": "q"}', ("q", 0, None, "the server gave no answer", "", True)),
        (
            '{"custom_id": "q", "error": {"code": "batch_expired", "message": "too late"}}',
            ("q", 0, None, "too late batch_expired", "", False),
        ),
        ('{"custom_id": "q", "error": {"code": "other", "message": "x"}}', ("q", 0, None, "x other", "", True)),
    ],
)
def test_each_line_of_an_answer_file_is_read_or_is_none(tmp_path, line, expected):
    path = tmp_path / "answers"
    path.write_text(f"\n{line}\n \n")
    (read,) = make_server("http://x/v1").lines(path)
    if expected is None:
        assert read is None
        return
    key, status, body, said, request_id, was_asked = expected
    assert read is not None
    assert (read.key, read.answer.status, read.answer.said, read.answer.request_id) == (key, status, said, request_id)
    assert read.was_asked == was_asked
    assert body is None or read.answer.body == body


def test_prices_are_less_by_the_discount():
    plain = PlainChat([], 0, 744)  # 256 more tokens for the server's chat form: 1,000
    server = make_server("http://x/v1", prompt_price=2.0, reply_price=10.0, max_reply_tokens=100, batch_discount=0.25)
    assert server.bound(plain) == Spending(1, 1100, pytest.approx((1000 * 2 + 100 * 10) * 0.75 / 1e6))


def test_a_request_holds_what_one_that_is_asked_at_once_holds():
    plain = PlainChat([{"role": "user", "content": "é?"}], 0, 3)
    line = make_server("http://x/v1", extra_body={"reasoning_effort": "low"}).line("q1", plain)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "custom_id": "q1", "method": "POST", "url": "/v1/chat/completions",
        "body": {
            "reasoning_effort": "low", "model": "judge-7b", "max_tokens": 48, "temperature": 0.0, "logprobs": True,
            "top_logprobs": 20, "messages": [{"role": "user", "content": "é?"}],
        },
    }  # fmt: skip


def test_a_batch_that_exists_is_taken_when_it_may_exist_and_only_then(tmp_path):
    requests = tmp_path / "r.jsonl"
    with running(Server()) as stub:
        server = make_server(stub.url)
        requests.write_bytes(server.line("q", PlainChat([{"role": "user", "content": "?"}], 0, 1)))
        file_id = server.upload(requests)
        first = server.create(file_id, label="l", may_exist=False)
        assert server.create(file_id, label="l", may_exist=True).id == first.id
        assert stub.batches[first.id]["metadata"] == {"rlaif": "l"}
        assert server.create(file_id, label="l", may_exist=False).id != first.id
        assert stub.calls["GET /v1/batches"] == 1


def test_a_setting_is_learnt_once_and_lines_sent_with_it_are_asked_again():
    server = make_server("http://x/v1")
    sent = server.state.settings
    refused = Answer(400, {}, "HTTP 400 temperature is not supported", words="temperature is not supported")
    plain = PlainChat([], 0, 1)
    assert server.read(refused, plain=plain, settings=sent) is None
    assert server.state.settings == Settings(None, 20)
    assert server.read(refused, plain=plain, settings=sent) is None
    other = server.read(refused, plain=plain, settings=server.state.settings)
    assert other is not None
    assert other.failure == "endpoint"


def test_a_server_that_gives_no_id_is_refused(tmp_path):
    with pytest.raises(StageError, match='answered without "status"'):
        read_batch({"id": "b"}, address=ADDRESS)
    with pytest.raises(StageError, match='answered without "id"'):
        read_batch(["b"], address=ADDRESS)


def test_a_server_that_is_not_there_is_said_to_be_away(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("{}\n")
    with pytest.raises(
        StageError, match="did not take a batch .*start the server, or fix OPENAI_BASE_URL; then --resume"
    ):
        make_server("http://127.0.0.1:9/v1").upload(path)
