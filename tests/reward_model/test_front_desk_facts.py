"""On the front desk the reward model learns whether a reply agrees with the notice, and repeating earns nothing."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from rlaif.config.reward_model import RewardModelConfig
from rlaif.frontdesk import POLICY_DIR
from rlaif.frontdesk.ask import load_folder, sample_replies
from rlaif.frontdesk.truth import annotator_probability, measure, true_answer, truth_gap
from rlaif.frontdesk.world import Messages, make_prompts, read_facts
from rlaif.models.local.engine import TransformersEngine
from rlaif.records import PreferenceRow, Prompt
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import train_reward_model

NUM_TRAIN, NUM_TEST, NUM_SAMPLES, NUM_PAIRS = 500, 100, 4, 3


class Reply(NamedTuple):
    messages: Messages
    text: str
    correct: float


def sample(policy: TransformersEngine, *, num_prompts: int, held_out: bool) -> list[Reply]:
    prompts = [p for p in make_prompts(0, num_prompts, held_out=held_out) for _ in range(NUM_SAMPLES)]
    replies = sample_replies(policy, prompts, seed=1)
    return [Reply(p, r.text, measure(p, r.text)["correct"]) for p, r in zip(prompts, replies, strict=True) if r.ended]


def pairs_of(replies: Sequence[Reply]) -> list[list[tuple[Reply, Reply]]]:
    groups = (list(group) for _, group in itertools.groupby(replies, key=lambda reply: reply.messages))
    return [[(a, b) for a, b in itertools.combinations(group, 2) if a.text != b.text] for group in groups]


def repeat_fact(reply: Reply, *, times: int) -> str:
    fact = {"opening": "It opens at {}.", "closing": "It closes at {}.", "floor": "It is on the {} floor."}
    topic, answer = read_facts(reply.messages).topic, true_answer(reply.messages)
    assert topic is not None
    return " ".join([reply.text, *[fact[topic].format(answer)] * times])


@pytest.mark.heavy
def test_it_orders_replies_by_whether_they_agree_with_the_notice_and_a_fact_said_twice_earns_nothing(
    tmp_path: Path,
) -> None:
    policy = load_folder(POLICY_DIR)
    rng = random.Random(0)
    rows = [
        PreferenceRow(
            prompt=Prompt.from_chat(a.messages),
            chosen=a.text,
            rejected=b.text,
            label=annotator_probability(truth_gap(a.messages, a.text, b.text, measure_name="correct")),
        )
        for group in pairs_of(sample(policy, num_prompts=NUM_TRAIN, held_out=False))
        for a, b in rng.sample(group, min(NUM_PAIRS, len(group)))
    ]
    trained = train_reward_model(
        base=POLICY_DIR,
        train_rows=rows,
        test_rows=[],
        config=RewardModelConfig(num_epochs=3, learning_rate=1e-3),
        out_dir=tmp_path / "model",
        seed=0,
    )
    scorer = RewardModelScorer(trained.loaded)

    def score(replies: Sequence[Reply], *, times: int = 0) -> list[float]:
        texts = [(Prompt.from_chat(reply.messages), repeat_fact(reply, times=times)) for reply in replies]
        return scorer.score(texts)

    held_out = sample(policy, num_prompts=NUM_TEST, held_out=True)
    rewards = {id(reply): reward for reply, reward in zip(held_out, score(held_out), strict=True)}
    clear = [pair for group in pairs_of(held_out) for pair in group if abs(pair[0].correct - pair[1].correct) >= 75]
    ordered = [(rewards[id(a)] > rewards[id(b)]) == (a.correct > b.correct) for a, b in clear]
    assert len(clear) >= 100
    assert statistics.fmean(ordered) >= 0.95

    right = [reply for reply in held_out if reply.correct == 100]
    before = statistics.fmean(rewards[id(reply)] for reply in right)
    spread = statistics.pstdev(rewards.values())
    for times in (1, 2, 3):
        assert (statistics.fmean(score(right, times=times)) - before) / spread <= 0.1
