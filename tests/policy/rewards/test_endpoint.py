"""A server as a source of rewards: real requests to one that breaks in every way we know."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from reward_server import RewardServer, running

from rlaif.config.ppo_rewards import RewardConfig
from rlaif.errors import ConfigError, TrainingError
from rlaif.policy.rewards.endpoint import EndpointReward
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.records import Message, Prompt

EPISODES = [
    Episode(Prompt(messages=(Message(role="user", content=f"{n}+0?"),), reference=str(n) if n else None), "a" * n)
    for n in range(5)
]


def by_length(items: list[dict[str, Any]], number: int) -> list[float]:
    return [float(len(item["response"])) for item in items]


def ask(server: RewardServer | str, **options: Any) -> list[float | RewardFailure]:
    url = server if isinstance(server, str) else server.url
    config = RewardConfig(url=url, **{"max_retries": 2, "batch_size": 2, "timeout_s": 5.0, **options})
    return EndpointReward(config, environ={"REWARD_KEY": "rk-secret"}, first_wait_s=0.01)(EPISODES)


def causes(answers: Sequence[float | RewardFailure]) -> list[float | str]:
    return [answer.cause if isinstance(answer, RewardFailure) else answer for answer in answers]


def test_rewards_come_back_in_order_from_requests_of_the_batch_size() -> None:
    with running(by_length) as server:
        assert ask(server, api_key_env="REWARD_KEY") == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert sorted(len(request["items"]) for request in server.requests) == [1, 2, 2]
    [first] = [request for request in server.requests if request["items"][0]["response"] == ""]
    assert first["items"][1] == {"prompt": [{"role": "user", "content": "1+0?"}], "response": "a", "reference": "1"}
    assert first["items"][0]["reference"] is None
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer rk-secret"}


def test_a_server_that_breaks_for_a_while_is_asked_again() -> None:
    with running(lambda items, number: 503 if number < 2 else by_length(items, number)) as server:
        assert ask(server, batch_size=5) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "cause", "num_requests"),
    [
        (500, "http_500", 3),
        (422, "http_422", 1),
        ("{not json", "not_json", 3),
        ('{"scores": [1, 2]}', "no_rewards", 1),
        ("[1, 2, 3, 4, 5]", "no_rewards", 1),
        ([1.0, 2.0], "wrong_count", 1),
    ],
)
def test_a_request_without_rewards_fails_its_episodes_by_name(answer: Any, cause: str, num_requests: int) -> None:
    with running(lambda items, number: answer) as server:
        found = ask(server, batch_size=5)
    assert causes(found) == [cause] * 5
    assert len(server.requests) == num_requests
    may_pass = {isinstance(failure, RewardFailure) and failure.may_pass for failure in found}
    assert may_pass == {num_requests > 1}, "what is asked again may be answered later"


def test_what_is_no_number_fails_alone() -> None:
    with running(lambda items, number: '{"rewards": [1.5, null, NaN, "2", true]}') as server:
        assert causes(ask(server, batch_size=5)) == [1.5, "none", "non_finite", "not_a_number", "not_a_number"]


def test_one_broken_request_fails_only_its_own_episodes() -> None:
    with running(lambda items, number: 500 if len(items[0]["response"]) == 2 else by_length(items, number)) as server:
        assert causes(ask(server)) == [0.0, 1.0, "http_500", "http_500", 4.0]


def test_a_server_that_hangs_is_a_timeout() -> None:
    with running(lambda items, number: "hang") as server:
        found = ask(server, batch_size=5, timeout_s=0.2, max_retries=1)
    assert causes(found) == ["timeout"] * 5
    assert len(server.requests) == 2


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/score"
    assert causes(ask(url)) == ["unreachable"] * 5


@pytest.mark.parametrize(("status", "fix"), [(401, "set REWARD_KEY to a key"), (404, "fix its url")])
def test_what_no_retry_would_change_stops_with_a_sentence(status: int, fix: str) -> None:
    with running(lambda items, number: status) as server, pytest.raises(TrainingError) as stopped:
        ask(server, api_key_env="REWARD_KEY")
    assert fix in stopped.value.sentence
    assert "rk-secret" not in stopped.value.sentence


def test_a_key_that_is_not_set_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set"):
        EndpointReward(RewardConfig(url="http://localhost:1/score", api_key_env="NO_SUCH_KEY"), environ={})
