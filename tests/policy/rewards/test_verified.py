"""The reward of a verifier: partial credit, and a verifier that fails."""

from __future__ import annotations

from answer_finders import broken, last_word

from rlaif.config.functions import load_function
from rlaif.config.verifier import ReftConfig
from rlaif.evaluation.verifier import Verifier
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.rewards.verified import VerifierReward
from rlaif.records import Message, Prompt

PROMPT = Prompt(messages=(Message(role="user", content="Two and two?"),), reference="4")
EPISODES = [Episode(PROMPT, response) for response in ("It is 4.0", "It is 5", "...")]


def test_right_wrong_and_no_answer_are_worth_what_the_paper_says_or_the_options_do() -> None:
    assert VerifierReward(Verifier(lambda prompt, response: response.split()[-1].strip(".") or None), ReftConfig())(
        EPISODES
    ) == [1.0, 0.1, 0.0]
    other = ReftConfig(right=2.0, wrong=-1.0, no_answer=-3.0)
    assert VerifierReward(Verifier(last_word), other)(EPISODES[1:]) == [-1.0, -3.0]


def test_what_the_users_function_raises_is_a_named_failure_of_its_episode() -> None:
    found = VerifierReward(Verifier(broken), ReftConfig())([Episode(PROMPT, "answer: 4"), Episode(PROMPT, "It is 4")])
    assert found[0] == 1.0
    assert isinstance(found[1], RewardFailure)
    assert found[1].cause == "raised_IndexError"
    guarded = load_function("answer_finders:broken", what="answer finder", where="verifier.answer")
    [failure] = VerifierReward(Verifier(guarded), ReftConfig())([Episode(PROMPT, "It is 4")])
    assert isinstance(failure, RewardFailure)
    assert failure.cause == "raised_IndexError"
    assert "answer_finders.py" in failure.detail
