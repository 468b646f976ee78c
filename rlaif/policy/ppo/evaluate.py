"""An evaluation during training, on held-out prompts: the learner -> numbers and responses.

The draws are the same each time, so that two evaluations differ by the policy alone. Trains nothing, stores nothing
and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.policy.ppo.checks import Answer
from rlaif.policy.ppo.guards import Evaluation, compute_repetition
from rlaif.policy.ppo.metrics import kl_per_response
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.shaping import is_trained_on, shape_scores
from rlaif.policy.ppo.start import Training
from rlaif.policy.ppo.trajectories import Trajectory, sample_trajectories, score_trajectories
from rlaif.policy.rewards.episodes import Episode, Scored, ScoreScale, WeightedReward
from rlaif.training.listener import Evaluated, ShownResponse

DRAWS = -2
"""Takes the place of the step in the key of the draws."""


class EvaluatedPolicy(NamedTuple):
    """What an evaluation found."""

    evaluation: Evaluation
    shown: list[ShownResponse]
    """The responses with a score, in the order of the prompts."""
    answers: tuple[Answer, ...]

    def as_heard(self) -> Evaluated:
        """The evaluation as a listener hears it."""
        return Evaluated(self.evaluation.step, self.evaluation.numbers, self.shown, len(self.answers))


def is_due(training: Training, *, step: int) -> bool:
    """Whether to evaluate after `step` steps: at the start, at the end, and every `evaluate_every` steps between."""
    return bool(training.held_out_prompts) and _is_time(training, step, every=training.config.guards.evaluate_every)


def _is_time(training: Training, step: int, *, every: int | None) -> bool:
    return every is not None and (step % every == 0 or step == training.config.num_steps)


def evaluate(
    training: Training, *, step: int, scales: Mapping[str, ScoreScale], start: Sequence[Answer]
) -> EvaluatedPolicy:
    """Numbers under `eval/`, as transformers and TRL name them.

    step: steps done; start: the answers before the first step, empty in that evaluation itself.
    `eval/rlhf_reward` takes the KL times ppo.kl_coef as configured, so that evaluations can be compared. With
    `truncated: mask`, `eval/rlhf_reward`, `eval/scores` and `eval/held_out` describe the responses that ended, and are
    missing where none did; the other numbers describe all responses.
    """
    with training.shared.whole() as learner:
        return _evaluate(training, learner, step=step, scales=scales, start=start)


def _evaluate(
    training: Training,
    learner: PolicyWithValue,
    *,
    step: int,
    scales: Mapping[str, ScoreScale],
    start: Sequence[Answer],
) -> EvaluatedPolicy:
    config = training.config
    with learner.computing.applied(learner.model):
        trajectories = sample_trajectories(
            learner.model,
            training.encoder,
            training.held_out_prompts,
            num_samples=1,
            response_length=config.response_length,
            temperature=config.temperature,
            key=(training.seed, DRAWS),
            value_head=learner.reads_along,
            team=training.team,
        )
    answers = tuple(
        Answer(prompt_id=t.prompt.id, text=t.response, finished=t.finished, num_tokens=len(t.tokens.response_ids))
        for t in trajectories
    )
    scored = _score(training, training.rewards, trajectories, scales=scales, step=step)
    kept = [trajectories[place] for place in scored.kept]
    shaped = shape_scores(scored.weighted, finished=[t.finished for t in kept], config=config)
    batch = prepare_batch(
        learner,
        training.reference.model,
        kept,
        scores=shaped,
        kl_coef=config.kl_coef,
        config=config.model_copy(update={"truncated": "penalise"}),
        pad_id=training.encoder.pad_token_id,
        shares_trunk=training.reference.shares_trunk,
        budget=training.budget,
        team=training.team,
    )
    kl = kl_per_response(batch)
    counted = [row for row, t in enumerate(kept) if is_trained_on(finished=t.finished, config=config)]
    numbers = {} if not counted else {
        "scores": _mean([scored.scores[row] for row in counted]),
        "rlhf_reward": _mean([shaped[row] for row in counted]) - config.kl_coef * float(kl[counted].mean()),
    }  # fmt: skip
    numbers |= {
        "kl": float(kl.mean()),
        "entropy": float(batch.entropy[batch.response_mask].mean()),
        "response_length": _mean([answer.num_tokens for answer in answers]),
        "eos_rate": _mean([answer.finished for answer in answers]),
        "repetition": compute_repetition([t.tokens.response_ids for t in trajectories]),
        "num_failed_rewards": float(scored.failures.total()),
    }
    numbers |= training.team.ask_first(
        lambda: _call_checks(training, trajectories, step=step, start=start or answers, answers=answers)
    )
    shown = [
        ShownResponse(prompt=t.prompt, response=t.response, score=score, kl=nats, finished=t.finished)
        for t, score, nats in zip(kept, scored.scores, kl.tolist(), strict=True)
    ]
    named = {f"eval/{name}": value for name, value in numbers.items()}
    return EvaluatedPolicy(Evaluation(step=step, numbers=named), shown, answers)


def _call_checks(
    training: Training,
    trajectories: Sequence[Trajectory],
    *,
    step: int,
    start: Sequence[Answer],
    answers: Sequence[Answer],
) -> dict[str, float]:
    """Numbers of the responses by the held-out reward, the user's measures and the judge."""
    checks, numbers = training.checks, dict[str, float]()
    if checks.held_out is not None:
        held_out = WeightedReward("held_out", checks.held_out)
        scored = _score(training, [held_out], trajectories, scales={}, step=step)
        finished = [trajectories[row].finished for row in scored.kept]
        is_counted = [is_trained_on(finished=ended, config=training.config) for ended in finished]
        if seen := [score for score, counts in zip(scored.scores, is_counted, strict=True) if counts]:
            numbers |= {"held_out": _mean(seen), "held_out_se": _standard_error(seen)}
    if checks.measure is not None:
        found = checks.measure([Episode(t.prompt, t.response, is_whole=t.finished) for t in trajectories])
        numbers |= {f"measures/{name}": value for name, value in found.items()}
    if checks.judge is not None and _is_time(training, step, every=training.config.guards.judge_every):
        numbers |= checks.judge(step, start, answers)
    return numbers


def _score(
    training: Training,
    rewards: Sequence[WeightedReward],
    trajectories: Sequence[Trajectory],
    *,
    scales: Mapping[str, ScoreScale],
    step: int,
) -> Scored:
    return score_trajectories(
        rewards,
        trajectories,
        scales=scales,
        max_failed=training.config.max_failed_rewards,
        where=f"the evaluation after {step} PPO steps",
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean; 0 for a single value."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1) / len(values))
