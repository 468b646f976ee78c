"""SEFT on digits that shall be reversed: what is kept, how it resumes, and that policy and reviser get better."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import ask, build_base, corrupt, draw_digits, reward

from rlaif.config.generate import SamplingConfig
from rlaif.config.run import RunConfig
from rlaif.config.seft import SeftConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.outer import Progress
from rlaif.policy.methods.reviser import Draft, Revised
from rlaif.policy.methods.revision_record import read_revisions
from rlaif.policy.methods.seft import (
    SeftTraining,
    check_seft,
    count_seft_steps,
    decide,
    find_reviser_examples,
    train_seft_task,
)
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.trajectories import EncodedPrompt, Trajectory, sample_trajectories
from rlaif.policy.rewards.episodes import Episode, Opinion, RewardFailure
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import PreferenceRow, Prompt
from rlaif.stats.intervals import mean_interval
from rlaif.training.listener import NOBODY, Listener


def judge(episodes: Sequence[Episode]) -> list[Opinion | RewardFailure]:
    return [Opinion(2 * reward(episode.prompt, episode.response) - 1) for episode in episodes]


def prefer(prompt: Prompt, texts: Sequence[str]) -> list[PreferenceRow]:
    """Any two of the texts, by how much more of one is right."""
    rows = []
    for place, first in enumerate(texts):
        for second in texts[place + 1 :]:
            gap = reward(prompt, first) - reward(prompt, second)
            rows.append(PreferenceRow(prompt=prompt, chosen=first, rejected=second, label=1 / (1 + math.exp(-6 * gap))))
    return rows


def rank(digits: str, generator: random.Random) -> list[PreferenceRow]:
    """The right answer, one with a wrong digit, and one with none that is right."""
    right = digits[::-1]
    return prefer(ask(digits), [right, corrupt(right, 1, generator), corrupt(right, len(right), generator)])


def make_task(base: LoadedModel, folder: Path, *, length: int, num_labelled: int, num_free: int, **config: Any) -> Task:
    """Preferences on some prompts, and others that nobody labelled."""
    generator = random.Random(1)
    drawn = list(dict.fromkeys(draw_digits(generator, length) for _ in range(10_000)))
    options = SeftConfig(**{"batch_size": 32, "learning_rate": 1e-3, "reviser_learning_rate": 2e-3, **config})
    return Task(
        start=base,
        initial=base,
        config=RunConfig(seft=options, sampling=SamplingConfig(max_new_tokens=length + 2)),
        folder=folder,
        seed=1,
        preferences=[row for digits in drawn[:num_labelled] for row in rank(digits, generator)],
        prompts=[ask(digits) for digits in drawn[num_labelled : num_labelled + num_free]],
        critic=judge,
    )


# ---- what is kept

DRAWN = Trajectory(ask("12"), TokenSequence([0], [1]), finished=True, response="12", numbers=None)


@pytest.mark.parametrize(
    ("before", "revised", "after", "dropped"),
    [
        (0.0, Revised("MINOR", "21"), 0.0, ""),
        (0.0, Revised("MINOR", "21"), -1e-9, ""),
        (0.0, Revised("MINOR", "21"), -0.1, "worse"),
        (0.0, Revised("GOOD", "12"), 0.0, ""),
        (0.0, Revised("MAJOR", "", "empty"), 0.0, "empty"),
        (0.0, Revised(None, "x", "no_tag"), 0.0, "no_tag"),
        (0.0, Revised("MINOR", "21"), "refused", "judge/refused"),
        ("empty", None, "empty", "judge/empty"),
    ],
)
def test_a_revision_is_kept_where_the_judge_scores_it_no_lower(
    before: float | str, revised: Revised | None, after: float | str, dropped: str
) -> None:
    def said(score: float | str) -> Opinion | RewardFailure:
        return RewardFailure(score) if isinstance(score, str) else Opinion(score, judgement_ids=("j",))

    found = decide(DRAWN, said(before), revised, said(after), round=1)
    assert (found.dropped, found.original) == (dropped, "12")
    assert found.score == (None if isinstance(before, str) else before)


def test_a_response_that_ran_out_of_tokens_is_not_learnt_as_it_is_and_its_revision_may_be() -> None:
    cut = DRAWN._replace(finished=False)
    assert decide(cut, Opinion(0.0), Revised("GOOD", "12"), Opinion(0.0), round=1).dropped == "cut"
    assert decide(cut, Opinion(0.0), Revised("MINOR", "21"), Opinion(0.0), round=1).is_kept


# ---- the training, on two digits


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.set_num_threads(1)
    return build_base(tmp_path_factory.mktemp("digits"), length=2, reversed_share=0.3, num_steps=60)


@pytest.fixture
def task(base: LoadedModel, tmp_path: Path) -> Task:
    return make_task(
        base, tmp_path, length=2, num_labelled=20, num_free=16, reviser_epochs=12, num_rounds=2, prompts_per_round=8
    )


class Killed(Exception):
    pass


def equal(one: TrainedPolicy, other: TrainedPolicy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_killed_anywhere_it_resumes_to_the_same_weights_and_records(task: Task, tmp_path: Path) -> None:
    rows: list[Any] = []
    whole = train_seft_task(replace(task, folder=tmp_path / "whole", listener=Listener(on_metrics=rows.append)))
    reviser_steps = sum(row.numbers["revision_round"] == 0 for row in rows)
    assert [row.step for row in rows] == list(range(1, 1 + whole.steps))
    assert whole.steps <= count_seft_steps(task)
    for last in (reviser_steps - 1, reviser_steps, reviser_steps + 1, whole.steps):
        folder = tmp_path / f"killed_{last}"

        def die(done: Any, last: int = last) -> None:
            if done.step == last:
                raise Killed

        with pytest.raises(Killed):
            train_seft_task(replace(task, folder=folder, listener=Listener(on_metrics=die)))
        begun: list[int] = []
        resumed = train_seft_task(replace(task, folder=folder, listener=Listener(on_begin=begun.append)))
        assert (begun[0] > 1) == (last > reviser_steps), "the reviser is learnt once"
        assert equal(resumed, whole)
        assert (resumed.metrics, resumed.tally) == (whole.metrics, whole.tally)
        assert list(read_revisions(folder)) == list(read_revisions(tmp_path / "whole"))


def test_each_round_revises_its_own_prompts_and_records_every_response(task: Task, tmp_path: Path) -> None:
    trained = train_seft_task(task)
    revisions = list(read_revisions(tmp_path))
    assert [one.round for one in revisions] == [1] * 8 + [2] * 8
    assert {one.prompt_id for one in revisions} == {prompt.id for prompt in task.prompts}
    assert trained.tally.num_in == 16
    assert trained.tally.kept == sum(one.is_kept for one in revisions)
    by_id = {prompt.id: prompt for prompt in task.prompts}
    for one in revisions:
        assert one.score == 2 * reward(by_id[one.prompt_id], one.original) - 1
        if one.is_kept:
            assert one.revised_score is not None
            assert one.revised_score >= one.score
    assert trained.metrics["first_score"] == pytest.approx(statistics.fmean(one.score or 0 for one in revisions[:8]))


def test_other_preferences_or_prompts_are_another_training(task: Task) -> None:
    train_seft_task(task)
    for change in ({"prompts": task.prompts[1:]}, {"preferences": task.preferences[3:]}):
        with pytest.raises(ConfigError, match="begun with other options, data or models"):
            train_seft_task(replace(task, **change))


def test_without_adapters_or_with_them_the_start_is_left_as_it_was(base: LoadedModel, tmp_path: Path) -> None:
    before = [one.clone() for one in base.model.parameters()]
    task = make_task(
        base, tmp_path, length=2, num_labelled=20, num_free=8, reviser_epochs=40, num_rounds=1, train="lora",
        learning_rate=1e-2, reviser_learning_rate=1e-2,
    )  # fmt: skip
    trained = train_seft_task(task)
    assert trained.adapted is not None
    assert all(torch.equal(a, b) for a, b in zip(before, base.model.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(before, trained.model.parameters(), strict=True))


def test_a_judge_that_fails_too_often_stops_the_training(task: Task) -> None:
    def fail(episodes: Sequence[Episode]) -> list[Opinion | RewardFailure]:
        return [RewardFailure("refused") if place < 2 else one for place, one in enumerate(judge(episodes))]

    with pytest.raises(TrainingError, match=r"the judge failed on 2 of 8 responses \(refused 2\)"):
        train_seft_task(replace(task, critic=fail))


def test_a_round_of_which_nothing_can_be_learnt_stops_with_the_reasons(task: Task, tmp_path: Path) -> None:
    config = task.config.model_copy(update={"seft": task.config.seft.model_copy(update={"reviser_epochs": 1})})
    with pytest.raises(StageError, match=r"no response of round 1 can be learnt: in 8, kept 0, dropped 8 \(no_tag 8\)"):
        train_seft_task(replace(task, config=config))
    assert len(list(read_revisions(tmp_path))) == 8, "they can be read"


def test_preferences_without_a_pair_and_a_front_desk_that_is_told_to_revise_are_refused(task: Task) -> None:
    with pytest.raises(StageError, match="seft has no pair to learn from"):
        train_seft_task(replace(task, preferences=[]))
    with pytest.raises(ConfigError, match="follows no instruction"):
        check_seft(RunConfig(seft=SeftConfig(reviser="prompted")), 1)
    with pytest.raises(ConfigError, match="seft trains in one process"):
        check_seft(RunConfig(), 2)


def test_a_prompted_reviser_needs_no_preferences(base: LoadedModel, tmp_path: Path) -> None:
    task = make_task(base, tmp_path, length=2, num_labelled=0, num_free=8, reviser="prompted", num_rounds=1)
    generous = replace(task, critic=lambda episodes: [Opinion(1.0)] * len(episodes))
    train_seft_task(generous)
    revisions = list(read_revisions(tmp_path))
    assert {one.tag for one in revisions} == {"GOOD"}
    assert all(one.revised == one.original for one in revisions)


# ---- whether it helps, on three digits


def score(base: LoadedModel, model: Any, prompts: Sequence[Prompt]) -> float:
    """The share of right digits in the policy's responses."""
    drawn = sample_trajectories(
        model,
        base.encoder,
        [EncodedPrompt(prompt, base.encoder.encode(prompt.as_segments())) for prompt in prompts],
        num_samples=2,
        response_length=5,
        temperature=1.0,
        key=(7,),
    )
    return statistics.fmean(reward(one.prompt, one.response) for one in drawn)


@pytest.mark.heavy
def test_good_inputs_are_copied_revisions_are_better_and_the_policy_reaches_its_reviser(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    base = build_base(tmp_path / "base", length=3, reversed_share=0.3, num_steps=250)
    task = make_task(
        base, tmp_path, length=3, num_labelled=600, num_free=300, batch_size=64, reviser_epochs=24, num_rounds=3,
        num_epochs=4,
    )  # fmt: skip
    seen = {prompt.id for prompt in task.prompts} | {row.prompt.id for row in task.preferences}  # type: ignore[union-attr]
    held_out = [prompt for prompt in (ask(f"{number:03}") for number in range(1000)) if prompt.id not in seen]
    training, progress = SeftTraining(task), Progress(digest="")
    training.train_reviser(find_reviser_examples(task), listener=NOBODY)
    scores = [score(base, training.policy, held_out)]
    for number in range(3):
        progress = training.take_round(progress, number=number, listener=NOBODY)
        scores.append(score(base, training.policy, held_out))
    good = [Draft(prompt, prompt.messages[-1].content[::-1], Opinion(1.0)) for prompt in held_out]
    copied = statistics.fmean(
        one.text == draft.response for one, draft in zip(training.revise(good), good, strict=True)
    )
    rounds = [[one for one in read_revisions(tmp_path) if one.round == number] for number in (1, 2, 3)]
    gains = [
        [(one.revised_score or 0) - (one.score or 0) for one in revisions if one.revised_score is not None]
        for revisions in rounds
    ]
    reviser = statistics.fmean((one.revised_score + 1) / 2 for one in rounds[2] if one.revised_score is not None)
    print(f"copied {copied}, scores {scores}, reviser {reviser}, gain {mean_interval(gains[0])}")
    assert len(held_out) == 100
    assert copied >= 0.95
    assert mean_interval(gains[0]).low > 0
    assert all(later >= earlier - 0.02 for earlier, later in pairwise(scores)), "two hundredths are sampling noise"
    assert scores[-1] >= reviser - 0.05
    assert scores[-1] > scores[0] + 0.2
