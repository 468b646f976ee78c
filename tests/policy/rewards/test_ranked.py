"""A prompt's responses in order as rewards: the arithmetic by hand, and the judge that puts them in order."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.config.load import load_config
from rlaif.config.ppo_rewards import Ranks, RewardConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError
from rlaif.judging.panel import load_rank_template
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.policy.ppo.stage import make_judge_reward
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.rewards.ranked import compute_strengths, rank_rewards
from rlaif.policy.rewards.sources import check_rewards
from rlaif.records import Comparison, Message, Prompt, Question
from rlaif.run.stages import POLICY

# ---- places as rewards


@pytest.mark.parametrize(
    ("strengths", "rewards"),
    [
        ([3.0, 1.0, 2.0], [1.0, -1.0, 0.0]),
        ([0.1, 0.2], [-1.0, 1.0]),
        ([4.0, 3.0, 2.0, 1.0], [1.0, 1 / 3, -1 / 3, -1.0]),
        ([1.0, 1.0, 0.0], [0.5, 0.5, -1.0]),  # places 2 and 3 of three: (0 + 1) / 2
        ([1.0, 1.0 + 1e-9, 0.0], [0.5, 0.5, -1.0]),  # equal but for rounding
        ([5.0, 5.0], [0.0, 0.0]),
        ([5.0], [0.0]),
    ],
)
def test_centred_rewards_are_evenly_spaced_and_ties_share_their_places(
    strengths: list[float], rewards: list[float]
) -> None:
    assert rank_rewards(strengths, ranks="centred") == pytest.approx(rewards, abs=1e-15)


def test_normal_rewards_are_the_means_of_ordered_normal_draws() -> None:
    found = rank_rewards([1.0, 2.0, 3.0, 4.0], ranks="normal")
    # Exact: .29701 and 1.02938 (Harter 1961); of two draws 1 / sqrt(pi). Blom's approximation is within .02 of them.
    assert found == pytest.approx([-1.02938, -0.29701, 0.29701, 1.02938], abs=0.02)
    assert rank_rewards([1.0, 2.0], ranks="normal")[1] == pytest.approx(1 / math.sqrt(math.pi), abs=0.03)
    assert rank_rewards([1.0, 1.0, 0.0], ranks="normal")[0] == pytest.approx(
        rank_rewards([3.0, 2.0, 1.0], ranks="normal")[0] / 2
    )


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.sampled_from(["centred", "normal"]))
def test_rewards_of_a_group_add_up_to_zero_and_keep_its_order(strengths: list[int], ranks: Ranks) -> None:
    rewards = rank_rewards([float(one) for one in strengths], ranks=ranks)
    assert math.fsum(rewards) == pytest.approx(0.0, abs=1e-12)
    for (a, reward_a), (b, reward_b) in combinations(zip(strengths, rewards, strict=True), 2):
        assert (a > b, a == b) == (reward_a > reward_b, reward_a == reward_b)


def test_strengths_give_utilities_back_where_log_odds_are_their_differences() -> None:
    utilities = {"a": 0.5, "b": -1.0, "c": 2.0}
    labels = {(one, two): utilities[one] - utilities[two] for one, two in combinations(sorted(utilities), 2)}
    mean = sum(utilities.values()) / 3
    expected = {name: (one - mean) * 3 / 2 for name, one in utilities.items()}
    assert compute_strengths(list(utilities), labels) == pytest.approx(expected)
    assert compute_strengths(["a"], {}) == {"a": 0.0}


# ---- the judge

CONSTITUTION = """name: c
principles:
  - {id: terse, text: Prefer the terser reply., weight: 2}
  - {id: polite, text: Prefer the more courteous reply.}
"""
RANKER = """
asked = []

def rank(question):
    asked.append(question.texts)
    if any("odd" in text for text in question.texts[1:]):
        return "refused"
    replies = question.texts[1:]
    worth = [-len(text) for text in replies] if "terser" in question.prompt else [0.0 for _ in replies]
    total = sum(2.718281828 ** one for one in worth)
    found = [2.718281828 ** one / total for one in worth]
    if len(question.choices) == 2:
        return found
    return found + [0.0] * (len(question.choices) - len(found))
"""
PROMPT = Prompt(messages=(Message(role="user", content="When do you open?"),))
OTHER = Prompt(messages=(Message(role="user", content="Where is it?"),))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "c.yaml").write_text(CONSTITUTION)
    (tmp_path / "my_ranker.py").write_text(RANKER)
    yield tmp_path
    sys.modules.pop("my_ranker", None)


def config(template: str = "rank", **more: str) -> RunConfig:
    options = {
        "constitution": "c.yaml", "judge.model": '{engine: scripted, path: "my_ranker:rank"}',
        "judge.template": template, "ppo.rewards": "[{judge: true, ranks: centred}]", **more,
    }  # fmt: skip
    return load_config(overrides=[f"{name}={value}" for name, value in options.items()])


def ask(work: OpenRun, *episodes: Episode, ranks: Ranks = "centred") -> Sequence[Any]:
    with ExitStack() as lent:
        source = RewardConfig(judge=True, ranks=ranks)
        return make_judge_reward(work.round, work.book, work.shelf, work.bench, source=source, lent=lent)(episodes)


def num_asked() -> int:
    return len(sys.modules["my_ranker"].asked)


@pytest.mark.parametrize(("template", "num_questions"), [("rank", 3 * 2), ("pair", 3 * 2 * 2)])
def test_the_judge_puts_each_prompts_responses_in_order_and_is_asked_once(
    folder: Path, template: str, num_questions: int
) -> None:
    texts = ("At nine, I think", "Nine", "At nine")
    episodes = [Episode(PROMPT, text) for text in texts]
    with open_work(config(template), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        assert ask(work, *episodes) == [-1.0, 1.0, 0.0]
        assert num_asked() == num_questions, "three orders, or three pairs in both orders, under two principles"
        assert ask(work, *episodes, ranks="normal") == pytest.approx([-0.8694, 0.8694, 0.0], abs=1e-4)
        assert num_asked() == num_questions
        assert len(work.book.used(POLICY, Question, round=0)) == num_questions
        assert len(work.book.used(POLICY, Comparison, round=0)) == 6


def test_groups_are_of_one_prompt_and_equal_texts_share_a_place(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        found = ask(
            work,
            Episode(PROMPT, "At nine"),
            Episode(OTHER, "Here"),
            Episode(PROMPT, "Nine"),
            Episode(PROMPT, "At nine"),
        )
        assert found == [-0.5, 0.0, 1.0, -0.5]
        asked = num_asked()
        assert ask(work, Episode(PROMPT, "Ten"), Episode(PROMPT, "Ten")) == [0.0, 0.0]
        assert num_asked() == asked, "there is nothing to compare"


def test_where_a_comparison_fails_the_whole_group_has_no_reward_and_others_have(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        found = ask(
            work, Episode(PROMPT, "odd"), Episode(OTHER, "Here it is"), Episode(PROMPT, "Nine"), Episode(OTHER, "Here")
        )
    assert [isinstance(one, RewardFailure) for one in found] == [True, False, True, False]
    assert {one.cause for one in found if isinstance(one, RewardFailure)} == {"refused"}
    assert found[1::2] == [-1.0, 1.0]


# ---- options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ppo.rewards": "[{judge: true, ranks: centred, standardise: true}]"}, "mean 0 within each prompt already"),
        ({"ppo.rewards": "[{model: run, ranks: centred}]"}, "ranks is an option of a source with `judge`"),
        ({"ppo.num_samples_per_prompt": "1"}, "num_samples_per_prompt must be 2 or more"),
        ({"ppo.guards.keep": "best"}, "no reward to choose the best"),
    ],
)
def test_options_that_do_not_go_with_ranks_are_refused(folder: Path, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config(**options)


def test_ranks_are_never_standardised() -> None:
    rewards = "[{judge: true, ranks: normal}, {model: run}]"
    assert load_config(overrides=[f"ppo.rewards={rewards}"]).ppo.standardises == (False, True)


def test_a_template_that_scores_or_names_too_few_responses_is_refused(folder: Path) -> None:
    judge = config().judge
    with pytest.raises(ConfigError, match="responses are ranked by a template of `kind: ranking` or `kind: pair`"):
        load_rank_template(RewardConfig(judge=True, ranks="centred", template="score"), judge)
    assert load_rank_template(RewardConfig(judge=True, ranks="centred"), config("score").judge).kind == "ranking"
    many = config(**{"ppo.num_samples_per_prompt": "9"})
    refused = pytest.raises(ConfigError, match="9 responses are ranked together, and the template names 8")
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work, refused:
        check_rewards(many.ppo, judge=many.judge, constitution=work.round.constitution)
