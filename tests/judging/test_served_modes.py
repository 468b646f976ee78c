"""Scores, rankings and ties through a served judge: its probabilities, its votes, and its faults."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from pathlib import Path

import pytest
from chat_server import ChatServer, Opinion, running
from judging_world import KIND, all_pairs, make_prompts, make_replies

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.constitution.render import load_template
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.endpoint import client as endpoint_client
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.records import Constitution, Sample

ONLY_KIND = Constitution(name="kind", principles=(KIND,), source="")
FAULTS = (
    "429", "500", "cut", "garbage", "no choices", "empty logprobs", "null logprobs", "nan", "wrong model", "low mass",
    "refusal", "filter", "truncated", "empty", "no verdict", "too long",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)


def spread(prompt: str, choices: list[str]) -> dict[str, float]:
    """The server's opinion: probabilities that the prompt decides, .96 together."""
    digest = hashlib.sha256(prompt.encode()).digest()
    weights = [1 + digest[n] for n in range(len(choices))]
    return {choice: 0.96 * w / sum(weights) for choice, w in zip(choices, weights, strict=True)}


def score(prompt: str) -> tuple[str, dict[str, float]]:
    return "Score", spread(prompt, [f" {n}" for n in range(1, 10)])


def name_best(prompt: str) -> tuple[str, dict[str, float]]:
    return "Best", spread(prompt, [" A", " B", " C"])


def compare_or_tie(prompt: str) -> tuple[str, dict[str, float]]:
    return "Verdict", spread(prompt, [" A", " B", " C"])


OPINIONS: dict[str, Opinion] = {"score": score, "rank": name_best, "pair_tie": compare_or_tie}


def make_pairs(num: int) -> list[tuple[Sample, Sample]]:
    groups = [make_replies(prompt, "one", "two", "three") for prompt in make_prompts(num).values()]
    return all_pairs(*groups)


def judge(
    server: ChatServer, folder: Path, *, template: str, num_prompts: int = 4, max_attempts: int = 3, **endpoint
) -> Judging:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"concurrency": 8, "max_retries": 1, "timeout_s": 5, **endpoint}),
        template=template,
        max_attempts=max_attempts,
    )
    engine = OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": server.url})
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return judge_pairs(
            make_pairs(num_prompts), prompts=make_prompts(num_prompts), scorer=engine,
            asking=Asking(constitution=ONLY_KIND, template=load_template(template), config=config, ledger=ledger),
            plan_path=folder / "questions_plan.json",
        )  # fmt: skip


@pytest.mark.parametrize(("template", "num_questions"), [("score", 3), ("rank", 3), ("pair_tie", 6)])
def test_a_served_judge_answers_in_every_mode_and_is_asked_once(tmp_path, template, num_questions):
    with running(ChatServer(opinion=OPINIONS[template])) as server:
        judging = judge(server, tmp_path, template=template)
        again = judge(server, tmp_path, template=template)
    assert server.requests.total() == len(judging.questions) == 4 * num_questions
    assert again.comparisons == judging.comparisons
    assert len(judging.comparisons) == 4 * 3
    assert all(comparison.logit is not None and comparison.debiased for comparison in judging.comparisons)
    assert all(judgement.label_mass == pytest.approx(0.96) for judgement in judging.judgements)


def test_a_served_score_is_the_expectation_over_its_log_probabilities(tmp_path):
    with running(ChatServer(opinion=score)) as server:
        judging = judge(server, tmp_path, template="score", num_prompts=1)
    seen = [list(score(prompt)[1].values()) for prompt in server.requests]
    expected = [math.fsum(n * p for n, p in enumerate(row, start=1)) / 0.96 for row in seen]
    assert sorted(judgement.score for judgement in judging.judgements) == pytest.approx(sorted(expected))


@pytest.mark.parametrize("template", ["score", "rank", "pair_tie"])
def test_without_log_probabilities_votes_are_asked_for_and_counted(tmp_path, template):
    with running(ChatServer(lambda asked, prompt, tries: "no logprobs", opinion=OPINIONS[template])) as server:
        judging = judge(server, tmp_path, template=template, num_votes=3, temperature=0.7)
    per_prompt = 6 if template == "pair_tie" else 3
    assert sorted(Counter(q.draw for q in judging.questions).items()) == [(n, 4 * per_prompt) for n in range(3)]
    assert {comparison.logit for comparison in judging.comparisons} == {None}
    assert len(judging.comparisons) == 4 * 3
    # Of each question three answers: two samples were scored, three shuffles or two orders were shown.
    num_used = {"score": 6, "rank": 9, "pair_tie": 6}[template]
    assert {len(comparison.judgement_ids) for comparison in judging.comparisons} == {num_used}


@pytest.mark.parametrize("template", ["score", "rank", "pair_tie"])
def test_votes_are_not_asked_where_there_are_log_probabilities(tmp_path, template):
    with running(ChatServer(opinion=OPINIONS[template])) as server:
        judging = judge(server, tmp_path, template=template, num_votes=3, temperature=0.7)
    assert {question.draw for question in judging.questions} == {0}
    assert server.requests.total() == len(judging.questions)


@pytest.mark.parametrize("template", ["score", "rank", "pair_tie"])
def test_no_fault_of_a_server_becomes_a_number_in_any_mode(tmp_path, template):
    fate: dict[str, tuple[str, int]] = {}
    rng = random.Random(1)
    waiting = list(FAULTS)

    def behave(asked, prompt, tries):
        if prompt not in fate:  # the first shows what the server can do; then each fault comes at least once for good
            fault, times = (waiting.pop(), 99) if fate and waiting else (rng.choice(FAULTS), rng.choice((0, 1)))
            fate[prompt] = (fault, times if fate else 0)
        fault, times = fate[prompt]
        return fault if tries < times else "good"

    with running(ChatServer(behave, opinion=OPINIONS[template])) as server:
        judging = judge(server, tmp_path, template=template, num_prompts=16, max_attempts=1)
    assert len(judging.judgements) + len(judging.failed) == len(judging.questions)
    assert judging.tally.dropped == dict(Counter(failure.cause for failure in judging.failed))
    assert {"non_finite", "low_mass", "refused", "filtered", "truncated", "empty", "unparsable", "over_length"} <= {
        failure.cause for failure in judging.failed
    }
    answered = {judgement.question_id for judgement in judging.judgements}
    by_id = {judgement.id: judgement for judgement in judging.judgements}
    for judgement in judging.judgements:
        assert judgement.label_mass == pytest.approx(0.96)
    # A pair is compared where all that was asked of it was answered, and nowhere else.
    asked_of: dict[frozenset[str], list[str]] = {}
    for pair in make_pairs(16):
        ids = frozenset(sample.id for sample in pair)
        asked_of[ids] = [
            q.id
            for q in judging.questions
            if ids & set(q.sample_ids) and (len(q.sample_ids) < 2 or ids <= set(q.sample_ids))
        ]
    whole = {ids for ids, asked in asked_of.items() if answered.issuperset(asked)}
    assert {frozenset(comparison.sample_ids) for comparison in judging.comparisons} == whole
    assert 0 < len(whole) < len(asked_of)
    assert all(key in by_id for comparison in judging.comparisons for key in comparison.judgement_ids)
