"""A user's function as a source of rewards: what it is given, and what becomes of what it does wrong."""

from __future__ import annotations

from typing import Any

from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.rewards.function import FunctionReward
from rlaif.records import Message, Prompt

EPISODES = [
    Episode(
        Prompt(
            messages=(Message(role="system", content="Calculate."), Message(role="user", content=question)),
            reference=answer,
        ),
        response,
    )
    for question, answer, response in [("2+2?", "4", "4"), ("3+3?", "6", "7"), ("why?", None, "because")]
]


def test_it_is_given_the_conversation_the_response_and_the_known_answer() -> None:
    seen: list[Any] = []

    def exact(prompt: Any, response: Any, reference: Any) -> bool:
        seen.append((prompt, response, reference))
        return bool(response == reference)

    assert FunctionReward(exact, batched=False)(EPISODES) == [1.0, 0.0, 0.0]
    assert seen[0] == (
        [{"role": "system", "content": "Calculate."}, {"role": "user", "content": "2+2?"}],
        "4",
        "4",
    )
    assert seen[2][2] is None


def test_what_it_raises_is_the_failure_of_that_episode_alone() -> None:
    def needs_an_answer(prompt: Any, response: str, reference: str) -> float:
        return float(len(reference + response))

    *known, failed = FunctionReward(needs_an_answer, batched=False)(EPISODES)
    assert known == [2.0, 2.0]
    assert isinstance(failed, RewardFailure)
    assert failed.cause == "raised_TypeError"
    assert "NoneType" in failed.detail


def test_what_is_no_finite_number_is_a_failure_by_name() -> None:
    values = iter([float("nan"), "0.5", None])
    found = FunctionReward(lambda prompt, response, reference: next(values), batched=False)(EPISODES)
    assert [answer.cause for answer in found if isinstance(answer, RewardFailure)] == [
        "non_finite", "not_a_number", "none",
    ]  # fmt: skip


def test_a_batched_function_is_called_once_with_lists() -> None:
    calls: list[Any] = []

    def score(prompts: Any, responses: Any, references: Any) -> list[float | None]:
        calls.append((len(prompts), responses, references))
        return [1.0, None, -2.0]

    assert FunctionReward(score, batched=True)(EPISODES) == [1.0, RewardFailure("none", "there is no number"), -2.0]
    assert calls == [(3, ["4", "7", "because"], ["4", "6", None])]


def test_a_batched_function_that_raises_or_miscounts_fails_all_of_them() -> None:
    def breaks(prompts: Any, responses: Any, references: Any) -> list[float]:
        raise ZeroDivisionError("no")

    found = FunctionReward(breaks, batched=True)(EPISODES)
    assert found == [RewardFailure("raised_ZeroDivisionError", "no")] * 3
    found = FunctionReward(lambda prompts, responses, references: [1.0], batched=True)(EPISODES)
    assert found == [RewardFailure("wrong_count", "1 rewards for 3 episodes")] * 3
