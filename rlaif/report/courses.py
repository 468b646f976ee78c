"""What a policy's training left -> its responses over time, and the scores of each source of its rewards.

Reads the files of responses and rows of metrics.jsonl; needs no finished stage. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rlaif.config.ppo_rewards import RewardConfig, find_sources
from rlaif.ledger.store import Ledger
from rlaif.policy.ppo.log import read_shown
from rlaif.policy.rewards.tally import tally_rewards
from rlaif.records import Prompt
from rlaif.report.input import ResponseAt, ResponseCourse, RewardCourse
from rlaif.training.metrics import MetricsRow

SHOWN_COURSES = 6
SHOWN_STEPS = 5


def read_responses(ledger: Ledger, path: Path) -> Iterator[ResponseCourse]:
    """The first prompts of a file of responses, with the responses at some of its steps.

    A prompt that the ledger does not have is passed over.
    """
    rows = read_shown(path)
    steps = sorted({row["step"] for row in rows})
    # The first and the last, and others between them at like distances.
    last, places = len(steps) - 1, min(SHOWN_STEPS, len(steps)) - 1
    shown = {steps[round(place * last / max(1, places))] for place in range(places + 1)}
    by_prompt: dict[str, list[ResponseAt]] = {}
    for row in rows:
        if row["step"] in shown and row["score"] is not None:
            at = ResponseAt(step=row["step"], text=row["response"], score=row["score"], kl=row["kl"])
            by_prompt.setdefault(row["prompt_id"], []).append(at)
    prompts = ledger.find(Prompt, by_prompt)
    known = [(prompts[key], responses) for key, responses in by_prompt.items() if key in prompts]
    for prompt, responses in known[:SHOWN_COURSES]:
        yield ResponseCourse(prompt=prompt.messages, responses=tuple(responses))


def collect_sources(rewards: Sequence[RewardConfig], rows: Sequence[MetricsRow]) -> tuple[RewardCourse, ...]:
    """What PPO was rewarded by, from the first step that `rows` have to the last."""
    dropped = tally_rewards(rows).dropped
    courses = []
    for source in find_sources(tuple(rewards)):
        scores = [row.numbers.get(f"objective/scores/{source.label}") for row in rows]
        known = [score for score in scores if score is not None]
        mark = f"{source.label}/"
        failed = {cause.removeprefix(mark): count for cause, count in dropped.items() if cause.startswith(mark)}
        if known:
            courses.append(
                RewardCourse(name=source.label, weight=source.weight, first=known[0], last=known[-1], failed=failed)
            )
    return tuple(courses)
