"""What PPO's evaluations ask of others: whose prompts, the judge once and within its caps, and SIGTERM told apart."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rlaif.config.load import parse_config
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, StageError
from rlaif.judging.setup import find_spent
from rlaif.ledger.verify import verify
from rlaif.loop.dry_run import estimate_run
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.policy.ppo.asked_checks import HeldOut
from rlaif.policy.ppo.checks import Answer, Checks
from rlaif.policy.ppo.stage import hold_out_prompts, make_checks
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Judgement, Message, Prompt, Sample, Tally
from rlaif.run.stages import POLICY
from rlaif.sampling.stage import find_evaluation_prompts
from rlaif.training.sigterm import stop_on_sigterm

CONFIG = """
ppo: {guards: {judge_every: 5, num_prompts: 4}}
evaluation: {num_prompts: 6}
judge: {model: {engine: scripted, path: "rlaif.models.scripted_engine:prefer_longer"}, template: pair}
"""


def read(text: str = CONFIG, *overrides: str) -> RunConfig:
    return parse_config(text, where="x", overrides=overrides)


@pytest.fixture
def open_run(tmp_path: Path) -> Iterator[Callable[..., OpenRun]]:
    opened = []

    def run(config: RunConfig, *, resume: bool = False) -> OpenRun:
        opened.append(open_work(config, run_name="r", runs_dir=tmp_path, resume=resume))
        return opened[-1].__enter__()

    yield run
    for work in opened:
        work.__exit__(None, None, None)


def checks_of(work: OpenRun, prompts: list[Prompt]) -> Checks:
    """The checks of a training that goes on until the test ends."""
    return make_checks(work.round, work.book, work.bench, prompts=prompts, lent=ExitStack())


def prompts_of(*texts: str) -> list[Prompt]:
    return [Prompt(messages=(Message(role="user", content=text),)) for text in texts]


def test_the_front_desks_prompts_are_neither_trained_on_nor_in_the_final_evaluation(
    open_run: Callable[..., OpenRun],
) -> None:
    work = open_run(read())
    prompts = prompts_of("a", "b")
    held_out = hold_out_prompts(work.round.config, prompts, Tally(num_in=2))
    assert held_out.trained == prompts
    assert len({prompt.id for prompt in held_out.checked}) == 4
    assert not {prompt.id for prompt in held_out.checked} & {
        prompt.id for prompt in find_evaluation_prompts(work.round, work.book)
    }
    assert hold_out_prompts(work.round.config, prompts, Tally(num_in=2)).checked == held_out.checked


def test_of_a_files_prompts_a_fifth_at_most_is_held_out_and_counted(
    open_run: Callable[..., OpenRun], tmp_path: Path
) -> None:
    rows = [{"prompt": f"question {number}"} for number in range(20)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    work = open_run(read(CONFIG, f"prompts.path={tmp_path / 'prompts.jsonl'}", "ppo.guards.num_prompts=3"))
    prompts = prompts_of(*(row["prompt"] for row in rows))
    held_out = hold_out_prompts(work.round.config, prompts, Tally(num_in=22, dropped={"over_length": 2}))
    assert len(held_out.checked) == 3
    assert sorted(p.id for p in (*held_out.trained, *held_out.checked)) == sorted(p.id for p in prompts)
    assert held_out.tally.dropped == {"over_length": 2, "held_out": 3}
    assert len(hold_out_prompts(work.round.config, prompts[:14], Tally(num_in=14)).checked) == 2, "a fifth of 14"
    assert hold_out_prompts(work.round.config, prompts[:9], Tally(num_in=9)) == HeldOut(
        prompts[:9], [], Tally(num_in=9)
    )


def test_where_nothing_is_evaluated_nothing_is_held_out(open_run: Callable[..., OpenRun]) -> None:
    work = open_run(read("ppo: {guards: {evaluate_every: null}}"))
    prompts = prompts_of("a", "b")
    assert hold_out_prompts(work.round.config, prompts, Tally(num_in=2)) == HeldOut(prompts, [], Tally(num_in=2))
    assert checks_of(work, []) == Checks()


def answers(prompts: list[Prompt], *texts: str) -> list[Answer]:
    return [
        Answer(prompt_id=prompt.id, text=text, finished=True, num_tokens=len(text))
        for prompt, text in zip(prompts, texts, strict=True)
    ]


def test_the_judge_is_asked_once_about_each_pair_in_both_orders_and_a_resumed_run_asks_nothing(
    open_run: Callable[..., OpenRun],
) -> None:
    work = open_run(read())
    prompts = prompts_of("a", "b", "c")
    ask: Any = checks_of(work, prompts).judge
    start = answers(prompts, "short", "a long reply", "same")
    assert ask(0, start, start)["win_rate"] == 0.5
    assert work.bench.budget.spent.calls == 0
    found = ask(5, start, answers(prompts, "longer now", "a short", "same"))
    assert found["win_rate"] == pytest.approx(0.5, abs=1e-6), "five letters more, five fewer, the same"
    assert work.bench.budget.spent.calls == 2 * 2 * 2, "two different pairs, two principles, both orders"
    better = ask(10, start, answers(prompts, "longer now", "a very long reply", "the same"))
    assert better["win_rate"] > 0.53, "all are longer"
    assert better["win_rate_failed"] == 0
    assert len(work.book.used(POLICY, Judgement, round=work.round.number)) == 8 + 12
    assert {sample.text for sample in work.book.used(POLICY, Sample, round=work.round.number)} >= {
        "short",
        "longer now",
        "a very long reply",
    }
    assert verify(work.round.ledger).ok
    spent = find_spent(work.round.ledger, [work.round.folder(POLICY)])
    assert spent.calls == 20, "a resumed run counts it"
    assert ask(10, start, answers(prompts, "longer now", "a very long reply", "the same")) == better
    assert len(work.book.used(POLICY, Judgement, round=work.round.number)) == 20
    # Training went back and came to the same step with other responses.
    assert ask(10, start, answers(prompts, "s", "a", "x"))["win_rate"] < 0.5


def test_the_judges_caps_hold_while_the_policy_trains(open_run: Callable[..., OpenRun]) -> None:
    work = open_run(read(CONFIG, "judge.max_calls=7"))
    prompts = prompts_of("a", "b")
    ask: Any = checks_of(work, prompts).judge
    with pytest.raises(StageError, match=r"judge\.max_calls of 7 leaves no room"):
        ask(5, answers(prompts, "a", "b"), answers(prompts, "aa", "bb"))


def test_measures_are_means_over_the_responses(open_run: Callable[..., OpenRun]) -> None:
    work = open_run(read())
    prompts = find_evaluation_prompts(work.round, work.book)[:2]
    measure: Any = checks_of(work, prompts).measure
    found = measure([Episode(prompts[0], "Welcome! Thank you so much."), Episode(prompts[1], "Go away.")])
    assert 0 < found["courteous"] < 100


def test_a_dry_run_counts_the_checks() -> None:
    text = "prompts: {num_prompts: 10}\n" + CONFIG + "  \n"
    checks = estimate_run(read(text, "ppo.num_steps=12"), evaluates=True).checks
    assert checks is not None
    assert checks.num_questions == 3 * 4 * 2 * 2, "after 5, 10 and 12 steps, 4 prompts, two principles, both orders"
    assert estimate_run(read(text, "ppo.guards.judge_every=null"), evaluates=True).checks is None


def test_a_dry_run_counts_what_comes_again_after_alarms_and_the_judges_rewards_of_evaluations() -> None:
    source = "[{judge: true, template: score}]"
    text = f"prompts: {{num_prompts: 10}}\n{CONFIG}".replace("ppo: {", f"ppo: {{rewards: {source}, ")
    options = ["ppo.num_steps=12", "ppo.num_prompts_per_step=3", "ppo.num_samples_per_prompt=2"]
    once = estimate_run(read(text, *options), evaluates=True)
    assert once.reward is not None
    assert once.reward.num_questions == (12 * 3 * 2 + 4 * 4) * 2, "at 0, 5, 10 and 12 steps; two principles"
    back = estimate_run(read(text, *options, "ppo.guards.on_alarm=roll_back"), evaluates=True)
    assert back.reward is not None
    assert back.checks is not None
    assert back.reward.num_questions == 3 * once.reward.num_questions
    assert back.checks.num_questions == 3 * 3 * 4 * 2 * 2


def test_a_judge_in_vllm_is_refused_while_the_policy_trains() -> None:
    with pytest.raises(ConfigError, match=r"vLLM would want the memory that training has"):
        read("ppo: {guards: {judge_every: 5}}\njudge: {model: {engine: vllm, path: some/judge}, template: pair}\n")


def test_sigterm_sets_the_event_and_interrupts_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5)
    assert signal.getsignal(signal.SIGTERM) == before
