"""The judge as a source of rewards: what its scores become, and that it is asked once, within its caps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, running

from rlaif.config.load import load_config
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, StageError
from rlaif.judging.panel import load_score_template
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.models.endpoint import client as endpoint_client
from rlaif.policy.ppo.stage import make_judge_reward
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.records import FailedJudgement, Judgement, Message, Prompt, Question
from rlaif.run.stages import POLICY

CONSTITUTION = """name: c
principles:
  - {id: terse, text: Prefer the terser reply., weight: 2}
  - {id: polite, text: Prefer the more courteous reply.}
"""
JUDGE = """
asked = []

def score(question):
    asked.append(question.texts[-1])
    if "odd" in question.texts[-1]:
        return "refused"
    best = 8 if "terser" in question.prompt else 4
    return [1.0 if n == best else 0.0 for n in range(9)]
"""
PROMPT = Prompt(messages=(Message(role="user", content="When do you open?"),))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)
    (tmp_path / "c.yaml").write_text(CONSTITUTION)
    (tmp_path / "my_judge.py").write_text(JUDGE)
    yield tmp_path
    sys.modules.pop("my_judge", None)


def config(**more: str) -> RunConfig:
    options = {
        "constitution": "c.yaml", "judge.model": '{engine: scripted, path: "my_judge:score"}',
        "ppo.rewards": "[{judge: true}]", **more,
    }  # fmt: skip
    return load_config(overrides=[f"{name}={value}" for name, value in options.items()])


def ask(work: OpenRun, *texts: str) -> Sequence[float | RewardFailure]:
    with ExitStack() as lent:
        source = make_judge_reward(
            work.round, work.book, work.shelf, work.bench, source=RewardConfig(judge=True), lent=lent
        )
        return source([Episode(PROMPT, text) for text in texts])


def texts_asked() -> list[str]:
    return list(sys.modules["my_judge"].asked)


def test_the_expected_score_is_weighed_over_the_principles_and_lies_between_minus_one_and_one(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        (found,) = ask(work, "At nine.")
    # (2 * 9 + 1 * 5) / 3 of the scores 1 to 9
    assert found == pytest.approx(2 * ((2 * 9 + 5) / 3 - 1) / 8 - 1)


def test_what_was_asked_is_not_asked_again_in_any_step_or_run(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        first = ask(work, "At nine.", "At ten.", "At nine.")
        assert sorted(texts_asked()) == ["At nine.", "At nine.", "At ten.", "At ten."], "two principles each"
        assert ask(work, "At ten.", "At nine.") == [first[1], first[0]]
    with open_work(config(), run_name="s", runs_dir=folder / "runs", resume=False) as work:
        assert ask(work, "At nine.") == first[:1]
        assert len(work.book.used(POLICY, Judgement, round=work.round.number)) == 2, "their use is noted"
    assert len(texts_asked()) == 4


def test_a_reply_that_cannot_be_read_is_a_failure_of_its_episode_and_a_row_in_the_ledger(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        good, failed = ask(work, "At nine.", "odd")
        assert isinstance(good, float)
        assert isinstance(failed, RewardFailure)
        assert failed.cause == "refused"
        assert {row.cause for row in work.book.used(POLICY, FailedJudgement, round=work.round.number)} == {"refused"}
        assert len(work.book.used(POLICY, Question, round=work.round.number)) == 4


def test_the_caps_of_the_judge_hold_and_what_was_paid_counts_after_a_resumption(folder: Path) -> None:
    with open_work(config(**{"judge.max_calls": "4"}), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        ask(work, "At nine.")
        with pytest.raises(StageError, match="judge.max_calls of 4 leaves no room"):
            ask(work, "At ten.", "At eleven.")
    with open_work(config(**{"judge.max_calls": "6"}), run_name="r", runs_dir=folder / "runs", resume=True) as work:
        assert work.bench.budget.spent.calls == 2
        ask(work, "At ten.", "At eleven.")
        assert work.bench.budget.spent.calls == 6


def test_a_served_judge_is_asked_in_a_stream_and_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opinion(prompt: str) -> tuple[str, dict[str, float]]:
        return "Score", {" 1": 0.5, " 9": 0.5} if "terser" in prompt else {" 9": 1.0}

    with running(ChatServer(opinion=opinion)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        served = config(**{"judge.model": "{engine: openai, path: judge-7b}"})
        with open_work(served, run_name="r", runs_dir=folder / "runs", resume=False) as work:
            found = ask(work, "At nine.", "At ten.", "At nine.")
            assert ask(work, "At nine.") == found[:1]
    assert found == pytest.approx([2 * ((2 * 5 + 9) / 3 - 1) / 8 - 1] * 3)
    assert sum(server.requests.values()) == 4


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("400", "endpoint"), ("nan", "non_finite"), ("empty", "empty"),
        ("low mass", "low_mass"), ("refusal", "refused"), ("filter", "filtered"), ("truncated", "truncated"),
        ("no verdict", "unparsable"),
    ],
)  # fmt: skip
def test_every_fault_of_a_served_judge_drops_the_episode_and_never_becomes_a_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str, cause: str
) -> None:
    def opinion(prompt: str) -> tuple[str, dict[str, float]]:
        return "Score", {" 5": 0.6, " 6": 0.4}

    def behave(asked: dict[str, Any], prompt: str, tries: int) -> str:
        return fault if "At ten." in prompt and "courteous" in prompt else "good"

    with running(ChatServer(behave, opinion=opinion)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        served = config(
            **{"judge.model": "{engine: openai, path: judge-7b}", "judge.endpoint": "{max_retries: 1, deadline_s: 5}"}
        )
        with open_work(served, run_name="r", runs_dir=folder / "runs", resume=False) as work:
            good, failed, other = ask(work, "At nine.", "At ten.", "At eleven.")
            assert len(work.book.used(POLICY, FailedJudgement, round=work.round.number)) == 1
    assert good == other == pytest.approx(2 * (5.4 - 1) / 8 - 1)
    assert isinstance(failed, RewardFailure)
    assert failed.cause == cause


@pytest.mark.parametrize("fault", ["500", "garbage", "cut"])
def test_a_server_that_gives_no_answer_stops_training_and_its_rewards_are_asked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    is_back = False

    def behave(asked: dict[str, Any], prompt: str, tries: int) -> str:
        return fault if "At ten." in prompt and "courteous" in prompt and not is_back else "good"

    with running(ChatServer(behave, opinion=lambda prompt: ("Score", {" 5": 0.6, " 6": 0.4}))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        served = config(**{"judge.model": "{engine: openai, path: judge-7b}", "judge.endpoint": "{max_retries: 0}"})
        with open_work(served, run_name="r", runs_dir=folder / "runs", resume=False) as work:
            with pytest.raises(StageError, match="1 of 6 questions got no answer .*--resume"):
                ask(work, "At nine.", "At ten.", "At eleven.")
            is_back = True
            assert ask(work, "At nine.", "At ten.", "At eleven.") == [pytest.approx(2 * (5.4 - 1) / 8 - 1)] * 3
    assert server.requests.total() == 6 + 1


def test_the_template_is_the_judges_own_where_it_scores_and_one_that_does_not_is_refused() -> None:
    frontdesk = load_config().judge
    assert load_score_template(RewardConfig(judge=True), frontdesk).name == "prompts/frontdesk_score.j2"
    own = frontdesk.model_copy(update={"template": "score"})
    assert load_score_template(RewardConfig(judge=True), own).name == "prompts/score.j2"
    with pytest.raises(ConfigError, match='`kind: contrast`, and "pair" is of `kind: pair`'):
        load_score_template(RewardConfig(judge=True, template="pair"), frontdesk)


def test_no_plans_are_left_behind(folder: Path) -> None:
    with open_work(config(), run_name="r", runs_dir=folder / "runs", resume=False) as work:
        for text in ("At nine.", "At ten.", "At eleven."):
            ask(work, text)
        left = sorted(path.name for path in (work.round.folder(POLICY) / "judge_reward").iterdir())
    assert left == ["questions_asked.txt"]
    with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.rows("SELECT count(*) FROM judgements") == [(6,)]
