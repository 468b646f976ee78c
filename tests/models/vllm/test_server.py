"""The client of a vLLM server for rollouts, against a server on localhost that refuses, breaks off and lies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlaif.config.ppo_rollout import RolloutServerConfig
from rlaif.errors import InputError, TrainingError
from rlaif.models.vllm import server as vllm_server
from rlaif.models.vllm.server import VllmServer

Answer = tuple[int, Any]


class Served:
    """What a vLLM server says at each of its paths; a test may put other answers before those."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[str | None] = []
        self.before: dict[str, list[Answer]] = {}
        self.version = "default"
        self.model = {"logprobs_mode": "processed_logprobs", "max_model_len": 64}
        self.url = ""

    def answer(self, path: str, body: Any) -> Answer:
        self.asked.append((path, body))
        if self.before.get(path):
            return self.before[path].pop(0)
        match path:
            case "/server_info":
                return 200, {"vllm_config": {"model_config": self.model}}
            case "/collective_rpc":
                return 200, {"results": [None]}
            case "/reset_prefix_cache":
                return 200, {"success": True}
            case "/update_weight_version":
                self.version = body["new_version"]
                return 200, {"success": True}
            case "/weight_info":
                return 200, {"weight_version": self.version}
            case "/v1/completions":
                return 200, completion([body["seed"] % 7, 9])
            case _:
                return 404, {"detail": "Not Found"}


def completion(ids: list[int], logprobs: list[Any] | None = None) -> dict[str, Any]:
    said = [-0.5] * len(ids) if logprobs is None else logprobs
    return {"choices": [{"token_ids": ids, "logprobs": {"token_logprobs": said}}]}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(vllm_server, "FIRST_WAIT_S", 0.01)
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: Any) -> None:
            state.headers.append(self.headers["Authorization"])
            status, said = state.answer(self.path.partition("?")[0], body)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def connect(served: Served) -> Callable[..., VllmServer]:
    def make(environ: dict[str, str] | None = None, **options: Any) -> VllmServer:
        config = RolloutServerConfig.model_validate({"url": served.url, "max_retries": 2, "concurrency": 4, **options})
        return VllmServer(config, environ=environ or {})

    return make


def sample(server: VllmServer, seeds: list[int]) -> list[list[int]]:
    drawn = server.sample([[1, 2]] * len(seeds), seeds=seeds, max_tokens=8, temperature=0.6, stop_token_ids=(9, 10))
    return [each.ids for each in drawn]


def test_weights_go_over_before_what_was_computed_with_old_ones_is_forgotten(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    server = connect()
    server.load_weights(Path("/shared/step_3"), version="run-3")
    assert served.asked == [
        ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": "/shared/step_3"}}),
        ("/reset_prefix_cache", {}),
        ("/update_weight_version", {"new_version": "run-3"}),
    ]


def test_each_response_has_its_own_seed_and_comes_back_in_its_place(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    server = connect({"VLLM_API_KEY": "sk-1"})
    server.load_weights(Path("/w"), version="v")
    assert sample(server, [5, 3, 8, 0, 13, 20]) == [[5, 9], [3, 9], [1, 9], [0, 9], [6, 9], [6, 9]]
    sent = next(body for path, body in served.asked if path == "/v1/completions")
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["min_p"]) == (0.6, 1.0, 0, 0.0)
    assert (sent["repetition_penalty"], sent["presence_penalty"], sent["frequency_penalty"]) == (1.0, 0.0, 0.0)
    assert (sent["ignore_eos"], sent["stop_token_ids"], sent["max_tokens"]) == (True, [9, 10], 8)
    assert set(served.headers) == {"Bearer sk-1"}


@pytest.mark.parametrize(
    "broken",
    [
        (503, {"error": {"message": "busy"}}),
        (200, completion([4, 9], [-0.5])),
        (200, completion([])),
        (200, completion([4, 9], [-0.5, None])),
        (200, completion([4, 9], [-0.5, float("nan")])),
        (200, completion([4, 9], [-0.5, 3.0])),
        (200, {"choices": []}),
        (200, {"choices": [{"text": "abc", "logprobs": None}]}),
        (200, "hello"),
    ],
)
def test_a_broken_reply_is_asked_for_again_and_never_a_sample(
    served: Served, connect: Callable[..., VllmServer], broken: Answer
) -> None:
    server = connect()
    server.load_weights(Path("/w"), version="v")
    served.before["/v1/completions"] = [broken, broken]
    assert sample(server, [4]) == [[4, 9]]
    served.before["/v1/completions"] = [broken] * 3
    with pytest.raises(TrainingError, match=r"sampling failed: .* \(the vLLM server at 127\.0\.0\.1:\d+\)"):
        sample(server, [4])
    assert not served.before["/v1/completions"], "asked three times"


def test_a_request_that_the_server_calls_wrong_is_not_repeated(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    served.before["/v1/completions"] = [(400, {"error": {"message": "too many tokens"}})] * 2
    server = connect()
    with pytest.raises(TrainingError, match="sampling failed: HTTP 400 too many tokens"):
        sample(server, [4])
    assert len(served.before["/v1/completions"]) == 1


def test_weights_that_the_server_does_not_take_are_a_sentence(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    served.before["/collective_rpc"] = [(500, {"error": {"message": "no such folder"}})] * 3
    with pytest.raises(TrainingError, match="giving it the weights in /w failed: HTTP 500 no such folder"):
        connect().load_weights(Path("/w"), version="v")
    served.before["/reset_prefix_cache"] = [(200, {"success": False})]
    with pytest.raises(TrainingError, match="did not forget what it had computed with the old weights"):
        connect().load_weights(Path("/w"), version="v")


def test_a_server_that_was_restarted_or_given_other_weights_is_noticed(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    server = connect()
    server.load_weights(Path("/w"), version="v3")
    served.version = "default"
    with pytest.raises(TrainingError, match="no longer has the weights that it was given"):
        sample(server, [4])


def test_a_server_that_cannot_serve_truthfully_is_refused_before_training(
    served: Served, connect: Callable[..., VllmServer]
) -> None:
    connect().check(max_tokens=64)
    with pytest.raises(TrainingError, match="the server takes 64 tokens, and the longest prompt and response are 65"):
        connect().check(max_tokens=65)
    served.model["logprobs_mode"] = "raw_logprobs"
    with pytest.raises(TrainingError, match=r"gives raw_logprobs.*--logprobs-mode processed_logprobs"):
        connect().check(max_tokens=64)
    served.before["/server_info"] = [(404, {"detail": "Not Found"})]
    with pytest.raises(TrainingError, match=r"the server has no /server_info .*VLLM_SERVER_DEV_MODE=1"):
        connect().check(max_tokens=64)


def test_a_server_that_is_not_there_is_a_sentence(connect: Callable[..., VllmServer]) -> None:
    with pytest.raises(TrainingError, match="asking what it is failed: .*onnect"):
        connect(url="http://127.0.0.1:9", max_retries=0).check(max_tokens=10)
    for url in ("localhost:8000", "ftp://host", "http://key@host"):
        with pytest.raises(InputError, match="(is no|more than an) address"):
            connect(url=url)


def test_the_address_may_end_as_the_chat_api_does(served: Served, connect: Callable[..., VllmServer]) -> None:
    connect(url=served.url + "/v1/").check(max_tokens=10)
    assert served.asked[0][0] == "/server_info"
